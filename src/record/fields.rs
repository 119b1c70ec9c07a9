//! The JSON forms of single fields of a record.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use super::VERSION;
use crate::id::SessionId;

pub(super) fn read_revision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let digits = <&str>::deserialize(deserializer)?;
    u64::from_str_radix(digits, 16).map_err(D::Error::custom)
}

pub(super) fn read_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(D::Error::custom(format_args!("version {other} is unknown"))),
    }
}

pub(super) fn write_id<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.digits())
}

pub(super) fn read_own_id<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SessionId>, D::Error> {
    read_id(deserializer).map(Some)
}

pub(super) fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
    <&str>::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}
