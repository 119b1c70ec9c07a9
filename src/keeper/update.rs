//! Getting a request's changes into a session that others change at the same time.

use std::time::Instant;

use super::end::pause;
use super::{Found, Held, Keeper, Kept, Unsure, same};
use crate::change::{Change, warn_of_lost_updates};
use crate::error::Result;
use crate::id::SessionId;
use crate::queues::KeyedLock;
use crate::record::{Parting, Record};
use crate::store::{Expect, Saved};

/// A session as a request leaves it, on its way to the store.
pub(crate) struct Update<'a> {
    /// What is `held`, with `changes` made to it.
    pub(crate) record: Record,
    pub(crate) held: Held,
    pub(crate) changes: &'a [Change],
    /// The user who was logged in when the request loaded the session.
    pub(crate) owner: Option<String>,
    /// What is `held`, without the changes, where that is known.
    pub(crate) before: Option<Record>,
    pub(crate) unsure: &'a mut Unsure,
}

/// One request among those that contend for a session: its place in the queue of this process, and
/// how long it has been trying.
pub(super) struct Contender<'k> {
    keeper: &'k Keeper,
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
        held: Held,
        moved: bool,
    },
    Gone,
}

impl<'k> Contender<'k> {
    pub(super) fn new(keeper: &'k Keeper) -> Self {
        Self {
            keeper,
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
            self.lock = Some(self.keeper.lock_session(id).await?);
        }
        let mut moved = false;
        loop {
            self.keeper.check_patience(self.started)?;
            let found = self.keeper.reload(&id).await;
            match self.heard(found)? {
                Found::Live(record, held) if same(tag, record.tag) => {
                    return Ok(Newer::Saved {
                        record,
                        held,
                        moved,
                    });
                }
                Found::Parted(Parting::Moved(next)) => {
                    if moved {
                        // A renewal that is being undone leads back to where this came from.
                        pause().await;
                    }
                    (id, moved) = (next, true);
                }
                Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => {
                    return Ok(Newer::Gone);
                }
            }
        }
    }
}

impl Keeper {
    /// Keeps a session; or, where others saved it meanwhile, what they saved with the changes made
    /// to it.
    pub(crate) async fn update(&self, update: Update<'_>) -> Result<Kept> {
        let Update {
            mut record,
            mut held,
            changes,
            owner,
            unsure,
            ..
        } = update;
        if self.lineage_is_over(&record).await? {
            return Ok(Kept::Gone);
        }
        let (all, tag) = (changes.len(), record.tag);
        // The changes that are not in `record`, where that is what others saved.
        let mut missing = changes;
        let mut contender = Contender::new(self);
        let (mut went, mut revived) = (false, false);
        loop {
            let expect = Expect::Revision(held.revision);
            let saved = self.save(&held.id, &mut record, expect, all, unsure).await;
            match contender.heard(saved)? {
                Saved::Saved(_) if went => return Ok(Kept::Elsewhere),
                Saved::Saved(revision) => {
                    return Ok(Kept::Here {
                        record,
                        held: Held { revision, ..held },
                        revived,
                    });
                }
                Saved::Gone => return Ok(Kept::Gone),
                Saved::Changed => {}
            }
            let tried = record.rev;
            match contender.newer(held.id, tag).await? {
                Newer::Gone => return Ok(Kept::Gone),
                Newer::Saved {
                    record: newer,
                    held: there,
                    moved,
                } => {
                    (record, held) = (newer, there);
                    went |= moved;
                }
            }
            // The store was asked twice, and the first answer got lost.
            let arrived = match record.rev == tried {
                true => Some(all),
                false => unsure.arrived(record.rev),
            };
            match arrived {
                Some(arrived) => {
                    missing = &changes[arrived..];
                    unsure.clear();
                    if missing.is_empty() {
                        return Ok(match went {
                            true => Kept::Elsewhere,
                            false => Kept::Here {
                                record,
                                held,
                                revived,
                            },
                        });
                    }
                }
                None if !unsure.is_empty() => {
                    let lost = unsure.changes();
                    unsure.clear();
                    return Ok(Kept::Unknown {
                        newer: Some((record, held)).filter(|_| !went),
                        lost,
                    });
                }
                None => {}
            }
            if went && owner.is_some() && record.user.is_some() && record.user != owner {
                // Somebody else logged in, to whom nothing of the one before is shown.
                return Ok(Kept::Elsewhere);
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
        mut held: Held,
        mut take_out: impl FnMut(&mut Record) -> Result<Vec<T>>,
    ) -> Result<(Vec<T>, Kept)> {
        let gone = || Ok((Vec::new(), Kept::Gone));
        if self.lineage_is_over(&record).await? {
            return gone();
        }
        let tag = record.tag;
        let mut contender = Contender::new(self);
        let mut revived = false;
        loop {
            let taken = take_out(&mut record)?;
            let here = |record, held| Kept::Here {
                record,
                held,
                revived,
            };
            if taken.is_empty() {
                return Ok((taken, here(record, held)));
            }
            let ttl = self.lifetime(&record);
            let expect = Expect::Revision(held.revision);
            let saved = self.put(&held.id, &mut record, ttl, expect).await;
            match contender.heard(saved)? {
                Saved::Saved(revision) => {
                    return Ok((taken, here(record, Held { revision, ..held })));
                }
                Saved::Gone => return gone(),
                Saved::Changed => {}
            }
            let tried = record.rev;
            (record, held) = match contender.newer(held.id, tag).await? {
                // What was there went on with the one who renewed it, and that may be somebody else.
                Newer::Saved { moved: true, .. } => return Ok((Vec::new(), Kept::Elsewhere)),
                Newer::Saved { record, held, .. } => (record, held),
                Newer::Gone => return gone(),
            };
            if record.rev == tried {
                // The store was asked twice, and the first answer got lost.
                return Ok((taken, here(record, held)));
            }
            revived = !record.has_info();
        }
    }
}
