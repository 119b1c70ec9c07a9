//! The grace after a renewal: for some seconds, the old id still reaches the session.

use std::time::Instant;

use super::{CommitOutcome, GRACE, Lookup, SessionManager, Update, Version, is_same_session};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Grace, Record, Tombstone};

/// The reason for a renewal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RenewalKind {
    /// The id is old. If another request has renewed the session already, that is enough.
    ByAge,
    /// The handler asked for it.
    Plain,
    /// The request changed the user, or the user proved their identity. The old id gives no access
    /// from then on.
    Guarding,
}

impl RenewalKind {
    /// Returns whether such a renewal leaves the session of another request, which renewed it first,
    /// as it is, and makes no copy. `in_grace` is whether the old id still reaches that session.
    pub(super) fn joins(self, in_grace: bool) -> bool {
        match self {
            Self::ByAge => true,
            Self::Plain => in_grace,
            Self::Guarding => false,
        }
    }
}

/// Whether a session has moved to another id, and whether the id from before still reaches it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moved {
    No,
    WithGrace,
    Yes,
}

/// The tombstones from an old id to the session.
pub(super) struct Trail<'m> {
    manager: &'m SessionManager,
    moved: Moved,
    graces: Vec<Grace>,
}

impl<'m> Trail<'m> {
    pub(super) fn new(manager: &'m SessionManager) -> Self {
        Self {
            manager,
            moved: Moved::No,
            graces: Vec::new(),
        }
    }

    /// Notes a tombstone with this grace, and returns whether an earlier one was noted.
    pub(super) fn note(&mut self, grace: Option<Box<Grace>>) -> bool {
        let is_first = self.moved == Moved::No;
        match grace.filter(|grace| self.manager.goes_on(grace)) {
            Some(grace) if self.moved != Moved::Yes => {
                self.moved = Moved::WithGrace;
                self.graces.push(*grace);
            }
            _ => self.moved = Moved::Yes,
        }
        !is_first
    }

    /// Returns whether the session has moved, when `record` was found at the end.
    pub(super) fn moved(&self, record: &Record) -> Moved {
        match self.graces.iter().all(|grace| grace.covers(record)) {
            true => self.moved,
            false => Moved::Yes,
        }
    }
}

impl SessionManager {
    /// Returns whether `grace` goes on.
    pub(super) fn goes_on(&self, grace: &Grace) -> bool {
        // The clocks of two hosts may differ by some seconds.
        let longest = match self.lifetimes.grace {
            0 => 0,
            _ => GRACE.as_secs(),
        };
        grace.goes_on(self.clock.seconds(), longest)
    }

    /// Notes in `record` that its session gets a new id now.
    pub(super) fn note_renewal(&self, record: &mut Record) {
        let renewed = self.lifetimes.noted_renewal(self.clock.seconds());
        record.note_renewal(renewed);
    }

    /// Returns the tombstone that leads to `next`, the new id of the session of `record`.
    pub(super) fn moved_tombstone(
        &self,
        next: SessionId,
        record: &Record,
        kind: RenewalKind,
    ) -> Record {
        let now = self.clock.seconds();
        let mut tombstone = Record::tombstone(now, Tombstone::Moved(next));
        tombstone.tag = record.tag;
        if kind != RenewalKind::Guarding && self.lifetimes.grace > 0 {
            let until = now.saturating_add(self.lifetimes.grace);
            tombstone.grace = Some(Box::new(Grace::new(until, record)));
        }
        tombstone
    }

    /// Removes the copy `new` of a renewal, and makes its changes to the session that another request
    /// renewed first.
    pub(super) async fn give_way(
        &self,
        new: &Version,
        renewal: Update<'_>,
    ) -> Result<CommitOutcome> {
        self.delete(&new.id).await?;
        renewal.unanswered.unconfirmed = None;
        self.join_renewed(renewal).await
    }

    /// Makes the changes of a renewal to the session that another request renewed first.
    pub(super) async fn join_renewed(&self, renewal: Update<'_>) -> Result<CommitOutcome> {
        let is_nothing = renewal.changes.is_empty() && renewal.unanswered.is_empty();
        match is_nothing && !renewal.adopts {
            true => Ok(CommitOutcome::CommittedElsewhere),
            false => self.update(renewal).await,
        }
    }

    /// Returns the session to which `tombstone` leads, for a request that presents its id or holds the
    /// session.
    /// If the grace of a renewal on the way is over, or if the session has ended, returns the
    /// tombstone.
    pub(crate) async fn follow_in_grace(
        &self,
        tombstone: Tombstone,
        grace: Box<Grace>,
        tag: Option<u64>,
    ) -> Result<Lookup> {
        let mut trail = Trail::new(self);
        let started = Instant::now();
        let (mut next, mut step) = (tombstone, Some(grace));
        while let Tombstone::Moved(id) = next {
            self.check_patience(started)?;
            trail.note(step.take());
            if trail.moved == Moved::Yes {
                break;
            }
            let Some((record, version)) = self.read(&id).await? else {
                break;
            };
            if let Some(moved_on) = record.tombstone {
                (next, step) = (moved_on, record.grace);
                continue;
            }
            if is_same_session(tag, record.tag) && trail.moved(&record) == Moved::WithGrace {
                return match self.judge(record, version).await? {
                    Lookup::Missing => break,
                    found => Ok(found),
                };
            }
            break;
        }
        Ok(Lookup::Tombstone(tombstone, None))
    }
}
