//! The CAS of an item, and a cache of the latest.

use std::collections::HashMap;

use crate::store::Revision;

/// The number by which a server recognizes one version of an item, and when it was learnt.
///
/// A restarted server counts from one again, so an old number may belong to a new item. But a
/// connection never outlives the server. So a number may be sent over a connection that was open
/// before the number was requested: if the connection still works, it leads to the same run of the
/// server. A connection opened later may lead to another run, and the number is not sent over it.
#[derive(Clone, Copy)]
pub(super) struct Cas {
    pub(super) number: u64,
    /// How many connections had been opened before the number was requested.
    connections: u64,
}

impl Cas {
    pub(super) fn new(number: u64, connections: u64) -> Self {
        Self {
            number,
            connections,
        }
    }

    /// Returns whether it may be sent over the connection with this number.
    pub(super) fn is_valid_for(self, connection: u64) -> bool {
        connection <= self.connections
    }
}

/// The smallest number of CAS that are cached.
const CAPACITY: usize = 8192;

/// The CAS of the items of one server, by the revision in their bytes. A missing one costs a save
/// one more round trip.
#[derive(Default)]
pub(super) struct CasCache {
    young: HashMap<Revision, Cas>,
    old: HashMap<Revision, Cas>,
}

impl CasCache {
    pub(super) fn get(&self, revision: Revision) -> Option<Cas> {
        let cas = self.young.get(&revision);
        cas.or_else(|| self.old.get(&revision)).copied()
    }

    pub(super) fn insert(&mut self, revision: Revision, cas: Cas) {
        if self.young.len() == CAPACITY {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(revision, cas);
    }
}
