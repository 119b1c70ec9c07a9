//! What a handler holds: its visitor's session.

mod finish;
mod form_tokens;
mod lifecycle;
mod messages;
mod send;
mod state;
mod values;
mod visitor;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::manager::{SessionManager, Version};
use crate::record::Record;

pub(crate) use finish::{Browser, CookieAction};
pub(crate) use messages::Shown;
use state::{Over, State};

/// The session of the visitor who sent this request: a map of typed values that waits, on the
/// server, for the next one.
///
/// Take it as a request guard. It is loaded once in a request, however many guards ask for it, and
/// saved once, after the handler and before the answer leaves. A visitor who has none gets an empty
/// one; it is kept, and a cookie is set, when there is something in it.
/// [`is_new()`](Self::is_new) tells whether the visitor has one already, and
/// [`LoggedIn`](crate::LoggedIn) is the guard for members.
///
/// **Requests of one visitor may run at the same time.** What is saved are the changes that a
/// request made, not the whole session as it saw it: two requests that change different values both
/// win, [`increment`](Self::increment) adds up exactly, [`update`](Self::update) is done again to
/// the newer value, and of two [`insert`](Self::insert)s under one name the later stays. A session
/// that ended never comes back.
///
/// **An answer with status 500 saves nothing**, for it means that the handler panicked or failed
/// half-way; only [`end`](Self::end) and [`log_out`](Self::log_out) are carried out. A handler that
/// wants to keep something nevertheless calls [`save`](Self::save).
///
/// # Errors
///
/// As a guard it fails with 503 when the visitor has a session and the store does not answer.
/// `Option<&Session>` is `None` then, as Rocket's `Option` is for every error, and never otherwise.
///
/// # Example
///
/// ```rust
/// use rocket::get;
/// use rocket_session_kit::{Result, Session};
///
/// #[get("/")]
/// fn hello(session: &Session) -> Result<String> {
///     let visits = session.increment("visits", 1)?;
///     Ok(format!("visits: {visits}"))
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![hello], |client| {
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "visits: 1");
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "visits: 2");
/// # });
/// ```
pub struct Session {
    manager: Arc<SessionManager>,
    /// Whether the visitor came with a session, or with a token for one.
    personal: bool,
    state: Mutex<State>,
    /// Version while the session is on its way to the store.
    saving: rocket::tokio::sync::Mutex<()>,
}

/// What a visitor came with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// No cookie, or one that opens nothing.
    Nothing,
    /// A cookie that opened a session. `outdated`: it is sealed with a previous key.
    Session { id: SessionId, outdated: bool },
    /// A cookie of a session that went on under another id a moment ago.
    Stale(SessionId),
    /// A header with a token, which is for ever that of the session under this id.
    Token(SessionId),
    /// No token, where that alone finds a session.
    NoToken,
}

impl Credential {
    /// Returns whether the session is, or will be, found by a cookie.
    fn is_by_cookie(self) -> bool {
        !matches!(self, Self::Token(_) | Self::NoToken)
    }
}

impl Session {
    /// Returns a session that begins with this request, of a visitor who came with `credential`.
    pub(crate) fn fresh(
        manager: Arc<SessionManager>,
        credential: Credential,
        address: Option<IpAddr>,
    ) -> Self {
        let record = Record::new(manager.clock.seconds(), address);
        Self::new(manager, record, None, credential)
    }

    /// Returns a session that goes on, of a visitor who came with `credential`.
    pub(crate) fn resumed(
        manager: Arc<SessionManager>,
        record: Record,
        version: Version,
        credential: Credential,
    ) -> Self {
        Self::new(manager, record, Some(version), credential)
    }

    /// Returns an empty session that saves nothing, for want of the store that has the one that
    /// `credential` leads to.
    pub(crate) fn unavailable(
        manager: Arc<SessionManager>,
        credential: Credential,
        address: Option<IpAddr>,
    ) -> Self {
        let session = Self::fresh(manager, credential, address);
        session.state.lock().over = Some(Over::Unavailable);
        session
    }

    fn new(
        manager: Arc<SessionManager>,
        record: Record,
        version: Option<Version>,
        credential: Credential,
    ) -> Self {
        let state = State::new(record, version, credential);
        Self {
            manager,
            personal: matches!(
                credential,
                Credential::Session { .. } | Credential::Token(_)
            ),
            state: Mutex::new(state),
            saving: rocket::tokio::sync::Mutex::new(()),
        }
    }

    /// Returns whether the visitor came with something that tells them from others, so that what
    /// they are shown is for them alone.
    pub(crate) fn is_personal(&self) -> bool {
        self.personal
    }

    /// Makes `change` to what the handler sees, and notes it for the store.
    fn change(&self, state: &mut State, change: Change) -> Result<()> {
        state.keep_base();
        change.apply(&mut state.record, &self.manager.limits)?;
        if state
            .changes
            .last()
            .is_some_and(|last| last.is_superseded_by(&change))
        {
            state.changes.pop();
            state.unanswered.cut(state.changes.len());
        }
        state.changes.push(change);
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if state.closed && state.over.is_none() && !state.changes.is_empty() {
            log::warn!(
                "a session was changed after its answer had left, and the changes are lost; \
                 call `session.save().await` where a stream or a WebSocket changes one"
            );
        }
    }
}

impl fmt::Debug for Session {
    /// Shows no id, no name and no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Session")
            .field("is_new", &state.is_new())
            .field("record", &state.record)
            .field("changes", &state.changes)
            .finish_non_exhaustive()
    }
}
