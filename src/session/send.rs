//! Sends a request's changes to the store.

use super::{Credential, Session};
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::header;
use crate::id::SessionId;
use crate::manager::{CommitOutcome, RenewalKind, Unanswered, Unconfirmed, Update, Version};
use crate::record::Record;

/// Changes that are being saved. Dropping this puts them back, so that they are sent again: the
/// store failed, or the caller stopped waiting.
struct InFlightChanges<'a> {
    session: &'a Session,
    changes: Vec<Change>,
    unanswered: Unanswered,
    renew: bool,
    adopts: bool,
    had_base: bool,
}

/// The kind of a save.
pub(super) enum SaveKind {
    /// Creates a session under this id.
    Create(SessionId),
    /// Creates a session under the id of its token.
    Begin(SessionId),
    Update(Version),
    /// Renews the session under this id.
    Renew(Version, SessionId, RenewalKind),
}

impl Session {
    /// Resolves saves whose outcome is unknown, by another save.
    pub(super) async fn send_if_unanswered(&self) -> Result<()> {
        let unanswered = !self.state.lock().unanswered.is_empty();
        match unanswered {
            true => self.send_changes().await,
            false => Ok(()),
        }
    }

    /// Saves this request's changes.
    ///
    /// After an error of the store the session keeps them for another attempt.
    pub(super) async fn send_changes(&self) -> Result<()> {
        let _one_at_a_time = self.saving.lock().await;

        let end_target = self.state.lock().end_target;
        if let Some(end_target) = end_target {
            if let Some(end_target) = &mut self.state.lock().end_target {
                end_target.tried = true;
            }
            let user = self.state.lock().ended_user.clone();
            let ended = Box::pin(self.manager.end_of_user(end_target, user)).await?;
            self.state.lock().settle_end(ended);
        }

        let Some((mut in_flight, kind, record, owner)) = self.take_changes()? else {
            return Ok(());
        };
        let before = match kind {
            SaveKind::Renew(..) => self.state.lock().base.clone(),
            _ => None,
        };
        let adopts = in_flight.adopts;
        let (changes, unanswered) = (&in_flight.changes[..], &mut in_flight.unanswered);
        let update = |version, record, unanswered| Update {
            record,
            version,
            changes,
            owner,
            before,
            adopts,
            unanswered,
        };
        // The rare saves are in boxes, so that the future of an update stays small.
        let outcome = match kind {
            SaveKind::Create(id) => {
                unanswered.unconfirmed = Some(Box::new(Unconfirmed {
                    from: None,
                    id,
                    own: record.clone(),
                    before: None,
                }));
                Box::pin(self.manager.create_listed(id, record, None, None)).await
            }
            SaveKind::Begin(id) => {
                Box::pin(self.manager.begin(id, record, changes, unanswered)).await
            }
            SaveKind::Update(version) => {
                self.manager
                    .update(update(version, record, unanswered))
                    .await
            }
            SaveKind::Renew(version, id, kind) => {
                let renewal = update(version, record, unanswered);
                Box::pin(self.manager.renew(id, kind, renewal)).await
            }
        }?;
        if let CommitOutcome::Unknown { newer, lost } = outcome {
            in_flight.discard(lost);
            drop(in_flight);
            if let Some((record, version)) = newer {
                self.state
                    .lock()
                    .adopt(record, version, &self.manager.limits);
            }
            let why = "the outcome of an earlier save of this request is unknown";
            return Err(Error::new(ErrorKind::Unavailable, "save the session").because(why));
        }
        self.report(&kind, &outcome, &in_flight.changes);
        in_flight.mark_saved();
        self.state.lock().settle(outcome, &self.manager.limits);
        Ok(())
    }

    /// Takes the changes to save; returns `None` if there are none.
    #[expect(clippy::type_complexity, reason = "it is taken apart where it arrives")]
    fn take_changes(
        &self,
    ) -> Result<Option<(InFlightChanges<'_>, SaveKind, Record, Option<String>)>> {
        let state = &mut *self.state.lock();
        if let Some(error) = state.refused.take() {
            return Err(error);
        }
        let has_info = state.record.has_info();
        let by_cookie = state.credential.is_by_cookie();
        let renew = by_cookie && state.renew && has_info;
        let version = state.lifecycle.version();
        let without_changes = (renew || state.adopts) && version.is_some();
        let nothing_to_do = state.changes.is_empty() && !without_changes;
        let nothing_to_keep = !state.lifecycle.has_contents() && !has_info;
        if !state.lifecycle.is_active() || nothing_to_do || nothing_to_keep {
            return Ok(None);
        }
        match state.credential {
            Credential::NoToken => return Err(header::missing()),
            Credential::Stale(_) if version.is_none() && !renew => {
                let why = "the session was renewed a moment ago, and the browser does not have the new cookie yet";
                return Err(Error::new(ErrorKind::Unavailable, "save the session").because(why));
            }
            _ => {}
        }
        if by_cookie && state.closed && (version.is_none() || renew) {
            let why = "it needs a new cookie, and the response was already sent";
            return Err(Error::new(ErrorKind::Closed, "save the session").because(why));
        }
        if version.is_none() {
            // A later attempt recognizes this one by the tag.
            state.record.tag();
        }
        let kind = match (version, state.credential) {
            (None, Credential::Token(id)) => SaveKind::Begin(id),
            (None, _) => SaveKind::Create(state.next_id()),
            (Some(version), _) if renew => {
                SaveKind::Renew(version, state.next_id(), state.renewal_kind())
            }
            (Some(version), _) => SaveKind::Update(version),
        };
        let adopts = std::mem::take(&mut state.adopts);
        state.renew = false;
        let owner = match &state.owner {
            Some(owner) => owner.clone(),
            None => state.record.user.clone(),
        };
        let in_flight = InFlightChanges {
            changes: std::mem::take(&mut state.changes),
            unanswered: std::mem::take(&mut state.unanswered),
            renew,
            adopts,
            had_base: state.base.is_some(),
            session: self,
        };
        Ok(Some((in_flight, kind, state.record.clone(), owner)))
    }
}

impl InFlightChanges<'_> {
    /// Notes that the changes are saved.
    fn mark_saved(mut self) {
        (self.changes, self.had_base) = (Vec::new(), true);
        (self.renew, self.adopts) = (false, false);
        self.unanswered.clear();
    }

    /// Drops the first `lost` changes, whose outcome is unknown.
    fn discard(&mut self, lost: usize) {
        self.changes.drain(..lost);
        self.unanswered.clear();
    }
}

impl Drop for InFlightChanges<'_> {
    fn drop(&mut self) {
        let state = &mut *self.session.state.lock();
        state.renew |= self.renew;
        state.adopts |= self.adopts;
        state.unanswered = std::mem::take(&mut self.unanswered);
        state.changes.splice(0..0, self.changes.drain(..));
        if !self.had_base {
            // It was recorded while these changes were taken for saved.
            state.base = None;
        }
    }
}
