//! The renewal of a session: a copy under a new id, and a mark at the old one that says where the
//! session went.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;

use super::{Found, GRACE, Held, Keeper, Kept, Update, same};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::notice::Notice;
use crate::record::{Parting, Record};
use crate::store::{Expect, Saved};

/// How often the store is asked to put down the mark: where an answer gets lost, the session must
/// not stay between two ids.
const TRIES: u32 = 3;

/// How long to wait before the next try to undo a renewal.
const PAUSE: Duration = Duration::from_millis(250);

impl Keeper {
    /// Keeps a session under the new id `id`, and lets the old one go.
    pub(crate) async fn renew(&self, id: SessionId, renewal: Update<'_>) -> Result<Kept> {
        let Update {
            record,
            mut held,
            changes,
            unsure,
            ..
        } = renewal;
        if self.lineage_is_over(&record).await? {
            return Ok(Kept::Gone);
        }
        let (started, tag) = (Instant::now(), record.tag);
        let Kept::Here {
            mut record,
            held: mut new,
            ..
        } = self.create(id, record).await?
        else {
            return Ok(Kept::Gone);
        };
        let mut missing = changes;
        loop {
            self.check_patience(started)?;
            unsure.renewal = Some(new.id);
            match self.leave_for(&held, new.id).await? {
                Saved::Saved(_) => {
                    unsure.clear();
                    return Ok(Kept::here(record, new));
                }
                Saved::Gone => break,
                Saved::Changed => {}
            }
            match self.reload(&held.id).await? {
                Found::Live(newer, there) if same(tag, newer.tag) => {
                    match unsure.arrived(newer.rev) {
                        Some(arrived) => missing = &changes[arrived..],
                        None if unsure.is_empty() => {}
                        None => {
                            let lost = unsure.changes();
                            unsure.clear();
                            self.delete(&new.id).await?;
                            let newer = Some((newer, there));
                            return Ok(Kept::Unknown { newer, lost });
                        }
                    }
                    unsure.clear();
                    (record, held) = (newer, there);
                }
                // The answer to an earlier try got lost.
                Found::Parted(Parting::Moved(next)) if next == new.id => {
                    unsure.clear();
                    return Ok(Kept::here(record, new));
                }
                Found::Parted(Parting::Moved(next)) => {
                    unsure.clear();
                    return self.fork(next, record, new, changes).await;
                }
                Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => break,
            }
            for change in missing {
                change.apply(&mut record, &self.limits)?;
            }
            match self.replace(&new, &mut record).await? {
                Saved::Saved(revision) => new.revision = revision,
                Saved::Changed | Saved::Gone => break,
            }
        }
        // The session ended meanwhile, so the copy must not live either.
        self.delete(&new.id).await?;
        Ok(Kept::Gone)
    }

    /// Keeps `record`, held as `new`, as a second copy of a session that another request renewed
    /// first, to `first`. Each visitor goes on with what it had. Whether both are the same person,
    /// nobody knows; but the session is one, and when one copy ends, so do all.
    async fn fork(
        &self,
        first: SessionId,
        mut record: Record,
        new: Held,
        changes: &[Change],
    ) -> Result<Kept> {
        // A notification is for one reader, and went with the first.
        let own = |notice: &Notice| {
            let mut brought = changes.iter().filter_map(Change::notice);
            brought.any(|own| own.id == notice.id)
        };
        record.notifications.retain(own);
        let tag = match record.has_info() {
            true => self.mark_as_forked(first, record.tag).await?,
            false => None,
        };
        let Some(tag) = tag else {
            self.delete(&new.id).await?;
            return Ok(match record.has_info() {
                true => Kept::Gone,
                false => Kept::Elsewhere,
            });
        };
        (record.forked, record.tag) = (true, Some(tag));
        match self.replace(&new, &mut record).await? {
            Saved::Saved(revision) => Ok(Kept::here(record, Held { revision, ..new })),
            Saved::Changed | Saved::Gone => {
                self.delete(&new.id).await?;
                Ok(Kept::Gone)
            }
        }
    }

    /// Says in the session under `id`, wherever it has got to, that there are copies of it, and
    /// returns its tag; `None` when it has ended.
    async fn mark_as_forked(&self, mut id: SessionId, tag: Option<u64>) -> Result<Option<u64>> {
        let started = Instant::now();
        loop {
            self.check_patience(started)?;
            match self.reload(&id).await? {
                Found::Live(mut record, held) if same(tag, record.tag) => {
                    if let Some(tag) = record.tag.filter(|_| record.forked) {
                        return Ok(Some(tag));
                    }
                    record.forked = true;
                    record.tag();
                    if let Saved::Saved(_) = self.replace(&held, &mut record).await? {
                        return Ok(record.tag);
                    }
                }
                Found::Parted(Parting::Moved(next)) => id = next,
                Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => {
                    return Ok(None);
                }
            }
        }
    }

    /// Undoes, in the background, a renewal of the session `held` to `new` that the store did not
    /// confirm in time: its visitor has the old cookie, and nobody has the new one. `before` is the
    /// session as it was.
    pub(crate) fn undo_renewal(
        self: &Arc<Self>,
        held: Held,
        new: SessionId,
        before: Option<Record>,
    ) {
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            let started = Instant::now();
            // Later the mark has gone by itself, and what it replaced with it.
            while started.elapsed() < GRACE {
                if let Ok(true) = keeper.try_to_undo(&held.id, new, before.clone()).await {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// Returns whether the session is under `id` again, for good.
    async fn try_to_undo(
        &self,
        id: &SessionId,
        new: SessionId,
        before: Option<Record>,
    ) -> Result<bool> {
        let Some((there, held)) = self.look(id).await? else {
            self.delete(&new).await?;
            return Ok(true);
        };
        let mut record = match there.parting {
            // The mark may be on its way still. Once this is saved, it comes too late.
            None => there,
            Some(Parting::Moved(next)) if next == new => match before {
                Some(before) => before,
                None => return Ok(true),
            },
            Some(_) => return Ok(true),
        };
        match self.replace(&held, &mut record).await? {
            Saved::Saved(_) => {
                self.delete(&new).await?;
                Ok(true)
            }
            Saved::Changed | Saved::Gone => Ok(false),
        }
    }

    /// Keeps `record` in the place of what is `held`.
    async fn replace(&self, held: &Held, record: &mut Record) -> Result<Saved> {
        let ttl = self.lifetime(record);
        self.put(&held.id, record, ttl, Expect::Revision(held.revision))
            .await
    }

    /// Puts the mark that leads to `next` in the place of what is `held`. A try that is repeated
    /// finds the mark of the one before, and changes nothing.
    async fn leave_for(&self, held: &Held, next: SessionId) -> Result<Saved> {
        for _ in 1..TRIES {
            if let Ok(saved) = self.leave(held, Parting::Moved(next)).await {
                return Ok(saved);
            }
        }
        self.leave(held, Parting::Moved(next)).await
    }

    /// Puts a mark in the place of what is `held`.
    pub(super) async fn leave(&self, held: &Held, parting: Parting) -> Result<Saved> {
        let mut record = Record::parting(self.clock.seconds(), parting);
        self.replace(held, &mut record).await
    }
}
