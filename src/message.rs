//! A message, or a named value, that a session keeps until it is read once.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::unknown_fields::{UnknownFields, split};

/// A message or named value, as a record contains it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct StoredMessage {
    /// A random id, so that a request takes exactly the message that it saw.
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    pub(crate) id: u64,
    /// Whether it is a value under the name `queue`. A name has only one value at a time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) named: bool,
    pub(crate) queue: String,
    /// A message is a string.
    pub(crate) value: Box<RawValue>,
    /// The data of a message.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read_data"
    )]
    pub(crate) data: Option<Box<RawValue>>,
    #[serde(flatten, skip_deserializing)]
    unknown: UnknownFields,
}

impl StoredMessage {
    /// Returns a message for the end of `queue`.
    pub(crate) fn queued(queue: &str, text: &str) -> Self {
        let value = serde_json::value::to_raw_value(text).expect("a string has a form in JSON");
        Self::new(false, queue, value)
    }

    /// Adds `data` to a message.
    pub(crate) fn with_data(self, data: Box<RawValue>) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// Returns a value under `name`.
    pub(crate) fn named(name: &str, value: Box<RawValue>) -> Self {
        Self::new(true, name, value)
    }

    fn new(named: bool, queue: &str, value: Box<RawValue>) -> Self {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        Self {
            // Each half has fixed bits for the version, at different positions. So all bits are random.
            id: high ^ low,
            named,
            queue: queue.to_owned(),
            value,
            data: None,
            unknown: UnknownFields::default(),
        }
    }

    /// Returns the text of a message.
    pub(crate) fn text(&self) -> String {
        // Another program may have stored a value that is not a string. It is shown as JSON.
        serde_json::from_str(self.value.get()).unwrap_or_else(|_| self.value.get().to_owned())
    }

    /// Returns whether it has the text, the data and the queue of `other`.
    pub(crate) fn is_duplicate_of(&self, other: &Self) -> bool {
        self.named == other.named
            && self.queue == other.queue
            && self.value.get() == other.value.get()
            && self.data_json() == other.data_json()
    }

    /// Returns the data of a message as JSON.
    pub(crate) fn data_json(&self) -> Option<&str> {
        self.data.as_deref().map(RawValue::get)
    }

    /// Returns the size of the queue's name, the value and the data in bytes.
    pub(crate) fn size(&self) -> usize {
        self.queue.len() + self.value.get().len() + self.data_json().map_or(0, str::len)
    }
}

impl Serialize for StoredMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for StoredMessage {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let (own, unknown) = split(source, |known| Self::deserialize(known))?;
        Ok(Self { unknown, ..own })
    }
}

impl fmt::Debug for StoredMessage {
    /// Shows no id, no name and no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredMessage").finish_non_exhaustive()
    }
}

fn write_id<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{id:016x}"))
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let digits = <&str>::deserialize(deserializer)?;
    u64::from_str_radix(digits, 16).map_err(D::Error::custom)
}

/// Reads the data of a message. A `null` is data too.
fn read_data<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}
