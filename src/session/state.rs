//! What a request knows of its session, and how that changes.

use super::messages::Handed;
use super::values::Reads;
use super::{CookieAction, Credential};
use crate::change::Change;
use crate::config::Limits;
use crate::error::Error;
use crate::id::SessionId;
use crate::manager::{CommitOutcome, Ending, Unanswered, Unconfirmed, Version};
use crate::record::Record;

/// What a request knows of its session, and has yet to tell.
pub(super) struct State {
    /// What the handler sees: what was loaded, with this request's changes made to it.
    pub(super) record: Record,
    /// What the store has, unless the session is new.
    pub(super) version: Option<Version>,
    /// This request's changes that the store does not have yet.
    pub(super) changes: Vec<Change>,
    /// The saves of these changes whose outcome is not known.
    pub(super) unanswered: Unanswered,
    /// What was unconfirmed by changes that were given up since, and may be in the store.
    pub(super) abandoned: Vec<Unconfirmed>,
    /// What the store has, where that is needed beside what the handler sees: where notifications
    /// or form tokens are in it, or were taken out of it, and where a renewal may have to be undone.
    pub(super) base: Option<Record>,
    /// The user before this request's changes, once it changed that.
    pub(super) owner: Option<Option<String>>,
    /// Whether the store has nothing in the session any more. It goes on under its id if something
    /// is put in, and is over otherwise.
    pub(super) emptied: bool,
    /// Whether another request emptied the session before this one, and took away its cookie.
    found_empty: bool,
    /// What the handler read, where that is noticed: in the debug profile.
    pub(super) reads: Option<Reads>,
    /// Notifications that a guard took, to be put back if nobody looks at them.
    pub(super) handed: Vec<Handed>,
    /// Why the changes cannot be saved, found out where no error could be returned.
    pub(super) refused: Option<Error>,
    /// Whether the session is to go on under a new id.
    pub(super) renew: bool,
    /// The id that the session is to have when it is next created or renewed, once somebody asked.
    pub(super) next_id: Option<SessionId>,
    pub(super) ending: Option<Ending>,
    /// What the visitor came with.
    pub(super) credential: Credential,
    /// What the browser has to learn about its cookie.
    pub(super) cookie_action: CookieAction,
    /// Whether the store has saved the session for this request, and so said that its id is current.
    pub(super) confirmed: bool,
    /// Where the session's story is over, so that nothing is saved any more.
    pub(super) over: Option<Over>,
    /// Whether the answer left, so that no cookie can be set any more.
    pub(super) closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// It ended while this request was under way.
    Gone,
    /// The store was down when it should have been loaded, and the configuration says to go on
    /// without.
    Unavailable,
}

impl State {
    pub(super) fn new(record: Record, version: Option<Version>, credential: Credential) -> Self {
        Self {
            found_empty: version.is_some() && !record.has_info(),
            emptied: version.is_some() && !record.has_info(),
            confirmed: version.is_some_and(|version| version.touched),
            record,
            version,
            changes: Vec::new(),
            unanswered: Unanswered::default(),
            abandoned: Vec::new(),
            base: None,
            owner: None,
            reads: None,
            handed: Vec::new(),
            refused: None,
            renew: false,
            next_id: None,
            ending: None,
            credential,
            cookie_action: CookieAction::None,
            over: None,
            closed: false,
        }
    }

    /// Returns whether the visitor has no session in the store.
    pub(super) fn is_new(&self) -> bool {
        self.version.is_none() || self.emptied
    }

    /// Returns whether the browser is to have the cookie again that it credential, for another request
    /// had it removed.
    pub(super) fn has_revived(&self) -> bool {
        match (self.cookie_action, self.credential) {
            (CookieAction::Set(next), Credential::Session { id, .. }) => next == id,
            _ => false,
        }
    }

    /// Returns the id that the session has when it is next created or renewed.
    pub(super) fn next_id(&mut self) -> SessionId {
        *self.next_id.get_or_insert_with(SessionId::random)
    }

    /// Remembers what the store has before the first change to it, for the case that a renewal must
    /// be undone.
    pub(super) fn keep_base_for_renewal(&mut self) {
        if self.base.is_none() && self.changes.is_empty() && self.version.is_some() {
            self.base = Some(self.record.clone());
        }
    }

    /// Gives up the changes that the store does not have.
    pub(super) fn drop_changes(&mut self) {
        match self.base.take() {
            Some(base) => self.record = base,
            // None of them is in the store.
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
    }

    /// Takes note of what became of this request's changes.
    pub(super) fn settle(&mut self, kept: CommitOutcome, limits: &Limits) {
        match kept {
            CommitOutcome::Committed {
                record,
                version,
                revived,
            } => {
                let revived = revived || self.found_empty;
                self.confirmed = true;
                self.next_id = None;
                self.cookie_action = self.cookie_action_after(&record, &version, revived);
                self.see(record, version, limits);
            }
            CommitOutcome::CommittedElsewhere | CommitOutcome::Unknown { .. } => {
                self.take_back_the_cookie()
            }
            CommitOutcome::Ended => self.lose(),
        }
    }

    /// Returns what the browser has to learn after `record` was kept.
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
            // This request took out the last.
            (false, Some(_)) if !self.emptied && !revived => CookieAction::Remove,
            (false, Some(_)) => match self.cookie_action {
                CookieAction::Set(_) => CookieAction::None,
                cookie_action => cookie_action,
            },
            (false, None) => CookieAction::None,
        }
    }

    /// Takes note of what the store has now. This request's changes that it does not have are made
    /// to that.
    pub(super) fn see(&mut self, record: Record, version: Version, limits: &Limits) {
        self.emptied = !record.has_info();
        self.version = Some(version);
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
            // Where one no longer fits, the next save says so.
            let _ = change.apply(&mut self.record, limits);
        }
    }

    /// Takes note that the session has ended.
    pub(super) fn lose(&mut self) {
        self.take_back_the_cookie();
        self.version = None;
        self.over = Some(Over::Gone);
    }

    /// Takes note of the end that this request asked for, which may have come too late.
    pub(super) fn settle_ending(&mut self, ended: bool) {
        let in_the_browser = matches!(
            self.credential,
            Credential::Session { .. } | Credential::Stale(_)
        );
        if ended && in_the_browser {
            self.cookie_action = CookieAction::Remove;
        }
        if in_the_browser {
            self.credential = Credential::Nothing;
        }
        self.ending = None;
        // The store is there again, and what is inserted from here on begins a new session.
        self.over = None;
    }

    /// Takes note that the answer leaves, and returns what it tells the browser. `resend` is whether
    /// the cookie is to be sent again.
    pub(super) fn close(&mut self, resend: bool) -> CookieAction {
        self.closed = true;
        match (self.over, self.version) {
            (Some(_), _) => self.take_back_the_cookie(),
            (None, Some(version))
                if resend && self.confirmed && self.cookie_action == CookieAction::None =>
            {
                self.cookie_action = CookieAction::Set(version.id);
            }
            _ => {}
        }
        self.cookie_action
    }

    /// Says that the store no longer confirms the id that the browser was to learn.
    fn take_back_the_cookie(&mut self) {
        self.confirmed = false;
        if matches!(self.cookie_action, CookieAction::Set(_)) {
            self.cookie_action = CookieAction::None;
        }
    }
}
