//! The error about an image, with its offset.

use std::fmt;

use super::error_kind::ErrorKind;

/// The result of this module's functions: a `T`, or an [`Error`].
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an image cannot be read: the kind of the error, and its offset in the image.
///
/// It reads as a sentence, and shows no data of the image, which may be secret. Only
/// [`detail`](Self::detail) may do so: it is the message of a type that refuses a value.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable::{self, ErrorKind};
///
/// // An array of two, which ends after the first.
/// let error = storable::from_slice::<Vec<u8>>(b"\x05\x0b\x02\0\0\0\x02\x08\x81").unwrap_err();
///
/// assert_eq!(error.kind(), ErrorKind::Truncated);
/// assert_eq!(error.offset(), Some(9));
/// assert_eq!(error.to_string(), "byte 9 of the Storable image: it ends too early");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Error(Box<Parts>);

/// The parts of an error, in a box: most results are no errors, and are passed on often.
#[derive(Clone, PartialEq, Eq)]
struct Parts {
    kind: ErrorKind,
    offset: Option<usize>,
    words: Option<String>,
    detail: Option<String>,
}

impl Error {
    pub(super) fn with(
        kind: ErrorKind,
        offset: Option<usize>,
        words: Option<String>,
        detail: Option<String>,
    ) -> Self {
        Self(Box::new(Parts {
            kind,
            offset,
            words,
            detail,
        }))
    }

    pub(super) fn new(kind: ErrorKind, offset: usize) -> Self {
        Self::with(kind, Some(offset), None, None)
    }

    /// Returns an error about a type, without an offset yet.
    pub(super) fn mismatch(words: String) -> Self {
        Self::with(ErrorKind::Type, None, Some(words), None)
    }

    /// Adds the offset, unless the error has one further inside.
    pub(super) fn at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Returns the kind of the error.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{ErrorKind, Image, Refused};
    ///
    /// let error = Image::parse(b"\x05\x0b\x1a\x0a\x02{}").unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Refused(Refused::Code));
    /// ```
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the offset of the invalid byte in the image, counted from 0.
    ///
    /// `None` only if a type of the caller reports an error outside of any value.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable;
    ///
    /// // The output of `nfreeze([1, "x"])`.
    /// let error = storable::from_slice::<Vec<u8>>(b"\x05\x0b\x02\0\0\0\x02\x08\x81\x0a\x01x").unwrap_err();
    /// assert_eq!(error.offset(), Some(9));
    /// ```
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }

    /// Returns the message of the requested type when it refuses a value.
    ///
    /// It comes from the `Deserialize` of that type. It may repeat data of the image, and is therefore
    /// no part of the error's text.
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::net::IpAddr;
    ///
    /// use rocket_session_kit::storable;
    ///
    /// let error = storable::from_slice::<IpAddr>(b"\x05\x0b\x0a\x04home").unwrap_err();
    /// assert_eq!(error.to_string(), "byte 2 of the Storable image: the requested type refuses the value");
    /// assert_eq!(error.detail(), Some("invalid IP address syntax"));
    /// ```
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    fn describe(&self) -> &str {
        match &self.0.words {
            Some(words) => words,
            None => self.0.kind.describe(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.offset {
            Some(offset) => write!(f, "byte {offset} of the Storable image: ")?,
            None => f.write_str("the Storable image: ")?,
        }
        f.write_str(self.describe())?;
        match self.0.kind {
            ErrorKind::Refused(_) => f.write_str(" cannot be read without running Perl"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    /// Like `Display`, so that no data of the image ends up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use serde::de::{Error as _, Unexpected};

    use super::super::error_kind::Refused;
    use super::*;

    #[test]
    fn an_error_reads_as_a_sentence() {
        let hook = Error::new(ErrorKind::Refused(Refused::Hook), 2);
        assert_eq!(
            hook.to_string(),
            "byte 2 of the Storable image: an object frozen by a hook of its class cannot be read without running Perl"
        );

        let field = Error::unknown_field("secret", &["name", "age"]).at(7).at(2);
        assert_eq!(
            field.to_string(),
            "byte 7 of the Storable image: found an unknown field, expected `name`, `age`"
        );
    }

    #[test]
    fn no_error_repeats_a_value() {
        let secrets = [
            Unexpected::Bool(true),
            Unexpected::Unsigned(4711),
            Unexpected::Signed(-4711),
            Unexpected::Float(47.11),
            Unexpected::Char('ß'),
            Unexpected::Str("secret 4711"),
            Unexpected::Bytes(b"secret 4711"),
            Unexpected::Other("secret 4711"),
        ];
        let mut errors = vec![
            Error::custom("secret 4711"),
            Error::unknown_field("secret 4711", &[]),
            Error::unknown_variant("secret 4711", &["one"]),
        ];
        for secret in secrets {
            errors.push(Error::invalid_type(secret, &"a name"));
            errors.push(Error::invalid_value(secret, &"a name"));
        }
        for error in errors {
            for text in [error.to_string(), format!("{error:?}")] {
                for part in ["secret", "47", "true", "ß"] {
                    assert!(!text.contains(part), "{text}");
                }
            }
        }
        assert_eq!(Error::custom("secret 4711").detail(), Some("secret 4711"));
    }
}
