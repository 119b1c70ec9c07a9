//! Getting a request's changes into a session that others change at the same time.

use std::time::Instant;

use super::end::pause;
use super::{CommitOutcome, Lookup, SessionManager, Unanswered, Version, same};
use crate::change::{Change, warn_of_lost_updates};
use crate::error::Result;
use crate::id::SessionId;
use crate::keyed_locks::KeyedLock;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

/// A session as a request leaves it, on its way to the store.
pub(crate) struct Update<'a> {
    /// What is `version`, with `changes` made to it.
    pub(crate) record: Record,
    pub(crate) version: Version,
    pub(crate) changes: &'a [Change],
    /// The user who was logged in when the request loaded the session.
    pub(crate) owner: Option<String>,
    /// What is `version`, without the changes, where that is known.
    pub(crate) before: Option<Record>,
    pub(crate) unanswered: &'a mut Unanswered,
}

/// One request among those that contend for a session: its place in the queue of this process, and
/// how long it has been trying.
pub(super) struct Contender<'k> {
    manager: &'k SessionManager,
    started: Instant,
    lock: Option<KeyedLock<'k, SessionId>>,
}

/// What others made of a session meanwhile.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
pub(super) enum Newer {
    /// They saved it; `moved` is whether it has another id now.
    Saved {
        record: Record,
        version: Version,
        moved: bool,
    },
    Gone,
}

impl<'k> Contender<'k> {
    pub(super) fn new(manager: &'k SessionManager) -> Self {
        Self {
            manager,
            started: Instant::now(),
            lock: None,
        }
    }

    /// Returns `outcome`. Those in the queue behind learn when the store failed.
    pub(super) fn heard<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let (Some(lock), Err(_)) = (&mut self.lock, &outcome) {
            lock.note_failure();
        }
        outcome
    }

    /// Waits in the queue of those who met a conflict, and returns what is under `id` now, or
    /// wherever the session with `tag` went from there.
    pub(super) async fn newer(&mut self, mut id: SessionId, tag: Option<u64>) -> Result<Newer> {
        if self.lock.is_none() {
            self.lock = Some(self.manager.lock_session(id).await?);
        }
        let mut moved = false;
        loop {
            self.manager.check_patience(self.started)?;
            let found = self.manager.reload(&id).await;
            match self.heard(found)? {
                Lookup::Live(record, version) if same(tag, record.tag) => {
                    return Ok(Newer::Saved {
                        record,
                        version,
                        moved,
                    });
                }
                Lookup::Tombstone(Tombstone::Moved(next)) => {
                    if moved {
                        // A renewal that is being undone leads back to where this came from.
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
    /// Keeps a session; or, where others saved it meanwhile, what they saved with the changes made
    /// to it.
    pub(crate) async fn update(&self, update: Update<'_>) -> Result<CommitOutcome> {
        let Update {
            mut record,
            mut version,
            changes,
            owner,
            unanswered,
            ..
        } = update;
        if self.lineage_is_over(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let (all, tag) = (changes.len(), record.tag);
        // The changes that are not in `record`, where that is what others saved.
        let mut missing = changes;
        let mut contender = Contender::new(self);
        let (mut went, mut revived) = (false, false);
        loop {
            let precondition = Precondition::Revision(version.revision);
            let saved = self
                .save(&version.id, &mut record, precondition, all, unanswered)
                .await;
            match contender.heard(saved)? {
                Saved::Saved(_) if went => return Ok(CommitOutcome::CommittedElsewhere),
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
            match contender.newer(version.id, tag).await? {
                Newer::Gone => return Ok(CommitOutcome::Ended),
                Newer::Saved {
                    record: newer,
                    version: there,
                    moved,
                } => {
                    (record, version) = (newer, there);
                    went |= moved;
                }
            }
            // The store was asked twice, and the first answer got lost.
            let arrived = match record.rev == tried {
                true => Some(all),
                false => unanswered.arrived(record.rev),
            };
            match arrived {
                Some(arrived) => {
                    missing = &changes[arrived..];
                    unanswered.clear();
                    if missing.is_empty() {
                        return Ok(match went {
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
                        newer: Some((record, version)).filter(|_| !went),
                        lost,
                    });
                }
                None => {}
            }
            if went && owner.is_some() && record.user.is_some() && record.user != owner {
                // Somebody else logged in, to whom nothing of the one before is shown.
                return Ok(CommitOutcome::CommittedElsewhere);
            }
            revived = !record.has_info();
            warn_of_lost_updates(missing, &record);
            for change in missing
                .iter()
                .filter(|change| !(went && change.stays_behind()))
            {
                change.apply(&mut record, &self.limits)?;
            }
        }
    }

    /// Takes something out of a session for one reader, who alone gets it. `take_out` removes it
    /// from the record and returns it; where others saved meanwhile, it is asked again about what
    /// they left.
    ///
    /// It is a save of its own, with none of the request's changes in it. On an error nobody knows
    /// whether it was done, and nothing is returned.
    pub(crate) async fn take<T>(
        &self,
        mut record: Record,
        mut version: Version,
        mut take_out: impl FnMut(&mut Record) -> Result<Vec<T>>,
    ) -> Result<(Vec<T>, CommitOutcome)> {
        let gone = || Ok((Vec::new(), CommitOutcome::Ended));
        if self.lineage_is_over(&record).await? {
            return gone();
        }
        let tag = record.tag;
        let mut contender = Contender::new(self);
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
            match contender.heard(saved)? {
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
            (record, version) = match contender.newer(version.id, tag).await? {
                // What was there went on with the one who renewed it, and that may be somebody else.
                Newer::Saved { moved: true, .. } => {
                    return Ok((Vec::new(), CommitOutcome::CommittedElsewhere));
                }
                Newer::Saved {
                    record, version, ..
                } => (record, version),
                Newer::Gone => return gone(),
            };
            if record.rev == tried {
                // The store was asked twice, and the first answer got lost.
                return Ok((taken, here(record, version)));
            }
            revived = !record.has_info();
        }
    }
}
