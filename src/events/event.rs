//! An event in the life of a session.

use std::fmt;
use std::net::IpAddr;

use crate::end_reason::EndReason;

/// An event in the life of a session, for a [`SessionEvents`](crate::SessionEvents) listener.
///
/// It holds nothing that opens a session: no id and no cookie. `Debug` shows neither the user nor the
/// address.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct SessionEvent<'a> {
    /// What happened.
    pub kind: EventKind<'a>,
    /// The user of the session, if it has one and the event is about one session.
    pub user: Option<&'a str>,
    /// The address that the request came from, if the event belongs to a request: that of the network
    /// peer, or the one that it reports if it is one of the `proxies` in `Rocket.toml`.
    pub address: Option<IpAddr>,
}

/// The kind of a [`SessionEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind<'a> {
    /// A session began: the store has it.
    Created,
    /// A session got a new id. A log-in renews the session that it finds.
    Renewed,
    /// A user was logged in, or set by [`set_user`](crate::Session::set_user). The event follows
    /// `Created` or `Renewed`.
    LoggedIn,
    /// A session ended.
    Ended(EndReason),
    /// A request presented a session past one of its timeouts. The store usually removes such a
    /// session first. Then the cookie is [`Unknown`](CookieFault::Unknown), unless
    /// `sessions.keep_expired` keeps the session.
    Expired(EndReason),
    /// A request presented a cookie that opens no session. A browser keeps such a cookie, and may
    /// send it with many requests.
    CookieRejected(CookieFault),
    /// The store holds a record that cannot be read.
    RecordUnreadable,
    /// A save met the save of another request, and is repeated if it has changes.
    Conflict,
    /// A call to a store failed, or took longer than `sessions.store_timeout`.
    #[non_exhaustive]
    StoreFailed {
        /// The [name](crate::store::SessionStore::name) of the store.
        store: &'static str,
        /// The action that failed, such as `save a session`.
        act: &'static str,
    },
    /// A request was refused because it exceeds a rate limit.
    #[non_exhaustive]
    RateLimited {
        /// The name of the limit; `app` for that of the whole application.
        limit: &'a str,
    },
    /// A change was refused because the session would exceed one of `[default.sessions.limits]`.
    SessionFull,
}

/// Why a cookie opens no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CookieFault {
    /// It is not encrypted with a key of the application.
    Undecryptable,
    /// The store has no session for it: the session expired or ended, or the store lost it.
    Unknown,
    /// Its session was renewed a moment ago, and has another cookie now.
    Renewed,
    /// Its session ended, and the store still has the tombstone.
    Ended,
}

impl EventKind<'_> {
    /// Returns the name of the kind, such as `logged_in`, for an audit log or a label.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::{EndReason, EventKind};
    ///
    /// let ended = EventKind::Ended(EndReason::LoggedOut);
    /// assert_eq!((ended.name(), ended.reason()), ("ended", Some("logged_out")));
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Renewed => "renewed",
            Self::LoggedIn => "logged_in",
            Self::Ended(_) => "ended",
            Self::Expired(_) => "expired",
            Self::CookieRejected(_) => "cookie_rejected",
            Self::RecordUnreadable => "record_unreadable",
            Self::Conflict => "conflict",
            Self::StoreFailed { .. } => "store_failed",
            Self::RateLimited { .. } => "rate_limited",
            Self::SessionFull => "session_full",
        }
    }

    /// Returns the reason of an end, the fault of a cookie, the action of a store or the name of a rate
    /// limit; `None` for the other kinds.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Ended(reason) | Self::Expired(reason) => Some(reason.name()),
            Self::CookieRejected(fault) => Some(match fault {
                CookieFault::Undecryptable => "undecryptable",
                CookieFault::Unknown => "unknown",
                CookieFault::Renewed => "renewed",
                CookieFault::Ended => "ended",
            }),
            Self::StoreFailed { act, .. } => Some(act),
            Self::RateLimited { limit } => Some(limit),
            _ => None,
        }
    }
}

impl<'a> SessionEvent<'a> {
    /// Returns an event of no particular session.
    pub(crate) fn new(kind: EventKind<'a>) -> Self {
        Self {
            kind,
            user: None,
            address: None,
        }
    }
}

impl fmt::Debug for SessionEvent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEvent")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
