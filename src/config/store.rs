//! The names of the stores, and what happens while one cannot be reached.

use serde::{Deserialize, Serialize};

/// The name of a store in `Rocket.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreName {
    Directory,
    Redis,
    Memcached,
    Memory,
}

/// The treatment of a visitor with a session while the store cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenStoreIsDown {
    /// The response is a 503.
    Refuse,
    /// An empty session that saves nothing.
    Anonymous,
}
