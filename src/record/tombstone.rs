//! The tombstone of a session, at an id that is no longer in use.

use serde::{Deserialize, Serialize};

use crate::id::SessionId;

/// A tombstone: it takes the place of a session that was renewed or ended, for a minute, or for longer
/// if it [tells the visitor](crate::end_reason::EndReason::is_news) why the session ended.
///
/// No cookie opens it. Concurrent requests find it when they save the session that they loaded.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tombstone {
    /// The session was renewed, and continues under this id.
    #[serde(with = "crate::id::hex")]
    Moved(SessionId),
    /// The session ended.
    Ended,
}
