//! The lifetime of one session, where it differs from the configuration.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The lifetime of one session, where it differs from the configuration.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Lifetime {
    /// The idle timeout in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<u64>,
    /// The absolute timeout in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) absolute: Option<u64>,
    /// The maximum age of the session's cookie in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<u64>,
    /// When the session got its id, in seconds since 1970; not set: at its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renewed: Option<u64>,
    /// The fields that a newer version wrote.
    #[serde(flatten)]
    unknown: Map<String, Value>,
}
