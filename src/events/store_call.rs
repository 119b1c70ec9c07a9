//! One call to a store, and how long it took.

use std::time::Duration;

/// One call to a store, for a [`SessionEvents`](crate::SessionEvents) listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCall {
    /// The [name](crate::store::SessionStore::name) of the store.
    pub store: &'static str,
    /// The action, such as `load a session`.
    pub act: &'static str,
    /// The time until the store responded or the call failed.
    pub took: Duration,
    /// Whether the call failed.
    pub failed: bool,
}
