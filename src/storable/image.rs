//! An image, decoded into values.

use std::fmt;

use super::arena::Arena;
use super::decode::decode;
use super::options::Options;
use crate::decode_error::DecodeError;

/// An image of Perl's Storable, decoded.
///
/// It shows what a Rust type cannot hold: classes of objects, shared values and cycles. However deep
/// an image is nested, decoding, walking, cloning and dropping it take no stack.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable::{Image, Kind};
///
/// // The output of `nfreeze(bless [], "Foo")`.
/// let image = Image::parse(b"\x05\x0b\x11\x03Foo\x02\0\0\0\0")?;
///
/// assert_eq!(image.root().class().as_deref(), Some("Foo"));
/// assert!(matches!(image.root().kind(), Kind::Array(elements) if elements.len() == 0));
/// # Ok::<(), rocket_session_kit::DecodeError>(())
/// ```
#[derive(Clone)]
pub struct Image<'a> {
    arena: Arena<'a>,
    options: Options,
}

impl<'a> Image<'a> {
    /// Decodes `bytes`, with or without the magic number `pst0` of a file.
    ///
    /// # Errors
    ///
    /// When the bytes are not a whole image of a version between 2.0 and 2.12, when bytes follow it,
    /// or when it contains something that only Perl code can restore: see
    /// [`Refused`](super::Refused).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::DecodeErrorKind;
    /// use rocket_session_kit::storable::Image;
    ///
    /// // The output of `nstore({}, $file)`, and JSON.
    /// assert!(Image::parse(b"pst0\x05\x0b\x03\0\0\0\0").is_ok());
    /// assert_eq!(Image::parse(b"{}").unwrap_err().kind(), DecodeErrorKind::NotAnImage);
    /// ```
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::parse_with(bytes, Options::new())
    }

    /// Decodes `bytes` like [`parse`](Self::parse), with other [`Options`].
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Options};
    ///
    /// let image = b"\x05\x0b\x05\n";
    ///
    /// assert!(Image::parse(image).is_err());
    /// assert!(Image::parse_with(image, Options::new().trailing_bytes(true)).is_ok());
    /// ```
    pub fn parse_with(bytes: &'a [u8], options: Options) -> Result<Self, DecodeError> {
        Ok(Self {
            arena: decode(bytes, options.trailing_bytes)?,
            options,
        })
    }

    pub(super) fn options(&self) -> Options {
        self.options
    }

    /// Returns how many bytes of memory a value may take, beside the decoded image.
    pub(super) fn budget(&self) -> usize {
        let in_all = self.options.budget(self.size());
        in_all.saturating_sub(self.arena.memory())
    }

    /// Returns how many bytes the image has.
    pub(super) fn size(&self) -> usize {
        self.arena.image.len()
    }

    pub(super) fn arena(&self) -> &Arena<'a> {
        &self.arena
    }
}

impl fmt::Debug for Image<'_> {
    /// Writes the size of the image, and no data, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Image({} bytes, {} values)",
            self.size(),
            self.arena.nodes.len()
        )
    }
}
