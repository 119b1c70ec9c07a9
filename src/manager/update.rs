//! Merges a request's changes into a session that others change at the same time.

use std::time::Instant;

use super::end::pause;
use super::{CommitOutcome, Lookup, SessionManager, Unanswered, Version, is_same_session};
use crate::change::{Change, warn_of_lost_updates};
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

impl SessionManager {
    /// Saves a session. After a conflict, the changes are made to the newer record, and that is
    /// saved.
    pub(crate) async fn update(&self, update: Update<'_>) -> Result<CommitOutcome> {
        let Update {
            mut record,
            mut version,
            changes,
            owner,
            unanswered,
            ..
        } = update;
        if self.lineage_has_ended(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let (all, tag) = (changes.len(), record.tag);
        // The changes that are not yet in `record`.
        let mut missing = changes;
        let mut retry = SaveRetry::new(self);
        let (mut has_moved, mut revived) = (false, false);
        loop {
            let precondition = Precondition::Revision(version.revision);
            let saved = self
                .save(&version.id, &mut record, precondition, all, unanswered)
                .await;
            match retry.note_outcome(saved)? {
                Saved::Saved(_) if has_moved => return Ok(CommitOutcome::CommittedElsewhere),
                Saved::Saved(revision) => {
                    return Ok(CommitOutcome::Committed {
                        record,
                        version: Version {
                            revision,
                            ..version
                        },
                        revived,
                    });
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
            // The store saved this record, but its response was lost.
            let arrived = match record.rev == tried {
                true => Some(all),
                false => unanswered.arrived(record.rev),
            };
            match arrived {
                Some(arrived) => {
                    missing = &changes[arrived..];
                    unanswered.clear();
                    if missing.is_empty() {
                        return Ok(match has_moved {
                            true => CommitOutcome::CommittedElsewhere,
                            false => CommitOutcome::Committed {
                                record,
                                version,
                                revived,
                            },
                        });
                    }
                }
                None if !unanswered.is_empty() => {
                    let lost = unanswered.changes();
                    unanswered.clear();
                    return Ok(CommitOutcome::Unknown {
                        newer: Some((record, version)).filter(|_| !has_moved),
                        lost,
                    });
                }
                None => {}
            }
            if has_moved && owner.is_some() && record.user.is_some() && record.user != owner {
                // A different user is logged in. Nothing of the previous user may be shown to them.
                return Ok(CommitOutcome::CommittedElsewhere);
            }
            revived = !record.has_info();
            warn_of_lost_updates(missing, &record);
            for change in missing
                .iter()
                .filter(|change| !(has_moved && change.stays_behind()))
            {
                change.apply(&mut record, &self.limits)?;
            }
        }
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
        mut version: Version,
        mut take_out: impl FnMut(&mut Record) -> Result<Vec<T>>,
    ) -> Result<(Vec<T>, CommitOutcome)> {
        let gone = || Ok((Vec::new(), CommitOutcome::Ended));
        if self.lineage_has_ended(&record).await? {
            return gone();
        }
        let tag = record.tag;
        let mut retry = SaveRetry::new(self);
        let mut revived = false;
        loop {
            let taken = take_out(&mut record)?;
            let here = |record, version| CommitOutcome::Committed {
                record,
                version,
                revived,
            };
            if taken.is_empty() {
                return Ok((taken, here(record, version)));
            }
            let ttl = self.lifetime(&record);
            let precondition = Precondition::Revision(version.revision);
            let saved = self.put(&version.id, &mut record, ttl, precondition).await;
            match retry.note_outcome(saved)? {
                Saved::Saved(revision) => {
                    return Ok((
                        taken,
                        here(
                            record,
                            Version {
                                revision,
                                ..version
                            },
                        ),
                    ));
                }
                Saved::Gone => return gone(),
                Saved::Changed => {}
            }
            let tried = record.rev;
            (record, version) = match retry.load_newer(version.id, tag).await? {
                // The values moved to the new id, which may be in another visitor's hands.
                Newer::Saved { moved: true, .. } => {
                    return Ok((Vec::new(), CommitOutcome::CommittedElsewhere));
                }
                Newer::Saved {
                    record, version, ..
                } => (record, version),
                Newer::Gone => return gone(),
            };
            if record.rev == tried {
                // The store saved this record, but its response was lost.
                return Ok((taken, here(record, version)));
            }
            revived = !record.has_info();
        }
    }
}
