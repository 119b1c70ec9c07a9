//! The error about bytes of another system: what is wrong with them, and at which offset.

use std::borrow::Cow;
use std::fmt;

/// The kind of a [`DecodeError`].
///
/// A Storable image and a pickle that have the same mistake report the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The bytes do not begin like a Storable image.
    NotAnImage,
    /// The input can be read, but it is not a session.
    NotASession,
    /// The format is too old or too new. Storable images are read from 2.0 (Storable 0.7, of the year
    /// 2000) to 2.12, and pickles up to protocol 5.
    Version,
    /// The image was written on a machine whose byte order or sizes of numbers are not known.
    Machine,
    /// The input is too large: an image of four gibibytes or more, or a session of more than 1 MiB, also
    /// as JSON. Or reading a pickle takes too much work.
    TooLarge,
    /// The input ends before it is complete.
    Truncated,
    /// A length or a count is larger than the rest of the image.
    Length,
    /// The input contains an unknown opcode.
    Opcode,
    /// The image contains something that only Perl code can restore.
    #[cfg(feature = "perl")]
    Refused(Refused),
    /// A back-reference refers to a value that does not precede it.
    Tag,
    /// An object refers to a class that does not precede it.
    Class,
    /// A number has a form that cannot be converted. The module `storable` says which forms of an image
    /// can.
    Number,
    /// Bytes follow the end of the input.
    TrailingBytes,
    /// Python's `pickle` and `json` write no such input.
    Malformed,
    /// A value contains itself, and cannot become a tree.
    Cycle,
    /// Values are nested too deep: in an image deeper than `Options::max_depth` allows, in a pickle more
    /// than 100 levels.
    Depth,
    /// The value takes more memory than `Options::max_growth` allows, most often because it repeats a
    /// shared value.
    Growth,
    /// A string is marked as text, and is not valid in Rust.
    Text,
    /// A value does not fit the requested type, has no form in JSON, or is invalid in its place.
    Type,
    /// The file or directory cannot be read.
    Io(std::io::ErrorKind),
}

impl DecodeErrorKind {
    /// Returns what an error of this kind says, unless it has words of its own.
    fn describe(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotAnImage => "it does not begin like an image",
            Self::NotASession => "it is something else",
            Self::Version => "its format is not one of the versions 2.0 to 2.12",
            Self::Machine => "it was written on a machine of unknown byte order or sizes",
            Self::TooLarge => "it is too large",
            Self::Truncated => "it ends too early",
            Self::Length => "a length or a count is larger than the rest of it",
            Self::Opcode => "it contains an unknown opcode",
            #[cfg(feature = "perl")]
            Self::Refused(refused) => {
                let what = refused.describe();
                return format!("{what} cannot be read without running Perl").into();
            }
            Self::Tag => "a back-reference to a value that does not precede it",
            Self::Class => "an object of a class that does not precede it",
            Self::Number => "a number of a form that cannot be converted",
            Self::TrailingBytes => "bytes follow its end",
            Self::Malformed => "it is malformed",
            Self::Cycle => "a value that contains itself cannot become a tree",
            Self::Depth => "it is nested deeper than is allowed",
            Self::Growth => "it takes more memory than is allowed",
            Self::Text => "a string marked as UTF-8 is not UTF-8",
            Self::Type => "the requested type refuses the value",
            Self::Io(kind) => return kind.to_string().into(),
        })
    }
}

/// Something that an image may contain, and that this crate refuses.
#[cfg(feature = "perl")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// An object that its class froze by its own hook, `STORABLE_freeze`.
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
    /// A hash key that is an object. Perl reads such keys, and never writes them.
    KeyObject,
}

#[cfg(feature = "perl")]
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

/// Why bytes of another system cannot be read: the kind of the error, and its offset.
///
/// The modules `storable` and `import` return it, about Storable images and about the sessions of Python
/// systems. It reads as a sentence, and shows no data of a visitor. Only [`detail`](Self::detail) may do
/// so: it is the message of a type that refuses a value.
///
/// # Example
///
/// ```rust
/// use std::time::SystemTime;
/// use rocket_session_kit::DecodeErrorKind;
///
/// # #[cfg(feature = "import")]
/// # {
/// use rocket_session_kit::import;
///
/// // pickle.dumps({"visits": 3}, 2), without its end.
/// let session = b"\x80\x02}q\x00X\x06\x00\x00\x00visi";
/// let error = import::pycket(Some(session), None, SystemTime::now()).unwrap_err();
///
/// assert_eq!(error.kind(), DecodeErrorKind::Truncated);
/// assert_eq!(error.offset(), Some(5));
/// assert_eq!(error.to_string(), "byte 5 of the pickled session: it ends too early");
/// # }
///
/// # #[cfg(feature = "perl")]
/// # {
/// use rocket_session_kit::storable;
///
/// // An array of two, which ends after the first.
/// let error = storable::from_slice::<Vec<u8>>(b"\x05\x0b\x02\0\0\0\x02\x08\x81").unwrap_err();
///
/// assert_eq!(error.kind(), DecodeErrorKind::Truncated);
/// assert_eq!(error.offset(), Some(9));
/// assert_eq!(error.to_string(), "byte 9 of the Storable image: it ends too early");
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DecodeError(Box<Parts>);

/// The parts of an error, in a box: most results are not errors, and are passed on often.
#[derive(Clone, PartialEq, Eq)]
struct Parts {
    kind: DecodeErrorKind,
    input: &'static str,
    offset: Option<usize>,
    words: Option<Cow<'static, str>>,
    detail: Option<String>,
}

impl DecodeError {
    /// Returns an error about a whole input.
    pub(crate) fn new(kind: DecodeErrorKind) -> Self {
        Self(Box::new(Parts {
            kind,
            input: "input",
            offset: None,
            words: None,
            detail: None,
        }))
    }

    /// Sets what the error calls the input.
    pub(crate) fn of(mut self, input: &'static str) -> Self {
        self.0.input = input;
        self
    }

    /// Adds the offset, unless the error has one further inside.
    pub(crate) fn at(mut self, offset: usize) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Sets what the error says instead of the words of its kind. They must show no data.
    pub(crate) fn saying(mut self, words: impl Into<Cow<'static, str>>) -> Self {
        self.0.words = Some(words.into());
        self
    }

    /// Adds the message of the requested type, which may show data.
    #[cfg(feature = "perl")]
    pub(crate) fn with_detail(mut self, detail: String) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Returns the kind of the error.
    ///
    /// # Example
    ///
    /// ```rust
    /// # #[cfg(feature = "perl")]
    /// # {
    /// use rocket_session_kit::DecodeErrorKind;
    /// use rocket_session_kit::storable::{Image, Refused};
    ///
    /// let error = Image::parse(b"\x05\x0b\x1a\x0a\x02{}").unwrap_err();
    /// assert_eq!(error.kind(), DecodeErrorKind::Refused(Refused::Code));
    /// # }
    /// ```
    pub fn kind(&self) -> DecodeErrorKind {
        self.0.kind
    }

    /// Returns the offset of the invalid byte, counted from 0.
    ///
    /// `None` if the error is about the whole input, or if a type of the caller reports an error outside
    /// of any value.
    ///
    /// # Example
    ///
    /// ```rust
    /// # #[cfg(feature = "perl")]
    /// # {
    /// use rocket_session_kit::storable;
    ///
    /// // The output of `nfreeze([1, "x"])`.
    /// let error = storable::from_slice::<Vec<u8>>(b"\x05\x0b\x02\0\0\0\x02\x08\x81\x0a\x01x").unwrap_err();
    /// assert_eq!(error.offset(), Some(9));
    /// # }
    /// ```
    pub fn offset(&self) -> Option<usize> {
        self.0.offset
    }

    /// Returns the message of the requested type when it refuses a value of a Storable image.
    ///
    /// It comes from the `Deserialize` of that type. It may repeat data of the image, and is therefore
    /// no part of the error's text.
    ///
    /// # Example
    ///
    /// ```rust
    /// # #[cfg(feature = "perl")]
    /// # {
    /// use std::net::IpAddr;
    ///
    /// use rocket_session_kit::storable;
    ///
    /// let error = storable::from_slice::<IpAddr>(b"\x05\x0b\x0a\x04home").unwrap_err();
    /// assert_eq!(error.to_string(), "byte 2 of the Storable image: the requested type refuses the value");
    /// assert_eq!(error.detail(), Some("invalid IP address syntax"));
    /// # }
    /// ```
    pub fn detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { kind, input, .. } = *self.0;
        if let Some(offset) = self.0.offset {
            write!(f, "byte {offset} of ")?;
        }
        write!(f, "the {input}: ")?;
        match &self.0.words {
            Some(words) => f.write_str(words),
            None => f.write_str(&kind.describe()),
        }
    }
}

impl fmt::Debug for DecodeError {
    /// Writes the kind and the sentence of `Display`, so that no data ends up in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for DecodeError {}
