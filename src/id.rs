//! The id of a session, under which a store keeps it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;
use uuid::fmt::Simple;

use crate::error::{Error, ErrorKind};

/// The version of random UUIDs.
const RANDOM: usize = 4;

/// The version of UUIDs that contain a hash, here of a token.
const OF_TOKEN: usize = 8;

/// The id of a session in its store: a UUID, written as 32 lower-case hex digits. It is random
/// (version 4). If the client sends a token instead of a cookie, the id is made from a hash of the
/// token (version 8).
///
/// An id alone gives no access to a session: the cookie holds the id encrypted with the server's key.
/// Still, neither `Debug` nor any log line or error of this crate shows an id.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::SessionId;
///
/// let id = SessionId::random();
/// assert_eq!(id.to_hex().parse::<SessionId>().unwrap(), id);
/// assert_eq!(format!("{id:?}"), "SessionId(..)");
/// assert!("../../etc/passwd".parse::<SessionId>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// Returns a fresh id from the operating system's random numbers.
    ///
    /// # Panics
    ///
    /// When the operating system provides no random numbers. There is no fallback to a weaker source.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Returns the id of the session that belongs to a token, made from `bytes` of the token's hash.
    pub(crate) fn of_token(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Returns the id of a session that is imported from the system `from`, which knows it as `old`: the
    /// same at each import.
    #[cfg(feature = "cli")]
    pub(crate) fn of_imported(from: &str, old: &[u8]) -> Self {
        let mut hash = Sha256::new_with_prefix("rocket_session_kit: an imported session\0");
        hash.update(from);
        hash.update([0]);
        hash.update(old);
        let digest: [u8; 32] = hash.finalize().into();
        let half = std::array::from_fn(|at| digest[at]);
        Self(uuid::Builder::from_random_bytes(half).into_uuid())
    }

    /// Returns the id of the tombstone that ends all copies of the session with `tag`.
    pub(crate) fn of_lineage(tag: u64) -> Self {
        let mut hash = Sha256::new_with_prefix("rocket_session_kit: a session's lineage\0");
        hash.update(tag.to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self::of_token(half)
    }

    /// Returns whether the session belongs to a token. Such an id is used again after the session
    /// has ended. A random id never is.
    pub(crate) fn is_of_token(&self) -> bool {
        self.0.get_version_num() == OF_TOKEN
    }

    /// Returns the 32 hex digits, which a store uses as a file name or as the end of a key.
    pub fn to_hex(&self) -> String {
        self.hex(&mut [0; Simple::LENGTH]).to_owned()
    }

    /// Returns the 16 bytes, for a store that keeps them as they are.
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Returns the id of these bytes; `None` if they are none.
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let uuid = Uuid::from_slice(bytes).ok()?;
        matches!(uuid.get_version_num(), RANDOM | OF_TOKEN).then_some(Self(uuid))
    }

    /// Returns the 32 hex digits, written into `buffer`.
    pub(crate) fn hex<'a>(&self, buffer: &'a mut [u8; Simple::LENGTH]) -> &'a str {
        self.0.simple().encode_lower(buffer)
    }
}

impl FromStr for SessionId {
    type Err = Error;

    /// Parses the 32 digits that [`to_hex()`](SessionId::to_hex) returns.
    ///
    /// # Errors
    ///
    /// When `text` is anything else. An id has exactly one spelling, so upper-case digits are errors.
    fn from_str(text: &str) -> Result<Self, Error> {
        let not_an_id = || Error::new(ErrorKind::Invalid, "read a session id");
        // Without an early exit the compiler looks at 16 digits at a time.
        let has_upper_case = (text.bytes()).fold(false, |any, b| any | b.is_ascii_uppercase());
        let uuid = (text.len() == 32 && !has_upper_case)
            .then(|| Uuid::try_parse(text).ok())
            .flatten()
            .ok_or_else(not_an_id)?;
        match uuid.get_version_num() {
            RANDOM | OF_TOKEN => Ok(Self(uuid)),
            _ => Err(not_an_id()),
        }
    }
}

/// Ids as 32 hex digits, for fields of serde's types.
pub(crate) mod hex {
    use std::borrow::Cow;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::SessionId;

    pub(crate) fn serialize<S: Serializer>(id: &SessionId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&id.0.simple())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SessionId, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_only_one_spelling() {
        let id = SessionId::random().to_hex();
        let upper = id.to_uppercase();
        let nil = "0".repeat(32);
        let version_1 = "c232ab00941411ecb3c89f6bdeced846";
        let hyphens = Uuid::new_v4().to_string();
        let long = format!("{id}0");
        for no in [
            "",
            " ",
            "..",
            "../x",
            "a/b",
            "a\\b",
            ".tmp-x",
            "CON",
            "\0",
            &id[1..],
            &long,
            &upper,
            &nil,
            version_1,
            &hyphens,
            &format!("{id}\0"),
            &format!("{id}."),
            &format!("{id}*"),
            &format!(" {}", &id[1..]),
            &"é".repeat(16),
        ] {
            assert!(no.parse::<SessionId>().is_err(), "{no:?} is no id");
        }
        assert!(id.parse::<SessionId>().is_ok());
    }

    #[test]
    fn ids_of_tokens_differ_from_random_ids() {
        for byte in 0..=255 {
            let of_token = SessionId::of_token([byte; 16]);
            assert_eq!(of_token.to_hex().parse::<SessionId>().unwrap(), of_token);
            assert!(of_token.is_of_token() && !SessionId::random().is_of_token());
        }
    }

    #[test]
    fn random_ids_differ_and_use_every_value_of_every_free_byte() {
        let mut seen = std::collections::HashSet::new();
        let mut counts = [[0_u32; 256]; 16];
        for _ in 0..100_000 {
            let id = SessionId::random();
            for (place, byte) in id.0.as_bytes().iter().enumerate() {
                counts[place][usize::from(*byte)] += 1;
            }
            assert!(seen.insert(id), "an id came twice");
        }
        // Chi-square with 255 degrees of freedom: beyond 380 in fewer than one of a million fair
        // runs. Bytes 6 and 8 carry the version and the variant, so they are left out.
        for place in (0..16).filter(|place| ![6, 8].contains(place)) {
            let expected = 100_000.0 / 256.0;
            let chi: f64 = counts[place]
                .iter()
                .map(|&n| (f64::from(n) - expected).powi(2) / expected)
                .sum();
            assert!(chi < 380.0, "byte {place} is not uniform: chi-square {chi}");
        }
    }
}
