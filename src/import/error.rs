//! Why something cannot be imported, and where.

use std::fmt;

/// What sort of thing is wrong. It names types and classes, and holds no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It is longer than 1 MiB, would become JSON longer than that, or takes too much work.
    TooLarge,
    /// Lists and dicts are nested more than 100 deep.
    TooDeep,
    /// A value contains itself.
    Recursive,
    /// It ends too early.
    Truncated,
    /// It is not what Python's `pickle` or `json` writes.
    Malformed(&'static str),
    /// It holds something that has no form in JSON, or not the one that is needed there.
    Type(String),
    /// It can be read and is something else than a session.
    NotASession,
    /// The file or directory cannot be read.
    Io(std::io::ErrorKind),
}

/// Why a session is not imported: the kind, and the byte where it is wrong.
///
/// It reads as a sentence and holds nothing of a visitor.
///
/// # Example
///
/// ```rust
/// use std::time::SystemTime;
/// use rocket_session_kit::import::{self, ErrorKind};
///
/// // pickle.dumps({"visits": 3}, 2), of which the end is missing.
/// let session = b"\x80\x02}q\x00X\x06\x00\x00\x00visi";
/// let error = import::pycket(Some(session), None, SystemTime::now()).unwrap_err();
///
/// assert_eq!(error.kind(), &ErrorKind::Truncated);
/// assert_eq!(error.offset(), Some(5));
/// assert_eq!(error.to_string(), "byte 5 of the pickled session: it ends too early");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    offset: Option<usize>,
    what: &'static str,
}

impl Error {
    /// Returns an error about the whole of `what`.
    pub(super) fn new(kind: ErrorKind, what: &'static str) -> Self {
        Self {
            kind,
            offset: None,
            what,
        }
    }

    /// Adds the place.
    pub(super) fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Returns what sort of thing is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Returns the byte where what is wrong begins, counted from 0; `None` when it is the whole.
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(offset) = self.offset {
            write!(f, "byte {offset} of ")?;
        }
        write!(f, "the {}: ", self.what)?;
        match &self.kind {
            ErrorKind::TooLarge => f.write_str("it is too large"),
            ErrorKind::TooDeep => f.write_str("it is nested too deep"),
            ErrorKind::Recursive => f.write_str("a value in it contains itself"),
            ErrorKind::Truncated => f.write_str("it ends too early"),
            ErrorKind::Malformed(why) => f.write_str(why),
            ErrorKind::Type(found) => write!(f, "it holds {found}"),
            ErrorKind::NotASession => f.write_str("it is something else"),
            ErrorKind::Io(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for Error {}
