//! The renewal of a session: a copy under a new id, and a mark at the old one that says where the
//! session went.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;

use super::{Begun, Found, GRACE, Held, Keeper, Kept, Update, same};
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
const PAUSE: Duration = Duration::from_millis(100);

/// The longest that this grows.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

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
        record.tag();
        let copied = record.tag;
        let before = match before {
            Some(before) => Some(before),
            None => self.as_held(&held).await?,
        };
        unsure.begun = Some(Box::new(Begun {
            id,
            own: record.clone(),
            before,
        }));
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
                    let own = unsure
                        .begun
                        .take()
                        .map_or_else(|| record.clone(), |begun| begun.own);
                    unsure.clear();
                    unsure.begun = Some(Box::new(Begun {
                        id,
                        own,
                        before: Some(newer.clone()),
                    }));
                    (record, held) = (newer, there);
                    record.tag = record.tag.or(copied);
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

    /// Undoes, in the background, what the store did not confirm in time: a session that began, or
    /// was renewed from `old`. Nobody has the cookie of the new one; the visitor has the old one.
    pub(crate) fn undo(self: &Arc<Self>, old: Option<SessionId>, mut begun: Box<Begun>) {
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            let (started, mut pause) = (Instant::now(), PAUSE);
            // Later the mark has gone by itself, and what it replaced with it.
            while started.elapsed() < GRACE {
                if let Ok(true) = keeper.try_to_undo(old.as_ref(), &mut begun).await {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        });
    }

    /// Returns whether the session is under its old id again, or gone, for good.
    async fn try_to_undo(&self, old: Option<&SessionId>, begun: &mut Begun) -> Result<bool> {
        let copy = match self.look(&begun.id).await? {
            Some((record, _)) if record.tag != begun.own.tag => return Ok(true),
            copy => copy,
        };
        let there = match old {
            Some(old) => self.look(old).await?,
            None => None,
        };
        let back = match there {
            // The mark may be on its way still. Once this is saved, it comes too late.
            Some((record, held)) if record.parting.is_none() => Some((record, held)),
            Some((mark, held)) if mark.parting == Some(Parting::Moved(begun.id)) => {
                match &begun.before {
                    Some(before) => Some((before.clone(), held)),
                    None => return Ok(true),
                }
            }
            // It ended, or another request renewed it.
            _ => None,
        };
        let Some((mut record, held)) = back else {
            return match copy {
                Some((_, held)) => {
                    let deleting = self.store().delete_session_if(&held.id, held.revision);
                    self.ask("delete a session", deleting).await
                }
                // Should it be on its way still, this is in its place.
                None => self.put_a_mark(&begun.id).await,
            };
        };
        if let Some((now, _)) = &copy {
            record.bring_over(&begun.own, now);
        }
        if !matches!(self.replace(&held, &mut record).await?, Saved::Saved(_)) {
            return Ok(false);
        }
        let Some((now, new)) = copy else {
            return self.put_a_mark(&begun.id).await;
        };
        // What others change in the copy after this is brought over next time; those who come later
        // still follow this mark.
        begun.own = now;
        let left = self.leave(&new, Parting::Moved(held.id)).await?;
        Ok(left != Saved::Changed)
    }

    /// Puts the mark of an end where nothing is, and returns whether nothing was.
    async fn put_a_mark(&self, id: &SessionId) -> Result<bool> {
        let mut mark = Record::parting(self.clock.seconds(), Parting::Ended);
        let put = self.put(id, &mut mark, GRACE, Expect::Absent).await?;
        Ok(matches!(put, Saved::Saved(_)))
    }

    /// Returns what is `held`, unless others saved it since.
    async fn as_held(&self, held: &Held) -> Result<Option<Record>> {
        let there = self.look(&held.id).await?;
        let same = there.filter(|(_, there)| there.revision == held.revision);
        Ok(same.map(|(record, _)| record))
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
