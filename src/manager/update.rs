//! Merges a request's changes into a session that others change at the same time.

use std::time::Instant;

use super::end::pause;
use super::{CommitOutcome, Lookup, SessionManager, Unanswered, Version, is_same_session};
use crate::change::{Change, warn_of_lost_updates};
use crate::config::Limits;
use crate::error::Result;
use crate::id::SessionId;
use crate::keyed_locks::KeyedLock;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

/// A session to save, with a request's changes in it.
pub(crate) struct Update<'a> {
    /// The record of `version`, with `changes` made to it.
    pub(crate) record: Record,
    pub(crate) version: Version,
    pub(crate) changes: &'a [Change],
    /// The user who was logged in when the request loaded the session.
    pub(crate) owner: Option<String>,
    /// The record of `version` without the changes, if it is known.
    pub(crate) before: Option<Record>,
    pub(crate) unanswered: &'a mut Unanswered,
}

/// A save that is repeated after conflicts: its place among the saves of this process, and its
/// start.
pub(super) struct SaveRetry<'k> {
    manager: &'k SessionManager,
    started: Instant,
    lock: Option<KeyedLock<'k, SessionId>>,
}

/// The state of a session after a conflict.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
pub(super) enum Newer {
    /// Another request saved it. `moved` is whether the session has a new id.
    Saved {
        record: Record,
        version: Version,
        moved: bool,
    },
    Gone,
}

impl<'k> SaveRetry<'k> {
    pub(super) fn new(manager: &'k SessionManager) -> Self {
        Self {
            manager,
            started: Instant::now(),
            lock: None,
        }
    }

    /// Returns `outcome`. After a failure of the store, the saves that wait for the same lock fail
    /// at once.
    pub(super) fn note_outcome<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let (Some(lock), Err(_)) = (&mut self.lock, &outcome) {
            lock.note_failure();
        }
        outcome
    }

    /// Waits for the session's lock, and reads the session again: under `id`, or under the id to
    /// which the session with `tag` has moved.
    pub(super) async fn load_newer(
        &mut self,
        mut id: SessionId,
        tag: Option<u64>,
    ) -> Result<Newer> {
        if self.lock.is_none() {
            self.lock = Some(self.manager.lock_session(id).await?);
        }
        let mut moved = false;
        loop {
            self.manager.check_patience(self.started)?;
            let found = self.manager.reload(&id).await;
            match self.note_outcome(found)? {
                Lookup::Live(record, version) if is_same_session(tag, record.tag) => {
                    return Ok(Newer::Saved {
                        record,
                        version,
                        moved,
                    });
                }
                Lookup::Tombstone(Tombstone::Moved(next)) => {
                    if moved {
                        // A tombstone can lead back to an earlier id while a renewal is undone.
                        pause().await;
                    }
                    (id, moved) = (next, true);
                }
                Lookup::Live(..) | Lookup::Tombstone(Tombstone::Ended) | Lookup::Missing => {
                    return Ok(Newer::Gone);
                }
            }
        }
    }
}

/// An edit of a session. After a conflict it is made again, to the newer record.
trait Edit {
    /// Returns the saves of this edit whose outcome is unknown, and the number of changes in the
    /// next one.
    fn attempts(&mut self) -> (&mut Unanswered, usize);

    /// Makes the edit to `newer`, which another request saved. `moved` is whether the session has a
    /// new id.
    fn repeat(&mut self, newer: &mut Record, moved: bool, limits: &Limits) -> Result<Repeated>;
}

/// What follows from an edit of a newer record.
enum Repeated {
    /// The record must be saved.
    Edited,
    /// The record has the edit already: an earlier save succeeded, but its response was lost.
    Arrived,
    /// The edit changes nothing in this record.
    Unchanged,
    /// Nothing is saved under the session's new id.
    StaysBehind,
    /// See [`CommitOutcome::Unknown`].
    Unknown { lost: usize },
}

impl SessionManager {
    /// Saves a session. After a conflict, the changes are made to the newer record, and that is
    /// saved.
    pub(crate) async fn update(&self, update: Update<'_>) -> Result<CommitOutcome> {
        let Update {
            record,
            version,
            changes,
            owner,
            unanswered,
            ..
        } = update;
        if self.lineage_has_ended(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let mut merge = Merge {
            changes,
            made: 0,
            owner,
            unanswered,
        };
        self.compare_and_set(record, version, &mut merge).await
    }

    /// Takes values out of a session, so that no other request can take them too. `take_out`
    /// removes them from the record and returns them. After a conflict it runs again on the newer
    /// record.
    ///
    /// This is a separate save without the request's other changes. After an error the outcome is
    /// unknown, and nothing is returned.
    pub(crate) async fn take<T>(
        &self,
        mut record: Record,
        version: Version,
        mut take_out: impl FnMut(&mut Record) -> Result<Vec<T>>,
    ) -> Result<(Vec<T>, CommitOutcome)> {
        if self.lineage_has_ended(&record).await? {
            return Ok((Vec::new(), CommitOutcome::Ended));
        }
        let taken = take_out(&mut record)?;
        if taken.is_empty() {
            return Ok((taken, CommitOutcome::committed(record, version)));
        }
        let mut removal = Removal {
            taken,
            take_out,
            unanswered: Unanswered::default(),
        };
        let outcome = self.compare_and_set(record, version, &mut removal).await?;
        let taken = match &outcome {
            CommitOutcome::Committed { .. } => removal.taken,
            _ => Vec::new(),
        };
        Ok((taken, outcome))
    }

    /// Saves `record`, to which `edit` was made, over `version`, and repeats the edit after each
    /// conflict.
    async fn compare_and_set(
        &self,
        mut record: Record,
        mut version: Version,
        edit: &mut impl Edit,
    ) -> Result<CommitOutcome> {
        let tag = record.tag;
        let mut retry = SaveRetry::new(self);
        let (mut has_moved, mut revived) = (false, false);
        let committed = |record, version, revived, has_moved| match has_moved {
            true => CommitOutcome::CommittedElsewhere,
            false => CommitOutcome::Committed {
                record,
                version,
                revived,
            },
        };
        loop {
            let precondition = Precondition::Revision(version.revision);
            let (unanswered, changes) = edit.attempts();
            let saved = self
                .save(&version.id, &mut record, precondition, changes, unanswered)
                .await;
            match retry.note_outcome(saved)? {
                Saved::Saved(revision) => {
                    version.revision = revision;
                    return Ok(committed(record, version, revived, has_moved));
                }
                Saved::Gone => return Ok(CommitOutcome::Ended),
                Saved::Changed => {}
            }
            let tried = record.rev;
            match retry.load_newer(version.id, tag).await? {
                Newer::Gone => return Ok(CommitOutcome::Ended),
                Newer::Saved {
                    record: newer,
                    version: there,
                    moved,
                } => {
                    (record, version) = (newer, there);
                    has_moved |= moved;
                }
            }
            if record.rev == tried {
                // The store saved this record, but its response was lost.
                return Ok(committed(record, version, revived, has_moved));
            }
            let was_empty = !record.has_info();
            match edit.repeat(&mut record, has_moved, &self.limits)? {
                Repeated::Edited => revived = was_empty,
                Repeated::Arrived => return Ok(committed(record, version, revived, has_moved)),
                Repeated::Unchanged => return Ok(committed(record, version, was_empty, has_moved)),
                Repeated::StaysBehind => return Ok(CommitOutcome::CommittedElsewhere),
                Repeated::Unknown { lost } => {
                    return Ok(CommitOutcome::Unknown {
                        newer: Some((record, version)).filter(|_| !has_moved),
                        lost,
                    });
                }
            }
        }
    }
}

/// The edit of a request that changed the session.
struct Merge<'a> {
    changes: &'a [Change],
    /// How many of the changes are in the newer record already.
    made: usize,
    /// The user who was logged in when the request loaded the session.
    owner: Option<String>,
    unanswered: &'a mut Unanswered,
}

impl Edit for Merge<'_> {
    fn attempts(&mut self) -> (&mut Unanswered, usize) {
        (self.unanswered, self.changes.len())
    }

    fn repeat(&mut self, newer: &mut Record, moved: bool, limits: &Limits) -> Result<Repeated> {
        match self.unanswered.arrived(newer.rev) {
            Some(arrived) => {
                self.made = arrived;
                self.unanswered.clear();
                if arrived == self.changes.len() {
                    return Ok(Repeated::Arrived);
                }
            }
            None if !self.unanswered.is_empty() => {
                let lost = self.unanswered.changes();
                self.unanswered.clear();
                return Ok(Repeated::Unknown { lost });
            }
            None => {}
        }
        if moved && self.owner.is_some() && newer.user.is_some() && newer.user != self.owner {
            // A different user is logged in. Nothing of the previous user may be shown to them.
            return Ok(Repeated::StaysBehind);
        }
        let missing = &self.changes[self.made..];
        warn_of_lost_updates(missing, newer);
        for change in missing {
            if !(moved && change.stays_behind()) {
                change.apply(newer, limits)?;
            }
        }
        Ok(Repeated::Edited)
    }
}

/// The edit of a request that takes values out of the session.
struct Removal<T, F> {
    taken: Vec<T>,
    take_out: F,
    unanswered: Unanswered,
}

impl<T, F: FnMut(&mut Record) -> Result<Vec<T>>> Edit for Removal<T, F> {
    fn attempts(&mut self) -> (&mut Unanswered, usize) {
        (&mut self.unanswered, 0)
    }

    fn repeat(&mut self, newer: &mut Record, moved: bool, _: &Limits) -> Result<Repeated> {
        if moved {
            // The values moved to the new id, which may be in another visitor's hands.
            return Ok(Repeated::StaysBehind);
        }
        self.taken = (self.take_out)(newer)?;
        Ok(match self.taken.is_empty() {
            true => Repeated::Unchanged,
            false => Repeated::Edited,
        })
    }
}
