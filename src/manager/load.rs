//! Loads a session, and updates its time of last use.

use super::{CommitOutcome, SessionManager, Version};
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::events::EventKind;
use crate::id::SessionId;
use crate::record::{Grace, Record, Tombstone};
use crate::store::{Saved, Stored};

/// The result of a lookup under an id.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
pub(crate) enum Lookup {
    /// A session. It may be one that was emptied a moment ago: new values go on under the same id.
    Live(Record, Version),
    /// The session moved or ended a moment ago. A renewal may have a grace.
    Tombstone(Tombstone, Option<Box<Grace>>),
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
    /// uses it. In the grace of a renewal the session is under another id.
    pub(crate) async fn load(&self, id: &SessionId) -> Result<Presented> {
        let Some((mut record, mut version)) = self.read(id).await? else {
            return Ok(Presented::Missing);
        };
        match (record.tombstone, record.grace.take()) {
            (Some(Tombstone::Ended), _) => return Ok(Presented::Ended(record.ended)),
            (Some(moved), Some(grace)) => {
                let found = Box::pin(self.follow_in_grace(moved, grace, record.tag)).await?;
                match found {
                    Lookup::Live(there, at) => (record, version) = (there, at),
                    _ => return Ok(Presented::Moved),
                }
            }
            (Some(_), None) => return Ok(Presented::Moved),
            (None, _) => {}
        }
        if self.is_expired(&record) {
            let reason = self.lifetimes.timeout_of(&record);
            return Ok(Presented::Expired(reason, record));
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
            Lookup::Tombstone(Tombstone::Moved(_), _) => Presented::Moved,
            Lookup::Tombstone(Tombstone::Ended, _) => Presented::Ended(None),
            Lookup::Missing => Presented::Missing,
        })
    }

    /// Like [`load`](Self::load), for a request that has already loaded the session.
    pub(crate) async fn reload(&self, id: &SessionId) -> Result<Lookup> {
        let Some((record, version)) = self.read(id).await? else {
            return Ok(Lookup::Missing);
        };
        self.judge(record, version).await
    }

    /// Returns what `record` is to a request.
    pub(super) async fn judge(&self, record: Record, version: Version) -> Result<Lookup> {
        Ok(match record.tombstone {
            Some(tombstone) => Lookup::Tombstone(tombstone, record.grace),
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
        let now = self.clock.seconds();
        record.created = record.created.min(now);
        if let Some(log_in) = &mut record.log_in {
            log_in.at = log_in.at.min(now);
        }
        let version = Version {
            id: *id,
            revision,
            touched: false,
        };
        Ok(Some((record, version)))
    }

    /// Returns whether `record` has passed one of its timeouts, even if the store still returns it.
    pub(crate) fn is_expired(&self, record: &Record) -> bool {
        self.lifetimes.is_over(record, self.clock.seconds())
    }

    /// Returns whether the time of last use should be updated. A time far in the future counts as
    /// well: the clock was set back.
    pub(crate) fn touch_is_due(&self, record: &Record) -> bool {
        self.clock.seconds().abs_diff(record.accessed) >= self.lifetimes.touch_every(record)
    }

    fn is_past_half_of_timeout(&self, record: &Record) -> bool {
        let idle = self.clock.seconds().saturating_sub(record.accessed);
        record.has_info() && idle > self.lifetimes.idle(record) / 2
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
                Lookup::Tombstone(Tombstone::Moved(_), _) => CommitOutcome::CommittedElsewhere,
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
