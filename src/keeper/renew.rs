//! The renewal of a session: a copy under a new id, and a mark at the old one that says where the
//! session went.

use std::time::Instant;

use super::{Begun, Found, Held, Keeper, Kept, Update, same};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::notice::Notice;
use crate::record::{Parting, Record};
use crate::store::{Expect, Saved};

/// How often the store is asked to put down the mark: where an answer gets lost, the session must
/// not stay between two ids.
const TRIES: u32 = 3;

impl Keeper {
    /// Keeps a session under the new id `id`, and lets the old one go.
    pub(crate) async fn renew(&self, id: SessionId, renewal: Update<'_>) -> Result<Kept> {
        let Update {
            mut record,
            mut held,
            changes,
            before,
            unsure,
            ..
        } = renewal;
        if self.lineage_is_over(&record).await? {
            return Ok(Kept::Gone);
        }
        let (started, tag) = (Instant::now(), record.tag);
        // An end that meets renewals again and again waits here for the last of them.
        let _lock = self.lock_lineage(tag).await;
        record.tag();
        let copied = record.tag;
        // What an earlier try of this request may have left under the id.
        let tried = unsure.begun.take().filter(|begun| begun.id == id);
        let (earlier, known) = match tried {
            Some(begun) => (Some(begun.own), begun.before),
            None => (None, None),
        };
        let before = match known.or(before) {
            Some(before) => Some(before),
            None => self.as_held(&held).await?,
        };
        unsure.begun = Some(Box::new(Begun {
            from: Some(held.id),
            id,
            own: record.clone(),
            before,
        }));
        let Kept::Here {
            mut record,
            held: mut new,
            ..
        } = self.create(id, record, earlier.as_ref()).await?
        else {
            return Ok(Kept::Gone);
        };
        let (mut missing, mut revived) = (changes, false);
        loop {
            self.check_patience(started)?;
            match self.leave_for(&held, new.id, copied).await? {
                Saved::Saved(_) => {
                    unsure.clear();
                    return Ok(Kept::Here {
                        record,
                        held: new,
                        revived,
                    });
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
                            self.delete(&new.id).await?;
                            let lost = unsure.changes();
                            unsure.clear();
                            let newer = Some((newer, there));
                            return Ok(Kept::Unknown { newer, lost });
                        }
                    }
                    let own = unsure
                        .begun
                        .take()
                        .map_or_else(|| record.clone(), |begun| begun.own);
                    unsure.clear();
                    unsure.begun = Some(Box::new(Begun {
                        from: Some(there.id),
                        id,
                        own,
                        before: Some(newer.clone()),
                    }));
                    (record, held) = (newer, there);
                    revived = !record.has_info();
                    record.tag = record.tag.or(copied);
                }
                // The answer to an earlier try got lost.
                Found::Parted(Parting::Moved(next)) if next == new.id => {
                    unsure.clear();
                    return Ok(Kept::Here {
                        record,
                        held: new,
                        revived,
                    });
                }
                Found::Parted(Parting::Moved(next)) => {
                    let forked = self.fork(next, record, new, changes).await?;
                    unsure.clear();
                    return Ok(forked);
                }
                Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => break,
            }
            for change in missing {
                change.apply(&mut record, &self.limits)?;
            }
            if let Some(begun) = &mut unsure.begun {
                begun.own = record.clone();
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
        // A notification is for one reader, a form token for one form: what was there went with the
        // first.
        let own = |notice: &Notice| {
            let mut brought = changes.iter().filter_map(Change::notice);
            brought.any(|own| own.id == notice.id)
        };
        record.notifications.retain(own);
        let own = |token: &String| {
            let mut brought = changes.iter().filter_map(Change::token);
            brought.any(|own| own == token)
        };
        record.tokens.retain(own);
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

    /// Returns what is `held`, unless others saved it since.
    async fn as_held(&self, held: &Held) -> Result<Option<Record>> {
        let there = self.look(&held.id).await?;
        let same = there.filter(|(_, there)| there.revision == held.revision);
        Ok(same.map(|(record, _)| record))
    }

    /// Keeps `record` in the place of what is `held`.
    pub(super) async fn replace(&self, held: &Held, record: &mut Record) -> Result<Saved> {
        let ttl = self.lifetime(record);
        self.put(&held.id, record, ttl, Expect::Revision(held.revision))
            .await
    }

    /// Puts the mark that leads to `next` in the place of what is `held`. A try that is repeated
    /// finds the mark of the one before, and changes nothing.
    async fn leave_for(&self, held: &Held, next: SessionId, tag: Option<u64>) -> Result<Saved> {
        for _ in 1..TRIES {
            if let Ok(saved) = self.leave(held, Parting::Moved(next), tag).await {
                return Ok(saved);
            }
        }
        self.leave(held, Parting::Moved(next), tag).await
    }

    /// Puts a mark in the place of what is `held`. `tag` is that of the session, where whoever finds
    /// the mark may want to know it.
    pub(super) async fn leave(
        &self,
        held: &Held,
        parting: Parting,
        tag: Option<u64>,
    ) -> Result<Saved> {
        let mut record = Record::parting(self.clock.seconds(), parting);
        record.tag = tag;
        self.replace(held, &mut record).await
    }
}
