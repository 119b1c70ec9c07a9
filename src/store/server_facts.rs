//! What a server tells about itself.

use std::time::SystemTime;

/// What a server tells about itself.
pub(crate) struct ServerFacts {
    pub(crate) place: String,
    pub(crate) version: Option<String>,
    /// The time of its clock.
    pub(crate) time: Option<SystemTime>,
    /// What it does when its memory is full, if it does anything but refuse.
    pub(crate) evicts_by: Option<String>,
}
