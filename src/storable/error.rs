//! What can be wrong with an image, or with what is asked of it.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// What this module's functions return: a `T`, or an [`Error`].
pub(super) type Result<T, E = Error> = std::result::Result<T, E>;

/// What sort of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes do not begin as a Storable image does.
    NotAnImage,
    /// The image is older than format 2.0 (before Storable 0.7, of the year 2000) or newer than
    /// 2.12.
    Version,
    /// The image was written on a machine whose byte order or sizes of numbers are not known.
    Machine,
    /// The image has four gibibytes or more.
    TooLarge,
    /// The image ends before it is complete.
    Truncated,
    /// A length or a count is larger than what is left of the image.
    Length,
    /// There is no such opcode.
    Opcode,
    /// What stands there cannot be had without running Perl code.
    Refused(Refused),
    /// A back-reference names something that was not read before.
    Tag,
    /// An object names its class by the number of a class that was not read before.
    Class,
    /// A number has a form that cannot be converted: see [the policies](super#policies).
    Number,
    /// Bytes follow the end of the image.
    TrailingBytes,
    /// A thing contains itself, and was to become a tree.
    Cycle,
    /// References, arrays and hashes are nested deeper than
    /// [`Options::max_depth`](super::Options::max_depth) allows.
    Depth,
    /// The value would take more memory than
    /// [`Options::max_growth`](super::Options::max_growth) allows: most often, as it repeats what is
    /// shared.
    Growth,
    /// A string that is marked as UTF-8 is no UTF-8 that Rust knows.
    Text,
    /// A value does not fit the type it was to become.
    Type,
}

/// What an image may hold and this reader does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// An object that its class froze by a hook of its own (`STORABLE_freeze`).
    Hook,
    /// The source text of a function.
    Code,
    /// An array tied to an object.
    TiedArray,
    /// A hash tied to an object.
    TiedHash,
    /// A scalar tied to an object.
    TiedScalar,
    /// An element of a tied hash.
    TiedKey,
    /// An element of a tied array.
    TiedIndex,
    /// A string, array or hash of more than 2³¹ − 1 bytes or elements.
    LargeObject,
    /// A hash key that is an object of its own. Perl reads such keys and never writes them.
    KeyObject,
}

impl Refused {
    fn describe(self) -> &'static str {
        match self {
            Self::Hook => "an object frozen by a hook of its class",
            Self::Code => "code",
            Self::TiedArray => "a tied array",
            Self::TiedHash => "a tied hash",
            Self::TiedScalar => "a tied scalar",
            Self::TiedKey => "an element of a tied hash",
            Self::TiedIndex => "an element of a tied array",
            Self::LargeObject => "a large object",
            Self::KeyObject => "a hash key that is an object",
        }
    }
}

/// What is wrong with an image: its kind, and the byte of the image where it is wrong.
///
/// It reads as a sentence and holds nothing of the image's data, which may be secret. The one
/// exception is what a type of the caller's says of itself while it is being read, which stays in
/// [`detail`](Self::detail).
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
pub struct Error(Box<Wrong>);

/// In a box, as results are passed through many hands, and are mostly no errors.
#[derive(Clone, PartialEq, Eq)]
struct Wrong {
    kind: ErrorKind,
    offset: Option<usize>,
    words: Option<String>,
    detail: Option<String>,
}

impl Error {
    fn with(
        kind: ErrorKind,
        offset: Option<usize>,
        words: Option<String>,
        detail: Option<String>,
    ) -> Self {
        Self(Box::new(Wrong {
            kind,
            offset,
            words,
            detail,
        }))
    }

    pub(super) fn new(kind: ErrorKind, offset: usize) -> Self {
        Self::with(kind, Some(offset), None, None)
    }

    /// Returns an error about a type, whose place is not known yet.
    fn mismatch(words: String) -> Self {
        Self::with(ErrorKind::Type, None, Some(words), None)
    }

    /// Adds the place, unless a place further inside is known.
    pub(super) fn at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Returns what sort of thing is wrong.
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

    /// Returns the byte of the image where it is wrong, counted from 0.
    ///
    /// `None` only when a type of the caller's makes an error outside of any value.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable;
    ///
    /// // What `nfreeze([1, "x"])` returns.
    /// let error = storable::from_slice::<Vec<u8>>(b"\x05\x0b\x02\0\0\0\x02\x08\x81\x0a\x01x").unwrap_err();
    /// assert_eq!(error.offset(), Some(9));
    /// ```
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }

    /// Returns what the type asked for said when it refused a value, if it said anything.
    ///
    /// These are the words of that type's own `Deserialize`. They may repeat data of the image, and
    /// are therefore no part of the error's text.
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::net::IpAddr;
    ///
    /// use rocket_session_kit::storable;
    ///
    /// let error = storable::from_slice::<IpAddr>(b"\x05\x0b\x0a\x04home").unwrap_err();
    /// assert_eq!(error.to_string(), "byte 2 of the Storable image: the type asked for refuses the value");
    /// assert_eq!(error.detail(), Some("invalid IP address syntax"));
    /// ```
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    fn describe(&self) -> &str {
        if let Some(words) = &self.0.words {
            return words;
        }
        match self.0.kind {
            ErrorKind::NotAnImage => "it does not begin as an image does",
            ErrorKind::Version => "its format is not one of the versions 2.0 to 2.12",
            ErrorKind::Machine => "it was written on a machine of unknown byte order or sizes",
            ErrorKind::TooLarge => "it has four gibibytes or more",
            ErrorKind::Truncated => "it ends too early",
            ErrorKind::Length => "a length or a count is larger than what is left",
            ErrorKind::Opcode => "there is no such opcode",
            ErrorKind::Refused(refused) => refused.describe(),
            ErrorKind::Tag => "a back-reference to something that was not read before",
            ErrorKind::Class => "an object of a class that was not named before",
            ErrorKind::Number => "a number of a form that cannot be converted",
            ErrorKind::TrailingBytes => "bytes follow its end",
            ErrorKind::Cycle => "a thing that contains itself cannot become a tree",
            ErrorKind::Depth => "it is nested deeper than is allowed",
            ErrorKind::Growth => "it takes more memory than is allowed",
            ErrorKind::Text => "a string marked as UTF-8 is not UTF-8",
            ErrorKind::Type => "the type asked for refuses the value",
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
    /// As `Display`, so that no data of the image ends up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// The errors that types make while they are being read. None repeats the value it is about.
impl de::Error for Error {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self::with(ErrorKind::Type, None, None, Some(words.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(format!("found {}, expected {expected}", sort(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(format!(
            "found {} that does not fit, expected {expected}",
            sort(found)
        ))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::mismatch(format!("found {length} elements, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::mismatch(format!(
            "found an unknown variant, expected {}",
            OneOf(expected)
        ))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::mismatch(format!(
            "found an unknown field, expected {}",
            OneOf(expected)
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::mismatch(format!("the field `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::mismatch(format!("the field `{field}` is there twice"))
    }
}

/// Returns what sort of value was found, without the value.
fn sort(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a double",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit => "undef",
        Unexpected::Option => "an optional value",
        Unexpected::NewtypeStruct => "a wrapped value",
        Unexpected::Seq => "an array",
        Unexpected::Map => "a hash",
        Unexpected::Enum => "an enum",
        Unexpected::UnitVariant => "a variant without data",
        Unexpected::NewtypeVariant => "a variant with a value",
        Unexpected::TupleVariant => "a variant with an array",
        Unexpected::StructVariant => "a variant with a hash",
        Unexpected::Other(_) => "something else",
    }
}

/// Writes the names that a type knows.
struct OneOf(&'static [&'static str]);

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str("none");
        };
        write!(f, "`{first}`")?;
        rest.iter().try_for_each(|name| write!(f, ", `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::Error as _;

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
    fn no_error_repeats_the_value_it_is_about() {
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
