//! By which number a server knows an item that was seen lately.

use std::collections::HashMap;

use super::pool::Cas;
use crate::store::Revision;

/// How many of them are kept at least.
const MANY: usize = 8192;

/// The CAS of the items of one server, by the revision in their bytes. One that is forgotten costs
/// a save one more round trip.
#[derive(Default)]
pub(super) struct Hints {
    young: HashMap<Revision, Cas>,
    old: HashMap<Revision, Cas>,
}

impl Hints {
    pub(super) fn get(&self, revision: Revision) -> Option<Cas> {
        let found = self.young.get(&revision);
        found.or_else(|| self.old.get(&revision)).copied()
    }

    pub(super) fn insert(&mut self, revision: Revision, cas: Cas) {
        if self.young.len() == MANY {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(revision, cas);
    }
}
