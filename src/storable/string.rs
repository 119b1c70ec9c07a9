//! A string of Perl: bytes, or text in one of two encodings.

use std::borrow::Cow;
use std::fmt;

/// A string of an image: its bytes, and Perl's mark for text.
///
/// Perl marks a string of characters as text, and leaves bytes unmarked. Programs often keep UTF-8 in
/// unmarked strings too. So [`text`](Self::text) reads an unmarked string as UTF-8 if it is valid, and
/// otherwise as Latin-1, as Perl itself does.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::storable::{Image, Kind};
///
/// let image = Image::parse(b"\x05\x0b\x0a\x04J\xf6rg")?;
/// let Kind::String(name) = image.root().kind() else { panic!("not a string") };
///
/// assert_eq!(name.bytes(), b"J\xf6rg");
/// assert_eq!(name.text().as_deref(), Some("Jörg"));
/// # Ok::<(), rocket_session_kit::DecodeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PerlString<'i> {
    bytes: &'i [u8],
    encoding: Encoding,
}

/// The encoding of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Not marked.
    Unknown,
    /// Text in Perl's UTF-8, which has more code points than Rust's.
    Utf8,
    /// Text in Latin-1: a hash key that is UTF-8 in memory.
    Latin1,
}

impl<'i> PerlString<'i> {
    pub(super) fn new(bytes: &'i [u8], encoding: Encoding) -> Self {
        Self { bytes, encoding }
    }

    /// Returns the bytes of the image.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// let image = Image::parse(b"\x05\x0b\x17\x03\xe2\x98\xba")?;
    /// let Kind::String(smile) = image.root().kind() else { panic!("not a string") };
    /// assert_eq!(smile.bytes(), "☺".as_bytes());
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn bytes(self) -> &'i [u8] {
        self.bytes
    }

    /// Returns the string as text.
    ///
    /// `None` if it is marked as UTF-8 and is not valid in Rust: Perl's strings can contain surrogates
    /// and code points above U+10FFFF.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::{Image, Kind};
    ///
    /// // Marked as UTF-8, and a surrogate.
    /// let image = Image::parse(b"\x05\x0b\x17\x03\xed\xa0\x80")?;
    /// let Kind::String(half) = image.root().kind() else { panic!("not a string") };
    /// assert_eq!(half.text(), None);
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn text(self) -> Option<Cow<'i, str>> {
        match (self.encoding, std::str::from_utf8(self.bytes)) {
            (Encoding::Latin1, _) | (Encoding::Unknown, Err(_)) => Some(self.latin1()),
            (_, Ok(text)) => Some(Cow::Borrowed(text)),
            (Encoding::Utf8, Err(_)) => None,
        }
    }

    fn latin1(self) -> Cow<'i, str> {
        match std::str::from_utf8(self.bytes) {
            Ok(text) if text.is_ascii() => Cow::Borrowed(text),
            _ => self.bytes.iter().copied().map(char::from).collect(),
        }
    }

    /// Returns a form of a hash key that is equal for keys that are equal in Perl.
    pub(super) fn identity(self) -> (bool, Cow<'i, [u8]>) {
        if self.encoding != Encoding::Utf8 || self.bytes.is_ascii() {
            return (false, Cow::Borrowed(self.bytes));
        }
        // Perl keeps a key in Latin-1 if it can.
        let text = std::str::from_utf8(self.bytes);
        let latin1 = text
            .ok()
            .and_then(|text| text.chars().map(|c| u8::try_from(c).ok()).collect());
        match latin1 {
            Some(bytes) => (false, Cow::Owned(bytes)),
            None => (true, Cow::Borrowed(self.bytes)),
        }
    }
}

impl fmt::Debug for PerlString<'_> {
    /// Writes the length of the string, and no data, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerlString({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_perl_marked_or_utf_8_or_latin_1() {
        let text = |bytes, encoding| PerlString::new(bytes, encoding).text();

        assert_eq!(text(b"abc", Encoding::Unknown).as_deref(), Some("abc"));
        assert_eq!(
            text(b"\xe2\x98\xba", Encoding::Unknown).as_deref(),
            Some("☺")
        );
        assert_eq!(text(b"J\xf6rg", Encoding::Unknown).as_deref(), Some("Jörg"));
        assert_eq!(text(b"\xe2\x98\xba", Encoding::Utf8).as_deref(), Some("☺"));
        assert_eq!(text(b"\xc3\xa9", Encoding::Latin1).as_deref(), Some("Ã©"));
        assert_eq!(text(b"\xe2\x98", Encoding::Utf8), None);
        assert_eq!(text(b"\xed\xa0\x80", Encoding::Utf8), None, "a surrogate");
    }

    #[test]
    fn keys_are_equal_when_perl_says_so() {
        let same =
            |left: PerlString<'_>, right: PerlString<'_>| left.identity() == right.identity();
        let bytes = |bytes| PerlString::new(bytes, Encoding::Unknown);
        let utf8 = |text: &'static str| PerlString::new(text.as_bytes(), Encoding::Utf8);

        assert!(same(bytes(b"a"), utf8("a")));
        assert!(same(bytes(b"\xe9"), utf8("é")));
        assert!(same(PerlString::new(b"\xe9", Encoding::Latin1), utf8("é")));
        assert!(!same(bytes("é".as_bytes()), utf8("é")));
        assert!(!same(bytes("☺".as_bytes()), utf8("☺")));
    }

    #[test]
    fn the_debug_form_does_not_show_the_text() {
        assert_eq!(
            format!("{:?}", PerlString::new(b"secret", Encoding::Unknown)),
            "PerlString(6 bytes)"
        );
    }
}
