//! Loads a session, and updates its time of last use.

use super::{CommitOutcome, SessionManager, Version};
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::events::EventKind;
use crate::id::SessionId;
use crate::record::{Record, Tombstone};
use crate::store::{Saved, Stored};

/// The result of a lookup under an id.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
pub(crate) enum Lookup {
    /// A session. It may be one that was emptied a moment ago: new values go on under the same id.
    Live(Record, Version),
    /// The session moved or ended a moment ago.
    Tombstone(Tombstone),
    Missing,
}

/// What a request finds under the id that it presents.
pub(crate) enum Presented {
    /// A session, as in [`Lookup::Live`].
    Live(Record, Version),
    /// The session moved a moment ago.
    Moved,
    /// The session ended, for this reason if it is known.
    Ended(Option<EndReason>),
    /// The session timed out, and the store still has it.
    Expired(EndReason, Record),
    Missing,
}

/// Returns whether the session with the tag `there` is the one that had `tag`, and not one that
/// began later under the same id. Sessions that this crate did not write have no tag and always
/// match.
pub(crate) fn is_same_session(tag: Option<u64>, there: Option<u64>) -> bool {
    tag.is_none() || tag == there
}

impl SessionManager {
    /// Returns the session under `id`, for a request that has just presented that id. A session
    /// past half of its idle timeout is extended first, so that it cannot expire while the request
    /// uses it.
    pub(crate) async fn load(&self, id: &SessionId) -> Result<Presented> {
        let Some((record, version)) = self.read(id).await? else {
            return Ok(Presented::Missing);
        };
        match record.tombstone {
            Some(Tombstone::Moved(_)) => return Ok(Presented::Moved),
            Some(Tombstone::Ended) => return Ok(Presented::Ended(record.ended)),
            None => {}
        }
        if self.is_expired(&record) {
            return Ok(Presented::Expired(self.timeout_of(&record), record));
        }
        if let Some(end) = self.lineage_end(&record).await? {
            return Ok(Presented::Ended(end.ended));
        }
        if !self.is_past_half_of_timeout(&record) {
            return Ok(Presented::Live(record, version));
        }
        // In a box, as every rare path of a load: it would make the future of each load larger.
        Ok(match Box::pin(self.extend(record, version)).await? {
            Lookup::Live(record, version) => Presented::Live(record, version),
            Lookup::Tombstone(Tombstone::Moved(_)) => Presented::Moved,
            Lookup::Tombstone(Tombstone::Ended) => Presented::Ended(None),
            Lookup::Missing => Presented::Missing,
        })
    }

    /// Like [`load`](Self::load), for a request that has already loaded the session.
    pub(crate) async fn reload(&self, id: &SessionId) -> Result<Lookup> {
        let Some((record, version)) = self.read(id).await? else {
            return Ok(Lookup::Missing);
        };
        Ok(match record.tombstone {
            Some(tombstone) => Lookup::Tombstone(tombstone),
            None if self.is_expired(&record) || self.lineage_has_ended(&record).await? => {
                Lookup::Missing
            }
            None => Lookup::Live(record, version),
        })
    }

    /// Reads the record under `id`. It may be a tombstone, or expired.
    pub(super) async fn read(&self, id: &SessionId) -> Result<Option<(Record, Version)>> {
        let Some(Stored { bytes, revision }) = self
            .bounds
            .call("load a session", self.store.load_session(id))
            .await?
        else {
            return Ok(None);
        };
        let Some(mut record) = Record::decode(bytes, id) else {
            self.listeners().note(EventKind::RecordUnreadable);
            log::warn!(
                "the store holds an invalid record under a session's id; it is kept for examination, and opens no session"
            );
            self.bounds
                .call("quarantine an invalid record", self.store.quarantine(id))
                .await?;
            return Ok(None);
        };
        // The clock of another host may run ahead. That must not extend the session's life.
        record.created = record.created.min(self.clock.seconds());
        let version = Version {
            id: *id,
            revision,
            touched: false,
        };
        Ok(Some((record, version)))
    }

    /// Returns whether `record` has passed one of its timeouts, even if the store still returns it.
    pub(crate) fn is_expired(&self, record: &Record) -> bool {
        let now = self.clock.seconds();
        let too_old = self.absolute_timeout > 0
            && now >= record.created.saturating_add(self.absolute_timeout);
        too_old || now >= record.accessed.saturating_add(self.idle_timeout)
    }

    /// Returns the timeout that `record`, which is expired, has passed first.
    fn timeout_of(&self, record: &Record) -> EndReason {
        let idle = record.accessed.saturating_add(self.idle_timeout);
        let absolute = record.created.saturating_add(self.absolute_timeout);
        match self.absolute_timeout > 0 && absolute <= idle {
            true => EndReason::AbsoluteTimeout,
            false => EndReason::IdleTimeout,
        }
    }

    /// Returns whether `record` is a copy of a session that has ended.
    ///
    /// Only concurrent renewals make copies, and only copies cost this second read.
    pub(crate) async fn lineage_has_ended(&self, record: &Record) -> Result<bool> {
        Ok(self.lineage_end(record).await?.is_some())
    }

    /// Returns the tombstone of all copies of `record`, if they have ended.
    async fn lineage_end(&self, record: &Record) -> Result<Option<Record>> {
        let Some(tag) = record.tag.filter(|_| record.forked) else {
            return Ok(None);
        };
        let id = SessionId::of_lineage(tag);
        let tombstone = Box::pin(self.read(&id)).await?.map(|(record, _)| record);
        Ok(tombstone.filter(|record| record.tombstone == Some(Tombstone::Ended)))
    }

    /// Returns whether the time of last use should be updated. A time far in the future counts as
    /// well: the clock was set back.
    pub(crate) fn touch_is_due(&self, record: &Record) -> bool {
        self.clock.seconds().abs_diff(record.accessed) >= self.touch_every.max(1)
    }

    fn is_past_half_of_timeout(&self, record: &Record) -> bool {
        let idle = self.clock.seconds().saturating_sub(record.accessed);
        record.has_info() && idle > self.idle_timeout / 2
    }

    /// Updates the time of last use in the store, and returns the session with the previous time.
    async fn extend(&self, mut record: Record, version: Version) -> Result<Lookup> {
        let before = record.accessed;
        let saved = self.replace(&version, &mut record).await;
        record.accessed = before;
        match saved {
            Ok(Saved::Saved(revision)) => {
                let version = Version {
                    revision,
                    touched: true,
                    ..version
                };
                Ok(Lookup::Live(record, version))
            }
            // Another request saved the session, which extends it too, or ended it.
            Ok(Saved::Changed | Saved::Gone) => self.reload(&version.id).await,
            // The session is loaded all the same. If the store fails again, the save reports it.
            Err(_) => Ok(Lookup::Live(record, version)),
        }
    }

    /// Like [`touch`](Self::touch), but also confirms that the id is current if another request has
    /// just saved the session. The response may then send the cookie again.
    pub(crate) async fn confirm(&self, record: Record, version: Version) -> Result<CommitOutcome> {
        let tag = record.tag;
        match self.touch(record, version).await? {
            CommitOutcome::CommittedElsewhere => Ok(match self.reload(&version.id).await? {
                // Another request emptied the session and removed the cookie.
                Lookup::Live(record, _) if !record.has_info() => CommitOutcome::CommittedElsewhere,
                Lookup::Live(record, version) if is_same_session(tag, record.tag) => {
                    CommitOutcome::committed(record, version)
                }
                Lookup::Tombstone(Tombstone::Moved(_)) => CommitOutcome::CommittedElsewhere,
                _ => CommitOutcome::Ended,
            }),
            outcome => Ok(outcome),
        }
    }

    /// Updates the time of last use, unless another request has just saved the session.
    pub(crate) async fn touch(
        &self,
        mut record: Record,
        version: Version,
    ) -> Result<CommitOutcome> {
        if self.lineage_has_ended(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let saved = self.replace(&version, &mut record).await?;
        Ok(match saved {
            Saved::Saved(revision) => CommitOutcome::committed(
                record,
                Version {
                    revision,
                    ..version
                },
            ),
            Saved::Changed => CommitOutcome::CommittedElsewhere,
            Saved::Gone => CommitOutcome::Ended,
        })
    }
}
