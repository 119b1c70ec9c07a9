//! The errors about a session of a Python system.

use std::fmt;

use crate::decode_error::{DecodeError, DecodeErrorKind};

/// Returns the error about a pickle that Python does not write. `why` is a sentence.
pub(super) fn malformed(why: &'static str) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Malformed).saying(why)
}

/// Returns the error about a value without a form in JSON. `found` names its type or class.
pub(super) fn holds(found: impl fmt::Display) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Type).saying(format!("it holds {found}"))
}

/// Returns the error about a `str` of Python that is not text.
pub(super) fn lone_surrogate() -> DecodeError {
    let why = "it holds a str that is no text (a lone surrogate)";
    DecodeError::new(DecodeErrorKind::Text).saying(why)
}

/// Returns the error about a number in digits that is none.
pub(super) fn no_number(why: &'static str) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Number).saying(why)
}

pub(super) fn truncated() -> DecodeError {
    DecodeError::new(DecodeErrorKind::Truncated)
}

pub(super) fn too_large() -> DecodeError {
    DecodeError::new(DecodeErrorKind::TooLarge)
}

pub(super) fn underflow() -> DecodeError {
    malformed("an instruction in it takes more than its stack holds")
}

/// Returns the error about an input, called `what`, that can be read but is not a session.
pub(super) fn not_a_session(what: &'static str) -> DecodeError {
    DecodeError::new(DecodeErrorKind::NotASession).of(what)
}
