//! The renewal of a session: a copy under a new id, and a mark at the old one that says where the
//! session went.

use std::time::Instant;

use super::{CommitOutcome, Lookup, SessionManager, Unconfirmed, Update, Version, same};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

/// How often the store is asked to put down the mark: where an answer gets lost, the session must
/// not stay between two ids.
const TRIES: u32 = 3;

impl SessionManager {
    /// Keeps a session under the new id `id`, and lets the old one go.
    pub(crate) async fn renew(&self, id: SessionId, renewal: Update<'_>) -> Result<CommitOutcome> {
        let Update {
            mut record,
            mut version,
            changes,
            before,
            unanswered,
            ..
        } = renewal;
        if self.lineage_is_over(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let (started, tag) = (Instant::now(), record.tag);
        // An end that meets renewals again and again waits here for the last of them.
        let _lock = self.lock_lineage(tag).await;
        record.tag();
        let copied = record.tag;
        // What an earlier try of this request may have left under the id.
        let tried = unanswered
            .unconfirmed
            .take()
            .filter(|unconfirmed| unconfirmed.id == id);
        let (earlier, known) = match tried {
            Some(unconfirmed) => (Some(unconfirmed.own), unconfirmed.before),
            None => (None, None),
        };
        let before = match known.or(before) {
            Some(before) => Some(before),
            None => self.as_held(&version).await?,
        };
        unanswered.unconfirmed = Some(Box::new(Unconfirmed {
            from: Some(version.id),
            id,
            own: record.clone(),
            before,
        }));
        let CommitOutcome::Committed {
            mut record,
            version: mut new,
            ..
        } = self.create(id, record, earlier.as_ref()).await?
        else {
            return Ok(CommitOutcome::Ended);
        };
        let (mut missing, mut revived) = (changes, false);
        loop {
            self.check_patience(started)?;
            match self.leave_for(&version, new.id, copied).await? {
                Saved::Saved(_) => {
                    unanswered.clear();
                    return Ok(CommitOutcome::Committed {
                        record,
                        version: new,
                        revived,
                    });
                }
                Saved::Gone => break,
                Saved::Changed => {}
            }
            match self.reload(&version.id).await? {
                Lookup::Live(newer, there) if same(tag, newer.tag) => {
                    match unanswered.arrived(newer.rev) {
                        Some(arrived) => missing = &changes[arrived..],
                        None if unanswered.is_empty() => {}
                        None => {
                            self.delete(&new.id).await?;
                            let lost = unanswered.changes();
                            unanswered.clear();
                            let newer = Some((newer, there));
                            return Ok(CommitOutcome::Unknown { newer, lost });
                        }
                    }
                    let own = unanswered
                        .unconfirmed
                        .take()
                        .map_or_else(|| record.clone(), |unconfirmed| unconfirmed.own);
                    unanswered.clear();
                    unanswered.unconfirmed = Some(Box::new(Unconfirmed {
                        from: Some(there.id),
                        id,
                        own,
                        before: Some(newer.clone()),
                    }));
                    (record, version) = (newer, there);
                    revived = !record.has_info();
                    record.tag = record.tag.or(copied);
                }
                // The answer to an earlier try got lost.
                Lookup::Tombstone(Tombstone::Moved(next)) if next == new.id => {
                    unanswered.clear();
                    return Ok(CommitOutcome::Committed {
                        record,
                        version: new,
                        revived,
                    });
                }
                Lookup::Tombstone(Tombstone::Moved(next)) => {
                    let forked = self.fork(next, record, new, changes).await?;
                    unanswered.clear();
                    return Ok(forked);
                }
                Lookup::Live(..) | Lookup::Tombstone(Tombstone::Ended) | Lookup::Missing => break,
            }
            for change in missing {
                change.apply(&mut record, &self.limits)?;
            }
            if let Some(unconfirmed) = &mut unanswered.unconfirmed {
                unconfirmed.own = record.clone();
            }
            match self.replace(&new, &mut record).await? {
                Saved::Saved(revision) => new.revision = revision,
                Saved::Changed | Saved::Gone => break,
            }
        }
        // The session ended meanwhile, so the copy must not live either.
        self.delete(&new.id).await?;
        Ok(CommitOutcome::Ended)
    }

    /// Keeps `record`, version as `new`, as a second copy of a session that another request renewed
    /// first, to `first`. Each visitor goes on with what it had. Whether both are the same person,
    /// nobody knows; but the session is one, and when one copy ends, so do all.
    async fn fork(
        &self,
        first: SessionId,
        mut record: Record,
        new: Version,
        changes: &[Change],
    ) -> Result<CommitOutcome> {
        // A notification is for one reader, a form token for one form: what was there went with the
        // first.
        let own = |message: &StoredMessage| {
            let mut brought = changes.iter().filter_map(Change::message);
            brought.any(|own| own.id == message.id)
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
                true => CommitOutcome::Ended,
                false => CommitOutcome::CommittedElsewhere,
            });
        };
        (record.forked, record.tag) = (true, Some(tag));
        match self.replace(&new, &mut record).await? {
            Saved::Saved(revision) => Ok(CommitOutcome::committed(
                record,
                Version { revision, ..new },
            )),
            Saved::Changed | Saved::Gone => {
                self.delete(&new.id).await?;
                Ok(CommitOutcome::Ended)
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
                Lookup::Live(mut record, version) if same(tag, record.tag) => {
                    if let Some(tag) = record.tag.filter(|_| record.forked) {
                        return Ok(Some(tag));
                    }
                    record.forked = true;
                    record.tag();
                    if let Saved::Saved(_) = self.replace(&version, &mut record).await? {
                        return Ok(record.tag);
                    }
                }
                Lookup::Tombstone(Tombstone::Moved(next)) => id = next,
                Lookup::Live(..) | Lookup::Tombstone(Tombstone::Ended) | Lookup::Missing => {
                    return Ok(None);
                }
            }
        }
    }

    /// Returns what is `version`, unless others saved it since.
    async fn as_held(&self, version: &Version) -> Result<Option<Record>> {
        let there = self.look(&version.id).await?;
        let same = there.filter(|(_, there)| there.revision == version.revision);
        Ok(same.map(|(record, _)| record))
    }

    /// Keeps `record` in the place of what is `version`.
    pub(super) async fn replace(&self, version: &Version, record: &mut Record) -> Result<Saved> {
        let ttl = self.lifetime(record);
        self.put(
            &version.id,
            record,
            ttl,
            Precondition::Revision(version.revision),
        )
        .await
    }

    /// Puts the mark that leads to `next` in the place of what is `version`. A try that is repeated
    /// finds the mark of the one before, and changes nothing.
    async fn leave_for(
        &self,
        version: &Version,
        next: SessionId,
        tag: Option<u64>,
    ) -> Result<Saved> {
        for _ in 1..TRIES {
            if let Ok(saved) = self.leave(version, Tombstone::Moved(next), tag).await {
                return Ok(saved);
            }
        }
        self.leave(version, Tombstone::Moved(next), tag).await
    }

    /// Puts a mark in the place of what is `version`. `tag` is that of the session, where whoever finds
    /// the mark may want to know it.
    pub(super) async fn leave(
        &self,
        version: &Version,
        tombstone: Tombstone,
        tag: Option<u64>,
    ) -> Result<Saved> {
        let mut record = Record::tombstone(self.clock.seconds(), tombstone);
        record.tag = tag;
        self.replace(version, &mut record).await
    }
}
