//! The limits of reading an image.

/// The limits of reading an image.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::DecodeErrorKind;
/// use rocket_session_kit::storable::{Options, from_slice_with};
///
/// // An array, a reference to an array in it, and an integer: three levels.
/// let image = b"\x05\x0b\x02\0\0\0\x01\x04\x02\0\0\0\x01\x08\x87";
///
/// let deep = Options::new().max_depth(3);
/// assert_eq!(from_slice_with::<Vec<Vec<u8>>>(image, deep), Ok(vec![vec![7]]));
///
/// let flat = Options::new().max_depth(2);
/// let error = from_slice_with::<Vec<Vec<u8>>>(image, flat).unwrap_err();
/// assert_eq!(error.kind(), DecodeErrorKind::Depth);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    pub(super) max_depth: usize,
    pub(super) max_growth: usize,
    pub(super) trailing_bytes: bool,
}

impl Options {
    /// Returns the options that [`from_slice`](super::from_slice) uses.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::Options;
    ///
    /// assert_eq!(Options::new(), Options::new().max_depth(1_024).max_growth(64).trailing_bytes(false));
    /// ```
    pub const fn new() -> Self {
        Self {
            max_depth: 1_024,
            max_growth: 64,
            trailing_bytes: false,
        }
    }

    /// Sets how deep references, arrays and hashes may be nested in the value of a Rust type.
    ///
    /// Each of them is a level. An array of arrays has three, because its elements are references.
    /// Each `Some` and each newtype of the Rust type is a level too. By default, Perl writes little
    /// more than 1,000 levels. A level takes some of the thread's stack, so a much higher limit needs
    /// a thread with a larger stack. An [`Image`](super::Image) itself has no such limit.
    /// _Default:_ `1_024`.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Options, from_slice_with};
    ///
    /// // The output of `nfreeze(\\\5)`: two references before the number.
    /// let image = b"\x05\x0b\x04\x04\x08\x85";
    ///
    /// assert_eq!(from_slice_with(image, Options::new().max_depth(2)), Ok(5u8));
    /// assert!(from_slice_with::<u8>(image, Options::new().max_depth(1)).is_err());
    /// ```
    #[must_use]
    pub const fn max_depth(mut self, levels: usize) -> Self {
        self.max_depth = levels;
        self
    }

    /// Sets how much memory an image and its value may take, as a multiple of the image's size.
    ///
    /// A Rust value repeats what Perl shares, and a few bytes can repeat repetitions without end.
    /// Each part counts as much as it takes in a `serde_json::Value` (without the feature
    /// `preserve_order`): 32 bytes for an element of an array, 632 bytes for a hash with one key. A
    /// type that takes more memory for the same data exceeds the limit in proportion. An image
    /// smaller than 16 KiB counts as one of 16 KiB. _Default:_ `64`.
    ///
    /// Without shared values, only nearly empty data takes more: a long array of nothing but `undef`,
    /// or of hashes with one empty key.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::DecodeErrorKind;
    /// use rocket_session_kit::storable::{Options, from_slice_with};
    ///
    /// // The output of `my $x = "x" x 60_000; nfreeze([\$x, \$x])`.
    /// let text = [b"\x04\x01\0\0\xea\x60", &[b'x'; 60_000][..]].concat();
    /// let image = [b"\x05\x0b\x02\0\0\0\x02", &text[..], b"\x04\0\0\0\0\x02"].concat();
    ///
    /// assert!(from_slice_with::<Vec<String>>(&image, Options::new().max_growth(3)).is_ok());
    /// let error = from_slice_with::<Vec<String>>(&image, Options::new().max_growth(1)).unwrap_err();
    /// assert_eq!(error.kind(), DecodeErrorKind::Growth);
    /// ```
    #[must_use]
    pub const fn max_growth(mut self, times: usize) -> Self {
        self.max_growth = times;
        self
    }

    /// Sets whether bytes may follow the end of the image, as Perl allows. _Default:_ `false`.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Options, from_slice_with};
    ///
    /// let image = b"\x05\x0b\x08\x85\n";
    ///
    /// assert!(from_slice_with::<u8>(image, Options::new()).is_err());
    /// assert_eq!(from_slice_with(image, Options::new().trailing_bytes(true)), Ok(5u8));
    /// ```
    #[must_use]
    pub const fn trailing_bytes(mut self, allowed: bool) -> Self {
        self.trailing_bytes = allowed;
        self
    }

    /// Returns how many bytes of memory an image of this length and its value may take.
    pub(super) fn budget(&self, image: usize) -> usize {
        image.max(16_384).saturating_mul(self.max_growth)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
