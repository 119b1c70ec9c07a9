//! What a session leaves behind under an id that it no longer has.

use serde::{Deserialize, Serialize};

use super::fields::{read_id, write_id};
use crate::id::SessionId;

/// What a session leaves behind, for a minute, under an id that it no longer has.
///
/// No cookie opens it. It is for the requests that were under way: they learn what became of the
/// session they hold.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tombstone {
    /// It was renewed, and goes on under this id.
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    Moved(SessionId),
    /// It ended, and this is about to be deleted.
    Ended,
}
