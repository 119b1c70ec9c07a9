//! What a request does not know about its own saves.

use crate::id::SessionId;
use crate::record::Record;

/// The saves of a request that nobody has answered: each may have happened.
///
/// A timeout, a lost connection and a caller who stopped waiting leave a save like this. What is
/// found later under one of these revisions is that save.
#[derive(Default)]
pub(crate) struct Unanswered {
    attempts: Vec<Attempt>,
    /// A session that may have been created, or renewed, without anybody being told.
    pub(crate) unconfirmed: Option<Box<Unconfirmed>>,
}

/// A session that nobody has the cookie of.
pub(crate) struct Unconfirmed {
    /// The id that a renewed session had.
    pub(crate) from: Option<SessionId>,
    pub(crate) id: SessionId,
    /// What was to be kept under that id.
    pub(crate) own: Record,
    /// What the renewed session was, where that is known: what the mark at the old id replaced.
    pub(crate) before: Option<Record>,
}

struct Attempt {
    /// The revision under which the store has it, if it happened.
    rev: u64,
    /// How many of the request's changes are in it: always the first ones.
    changes: usize,
}

impl Unanswered {
    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.attempts.is_empty()
    }

    /// Says that a save is on its way.
    pub(crate) fn note(&mut self, rev: u64, changes: usize) {
        self.attempts.push(Attempt { rev, changes });
    }

    /// Says that the store told what became of a save.
    pub(crate) fn forget(&mut self, rev: u64) {
        self.attempts.retain(|attempt| attempt.rev != rev);
    }

    /// Returns how many changes are in what the store has as `rev`, if that is one of these saves.
    pub(crate) fn arrived(&self, rev: u64) -> Option<usize> {
        let attempt = self.attempts.iter().find(|attempt| attempt.rev == rev)?;
        Some(attempt.changes)
    }

    /// Returns how many changes are in each of them, if that is the same number.
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

    /// Says that only the first `left` changes are still there: the next one took the place of the
    /// last.
    pub(crate) fn cut(&mut self, left: usize) {
        for attempt in &mut self.attempts {
            attempt.changes = attempt.changes.min(left);
        }
    }

    /// Says that the store told what became of all of them.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
