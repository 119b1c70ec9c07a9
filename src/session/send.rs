//! A request's changes on their way to the store.

use super::{Credential, Session};
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::header;
use crate::id::SessionId;
use crate::manager::{CommitOutcome, Unanswered, Unconfirmed, Update, Version};
use crate::record::Record;

/// Changes on their way to the store. Dropping it puts them back, to be sent again: the store
/// failed, or nobody waited for it.
struct Sending<'a> {
    session: &'a Session,
    changes: Vec<Change>,
    unanswered: Unanswered,
    renew: bool,
    had_base: bool,
}

/// How changes get to the store.
enum Way {
    /// A session begins, under this id.
    Create(SessionId),
    /// A session begins, under the id of its token.
    Begin(SessionId),
    Update(Version),
    /// It goes on under this id.
    Renew(Version, SessionId),
}

impl Session {
    /// Finds out what became of saves whose outcome is not known, where there are any: by another.
    pub(super) async fn send_if_unanswered(&self) -> Result<()> {
        let unanswered = !self.state.lock().unanswered.is_empty();
        match unanswered {
            true => self.send_changes().await,
            false => Ok(()),
        }
    }

    /// Sends this request's changes to the store.
    ///
    /// On an error of the store they wait in the session for another try.
    pub(super) async fn send_changes(&self) -> Result<()> {
        let _one_at_a_time = self.saving.lock().await;

        let ending = self.state.lock().ending;
        if let Some(ending) = ending {
            if let Some(ending) = &mut self.state.lock().ending {
                ending.tried = true;
            }
            let ended = self.manager.end(ending).await?;
            self.state.lock().settle_ending(ended);
        }

        let Some((mut sending, way, record, owner)) = self.start_sending()? else {
            return Ok(());
        };
        let before = match way {
            Way::Renew(..) => self.state.lock().base.clone(),
            _ => None,
        };
        let (changes, unanswered) = (&sending.changes[..], &mut sending.unanswered);
        let update = |version, record, unanswered| Update {
            record,
            version,
            changes,
            owner,
            before,
            unanswered,
        };
        let outcome = match way {
            Way::Create(id) => {
                unanswered.unconfirmed = Some(Box::new(Unconfirmed {
                    from: None,
                    id,
                    own: record.clone(),
                    before: None,
                }));
                self.manager.create(id, record, None).await
            }
            Way::Begin(id) => self.manager.begin(id, record, changes, unanswered).await,
            Way::Update(version) => {
                self.manager
                    .update(update(version, record, unanswered))
                    .await
            }
            Way::Renew(version, id) => {
                self.manager
                    .renew(id, update(version, record, unanswered))
                    .await
            }
        }?;
        if let CommitOutcome::Unknown { newer, lost } = outcome {
            sending.give_up(lost);
            drop(sending);
            if let Some((record, version)) = newer {
                self.state.lock().see(record, version, &self.manager.limits);
            }
            let why = "whether an earlier save of this request arrived is not known";
            return Err(Error::new(ErrorKind::Unavailable, "save the session").because(why));
        }
        sending.done();
        self.state.lock().settle(outcome, &self.manager.limits);
        Ok(())
    }

    /// Takes what there is to send; `None` when that is nothing.
    #[expect(clippy::type_complexity, reason = "it is taken apart where it arrives")]
    fn start_sending(&self) -> Result<Option<(Sending<'_>, Way, Record, Option<String>)>> {
        let state = &mut *self.state.lock();
        if let Some(error) = state.refused.take() {
            return Err(error);
        }
        let has_info = state.record.has_info();
        let by_cookie = state.credential.is_by_cookie();
        let renew = by_cookie && state.renew && has_info;
        let nothing_to_do = state.changes.is_empty() && !(renew && state.version.is_some());
        let nothing_to_keep = (state.version.is_none() || state.emptied) && !has_info;
        if state.over.is_some() || nothing_to_do || nothing_to_keep {
            return Ok(None);
        }
        let version = state.version;
        match state.credential {
            Credential::NoToken => return Err(header::missing()),
            Credential::Stale(_) if version.is_none() && !renew => {
                let why = "the session was renewed a moment ago, and the browser has yet to learn its new id";
                return Err(Error::new(ErrorKind::Unavailable, "save the session").because(why));
            }
            _ => {}
        }
        if by_cookie && state.closed && (version.is_none() || renew) {
            let why = "it needs a new cookie, and the answer that could set it has left";
            return Err(Error::new(ErrorKind::Closed, "save the session").because(why));
        }
        if version.is_none() {
            // Another try is known by it.
            state.record.tag();
        }
        let way = match (version, state.credential) {
            (None, Credential::Token(id)) => Way::Begin(id),
            (None, _) => Way::Create(state.next_id()),
            (Some(version), _) if renew => Way::Renew(version, state.next_id()),
            (Some(version), _) => Way::Update(version),
        };
        state.renew = false;
        let owner = match &state.owner {
            Some(owner) => owner.clone(),
            None => state.record.user.clone(),
        };
        let sending = Sending {
            changes: std::mem::take(&mut state.changes),
            unanswered: std::mem::take(&mut state.unanswered),
            renew,
            had_base: state.base.is_some(),
            session: self,
        };
        Ok(Some((sending, way, state.record.clone(), owner)))
    }
}

impl Sending<'_> {
    /// Says that they arrived.
    fn done(mut self) {
        (self.changes, self.renew, self.had_base) = (Vec::new(), false, true);
        self.unanswered.clear();
    }

    /// Forgets the first `lost` changes, which may have arrived.
    fn give_up(&mut self, lost: usize) {
        self.changes.drain(..lost);
        self.unanswered.clear();
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let state = &mut *self.session.state.lock();
        state.renew |= self.renew;
        state.unanswered = std::mem::take(&mut self.unanswered);
        state.changes.splice(0..0, self.changes.drain(..));
        if !self.had_base {
            // It is of a moment at which the store was thought to have these changes.
            state.base = None;
        }
    }
}
