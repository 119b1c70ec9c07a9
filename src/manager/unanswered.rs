//! Saves of a request whose outcome is unknown.

use crate::id::SessionId;
use crate::record::Record;

/// The saves of a request whose outcome is unknown: each may have succeeded.
///
/// A timeout, a lost connection or a dropped future leaves such a save. A record that is found
/// later with one of these revisions comes from that save.
#[derive(Default)]
pub(crate) struct Unanswered {
    attempts: Vec<Attempt>,
    /// A session that may have been created or renewed, while its browser did not get the cookie.
    pub(crate) unconfirmed: Option<Box<Unconfirmed>>,
}

/// A session under an id that no browser has.
pub(crate) struct Unconfirmed {
    /// The id before the renewal, if it was one.
    pub(crate) from: Option<SessionId>,
    pub(crate) id: SessionId,
    /// The record that was saved under that id.
    pub(crate) own: Record,
    /// The record before the renewal, if it is known. The tombstone at the old id replaced it.
    pub(crate) before: Option<Record>,
}

struct Attempt {
    /// The revision of the saved record.
    rev: u64,
    /// How many of the request's changes were in it, counted from the first.
    changes: usize,
}

impl Unanswered {
    /// Returns whether every outcome is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Notes a save that is about to be sent.
    pub(crate) fn note(&mut self, rev: u64, changes: usize) {
        self.attempts.push(Attempt { rev, changes });
    }

    /// Removes a save whose outcome is known.
    pub(crate) fn forget(&mut self, rev: u64) {
        self.attempts.retain(|attempt| attempt.rev != rev);
    }

    /// Returns how many changes are in the record with the revision `rev`, if it comes from one of
    /// these saves.
    pub(crate) fn arrived(&self, rev: u64) -> Option<usize> {
        let attempt = self.attempts.iter().find(|attempt| attempt.rev == rev)?;
        Some(attempt.changes)
    }

    /// Returns how many changes are in each of these saves, if the number is the same.
    pub(crate) fn each(&self) -> Option<usize> {
        let first = self.attempts.first()?.changes;
        let same = self.attempts.iter().all(|attempt| attempt.changes == first);
        same.then_some(first)
    }

    /// Returns how many changes may be in the store.
    pub(crate) fn changes(&self) -> usize {
        let changes = self.attempts.iter().map(|attempt| attempt.changes);
        changes.max().unwrap_or(0)
    }

    /// Notes that only the first `left` changes remain: the next change replaced the last one.
    pub(crate) fn cut(&mut self, left: usize) {
        for attempt in &mut self.attempts {
            attempt.changes = attempt.changes.min(left);
        }
    }

    /// Forgets all of them, when every outcome is known.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
