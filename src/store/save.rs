//! One save of a session: its bytes and lifetime, the precondition, and the outcome.

use std::fmt;
use std::time::Duration;

use super::{RecordHeader, Revision};
use crate::error::{Error, ErrorKind, Result};

/// One save: the bytes, their lifetime, and the precondition.
#[derive(Clone, Copy)]
pub struct Save<'a> {
    /// The bytes to keep. They begin with a [`RecordHeader`].
    pub bytes: &'a [u8],
    /// How long to keep them, unless the session is saved again. The [`RecordHeader`] holds the
    /// same end as a point in time.
    pub ttl: Duration,
    /// The state that the store must find. Otherwise it writes nothing.
    pub precondition: Precondition,
}

impl Save<'_> {
    /// Returns the header of the bytes.
    pub(super) fn header(&self) -> Result<RecordHeader> {
        RecordHeader::read(self.bytes).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "save a session").because("its bytes have no header")
        })
    }
}

impl fmt::Debug for Save<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Save({} bytes, for {:?}, {:?})",
            self.bytes.len(),
            self.ttl,
            self.precondition
        )
    }
}

/// The state under an id that a save requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is no session, or an expired one.
    Absent,
    /// The session still has the revision that [`load_session`](super::SessionStore::load_session)
    /// or an earlier save returned.
    Revision(Revision),
}

/// The outcome of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// The bytes are kept, with this revision.
    Saved(Revision),
    /// The session has another revision. Nothing was written, not even by an earlier attempt of this
    /// save: a store that cannot rule that out returns an error.
    Changed,
    /// The session no longer exists; nothing was written.
    Gone,
}

impl Precondition {
    /// Returns the outcome of a save that finds the revision `current` and must not write; `None`
    /// where the precondition holds.
    pub(super) fn refusal(self, current: Option<Revision>) -> Option<Saved> {
        match (self, current) {
            (Self::Absent, None) => None,
            (Self::Revision(expected), Some(current)) if expected == current => None,
            (Self::Revision(_), None) => Some(Saved::Gone),
            (_, Some(_)) => Some(Saved::Changed),
        }
    }
}
