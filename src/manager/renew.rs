//! Renews a session: saves it under a new id, and leaves a tombstone at the old one.

use std::time::Instant;

use super::{CommitOutcome, Lookup, SessionManager, Unconfirmed, Update, Version, is_same_session};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

/// How often a tombstone is sent when responses are lost: a session must not stay between two ids.
const TRIES: u32 = 3;

impl SessionManager {
    /// Saves a session under the new id `id`, and replaces the old record with a tombstone.
    pub(crate) async fn renew(&self, id: SessionId, renewal: Update<'_>) -> Result<CommitOutcome> {
        let Update {
            mut record,
            mut version,
            changes,
            before,
            unanswered,
            ..
        } = renewal;
        if self.lineage_has_ended(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let (started, tag) = (Instant::now(), record.tag);
        // An end that follows a chain of renewals takes this lock to stop further ones.
        let _lock = self.lock_lineage(tag).await;
        record.tag();
        let copied = record.tag;
        // The copy that an earlier attempt of this request may have left under the id.
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
            None => self.read_unchanged(&version).await?,
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
            match self.put_moved_tombstone(&version, new.id, copied).await? {
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
                Lookup::Live(newer, there) if is_same_session(tag, newer.tag) => {
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
                // An earlier attempt succeeded, but its response was lost.
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
        // The session ended meanwhile. The copy must end with it.
        self.delete(&new.id).await?;
        Ok(CommitOutcome::Ended)
    }

    /// Keeps `record`, saved as `new`, as a second copy of a session that another request renewed
    /// first, to `first`. Each browser goes on with its own copy. When one copy ends, all of them
    /// end.
    async fn fork(
        &self,
        first: SessionId,
        mut record: Record,
        new: Version,
        changes: &[Change],
    ) -> Result<CommitOutcome> {
        // Notifications and form tokens are used once. Existing ones stay with the first copy.
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
            true => self.set_forked(first, record.tag).await?,
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

    /// Marks the session under `id` as copied, following its renewals, and returns its tag. Returns
    /// `None` if the session has ended.
    async fn set_forked(&self, mut id: SessionId, tag: Option<u64>) -> Result<Option<u64>> {
        let started = Instant::now();
        loop {
            self.check_patience(started)?;
            match self.reload(&id).await? {
                Lookup::Live(mut record, version) if is_same_session(tag, record.tag) => {
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

    /// Returns the record of `version`, unless the session was saved since.
    async fn read_unchanged(&self, version: &Version) -> Result<Option<Record>> {
        let there = self.read(&version.id).await?;
        let unchanged = there.filter(|(_, there)| there.revision == version.revision);
        Ok(unchanged.map(|(record, _)| record))
    }

    /// Replaces the record of `version` with `record`.
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

    /// Replaces the record of `version` with a tombstone that leads to `next`. A repeated attempt
    /// that finds this tombstone changes nothing.
    async fn put_moved_tombstone(
        &self,
        version: &Version,
        next: SessionId,
        tag: Option<u64>,
    ) -> Result<Saved> {
        for _ in 1..TRIES {
            if let Ok(saved) = self
                .put_tombstone(version, Tombstone::Moved(next), tag)
                .await
            {
                return Ok(saved);
            }
        }
        self.put_tombstone(version, Tombstone::Moved(next), tag)
            .await
    }

    /// Replaces the record of `version` with a tombstone. `tag` is the tag of the session, for
    /// requests that follow the tombstone.
    pub(super) async fn put_tombstone(
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
