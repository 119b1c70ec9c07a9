//! The error of this crate, and the status of the response that reports it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::Request;
use rocket::http::Status;
use rocket::response::{self, Responder};

/// A `Result` whose error is an [`Error`] of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = dyn std::error::Error + Send + Sync;

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting in `Rocket.toml`, or the setup of the application, is invalid.
    Config,
    /// The store cannot be reached, refuses to work, or does not respond in time. Another try may
    /// succeed later.
    Unavailable,
    /// A value does not have the requested type, or cannot be written as JSON.
    Value,
    /// The session would exceed one of `[default.sessions.limits]`.
    Limit,
    /// The request needs a session token, and has none or an invalid one.
    Unauthorized,
    /// The request does not prove that a page of the application sent it.
    Forbidden,
    /// The response has already been sent, so a change can no longer reach the store or the browser.
    Closed,
    /// A text cannot be parsed, for example as a session id.
    Invalid,
    /// The store or the session does not support the operation.
    Unsupported,
    /// The visitor exceeded a rate limit.
    RateLimited,
    /// The user has as many sessions as `sessions.max_sessions_per_user` allows.
    TooManySessions,
}

/// An error of this crate: its kind, the action that failed, the place, and the cause.
///
/// It reads as a sentence. It contains no data of a visitor: no id, no cookie, no key, no value.
///
/// A handler returns it with `?`. The application's catcher for the status then makes the response. The
/// status depends on the kind:
///
/// | kind | status |
/// |---|---|
/// | [`Unavailable`](ErrorKind::Unavailable) | 503, with `Retry-After` |
/// | [`Unauthorized`](ErrorKind::Unauthorized) | 401 |
/// | [`Forbidden`](ErrorKind::Forbidden) | 403 |
/// | [`RateLimited`](ErrorKind::RateLimited) | 429 |
/// | [`TooManySessions`](ErrorKind::TooManySessions) | 403 |
/// | any other | 500 |
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "save a session")
///     .at("/var/lib/app/sessions")
///     .because(std::io::Error::other("no space left on device"));
///
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(error.to_string(), "cannot save a session at `/var/lib/app/sessions`: no space left on device");
/// ```
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    act: &'static str,
    place: Option<Arc<str>>,
    source: Option<Arc<Source>>,
}

impl Error {
    /// Returns an error that reads "cannot `act`". Your own store reports its failures with it.
    pub fn new(kind: ErrorKind, act: &'static str) -> Self {
        Self {
            kind,
            act,
            place: None,
            source: None,
        }
    }

    /// Adds the place of the failure: a directory, a server, or a key of `Rocket.toml`. It must not be
    /// the id or key of a session.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string().into());
        self
    }

    /// Adds the cause. Its text goes into logs, so it must not contain data of a visitor.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<Source>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns an error about `key` of `Rocket.toml`. `why` names the mistake and the
    /// remedy.
    pub(crate) fn config(key: &str, why: impl Into<Box<Source>>) -> Self {
        Self::new(ErrorKind::Config, "use the configuration")
            .at(key)
            .because(why)
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Logs the error: at info level if it is the client's fault, otherwise at error level.
    pub(crate) fn log(&self) {
        match self.kind {
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::RateLimited
            | ErrorKind::TooManySessions => log::info!("{self}"),
            _ => log::error!("{self}"),
        }
    }

    /// Returns the status of the response that reports it.
    pub(crate) fn status(&self) -> Status {
        match self.kind {
            ErrorKind::Unavailable => Status::ServiceUnavailable,
            ErrorKind::RateLimited => Status::TooManyRequests,
            ErrorKind::Unauthorized => Status::Unauthorized,
            ErrorKind::Forbidden | ErrorKind::TooManySessions => Status::Forbidden,
            _ => Status::InternalServerError,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.act)?;
        if let Some(place) = &self.place {
            write!(f, " at `{place}`")?;
        }
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    /// Writes the kind and the sentence of `Display`. Rocket logs this form of a guard's error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn std::error::Error + 'static))
    }
}

impl<'r> Responder<'r, 'static> for Error {
    /// Leaves the response to the application's catcher for the status.
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        self.log();
        if self.kind == ErrorKind::Unavailable {
            StoreWasDown::note(request);
        }
        Err(self.status())
    }
}

/// A mark on requests whose store was down. Their 503 gets `Retry-After`.
#[derive(Default)]
pub(crate) struct StoreWasDown(AtomicBool);

impl StoreWasDown {
    pub(crate) fn note(request: &Request<'_>) {
        request
            .local_cache(Self::default)
            .0
            .store(true, Ordering::Relaxed);
    }

    pub(crate) fn noted(request: &Request<'_>) -> bool {
        request.local_cache(Self::default).0.load(Ordering::Relaxed)
    }
}
