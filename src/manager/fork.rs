//! Copies: two requests that renew a session at the same time each get a copy of it.

use std::time::Instant;

use super::{CommitOutcome, Lookup, SessionManager, Version, is_same_session};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::record::{Record, Tombstone};
use crate::store::Saved;

impl SessionManager {
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
            true => self.set_forked(first, record.tag).await?,
            false => None,
        };
        let Some(tag) = tag else {
            return Ok(match record.has_info() {
                true => CommitOutcome::Ended,
                false => CommitOutcome::CommittedElsewhere,
            });
        };
        (record.forked, record.tag) = (true, Some(tag));
        Ok(match self.replace(&new, &mut record).await? {
            Saved::Saved(revision) => CommitOutcome::committed(record, Version { revision, ..new }),
            Saved::Changed | Saved::Gone => CommitOutcome::Ended,
        })
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
}
