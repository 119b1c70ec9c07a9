//! The kinds of errors about an image.

/// The kind of a Storable [`Error`](super::Error).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bytes do not begin like a Storable image.
    NotAnImage,
    /// The image is older than format 2.0 (before Storable 0.7, of the year 2000) or newer than
    /// 2.12.
    Version,
    /// The image was written on a machine whose byte order or sizes of numbers are not known.
    Machine,
    /// The image has a size of four gibibytes or more.
    TooLarge,
    /// The image ends before it is complete.
    Truncated,
    /// A length or a count is larger than the rest of the image.
    Length,
    /// The image contains an unknown opcode.
    Opcode,
    /// The image contains something that only Perl code can restore.
    Refused(Refused),
    /// A back-reference refers to a value that does not precede it.
    Tag,
    /// An object refers to a class that does not precede it.
    Class,
    /// A number has a form that cannot be converted: see [the policies](super#policies).
    Number,
    /// Bytes follow the end of the image.
    TrailingBytes,
    /// A value contains itself, and cannot become a tree.
    Cycle,
    /// References, arrays and hashes are nested deeper than
    /// [`Options::max_depth`](super::Options::max_depth) allows.
    Depth,
    /// The value takes more memory than [`Options::max_growth`](super::Options::max_growth) allows,
    /// most often because it repeats a shared value.
    Growth,
    /// A string is marked as UTF-8, and is not valid in Rust.
    Text,
    /// A value does not fit the requested type.
    Type,
}

/// Something that an image may contain, and that this module refuses.
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

impl ErrorKind {
    /// Returns what an error of this kind says.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::NotAnImage => "it does not begin like an image",
            Self::Version => "its format is not one of the versions 2.0 to 2.12",
            Self::Machine => "it was written on a machine of unknown byte order or sizes",
            Self::TooLarge => "it has four gibibytes or more",
            Self::Truncated => "it ends too early",
            Self::Length => "a length or a count is larger than the rest of it",
            Self::Opcode => "it contains an unknown opcode",
            Self::Refused(refused) => refused.describe(),
            Self::Tag => "a back-reference to a value that does not precede it",
            Self::Class => "an object of a class that does not precede it",
            Self::Number => "a number of a form that cannot be converted",
            Self::TrailingBytes => "bytes follow its end",
            Self::Cycle => "a value that contains itself cannot become a tree",
            Self::Depth => "it is nested deeper than is allowed",
            Self::Growth => "it takes more memory than is allowed",
            Self::Text => "a string marked as UTF-8 is not UTF-8",
            Self::Type => "the requested type refuses the value",
        }
    }
}
