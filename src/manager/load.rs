//! Loading a session: what the store has under an id, and whether that is still a session.

use super::{CommitOutcome, SessionManager, Version};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved, Stored};

/// What a store has under an id.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
pub(crate) enum Lookup {
    /// A session. One that a request emptied a moment ago is still here: what is put in now goes
    /// on under its id.
    Live(Record, Version),
    /// The session departed a moment ago.
    Tombstone(Tombstone),
    Missing,
}

/// Returns whether what is there with the tag `there` is the session that had `tag`, and not one
/// that began after its end. One that this crate did not write has none.
pub(crate) fn same(tag: Option<u64>, there: Option<u64>) -> bool {
    tag.is_none() || tag == there
}

impl SessionManager {
    /// Returns the session under `id`, for a request that has just credential it. One that is past
    /// half of its idle timeout is prolonged first: it must not expire while the request uses it.
    pub(crate) async fn load(&self, id: &SessionId) -> Result<Lookup> {
        match self.reload(id).await? {
            Lookup::Live(record, version) if self.is_past_half_of_its_time(&record) => {
                self.prolong(record, version).await
            }
            found => Ok(found),
        }
    }

    /// As [`load`](Self::load), for a request that has the session already.
    pub(crate) async fn reload(&self, id: &SessionId) -> Result<Lookup> {
        let Some((record, version)) = self.look(id).await? else {
            return Ok(Lookup::Missing);
        };
        Ok(match record.tombstone {
            Some(tombstone) => Lookup::Tombstone(tombstone),
            None if self.is_over(&record) || self.lineage_is_over(&record).await? => {
                Lookup::Missing
            }
            None => Lookup::Live(record, version),
        })
    }

    /// Returns what the store has under `id`, whatever that means.
    pub(super) async fn look(&self, id: &SessionId) -> Result<Option<(Record, Version)>> {
        let Some(Stored { bytes, revision }) = self
            .bounds
            .call("load a session", self.store.load_session(id))
            .await?
        else {
            return Ok(None);
        };
        let Some(mut record) = Record::decode(&bytes, id) else {
            log::warn!(
                "the store holds something under a session's id that is no session, or another one; it was kept aside, its visitor starts anew"
            );
            self.bounds
                .call("keep aside what is no session", self.store.quarantine(id))
                .await?;
            return Ok(None);
        };
        // The host that began it may have been ahead, which must not prolong its life.
        record.created = record.created.min(self.clock.seconds());
        let version = Version {
            id: *id,
            revision,
            touched: false,
        };
        Ok(Some((record, version)))
    }

    /// Returns whether `record` outlived one of its timeouts, whether or not the store knows.
    pub(crate) fn is_over(&self, record: &Record) -> bool {
        let now = self.clock.seconds();
        let too_old = self.absolute_timeout > 0
            && now >= record.created.saturating_add(self.absolute_timeout);
        too_old || now >= record.accessed.saturating_add(self.idle_timeout)
    }

    /// Returns whether `record` is one of several copies of a session that has ended.
    ///
    /// Copies are made by renewals at the same time, and only they cost this second look.
    pub(crate) async fn lineage_is_over(&self, record: &Record) -> Result<bool> {
        let Some(tag) = record.tag.filter(|_| record.forked) else {
            return Ok(false);
        };
        let mark = self.look(&SessionId::of_lineage(tag)).await?;
        Ok(mark.is_some_and(|(mark, _)| mark.tombstone == Some(Tombstone::Ended)))
    }

    /// Returns whether the time of the last request should be moved on. It lies far ahead where the
    /// clock was set back since.
    pub(crate) fn touch_is_due(&self, record: &Record) -> bool {
        self.clock.seconds().abs_diff(record.accessed) >= self.touch_every.max(1)
    }

    fn is_past_half_of_its_time(&self, record: &Record) -> bool {
        let idle = self.clock.seconds().saturating_sub(record.accessed);
        record.has_info() && idle > self.idle_timeout / 2
    }

    /// Moves on the time of the last request, and returns the session with the time as it was.
    async fn prolong(&self, mut record: Record, version: Version) -> Result<Lookup> {
        let before = record.accessed;
        let ttl = self.lifetime(&record);
        let saved = self
            .put(
                &version.id,
                &mut record,
                ttl,
                Precondition::Revision(version.revision),
            )
            .await;
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
            // Another request saved it, and so prolonged it, or ended it.
            Ok(Saved::Changed | Saved::Gone) => self.reload(&version.id).await,
            // The session was loaded. If the store fails again, the way out tells.
            Err(_) => Ok(Lookup::Live(record, version)),
        }
    }

    /// As [`touch`](Self::touch), for a request whose browser must learn whether the id is current:
    /// also where another request saved the session a moment ago.
    pub(crate) async fn confirm(&self, record: Record, version: Version) -> Result<CommitOutcome> {
        let tag = record.tag;
        match self.touch(record, version).await? {
            CommitOutcome::CommittedElsewhere => Ok(match self.reload(&version.id).await? {
                // Another request emptied it, and had the cookie removed.
                Lookup::Live(record, _) if !record.has_info() => CommitOutcome::CommittedElsewhere,
                Lookup::Live(record, version) if same(tag, record.tag) => {
                    CommitOutcome::committed(record, version)
                }
                Lookup::Tombstone(Tombstone::Moved(_)) => CommitOutcome::CommittedElsewhere,
                _ => CommitOutcome::Ended,
            }),
            kept => Ok(kept),
        }
    }

    /// Moves on the time of the last request, unless another request did so a moment ago.
    pub(crate) async fn touch(
        &self,
        mut record: Record,
        version: Version,
    ) -> Result<CommitOutcome> {
        if self.lineage_is_over(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let ttl = self.lifetime(&record);
        let saved = self
            .put(
                &version.id,
                &mut record,
                ttl,
                Precondition::Revision(version.revision),
            )
            .await?;
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
