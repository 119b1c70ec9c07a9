//! One limit: how many requests of whom in how many seconds.

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
    /// What the limit of the whole application is called. No other is called so.
    pub(super) const APP: &'static str = "app";

    /// Returns whether it is the limit of the whole application.
    pub(super) fn is_app(&self) -> bool {
        self.name == Self::APP
    }
}
