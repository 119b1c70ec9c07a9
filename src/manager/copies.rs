//! The copies of a session, which concurrent log-ins make and which end together.

use std::time::{Duration, Instant};

use super::{CommitOutcome, GRACE, Lookup, SessionManager, Version, is_same_session};
use crate::change::Change;
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

impl SessionManager {
    /// Returns whether `record` is a copy of a session that has ended.
    ///
    /// Only concurrent renewals make copies, and only copies cost this second read.
    pub(crate) async fn lineage_has_ended(&self, record: &Record) -> Result<bool> {
        Ok(self.lineage_end(record).await?.is_some())
    }

    /// Returns the tombstone of all copies of `record`, if they have ended.
    pub(super) async fn lineage_end(&self, record: &Record) -> Result<Option<Record>> {
        let Some(tag) = record.tag.filter(|_| record.forked) else {
            return Ok(None);
        };
        let id = SessionId::of_lineage(tag);
        let tombstone = Box::pin(self.read(&id)).await?.map(|(record, _)| record);
        Ok(tombstone.filter(|record| record.tombstone == Some(Tombstone::Ended)))
    }

    /// Keeps `record`, saved as `new`, as a second copy of a session that another request renewed
    /// first, to `first`. Each browser goes on with its own copy. When one copy ends, all of them
    /// end. If the outcome is not a committed copy, the caller deletes `new`.
    pub(super) async fn fork(
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
            true => self.set_forked(first, &record).await?,
            false => None,
        };
        let Some((tag, of_copies)) = tag else {
            return Ok(match record.has_info() {
                true => CommitOutcome::Ended,
                false => CommitOutcome::CommittedElsewhere,
            });
        };
        (record.forked, record.tag) = (true, Some(tag));
        record.note_copies(of_copies);
        Ok(match self.replace(&new, &mut record).await? {
            Saved::Saved(revision) => CommitOutcome::committed(record, Version { revision, ..new }),
            Saved::Changed | Saved::Gone => CommitOutcome::Ended,
        })
    }

    /// Marks the session under `id`, of which `copy` is a copy, as copied, following its renewals.
    /// Returns its tag, and the longest idle timeout of the copies. Returns `None` if the session has
    /// ended.
    async fn set_forked(
        &self,
        mut id: SessionId,
        copy: &Record,
    ) -> Result<Option<(u64, Option<u64>)>> {
        let started = Instant::now();
        loop {
            self.check_patience(started)?;
            match self.reload(&id).await? {
                Lookup::Live(mut record, version) if is_same_session(copy.tag, record.tag) => {
                    if let Some(tag) = record.tag.filter(|_| record.forked) {
                        return Ok(Some((tag, record.of_copies())));
                    }
                    record.forked = true;
                    record.tag();
                    record.note_copies(self.lifetimes.longest_of(&record, copy));
                    if let Saved::Saved(_) = self.replace(&version, &mut record).await? {
                        let of_copies = record.of_copies();
                        return Ok(record.tag.map(|tag| (tag, of_copies)));
                    }
                }
                Lookup::Tombstone(Tombstone::Moved(next), _) => id = next,
                Lookup::Live(..) | Lookup::Tombstone(Tombstone::Ended, _) | Lookup::Missing => {
                    return Ok(None);
                }
            }
        }
    }

    /// Ends every copy of the session with `tag`, by a tombstone that each copy checks. `unused` is
    /// the number of seconds that a copy can stay unused.
    pub(super) async fn end_lineage(&self, tag: u64, unused: u64, reason: EndReason) -> Result<()> {
        let mut tombstone = Record::tombstone(self.clock.seconds(), Tombstone::Ended);
        tombstone.ended = Some(reason);
        // An unused copy leaves the store before this tombstone does.
        let unused = unused.saturating_add(self.keep_expired);
        let ttl = Duration::from_secs(unused).saturating_add(GRACE);
        let id = SessionId::of_lineage(tag);
        self.put(&id, &mut tombstone, ttl, Precondition::Absent)
            .await?;
        Ok(())
    }
}
