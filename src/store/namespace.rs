//! The names of entries: a namespace, and a key in it that every store accepts.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// A part of a store that is separate from all other namespaces, and from the sessions.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::store::Namespace;
///
/// let cache = Namespace::new("cache").unwrap();
/// assert_eq!(cache.key("/etc/../x").as_str(), "cache:%2Fetc%2F%2E%2E%2Fx");
/// assert!(Namespace::new("a:b").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Namespace(Arc<str>);

/// A name in a [`Namespace`], in a form that every store accepts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    text: String,
    namespace: usize,
}

/// All bytes except letters, digits, `-` and `_` are escaped in a key: so it can be neither a path
/// nor a separator nor a command.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// The greatest length of an escaped name.
const MAX_NAME: usize = 128;

impl Namespace {
    /// The greatest length of a namespace's name, in bytes. It is shorter than the id of a session,
    /// so the two cannot be confused.
    pub const MAX_LEN: usize = 24;

    /// Returns the namespace called `name`.
    ///
    /// # Errors
    ///
    /// When `name` is empty, longer than 24 bytes, or contains other characters than lower-case
    /// letters, digits, `-` and `_`.
    pub fn new(name: &str) -> Result<Self> {
        let fits = (1..=Self::MAX_LEN).contains(&name.len());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if fits && name.bytes().all(plain) {
            return Ok(Self(name.into()));
        }
        let why = "it must have 1 to 24 lower-case letters, digits, `-` and `_`";
        Err(Error::new(ErrorKind::Invalid, "use the name of a namespace").because(why))
    }

    /// Returns the key of `name`, which may contain any bytes.
    ///
    /// In a key, all bytes except letters, digits, `-` and `_` are escaped. A name that then takes
    /// more than 128 bytes is replaced by its SHA-256. Such a key works like any other, but
    /// [`KeyValue::keys`](super::KeyValue::keys) does not list it.
    pub fn key(&self, name: impl AsRef<[u8]>) -> Key {
        let name = name.as_ref();
        let mut text = format!("{}:{}", self.0, percent_encode(name, ESCAPED));
        if name.is_empty() {
            // A file needs a name.
            text.push('%');
        }
        if text.len() - self.0.len() - 1 > MAX_NAME {
            // No escaped name begins with `#`.
            text = format!("{}:#", self.0);
            for byte in Sha256::digest(name) {
                text.push_str(&format!("{byte:02x}"));
            }
        }
        Key {
            text,
            namespace: self.0.len(),
        }
    }

    /// Returns the start of all keys in it.
    pub fn prefix(&self) -> String {
        format!("{}:", self.0)
    }

    /// Returns its own name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name whose key ends in `escaped`; `None` if that is the hash of a name, or not
    /// part of a key.
    pub fn name(&self, escaped: &str) -> Option<Vec<u8>> {
        let name: Vec<u8> = match escaped {
            "%" => Vec::new(),
            escaped => percent_decode_str(escaped).collect(),
        };
        (self.key(&name).escaped() == escaped).then_some(name)
    }
}

impl Key {
    /// The greatest length of a key, in bytes.
    pub const MAX_LEN: usize = Namespace::MAX_LEN + 1 + MAX_NAME;

    /// Returns the whole key: ASCII letters, digits and `-_:%#`. The first `:` ends the namespace.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.text[..self.namespace]
    }

    /// Returns the part after the namespace: letters, digits and `-_%#`, valid as the name of a file.
    pub fn escaped(&self) -> &str {
        &self.text[self.namespace + 1..]
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.0)
    }
}

impl fmt::Debug for Key {
    /// Shows the namespace only: a name may belong to a visitor.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.namespace())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_key_of_its_own_that_fits_everywhere() {
        let namespace = Namespace::new("cache").unwrap();
        let mut names: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        names.extend(
            [
                &b""[..],
                b"..",
                b"a/b",
                b"%41",
                b"A",
                b"a",
                b"a:b",
                b"#",
                b"x\r\nset evil 0 0 1",
            ]
            .map(<[u8]>::to_vec),
        );
        names.extend((1..400).map(|length| vec![b'x'; length]));
        names.extend((1..400).map(|length| vec![0xff; length]));
        names.sort();
        names.dedup();
        let mut seen = std::collections::HashSet::new();
        for name in &names {
            let key = namespace.key(name);
            assert!(
                seen.insert(key.as_str().to_owned()),
                "two names have one key"
            );
            assert!(key.as_str().len() <= Key::MAX_LEN);
            let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_%#".contains(&b);
            assert!(
                key.escaped().bytes().all(fine) && key.namespace() == "cache",
                "{}",
                key.as_str()
            );
            match namespace.name(key.escaped()) {
                Some(back) => assert_eq!(&back, name),
                None => assert!(name.len() > 42, "the key of a short name reveals it"),
            }
        }
        assert_eq!(namespace.name("%zz"), None);
        assert_eq!(namespace.name("#00"), None);
    }

    #[test]
    fn a_key_is_no_session_and_no_key_of_another_namespace() {
        let (one, other) = (Namespace::new("a").unwrap(), Namespace::new("a-b").unwrap());
        assert_ne!(one.key("b:x").as_str(), other.key("x").as_str());
        assert!(
            one.key("0123456789abcdef0123456789abcdef")
                .as_str()
                .parse::<crate::SessionId>()
                .is_err()
        );
        for no in ["", "A", "a:b", "a b", "a/b", "..", "é", &"x".repeat(25)] {
            assert!(Namespace::new(no).is_err(), "{no}");
        }
    }
}
