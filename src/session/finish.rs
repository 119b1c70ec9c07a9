//! The session on its way out: what goes to the store, and what the browser is told.

use super::{Ending, Over, Presented, Session, State};
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::header;
use crate::id::SessionId;
use crate::keeper::Kept;
use crate::record::Record;

/// What the answer tells the browser about its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieNews {
    None,
    Set(SessionId),
    Remove,
}

impl Session {
    /// Returns what to tell the browser, if the store need not be told anything. After this no
    /// cookie can be set.
    ///
    /// `failed` is whether the request failed, so that its changes are not to be saved.
    pub(crate) fn finish_at_once(&self, failed: bool) -> Option<CookieNews> {
        let state = &mut *self.state.lock();
        if failed {
            state.drop_changes();
        }
        state.put_back_unseen();
        let unsent = state.ending.is_some() || state.refused.is_some() || state.renew;
        if unsent || !state.changes.is_empty() || (!failed && self.wants_touch(state)) {
            return None;
        }
        state.closed = true;
        Some(state.cookie_news())
    }

    /// Sends to the store what it does not know yet, and returns what to tell the browser. After
    /// this no cookie can be set.
    ///
    /// `keep_cookie_alive` is whether the cookie is to be sent again when the session is touched.
    pub(crate) async fn finish(&self, failed: bool, keep_cookie_alive: bool) -> Result<CookieNews> {
        let touch = !failed && self.wants_touch(&self.state.lock());
        let brings_a_message = self.state.lock().brings_a_message();
        let sent = self.send_changes().await;
        if touch && sent.is_ok() {
            // A save was a touch too.
            self.send_touch().await;
        }
        let state = &mut *self.state.lock();
        state.closed = true;
        state.resend |= touch && keep_cookie_alive;
        if brings_a_message && state.over == Some(Over::Gone) {
            log::warn!(
                "a message was not kept, for its session ended while the request was under way; a \
                 handler that ends its own session by `Sessions::end` or `end_all_of` calls \
                 `session.log_out()` first, and what it pushes begins a new one"
            );
        }
        if sent.is_err() {
            state.drop_changes();
        }
        sent.map(|()| state.cookie_news())
    }

    fn wants_touch(&self, state: &State) -> bool {
        state.held.is_some()
            && !state.emptied
            && state.over.is_none()
            && self.keeper.touch_is_due(&state.record)
    }

    /// Moves on, in the store, the time of the last request, when that is due and nothing else did.
    ///
    /// A store that fails here takes nothing from the visitor, so that the answer need not suffer.
    async fn send_touch(&self) {
        let (record, held) = match &*self.state.lock() {
            state if self.wants_touch(state) => (state.record.clone(), state.held),
            _ => return,
        };
        let Some(held) = held else { return };
        if let Ok(kept) = self.keeper.touch(record, held).await {
            self.state.lock().settle(kept, self);
        }
    }

    /// Sends this request's changes to the store.
    ///
    /// On an error of the store they wait in the session for another try.
    pub(super) async fn send_changes(&self) -> Result<()> {
        let _one_at_a_time = self.saving.lock().await;

        let ending = self.state.lock().ending;
        if let Some(Ending { id, revision, tag }) = ending {
            self.keeper.end(id, revision, tag).await?;
            let state = &mut *self.state.lock();
            state.ending = None;
            // The store is there again, and what is inserted from here on begins a new session.
            state.over = None;
        }

        let (record, held, presented, sending) = {
            let state = &mut *self.state.lock();
            if let Some(error) = state.refused.take() {
                return Err(error);
            }
            let by_cookie = state.presented.is_by_cookie();
            let renew = by_cookie && state.renew && state.record.has_info();
            let nothing_to_do = state.changes.is_empty() && !(renew && state.held.is_some());
            let nothing_to_keep = state.held.is_none() && !state.record.has_info();
            if state.over.is_some() || nothing_to_do || nothing_to_keep {
                return Ok(());
            }
            if state.presented == Presented::NoToken {
                return Err(header::missing());
            }
            if state.presented == Presented::Parted && state.held.is_none() && !renew {
                let why = "the session was renewed a moment ago, and the browser has yet to learn its new id";
                return Err(Error::new(ErrorKind::Unavailable, "save the session").because(why));
            }
            if by_cookie && state.closed && (state.held.is_none() || renew) {
                let why = "it needs a new cookie, and the answer that could set it has left";
                return Err(Error::new(ErrorKind::Closed, "save the session").because(why));
            }
            state.renew = false;
            let sending = Sending {
                changes: std::mem::take(&mut state.changes),
                renew,
                had_base: state.base.is_some(),
                session: self,
            };
            (state.record.clone(), state.held, state.presented, sending)
        };

        let changes = &sending.changes;
        let kept = match (held, presented) {
            (None, Presented::Token(id)) => self.keeper.begin(id, record, changes).await,
            (None, _) => self.keeper.create(record).await,
            (Some(held), _) if sending.renew => self.keeper.renew(record, held, changes).await,
            (Some(held), _) => self.keeper.update(record, held, changes).await,
        }?;
        sending.done();
        self.state.lock().settle(kept, self);
        Ok(())
    }
}

/// Changes on their way to the store. Dropping it puts them back, to be sent again: the store
/// failed, or nobody waited for it.
struct Sending<'a> {
    session: &'a Session,
    changes: Vec<Change>,
    renew: bool,
    had_base: bool,
}

impl Sending<'_> {
    /// Says that they arrived.
    fn done(mut self) {
        (self.changes, self.renew, self.had_base) = (Vec::new(), false, true);
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let state = &mut *self.session.state.lock();
        state.renew |= self.renew;
        state.changes.splice(0..0, self.changes.drain(..));
        if !self.had_base {
            // It is of a moment at which the store was thought to have these changes.
            state.base = None;
        }
    }
}

impl State {
    fn drop_changes(&mut self) {
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
        self.refused = None;
        self.renew = false;
    }

    /// Takes note of what the store has now.
    pub(super) fn settle(&mut self, kept: Kept, session: &Session) {
        match kept {
            Kept::Here {
                record,
                held,
                revived,
            } => {
                self.resend |= revived;
                self.emptied = false;
                self.reads.iter_mut().for_each(Vec::clear);
                self.held = Some(held).filter(|_| record.has_info());
                self.record = record;
                if self.held.is_none() {
                    self.record = Record::new(session.keeper.clock.seconds(), self.record.address);
                }
                self.base = None;
                if !self.changes.is_empty() {
                    self.base = Some(self.record.clone()).filter(|_| self.needs_base());
                }
                for change in &self.changes {
                    // Made by another part of the handler meanwhile. Where one no longer fits, the
                    // next save says so.
                    let _ = change.apply(&mut self.record, &session.keeper.limits);
                }
            }
            Kept::Elsewhere => {}
            Kept::Gone => {
                self.held = None;
                self.over = Some(Over::Gone);
            }
        }
    }

    fn cookie_news(&self) -> CookieNews {
        let held = self.held.filter(|_| !self.emptied);
        match (self.over, held, self.presented) {
            (Some(Over::Unavailable), ..) => CookieNews::None,
            (_, Some(held), Presented::Session { id, outdated })
                if held.id == id && !outdated && !self.resend =>
            {
                CookieNews::None
            }
            (.., Presented::Token(_) | Presented::NoToken) => CookieNews::None,
            (_, Some(held), _) => CookieNews::Set(held.id),
            (_, None, Presented::Session { .. } | Presented::Stale) => CookieNews::Remove,
            (_, None, Presented::Nothing | Presented::Parted) => CookieNews::None,
        }
    }
}
