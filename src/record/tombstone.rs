//! The tombstone of a session, at an id that is no longer in use.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::SessionId;

/// A tombstone: it takes the place of a session that was renewed or ended, for a minute, or for longer
/// if it [tells the visitor](crate::end_reason::EndReason::is_news) why the session ended.
///
/// No cookie opens it. Concurrent requests find it when they save the session that they loaded.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tombstone {
    /// The session was renewed, and continues under this id.
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    Moved(SessionId),
    /// The session ended.
    Ended,
}

fn write_id<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.digits())
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
    <&str>::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}
