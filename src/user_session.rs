//! One of the sessions in which a user is logged in.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::handle::SessionHandle;
use crate::manager::SessionOfUser;
use crate::record::Record;
use crate::session::Session;

/// One of the sessions in which a user is logged in: see [`Sessions::of_user`](crate::Sessions::of_user).
pub struct UserSession {
    handle: SessionHandle,
    record: Record,
}

impl UserSession {
    pub(crate) fn new(session: SessionOfUser) -> Self {
        let SessionOfUser { handle, record } = session;
        Self { handle, record }
    }

    /// Returns the public name of the session, for a form that [ends](crate::Sessions::end_by) it.
    pub fn handle(&self) -> SessionHandle {
        self.handle
    }

    /// Returns whether it is `session`, or a copy of it.
    pub fn is_current(&self, session: &Session) -> bool {
        session.has_handle(&self.handle)
    }

    /// Returns when the session began.
    pub fn created_at(&self) -> SystemTime {
        self.record.created_at()
    }

    /// Returns when the user logged in; `None` if the application set the user without a log-in.
    pub fn logged_in_at(&self) -> Option<SystemTime> {
        let log_in = self.record.log_in.as_ref()?;
        Some(UNIX_EPOCH + Duration::from_secs(log_in.at))
    }

    /// Returns when the session was last used, up to `touch_every` seconds late.
    pub fn accessed_at(&self) -> SystemTime {
        self.record.accessed_at()
    }

    /// Returns the address that the session's first request came from: that of the network peer, or the
    /// one that it reports if it is one of the `proxies` in `Rocket.toml`.
    pub fn remote_address(&self) -> Option<IpAddr> {
        self.record.remote_address()
    }

    /// Returns the `User-Agent` header of the browser, up to 256 bytes of it. The browser chooses the
    /// text, so a page must escape it.
    pub fn user_agent(&self) -> Option<&str> {
        self.record.log_in.as_ref()?.agent.as_deref()
    }
}

impl fmt::Debug for UserSession {
    /// Shows no user, no address and no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSession").finish_non_exhaustive()
    }
}
