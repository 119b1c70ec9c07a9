//! The state of a request's session, and its transitions.

use super::messages::HandedOut;
use super::values::Reads;
use super::{CookieAction, Credential};
use crate::change::Change;
use crate::config::Limits;
use crate::error::Error;
use crate::id::SessionId;
use crate::manager::{CommitOutcome, EndTarget, RenewalKind, Unanswered, Unconfirmed, Version};
use crate::record::Record;

/// The state of a request's session, with the changes that are not saved yet.
pub(super) struct State {
    /// The handler's view: the loaded record with this request's changes.
    pub(super) record: Record,
    pub(super) lifecycle: Lifecycle,
    /// This request's changes that are not saved yet.
    pub(super) changes: Vec<Change>,
    /// The saves of these changes whose outcome is unknown.
    pub(super) unanswered: Unanswered,
    /// Sessions of abandoned changes that may have reached the store and must be undone.
    pub(super) abandoned: Vec<Unconfirmed>,
    /// The record in the store, kept beside the handler's view while it is needed: for
    /// notifications and form tokens, and for the undoing of a renewal.
    pub(super) base: Option<Record>,
    /// The user before this request's changes, once one of them changes the user.
    pub(super) owner: Option<Option<String>>,
    /// Whether another request had emptied the session before this one, and removed its cookie.
    found_empty: bool,
    /// The values that the handler read. They are recorded only in the debug profile.
    pub(super) reads: Option<Reads>,
    /// Notifications that a guard took. Those that are not read are put back.
    pub(super) handed_out: Vec<HandedOut>,
    /// The error that keeps the changes from being saved, if it could not be returned earlier.
    pub(super) refused: Option<Error>,
    /// Whether the session gets a new id with the next save.
    pub(super) renew: bool,
    /// Whether it does so only because its id is old.
    pub(super) renews_by_age: bool,
    /// Whether this request has changed the user, or the user has proved their identity. Then an old
    /// id gives no access.
    pub(super) guards: bool,
    /// Whether the browser has an earlier id of the session, and gets the present one.
    pub(super) adopts: bool,
    /// The id of the next creation or renewal, once it has been chosen.
    pub(super) next_id: Option<SessionId>,
    /// The session to end with the next save, if there is one.
    pub(super) end_target: Option<EndTarget>,
    /// The user of that session, if it is known.
    pub(super) ended_user: Option<String>,
    /// The credential that the request presented.
    pub(super) credential: Credential,
    /// The cookie action of the response.
    pub(super) cookie_action: CookieAction,
    /// Whether the store saved the session for this request, and so confirmed its id.
    pub(super) confirmed: bool,
    /// Whether the response was sent. After that no cookie can be set.
    pub(super) closed: bool,
}

/// Whether the store has the session of a request.
#[derive(Clone, Copy)]
pub(super) enum Lifecycle {
    /// The store has no session of this visitor.
    New,
    Stored {
        version: Version,
        /// Whether the session in the store is empty. It goes on under its id if a value is added,
        /// and ends otherwise.
        emptied: bool,
    },
    /// The session ended while this request was running. Nothing is saved any more.
    Gone,
    /// The store was down when the session was loaded, and the configuration allows requests
    /// without it. Nothing is saved.
    Unavailable,
}

impl Lifecycle {
    fn stored(record: &Record, version: Version) -> Self {
        let emptied = !record.has_info();
        Self::Stored { version, emptied }
    }

    /// Returns the version in the store, if there is one.
    pub(super) fn version(self) -> Option<Version> {
        match self {
            Self::Stored { version, .. } => Some(version),
            Self::New | Self::Gone | Self::Unavailable => None,
        }
    }

    /// Returns whether the store has the session, with contents.
    pub(super) fn has_contents(self) -> bool {
        matches!(self, Self::Stored { emptied: false, .. })
    }

    /// Returns whether the session is saved when it changes.
    pub(super) fn is_active(self) -> bool {
        matches!(self, Self::New | Self::Stored { .. })
    }
}

impl State {
    pub(super) fn new(record: Record, version: Option<Version>, credential: Credential) -> Self {
        Self {
            found_empty: version.is_some() && !record.has_info(),
            confirmed: version.is_some_and(|version| version.touched),
            lifecycle: version.map_or(Lifecycle::New, |version| {
                Lifecycle::stored(&record, version)
            }),
            record,
            changes: Vec::new(),
            unanswered: Unanswered::default(),
            abandoned: Vec::new(),
            base: None,
            owner: None,
            reads: None,
            handed_out: Vec::new(),
            refused: None,
            renew: false,
            renews_by_age: false,
            guards: false,
            adopts: matches!(credential, Credential::Session { moved: true, .. }),
            next_id: None,
            end_target: None,
            ended_user: None,
            credential,
            cookie_action: CookieAction::None,
            closed: false,
        }
    }

    /// Returns whether the store has no session of this visitor.
    pub(super) fn is_new(&self) -> bool {
        !self.lifecycle.has_contents()
    }

    /// Returns whether the presented cookie must be sent again, because another request had removed
    /// it.
    pub(super) fn has_revived(&self) -> bool {
        match (self.cookie_action, self.credential) {
            (CookieAction::Set(next), Credential::Session { id, .. }) => next == id,
            _ => false,
        }
    }

    /// Returns whether the store has the session, and this request's changes are none.
    pub(super) fn is_as_stored(&self) -> bool {
        self.changes.is_empty() && self.lifecycle.version().is_some()
    }

    /// Returns the user of the session in the store.
    pub(super) fn stored_user(&self) -> Option<&str> {
        match &self.owner {
            Some(owner) => owner.as_deref(),
            None => self.record.user(),
        }
    }

    /// Returns whether the handler asks for the next save. A renewal by age, and the move to a new id in
    /// the grace of a renewal, can fail: nothing is lost, and the next request tries again.
    pub(super) fn asks_for_a_save(&self) -> bool {
        let renews = self.renew && !self.renews_by_age;
        renews || !self.changes.is_empty() || self.end_target.is_some() || self.refused.is_some()
    }

    /// Returns whether this request sets timeouts that are not saved yet.
    pub(super) fn sets_timeouts(&self) -> bool {
        let mut changes = self.changes.iter();
        changes.any(|change| matches!(change, Change::SetTimeouts(_)))
    }

    /// Returns whether this request has nothing to save.
    pub(super) fn is_unchanged(&self) -> bool {
        self.changes.is_empty() && !self.renew && self.refused.is_none()
    }

    /// Returns the id of the next creation or renewal.
    pub(super) fn next_id(&mut self) -> SessionId {
        *self.next_id.get_or_insert_with(SessionId::random)
    }

    /// Keeps the record in the store before the first change, in case a renewal must be undone.
    pub(super) fn keep_base_for_renewal(&mut self) {
        if self.is_as_stored() && self.base.is_none() {
            self.base = Some(self.record.clone());
        }
    }

    /// Drops the changes that are not saved.
    pub(super) fn drop_changes(&mut self) {
        match self.base.take() {
            Some(base) => self.record = base,
            // The store has none of them.
            None if !self.changes.is_empty() => {
                self.record.notifications.clear();
                self.record.tokens.clear();
            }
            None => {}
        }
        self.changes.clear();
        self.abandoned.extend(
            self.unanswered
                .unconfirmed
                .take()
                .map(|unconfirmed| *unconfirmed),
        );
        self.unanswered.clear();
        self.owner = None;
        self.refused = None;
        self.renew = false;
        self.adopts = false;
    }

    /// Returns the kind of the next renewal.
    pub(super) fn renewal_kind(&self) -> RenewalKind {
        match (self.guards, self.renews_by_age) {
            (true, _) => RenewalKind::Guarding,
            (false, true) => RenewalKind::ByAge,
            (false, false) => RenewalKind::Plain,
        }
    }

    /// Takes over the outcome of a commit.
    pub(super) fn settle(&mut self, outcome: CommitOutcome, limits: &Limits) {
        match outcome {
            CommitOutcome::Committed {
                record,
                version,
                revived,
            } => {
                let revived = revived || self.found_empty;
                self.confirmed = true;
                self.next_id = None;
                self.cookie_action = self.cookie_action_after(&record, &version, revived);
                self.adopt(record, version, limits);
            }
            CommitOutcome::CommittedElsewhere | CommitOutcome::Unknown { .. } => {
                self.retract_cookie()
            }
            CommitOutcome::Ended => self.set_gone(),
        }
    }

    /// Returns the cookie action after `record` was saved.
    fn cookie_action_after(
        &self,
        record: &Record,
        version: &Version,
        revived: bool,
    ) -> CookieAction {
        let credential = match self.credential {
            Credential::Token(_) | Credential::NoToken => return self.cookie_action,
            Credential::Session { id, .. } => Some(id),
            Credential::Nothing | Credential::Stale(_) => None,
        };
        match (record.has_info(), credential) {
            (true, Some(id)) if id == version.id && !revived => match self.cookie_action {
                CookieAction::Remove => CookieAction::None,
                cookie_action => cookie_action,
            },
            (true, _) => CookieAction::Set(version.id),
            // This request removed the last value.
            (false, Some(_)) if self.lifecycle.has_contents() && !revived => CookieAction::Remove,
            (false, Some(_)) => match self.cookie_action {
                CookieAction::Set(_) => CookieAction::None,
                cookie_action => cookie_action,
            },
            (false, None) => CookieAction::None,
        }
    }

    /// Takes over the record in the store, and makes this request's unsaved changes to it again.
    pub(super) fn adopt(&mut self, record: Record, version: Version, limits: &Limits) {
        self.lifecycle = Lifecycle::stored(&record, version);
        self.record = record;
        (self.base, self.owner) = (None, None);
        self.reads.iter_mut().for_each(Vec::clear);
        if self.changes.is_empty() {
            return;
        }
        self.base = Some(self.record.clone()).filter(|_| self.renew || self.needs_base());
        if self.changes.iter().any(Change::is_about_the_user) {
            self.owner = Some(self.record.user.clone());
        }
        for change in &self.changes {
            // A change that no longer fits is reported by the next save.
            let _ = change.apply(&mut self.record, limits);
        }
    }

    /// Notes that the session has ended.
    pub(super) fn set_gone(&mut self) {
        self.retract_cookie();
        self.lifecycle = Lifecycle::Gone;
    }

    /// Takes over the outcome of an end that this request asked for. `ended` is whether there was a
    /// session.
    pub(super) fn settle_end(&mut self, ended: bool) {
        let was_by_cookie = matches!(
            self.credential,
            Credential::Session { .. } | Credential::Stale(_)
        );
        self.retract_cookie();
        if ended && was_by_cookie {
            self.cookie_action = CookieAction::Remove;
        }
        if was_by_cookie {
            self.credential = Credential::Nothing;
        }
        self.end_target = None;
        // The store is available again, and a later insert begins a new session.
        self.lifecycle = Lifecycle::New;
    }

    /// Notes that the response is sent, and returns its cookie action. `resend` is whether the
    /// cookie is due again.
    pub(super) fn close(&mut self, resend: bool) -> CookieAction {
        self.closed = true;
        match self.lifecycle {
            Lifecycle::Gone | Lifecycle::Unavailable => self.retract_cookie(),
            Lifecycle::Stored { version, .. }
                if resend && self.confirmed && self.cookie_action == CookieAction::None =>
            {
                self.cookie_action = CookieAction::Set(version.id);
            }
            // A timeout alone begins no session.
            Lifecycle::New if !self.record.has_info() && self.unanswered.is_empty() => {
                self.changes.clear();
            }
            Lifecycle::New | Lifecycle::Stored { .. } => {}
        }
        self.cookie_action
    }

    /// Withdraws a cookie whose id the store no longer confirms.
    fn retract_cookie(&mut self) {
        self.confirmed = false;
        if matches!(self.cookie_action, CookieAction::Set(_)) {
            self.cookie_action = CookieAction::None;
        }
    }
}
