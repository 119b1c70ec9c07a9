//! The visitor's session, as a handler reads and changes it.

mod finish;
mod form_tokens;
mod lifecycle;
mod lifetime;
mod messages;
mod report;
mod send;
mod state;
mod take_over;
mod trust;
mod values;
mod visitor;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::change::Change;
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::id::SessionId;
use crate::manager::{SessionManager, Version};
use crate::record::Record;

pub(crate) use finish::{Browser, CookieAction};
pub use lifetime::FreshLogIn;
pub(crate) use messages::Shown;
use state::{Lifecycle, State};

/// The session of the visitor who sent this request: a map of typed values that the server keeps
/// for the next request.
///
/// Use it as a request guard. A session is loaded once per request, however many guards use it, and
/// saved once, after the handler and before the response is sent. A visitor without a session gets
/// an empty one. Once it has a value, it is saved and a cookie is set. [`is_new()`](Self::is_new)
/// returns whether the visitor already has a session, and [`LoggedIn`](crate::LoggedIn) is the
/// guard for logged-in users.
///
/// **Requests of one visitor may run at the same time.** A save sends only the changes that the
/// request made, not the whole session. If two requests change different values, both changes stay.
/// [`increment`](Self::increment)s add up exactly, [`update`](Self::update) runs again on the newer
/// value, and of two [`insert`](Self::insert)s under one name the later one stays. A session that
/// has ended never comes back.
///
/// **A response with status 500 saves nothing**, because the handler may have panicked or failed
/// half-way. Only [`end`](Self::end) and [`log_out`](Self::log_out) take effect. To save a change in
/// any case, a handler calls [`save`](Self::save).
///
/// # Errors
///
/// As a guard it fails with 503 if the visitor has a session and the store does not respond.
/// `Option<&Session>` is then `None`, because Rocket turns every error of a guard into `None`. In all
/// other cases it is `Some`.
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
    /// Whether the request presented a session, or a token for one.
    personal: AtomicBool,
    /// Why the session ended that the request presents.
    ended: Option<EndReason>,
    /// The address that the request came from.
    client: Option<IpAddr>,
    state: Mutex<State>,
    /// Held while the session is being saved.
    saving: rocket::tokio::sync::Mutex<()>,
}

/// The credential that a request presents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    /// No cookie, or an invalid one.
    Nothing,
    /// The cookie of a session. `outdated` is whether it is encrypted with a previous key, and `moved`
    /// whether it names an earlier id, in the grace of a renewal.
    Session {
        id: SessionId,
        outdated: bool,
        moved: bool,
    },
    /// The cookie of a session that moved to another id a moment ago.
    Stale(SessionId),
    /// A token in a header. It always belongs to the session under this id.
    Token(SessionId),
    /// No token, while tokens are the only credentials.
    NoToken,
}

impl Credential {
    /// Returns this credential for the session of `version`, which it opened. In the grace of a
    /// renewal it counts as the cookie of the new id.
    pub(crate) fn of_version(self, version: &Version) -> Self {
        match self {
            Self::Session { id, outdated, .. } => Self::Session {
                id: version.id,
                outdated,
                moved: id != version.id,
            },
            other => other,
        }
    }

    /// Returns whether a cookie identifies the session, or will.
    fn is_by_cookie(self) -> bool {
        !matches!(self, Self::Token(_) | Self::NoToken)
    }
}

impl Session {
    /// Returns a new session, for a request with `credential`.
    pub(crate) fn fresh(
        manager: Arc<SessionManager>,
        credential: Credential,
        address: Option<IpAddr>,
    ) -> Self {
        let record = Record::new(manager.clock.seconds(), address);
        Self::new(manager, record, None, credential)
    }

    /// Returns an existing session, for a request with `credential`.
    pub(crate) fn resumed(
        manager: Arc<SessionManager>,
        record: Record,
        version: Version,
        credential: Credential,
    ) -> Self {
        Self::new(manager, record, Some(version), credential)
    }

    /// Returns an empty session that is never saved, because the store of the session of
    /// `credential` is down.
    pub(crate) fn unavailable(
        manager: Arc<SessionManager>,
        credential: Credential,
        address: Option<IpAddr>,
    ) -> Self {
        let session = Self::fresh(manager, credential, address);
        session.state.lock().lifecycle = Lifecycle::Unavailable;
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
            personal: AtomicBool::new(matches!(
                credential,
                Credential::Session { .. } | Credential::Token(_)
            )),
            ended: None,
            client: None,
            state: Mutex::new(state),
            saving: rocket::tokio::sync::Mutex::new(()),
        }
    }

    /// Returns the maximum age of the session's cookie in seconds, if it has one.
    pub(crate) fn cookie_age(&self) -> Option<u64> {
        let now = self.manager.clock.seconds();
        let state = self.state.lock();
        self.manager.lifetimes.cookie_age(&state.record, now)
    }

    /// Notes why the session ended that the request presents, if it did and the reason is known.
    pub(crate) fn set_ended(&mut self, ended: Option<EndReason>) {
        self.ended = ended;
        // The page may show the reason.
        *self.personal.get_mut() |= ended.is_some();
    }

    /// Notes the address that the request came from.
    pub(crate) fn set_client(&mut self, client: Option<IpAddr>) {
        self.client = client;
    }

    /// Returns whether the request presented a session or a token, so that the response is for this
    /// visitor alone.
    pub(crate) fn is_personal(&self) -> bool {
        self.personal.load(Ordering::Relaxed)
    }

    /// Makes `change` to the handler's view, and records it for the next save.
    fn change(&self, state: &mut State, change: Change) -> Result<()> {
        state.keep_base();
        let applied = change.apply(&mut state.record, &self.manager.limits);
        applied.inspect_err(|error| self.manager.note_limit(error, self.client))?;
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
        if state.closed && state.lifecycle.is_active() && !state.changes.is_empty() {
            log::warn!(
                "a session was changed after its response was sent, and the changes are lost; \
                 call `session.save().await` after a change in a stream or a WebSocket"
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
