//! The bytes of a value in the store: its JSON, after a header if the value has tags or may be stale.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ACT_STORE;
use crate::error::{Error, ErrorKind, Result};

/// The first byte of a header. No JSON text begins with it. A line feed ends the header.
const HEADER_MARK: u8 = b'!';

/// The header of a value. Values without tags that cannot be stale have none.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    /// Makes the bytes differ from those of every other value, so that they are never confused.
    pub(super) id: String,
    /// The end of its time, in milliseconds since 1970. Later it is stale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fresh_until: Option<u64>,
    /// The tags, and their versions before the value was made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<(String, String)>,
}

impl Header {
    pub(super) fn new(fresh_until: Option<u64>, tags: Vec<(String, String)>) -> Self {
        Self {
            id: random(),
            fresh_until,
            tags,
        }
    }

    /// Returns the header in `bytes`, if there is one that can be read.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (header, _) = split(bytes)?;
        serde_json::from_slice(header).ok()
    }
}

/// Returns 122 random bits, as text.
pub(super) fn random() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Returns `value` as the store keeps it. The error names the type, and never shows data.
pub(super) fn encode<T: Serialize + ?Sized>(header: Option<Header>, value: &T) -> Result<Vec<u8>> {
    let encoded = || -> serde_json::Result<Vec<u8>> {
        let Some(header) = header else {
            return serde_json::to_vec(value);
        };
        let mut bytes = vec![HEADER_MARK];
        serde_json::to_writer(&mut bytes, &header)?;
        bytes.push(b'\n');
        serde_json::to_writer(&mut bytes, value)?;
        Ok(bytes)
    };
    encoded().map_err(|_| {
        Error::new(ErrorKind::Value, ACT_STORE)
            .at(std::any::type_name::<T>())
            .because("the type cannot be written as JSON")
    })
}

/// Returns the value in `bytes` as a `T`. The error names the type, and never shows data.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let json = split(bytes).map_or(bytes, |(_, json)| json);
    serde_json::from_slice(json).map_err(|_| {
        let why =
            "the value has another type; delete it with `remove` or `clear`, or `set` it again";
        Error::new(ErrorKind::Value, "read a value from the cache")
            .at(std::any::type_name::<T>())
            .because(why)
    })
}

/// Returns the header in `bytes` and the JSON after it, if there is a header.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = bytes.strip_prefix(&[HEADER_MARK])?;
    let end = header.iter().position(|byte| *byte == b'\n')?;
    Some((&header[..end], &header[end + 1..]))
}
