//! The keys on a server: a prefix, and the id of a session or the key of an entry.

use super::{Key, Namespace};
use crate::id::SessionId;

/// The start of every key on a server.
#[derive(Clone)]
pub(super) struct Prefix(String);

impl Prefix {
    pub(super) fn new(prefix: impl Into<String>) -> Self {
        Self(prefix.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key of a session.
    pub(super) fn session(&self, id: &SessionId) -> String {
        [&self.0, id.hex(&mut [0; 32])].concat()
    }

    /// Returns the key of an entry.
    pub(super) fn entry(&self, key: &Key) -> String {
        format!("{}{}", self.0, key.as_str())
    }

    /// Returns the start of the keys of all entries in `namespace`.
    pub(super) fn namespace(&self, namespace: &Namespace) -> String {
        format!("{}{}", self.0, namespace.prefix())
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Self::new("session:")
    }
}
