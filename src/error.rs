//! What can go wrong, and what a visitor is answered then.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rocket::Request;
use rocket::http::Status;
use rocket::response::{self, Responder};

/// What this crate's functions return: a `T`, or an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = dyn std::error::Error + Send + Sync;

/// What sort of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something in `Rocket.toml`, or in the way the application was put together, cannot work.
    Config,
    /// The store cannot be reached, refuses to work, or did not answer in time. Trying again later
    /// may help.
    Unavailable,
    /// A value is not of the type it was asked for as, or cannot be written as JSON.
    Value,
    /// The session would outgrow one of `[default.sessions.limits]`.
    Limit,
    /// The request brings no token for its session where it needs one, or one that is none.
    Unauthorized,
    /// The request does not show that the application's own page sent it.
    Forbidden,
    /// The answer has left already, so this change could no longer reach the store or the browser.
    Closed,
    /// A text is not what it should be, for example not a session id.
    Invalid,
    /// That cannot be done at all, by this store or with this session.
    Unsupported,
    /// The visitor sent more requests than a limit allows.
    RateLimited,
}

/// What went wrong: its kind, the act that failed, the place, and the cause.
///
/// It reads as a sentence and holds nothing of a visitor: no id, no cookie, no key, no value.
///
/// A handler returns it with `?`. The visitor is then answered by the application's catcher for the
/// status: 503 with `Retry-After` when the store is [`Unavailable`](ErrorKind::Unavailable), 401
/// when a token is needed ([`Unauthorized`](ErrorKind::Unauthorized)), 403 when the request is
/// [`Forbidden`](ErrorKind::Forbidden), 500 otherwise.
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
    /// Returns an error that says "cannot `act`". A store of one's own tells its failures with it.
    pub fn new(kind: ErrorKind, act: &'static str) -> Self {
        Self {
            kind,
            act,
            place: None,
            source: None,
        }
    }

    /// Adds where it happened: a directory, a server, a key of `Rocket.toml`. Never the id or key
    /// of a session.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string().into());
        self
    }

    /// Adds the cause, whose text ends up in logs: it must hold nothing of a visitor.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<Source>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns an error about `key` of `Rocket.toml`. `why` says what is wrong and how to mend it.
    pub(crate) fn config(key: &str, why: impl Into<Box<Source>>) -> Self {
        Self::new(ErrorKind::Config, "use the configuration")
            .at(key)
            .because(why)
    }

    /// Returns what sort of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Writes it to the log: at error level, or at info level where the client is at fault.
    pub(crate) fn log(&self) {
        match self.kind {
            ErrorKind::Unauthorized | ErrorKind::Forbidden | ErrorKind::RateLimited => {
                log::info!("{self}");
            }
            _ => log::error!("{self}"),
        }
    }

    /// Returns the status of the response that reports it.
    pub(crate) fn status(&self) -> Status {
        match self.kind {
            ErrorKind::Unavailable => Status::ServiceUnavailable,
            ErrorKind::RateLimited => Status::TooManyRequests,
            ErrorKind::Unauthorized => Status::Unauthorized,
            ErrorKind::Forbidden => Status::Forbidden,
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
    /// As `Display`: Rocket logs the `Debug` form of a guard's error.
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
    /// Leaves the answer to the application's catcher for the status.
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        self.log();
        if self.kind == ErrorKind::Unavailable {
            StoreWasDown::note(request);
        }
        Err(self.status())
    }
}

/// Tells the way out that this request met a store that was down, so that its 503 says when to try
/// again.
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
