//! Saves the session before the response is sent, and chooses the cookie action.

use rocket::http::HeaderMap;

use super::{Credential, Lifecycle, Session, State};
use crate::error::Error;
use crate::id::SessionId;

/// How many bytes of a browser's `User-Agent` header are kept.
const AGENT: usize = 256;

/// The cookie action of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CookieAction {
    None,
    /// Sets the cookie, for an id that the store has just confirmed.
    Set(SessionId),
    /// Removes the cookie: this request ended or emptied the session that it presented.
    Remove,
    /// Sets no cookie, but the response shows a token, so it must not be cached.
    Token,
}

/// The browser, as far as its cookie is concerned.
#[derive(Clone, Copy, Default)]
pub(crate) struct Browser<'r> {
    /// The headers of the request, if there is one.
    pub(crate) headers: Option<&'r HeaderMap<'r>>,
}

impl Browser<'_> {
    /// Returns the name by which the browser introduces itself, up to 256 bytes of it.
    fn agent(self) -> Option<String> {
        let text = self.headers?.get_one("User-Agent")?;
        let agent: String = text.chars().filter(|c| !c.is_control()).collect();
        let end = (0..=AGENT.min(agent.len())).rfind(|at| agent.is_char_boundary(*at))?;
        Some(agent[..end].to_owned()).filter(|agent| !agent.is_empty())
    }

    /// Returns whether the request is a navigation. Only a navigation may send a cookie again that the
    /// browser already has: a late response to any other request could overwrite a newer cookie.
    fn navigates(self) -> bool {
        self.headers.is_some_and(|headers| {
            let mode = headers.get_one("Sec-Fetch-Mode");
            mode.is_none_or(|mode| mode.eq_ignore_ascii_case("navigate"))
        })
    }
}

/// The saves that are due besides this request's changes.
struct DueActions {
    touch: bool,
    /// Whether the browser's cookie must be sent again.
    resend: bool,
}

impl Session {
    /// Returns the cookie action if nothing needs to be saved. After this no cookie can be set.
    ///
    /// `failed` is whether the request failed. Then its changes are not saved.
    pub(crate) fn finish_at_once(
        &self,
        failed: bool,
        browser: Browser<'_>,
    ) -> Option<CookieAction> {
        let state = &mut *self.state.lock();
        if failed {
            state.drop_changes();
        }
        state.put_back_unseen();
        self.renew_by_age(state, failed, browser);
        let due = self.due_actions(state, failed, browser);
        let unsent =
            state.end_target.is_some() || state.refused.is_some() || state.renew || state.adopts;
        let abandoned = !state.abandoned.is_empty();
        if unsent || !state.changes.is_empty() || due.touch || abandoned {
            return None;
        }
        Some(state.close(due.resend))
    }

    /// Saves the session, and returns the cookie action, with an error if the save failed. After
    /// this no cookie can be set.
    pub(crate) async fn finish(
        &self,
        failed: bool,
        browser: Browser<'_>,
    ) -> (CookieAction, Option<Error>) {
        let (due, is_asked_for, has_new_message) = {
            let state = &mut *self.state.lock();
            self.renew_by_age(state, failed, browser);
            let due = self.due_actions(state, failed, browser);
            // A confirmation from the time of the handler may be out of date.
            state.confirmed = false;
            if state.has_revived() {
                state.cookie_action = CookieAction::None;
            }
            if let Some(log_in) = &mut state.record.log_in
                && log_in.agent.is_none()
            {
                log_in.agent = browser.agent();
            }
            (due, state.asks_for_a_save(), state.has_new_message())
        };
        let sent = self.send_changes().await;
        if due.touch && sent.is_ok() {
            Box::pin(self.send_touch(due.resend)).await;
        }
        let state = &mut *self.state.lock();
        if has_new_message && matches!(state.lifecycle, Lifecycle::Gone) {
            log::warn!(
                "a notification was lost, because its session ended while the request was running; a \
                 handler that ends its own session by `Sessions::end` or `end_all_of` should call \
                 `session.log_out()` first, so that its notifications begin a new session"
            );
        }
        if sent.is_err() {
            state.drop_changes();
        }
        for unconfirmed in state.abandoned.drain(..) {
            self.manager.undo(unconfirmed);
        }
        // Without an error, the browser still has the old id.
        (state.close(due.resend), sent.err().filter(|_| is_asked_for))
    }

    fn due_actions(&self, state: &State, failed: bool, browser: Browser<'_>) -> DueActions {
        let version = state
            .lifecycle
            .version()
            .filter(|_| !failed && state.lifecycle.has_contents());
        let Some(version) = version else {
            return DueActions {
                touch: false,
                resend: false,
            };
        };
        let time = !version.touched && self.manager.touch_is_due(&state.record)
            || self.manager.listing_is_due(&state.record);
        let ages = || self.manager.lifetimes.cookie_ages(&state.record);
        let resend = match state.credential {
            // Without it, the browser would lose the session at the end of the grace.
            Credential::Session { moved: true, .. } => true,
            Credential::Session { outdated, .. } => {
                let is_due =
                    outdated || (time || version.touched || state.sets_timeouts()) && ages();
                is_due && browser.navigates()
            }
            _ => false,
        };
        let resend = resend || state.has_revived();
        DueActions {
            touch: time || resend,
            resend,
        }
    }

    /// Lets the session get a new id with this request, if its id is old.
    fn renew_by_age(&self, state: &mut State, failed: bool, browser: Browser<'_>) {
        let lifetimes = &self.manager.lifetimes;
        let is_of_cookie = matches!(state.credential, Credential::Session { .. });
        let goes_on = !failed && state.lifecycle.has_contents() && state.record.has_info();
        if state.renew || !is_of_cookie || !goes_on || !lifetimes.renews_by_age() {
            return;
        }
        let now = self.manager.clock.seconds();
        if lifetimes.id_is_old(&state.record, now, browser.navigates()) {
            state.keep_base_for_renewal();
            (state.renew, state.renews_by_age) = (true, true);
        }
    }

    /// Updates the time of last use in the store, unless this request saved the session anyway.
    /// `resend` is whether the store must confirm the id, so that the cookie can be sent again.
    ///
    /// A failure here loses nothing, so the response stays as it is.
    async fn send_touch(&self, resend: bool) {
        let (mut record, version) = match &*self.state.lock() {
            state if !state.confirmed => (state.record.clone(), state.lifecycle.version()),
            _ => return,
        };
        let Some(version) = version else { return };
        if let Some(listing) = self.manager.listing(&mut record, version.id, None)
            && self.manager.enter(Some(listing)).await.is_err()
        {
            // A later request tries again.
            return;
        }
        let touched = match resend {
            true => self.manager.confirm(record, version).await,
            false => self.manager.touch(record, version).await,
        };
        if let Ok(outcome) = touched {
            self.state.lock().settle(outcome, &self.manager.limits);
        }
    }
}
