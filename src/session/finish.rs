//! The session on its way out: what goes to the store, and what the browser is told.

use super::{Credential, Over, Session, State};
use crate::error::Error;
use crate::id::SessionId;

/// What the answer tells the browser about its cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieAction {
    None,
    /// The store has just said that this id is current.
    Set(SessionId),
    /// This request ended, or emptied, the session that it credential.
    Remove,
    /// No cookie; but the response shows a token, which no cache may keep.
    Token,
}

/// What the way out knows of the browser.
#[derive(Clone, Copy, Default)]
pub(crate) struct Browser {
    /// Whether its cookie has an age, so that it must be sent again while the session goes on.
    pub(crate) cookie_ages: bool,
    /// Whether it asks for a page, and not for a part of one. Of several requests at a time, only
    /// this one may send again a cookie that the browser has: an answer that comes late would put
    /// it over a newer one.
    pub(crate) navigates: bool,
}

/// What is due on the way out beside this request's changes.
struct Due {
    touch: bool,
    /// The browser's cookie is to be sent again.
    resend: bool,
}

impl Session {
    /// Returns what to tell the browser, if the store need not be told anything. After this no
    /// cookie can be set.
    ///
    /// `failed` is whether the request failed, so that its changes are not to be saved.
    pub(crate) fn finish_at_once(&self, failed: bool, browser: Browser) -> Option<CookieAction> {
        let state = &mut *self.state.lock();
        if failed {
            state.drop_changes();
        }
        state.put_back_unseen();
        let due = self.due(state, failed, browser);
        let unsent = state.ending.is_some() || state.refused.is_some() || state.renew;
        let abandoned = !state.abandoned.is_empty();
        if unsent || !state.changes.is_empty() || due.touch || abandoned {
            return None;
        }
        Some(state.close(due.resend))
    }

    /// Sends to the store what it does not know yet, and returns what to tell the browser, and why
    /// something could not be sent. After this no cookie can be set.
    pub(crate) async fn finish(
        &self,
        failed: bool,
        browser: Browser,
    ) -> (CookieAction, Option<Error>) {
        let (due, brings_a_message) = {
            let state = &mut *self.state.lock();
            let due = self.due(state, failed, browser);
            // What the store confirmed while the handler went on may have changed since.
            state.confirmed = false;
            if state.has_revived() {
                state.cookie_action = CookieAction::None;
            }
            (due, state.brings_a_message())
        };
        let sent = self.send_changes().await;
        if due.touch && sent.is_ok() {
            self.send_touch(due.resend).await;
        }
        let state = &mut *self.state.lock();
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
        for unconfirmed in state.abandoned.drain(..) {
            self.manager.undo(unconfirmed);
        }
        (state.close(due.resend), sent.err())
    }

    fn due(&self, state: &State, failed: bool, browser: Browser) -> Due {
        let version = state
            .version
            .filter(|_| !failed && !state.emptied && state.over.is_none());
        let Some(version) = version else {
            return Due {
                touch: false,
                resend: false,
            };
        };
        let time = !version.touched && self.manager.touch_is_due(&state.record);
        let resend = match state.credential {
            Credential::Session { outdated, .. } => {
                outdated || browser.cookie_ages && (time || version.touched)
            }
            _ => false,
        };
        let resend = resend && browser.navigates || state.has_revived();
        Due {
            touch: time || resend,
            resend,
        }
    }

    /// Moves on, in the store, the time of the last request, unless it saved the session anyway.
    /// `resend` is whether the store has to confirm the id for the browser.
    ///
    /// A store that fails here takes nothing from the visitor, so that the answer need not suffer.
    async fn send_touch(&self, resend: bool) {
        let (record, version) = match &*self.state.lock() {
            state if !state.confirmed && state.over.is_none() => {
                (state.record.clone(), state.version)
            }
            _ => return,
        };
        let Some(version) = version else { return };
        let touched = match resend {
            true => self.manager.confirm(record, version).await,
            false => self.manager.touch(record, version).await,
        };
        if let Ok(kept) = touched {
            self.state.lock().settle(kept, &self.manager.limits);
        }
    }
}
