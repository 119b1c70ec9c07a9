//! The error of an import, and its kinds.

use std::fmt;

/// The kind of an import [`Error`]. It names types and classes, and holds no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input, or its form in JSON, is longer than 1 MiB, or reading it takes too much work.
    TooLarge,
    /// Lists and dicts are nested more than 100 deep.
    TooDeep,
    /// A value contains itself.
    Recursive,
    /// The input ends too early.
    Truncated,
    /// Python's `pickle` and `json` write no such input.
    Malformed(&'static str),
    /// The input holds a value of a type that has no form in JSON, or that is invalid in its place.
    Type(String),
    /// The input can be read, and is no session.
    NotASession,
    /// The file or directory cannot be read.
    Io(std::io::ErrorKind),
}

/// Why a session cannot be imported: the kind of the error, and its offset in the input.
///
/// It reads as a sentence, and shows no data of a visitor.
///
/// # Example
///
/// ```rust
/// use std::time::SystemTime;
/// use rocket_session_kit::import::{self, ErrorKind};
///
/// // pickle.dumps({"visits": 3}, 2), without its end.
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

    /// Adds the offset.
    pub(super) fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// Returns the offset of the invalid byte, counted from 0; `None` if the error is about the whole input.
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
