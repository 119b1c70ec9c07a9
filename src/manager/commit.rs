//! Saves an edit of a session by compare-and-set, and repeats it after each conflict.

use std::sync::Arc;
use std::time::Instant;

use super::batch::{self, Leader, Outcome, Place};
use super::end::pause;
use super::grace::{Moved, Trail};
use super::{
    CommitOutcome, Lookup, SessionManager, Unanswered, Version, committed, is_same_session,
};
use crate::config::Limits;
use crate::error::Result;
use crate::id::SessionId;
use crate::keyed_locks::KeyedLock;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Revision, Saved};

/// A save that is repeated after conflicts: its place among the saves of this process, and its
/// start.
struct SaveRetry<'k> {
    manager: &'k SessionManager,
    started: Instant,
    lock: Option<KeyedLock<'k, SessionId>>,
}

/// The state of a session after a conflict.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
enum Newer {
    /// Another request saved it. `moved` is whether the session has a new id.
    Saved {
        record: Record,
        version: Version,
        moved: Moved,
    },
    Gone,
}

impl<'k> SaveRetry<'k> {
    fn new(manager: &'k SessionManager) -> Self {
        Self {
            manager,
            started: Instant::now(),
            lock: None,
        }
    }

    /// Waits for the session's lock, and returns whether this request did not hold it before.
    async fn lock(&mut self, id: SessionId) -> Result<bool> {
        let is_new = self.lock.is_none();
        if is_new {
            self.lock = Some(self.manager.lock_session(id).await?);
        }
        Ok(is_new)
    }

    /// Returns `outcome`. After a failure of the store, the saves that wait for the same lock fail
    /// at once.
    fn note_outcome<T>(&mut self, outcome: Result<T>) -> Result<T> {
        if let (Some(lock), Err(_)) = (&mut self.lock, &outcome) {
            lock.note_failure();
        }
        outcome
    }

    /// Reads the session again: under `id`, or under the id to which the session with `tag` has
    /// moved.
    async fn load_newer(&mut self, mut id: SessionId, tag: Option<u64>) -> Result<Newer> {
        let mut trail = Trail::new(self.manager);
        loop {
            self.manager.check_patience(self.started)?;
            let found = self.manager.reload(&id).await;
            match self.note_outcome(found)? {
                Lookup::Live(record, version) if is_same_session(tag, record.tag) => {
                    return Ok(Newer::Saved {
                        moved: trail.moved(&record),
                        record,
                        version,
                    });
                }
                Lookup::Tombstone(Tombstone::Moved(next), grace) => {
                    if trail.note(grace) {
                        // A tombstone can lead back to an earlier id while a renewal is undone.
                        pause().await;
                    }
                    id = next;
                }
                Lookup::Live(..) | Lookup::Tombstone(Tombstone::Ended, _) | Lookup::Missing => {
                    return Ok(Newer::Gone);
                }
            }
        }
    }
}

/// An edit of a session. After a conflict it is made again, to the newer record.
pub(super) trait Edit {
    /// Returns the saves of this edit whose outcome is unknown, and the number of changes in the
    /// next one.
    fn attempts(&mut self) -> (&mut Unanswered, usize);

    /// Returns whether the request's browser gets the new id of a session that moved with grace.
    fn adopts(&self) -> bool {
        false
    }

    /// Makes the edit to `newer`, which another request saved. `moved` is whether the session has a
    /// new id.
    fn repeat(&mut self, newer: &mut Record, moved: Moved, limits: &Limits) -> Result<Repeated>;
}

/// The consequence of an edit of a newer record.
pub(super) enum Repeated {
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

/// A request's place in a batch.
struct Joined<'a> {
    place: Place<'a>,
    /// The revision of the batch.
    rev: u64,
    /// Whether the session was empty before this request's edit.
    revived: bool,
}

impl SessionManager {
    /// Saves `record`, to which `edit` was made, over `version`, and repeats the edit after each
    /// conflict.
    pub(super) async fn compare_and_set(
        &self,
        mut record: Record,
        mut version: Version,
        edit: &mut impl Edit,
    ) -> Result<CommitOutcome> {
        let mut tried = None;
        if !self.batches.is_led(&version.id) {
            match self.save_over(&version, &mut record, edit).await? {
                Saved::Saved(revision) => {
                    version.revision = revision;
                    return Ok(CommitOutcome::committed(record, version));
                }
                Saved::Gone => return Ok(CommitOutcome::Ended),
                Saved::Changed => tried = Some(record.rev),
            }
        }
        // In a box, because conflicts are rare and this future is large.
        Box::pin(self.save_with_others(record, version, tried, edit)).await
    }

    /// Saves `record` over `version` once.
    async fn save_over(
        &self,
        version: &Version,
        record: &mut Record,
        edit: &mut impl Edit,
    ) -> Result<Saved> {
        let precondition = Precondition::Revision(version.revision);
        let (unanswered, changes) = edit.attempts();
        self.save(&version.id, record, precondition, changes, unanswered)
            .await
    }

    /// Saves an edit of the session of `record` and `version` beside other requests that save it.
    /// `tried` is the revision of the last save of this edit, which met a conflict.
    async fn save_with_others(
        &self,
        mut record: Record,
        mut version: Version,
        mut tried: Option<u64>,
        edit: &mut impl Edit,
    ) -> Result<CommitOutcome> {
        let tag = record.tag;
        let mut retry = SaveRetry::new(self);
        let (mut moved, mut revived) = (Moved::No, false);
        loop {
            self.check_patience(retry.started)?;
            // The last save met a conflict, so the store has nothing of this edit.
            if moved == Moved::No
                && let Some(joined) = self.join_batch(&version.id, tag, edit)?
            {
                // The next request with this session goes on.
                retry.lock = None;
                match self.save_in_batch(joined, &mut version, edit).await? {
                    Ok(outcome) => return Ok(outcome),
                    Err(rev) => tried = Some(rev),
                }
            }
            if retry.lock(version.id).await? && moved == Moved::No {
                // Another request may lead by now. Only one of those that wait has to read.
                continue;
            }
            match retry.load_newer(version.id, tag).await? {
                Newer::Gone => return Ok(CommitOutcome::Ended),
                Newer::Saved {
                    record: newer,
                    version: there,
                    moved: now,
                } => {
                    (record, version) = (newer, there);
                    moved = moved.max(now);
                }
            }
            let elsewhere = moved == Moved::Yes || moved == Moved::WithGrace && !edit.adopts();
            if tried == Some(record.rev) {
                // The store saved this record, but its response was lost.
                return Ok(committed(record, version, revived, elsewhere));
            }
            let was_empty = !record.has_info();
            match self.repeat(edit, &mut record, moved)? {
                Repeated::Edited => revived = was_empty,
                Repeated::Arrived => {
                    return Ok(committed(record, version, revived, elsewhere));
                }
                Repeated::Unchanged => {
                    return Ok(committed(record, version, was_empty, elsewhere));
                }
                Repeated::StaysBehind => return Ok(CommitOutcome::CommittedElsewhere),
                Repeated::Unknown { lost } => {
                    return Ok(CommitOutcome::Unknown {
                        newer: Some((record, version)).filter(|_| moved == Moved::No),
                        lost,
                    });
                }
            }
            // No request joins a copy, or a session under another id: it waits for the lock.
            let leader = match moved != Moved::No || record.forked {
                true => None,
                false => self.batches.lead(version.id, &record),
            };
            if leader.is_some() {
                retry.lock = None;
            }
            let saved = self.save_over(&version, &mut record, edit).await;
            if let Some(leader) = leader {
                leader.finish(&saved);
            }
            match retry.note_outcome(saved)? {
                Saved::Saved(revision) => {
                    version.revision = revision;
                    return Ok(committed(record, version, revived, elsewhere));
                }
                Saved::Gone => return Ok(CommitOutcome::Ended),
                Saved::Changed => tried = Some(record.rev),
            }
        }
    }

    /// Makes `edit` to `newer`, and tells the listeners if the session would be too large.
    fn repeat(&self, edit: &mut impl Edit, newer: &mut Record, moved: Moved) -> Result<Repeated> {
        let repeated = edit.repeat(newer, moved, &self.limits);
        repeated.inspect_err(|error| self.note_limit(error, None))
    }

    /// Joins the batch of the session under `id` and `tag` that is saved next, if there is one.
    fn join_batch(
        &self,
        id: &SessionId,
        tag: Option<u64>,
        edit: &mut impl Edit,
    ) -> Result<Option<Joined<'_>>> {
        if !edit.attempts().0.is_empty() {
            return Ok(None);
        }
        let joined = self.batches.join(id, |record| {
            // Copies of a session are read again, because another copy may end them.
            if record.forked || !is_same_session(tag, record.tag) {
                return Ok(None);
            }
            let was_empty = !record.has_info();
            let repeated = self.repeat(edit, record, Moved::No)?;
            // An edit that changes nothing waits as well: the record is not in the store yet.
            let joins = matches!(repeated, Repeated::Edited | Repeated::Unchanged);
            Ok(joins.then_some(was_empty))
        })?;
        let Some((place, rev, revived)) = joined else {
            return Ok(None);
        };
        let (unanswered, changes) = edit.attempts();
        unanswered.note(rev, changes);
        Ok(Some(Joined {
            place,
            rev,
            revived,
        }))
    }

    /// Saves a batch of the session of `version`, or waits for its leader. If the batch is not in the
    /// store, returns its revision.
    async fn save_in_batch(
        &self,
        joined: Joined<'_>,
        version: &mut Version,
        edit: &mut impl Edit,
    ) -> Result<Result<CommitOutcome, u64>> {
        let Joined {
            place,
            rev,
            revived,
        } = joined;
        let outcome = match place {
            Place::Follower(batch) => batch::outcome(batch).await,
            Place::Leader(next) => match next.lead().await {
                Ok((leader, record, revision)) => self.save_batch(leader, record, revision).await,
                Err(outcome) => outcome,
            },
        };
        if !matches!(outcome, Outcome::Unknown(_)) {
            edit.attempts().0.forget(rev);
        }
        match outcome {
            Outcome::Saved(record, revision) => {
                version.revision = revision;
                let record = Arc::unwrap_or_clone(record);
                Ok(Ok(committed(record, *version, revived, false)))
            }
            Outcome::NotSaved => Ok(Err(rev)),
            Outcome::NotSent(error) | Outcome::Unknown(error) => Err(error),
        }
    }

    async fn save_batch(
        &self,
        leader: Leader<'_>,
        mut record: Record,
        revision: Revision,
    ) -> Outcome {
        let id = leader.id();
        let ttl = self.lifetime(&record);
        let bytes = self.encode(&id, &mut record, ttl);
        let saved = self
            .send(&id, &bytes, ttl, Precondition::Revision(revision))
            .await;
        leader.finish_batch(record, saved)
    }
}
