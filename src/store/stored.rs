//! A session as a store keeps it: its bytes, and the revision of its last save.

use std::fmt;

use super::RecordHeader;

/// The number of one save of a session: no two saves under one id have the same.
///
/// Its meaning is up to the store. Most stores use the number in the [`RecordHeader`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub u64);

/// The bytes of a session, and the revision of its last save.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// The saved bytes, unchanged.
    pub bytes: Vec<u8>,
    /// The save that wrote them.
    pub revision: Revision,
}

impl Stored {
    /// Returns `bytes` with the revision in their [`RecordHeader`].
    pub fn new(bytes: Vec<u8>) -> Self {
        let revision = RecordHeader::read(&bytes).map_or(Revision(0), |header| header.revision);
        Self { bytes, revision }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} bytes)", self.bytes.len())
    }
}
