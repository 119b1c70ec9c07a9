//! One limit: a number of requests of one visitor in a number of seconds.

use crate::config::By;

/// A limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Policy {
    pub(super) name: &'static str,
    pub(super) limit: u32,
    pub(super) window: u64,
    pub(super) by: By,
}

impl Policy {
    /// The name of the limit of the whole application, which no other limit has.
    pub(super) const APP: &'static str = "app";

    /// Returns whether it is the limit of the whole application.
    pub(super) fn is_app(&self) -> bool {
        self.name == Self::APP
    }
}
