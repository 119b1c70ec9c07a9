//! What a store must do for the cache and the rate limit: bytes under a key, for a time.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use rocket::futures::stream::BoxStream;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// Bytes under a key, for a time: what the cache and the rate limit ride on.
///
/// Every call is one step that others, in this process and in others, see done or not done.
///
/// | call        | nothing there, or expired             | something there                                    |
/// |-------------|---------------------------------------|----------------------------------------------------|
/// | `get`       | `None`                                | its bytes                                          |
/// | `set`       | kept                                  | replaced, with its lifetime                        |
/// | `add`       | kept, `true`                          | left alone, `false`                                |
/// | `swap`      | kept where nothing is expected        | replaced where it is expected, with its lifetime   |
/// | `remove`    | `false`                               | gone, `true`                                       |
/// | `take`      | `None`                                | its bytes, to one caller only, and gone            |
/// | `increment` | the amount, with the lifetime         | the sum; its lifetime stays                        |
///
/// A lifetime is rounded up to what the store can keep: seconds on Memcached, milliseconds
/// elsewhere. `None` is for ever, and nothing is kept for ever unasked.
#[rocket::async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// Returns the bytes under `key`, if there are any.
    ///
    /// # Errors
    ///
    /// When the store cannot tell.
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    /// Keeps `value` under `key` for `ttl`.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did.
    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()>;

    /// Keeps `value` under `key` for `ttl` if there is nothing yet, and returns whether it did.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did.
    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool>;

    /// Keeps `value` under `key` for `ttl` if what is there is `expected`, and returns whether it
    /// did.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did.
    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool>;

    /// Removes what is under `key`, and returns whether there was anything.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did.
    async fn remove(&self, key: &Key) -> Result<bool>;

    /// Removes what is under `key`, and returns it. Of many callers one gets it.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did: then nobody may get it.
    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    /// Adds `by` to the number under `key`, which `get` shows as decimal digits, and returns the
    /// sum. Where there is none, it begins with `by` and lives for `ttl`.
    ///
    /// # Errors
    ///
    /// When what is there is no number, the sum is beyond 63 bits, or the store could not do it, or
    /// cannot tell whether it did.
    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64>;

    /// Returns the names in `namespace`, in no order, but not those too long for a key: see
    /// [`Namespace::key`].
    ///
    /// What comes or goes meanwhile may be there or not. The stream holds an `Err` when the store
    /// cannot go on.
    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>>;

    /// Removes everything in `namespace`, and returns how much that was.
    ///
    /// # Errors
    ///
    /// When the store could not do it: some of it may be left.
    async fn clear(&self, namespace: &Namespace) -> Result<u64>;
}

/// A part of a store that meets no other, nor any session.
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

/// A name in a [`Namespace`], in a form that every store can take.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key {
    text: String,
    namespace: usize,
}

/// What a name keeps of itself in a key. Everything else is escaped: it can be no path, no
/// separator and no command.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// How long an escaped name may be.
const LONGEST: usize = 128;

impl Namespace {
    /// The longest name of a namespace, in bytes: shorter than a session's id, which it could
    /// otherwise look like.
    pub const MAX_LEN: usize = 24;

    /// Returns the namespace called `name`.
    ///
    /// # Errors
    ///
    /// When `name` is empty, longer than 24 bytes, or has anything in it but small letters, digits,
    /// `-` and `_`.
    pub fn new(name: &str) -> Result<Self> {
        let fits = (1..=Self::MAX_LEN).contains(&name.len());
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if fits && name.bytes().all(plain) {
            return Ok(Self(name.into()));
        }
        let why = "it has 1 to 24 small letters, digits, `-` and `_`";
        Err(Error::new(ErrorKind::Invalid, "use the name of a namespace").because(why))
    }

    /// Returns the key of `name`, which may hold any bytes.
    ///
    /// A name that takes more than 128 bytes when everything but letters, digits, `-` and `_` is
    /// escaped is replaced by its SHA-256. It works as any other, but [`KeyValue::keys`] does not
    /// list it.
    pub fn key(&self, name: impl AsRef<[u8]>) -> Key {
        let name = name.as_ref();
        let mut text = format!("{}:{}", self.0, percent_encode(name, ESCAPED));
        if name.is_empty() {
            // A file needs a name.
            text.push('%');
        }
        if text.len() - self.0.len() - 1 > LONGEST {
            // No escaped name begins so.
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

    /// Returns the start of every key in it.
    pub fn prefix(&self) -> String {
        format!("{}:", self.0)
    }

    /// Returns the namespace's own name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name whose key ends in `escaped`; `None` where that cannot be told, or is no
    /// key.
    pub fn name(&self, escaped: &str) -> Option<Vec<u8>> {
        let name: Vec<u8> = match escaped {
            "%" => Vec::new(),
            escaped => percent_decode_str(escaped).collect(),
        };
        (self.key(&name).escaped() == escaped).then_some(name)
    }
}

impl Key {
    /// The longest a key can be, in bytes.
    pub const MAX_LEN: usize = Namespace::MAX_LEN + 1 + LONGEST;

    /// Returns the whole key: ASCII letters, digits and `-_:%#`, the first `:` of which ends the
    /// namespace.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name of the namespace.
    pub fn namespace(&self) -> &str {
        &self.text[..self.namespace]
    }

    /// Returns what follows the namespace: letters, digits and `-_%#`, fit for a file's name.
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
    /// Shows the namespace only: a name may be somebody's.
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
                None => assert!(name.len() > 42, "a short name can be told from its key"),
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
