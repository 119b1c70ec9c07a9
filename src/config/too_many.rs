//! What happens when a user logs in at too many places.

use serde::{Deserialize, Serialize};

/// The treatment of a log-in beyond the number of sessions that a user may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenTooMany {
    /// The session with the oldest log-in ends.
    EndOldest,
    /// The log-in fails with status 403.
    Refuse,
}
