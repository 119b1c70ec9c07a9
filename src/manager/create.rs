//! Creates a session, under a random id or under the id of a token.

use std::time::Instant;

use rocket::futures::future::join;

use super::{CommitOutcome, SessionManager, Unanswered, Update, Version};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::record::Record;
use crate::store::{Precondition, Revision, Saved};

/// How many ids are tried for a new session.
const IDS: u32 = 3;

impl SessionManager {
    /// Creates a session, as [`create`](Self::create) does, and enters it into the index of its user.
    /// `from` is the id before a renewal.
    pub(crate) async fn create_listed(
        &self,
        id: SessionId,
        mut record: Record,
        from: Option<SessionId>,
        earlier: Option<&Record>,
    ) -> Result<CommitOutcome> {
        let listing = self.listing(&mut record, id, from);
        // Nobody can use the session yet, so the order does not matter.
        let created = self.create(id, record, earlier);
        let (entered, created) = join(self.enter(listing), created).await;
        entered?;
        created
    }

    /// Creates a session under `id`, or under another id if that one is taken.
    ///
    /// If an earlier attempt of the same request succeeded after all, its record is replaced;
    /// `earlier` is the record of that attempt. Changes that other requests have made to it since,
    /// by way of a renewal's tombstone, are merged.
    async fn create(
        &self,
        id: SessionId,
        mut record: Record,
        mut earlier: Option<&Record>,
    ) -> Result<CommitOutcome> {
        record.tag();
        let (mut id, tag) = (id, record.tag);
        let ttl = self.lifetime(&record);
        for _ in 0..IDS {
            let mut precondition = Precondition::Absent;
            loop {
                let saved = self.put(&id, &mut record, ttl, precondition).await?;
                if let Saved::Saved(revision) = saved {
                    return Ok(CommitOutcome::committed(record, version(id, revision)));
                }
                match self.read(&id).await? {
                    // The store saved this record, but its response was lost.
                    Some((ours, version)) if ours.rev == record.rev && !self.is_expired(&ours) => {
                        return Ok(CommitOutcome::committed(ours, version));
                    }
                    // An earlier attempt may have expired since. Left there, it would be a second
                    // session after the clock is set back.
                    Some((ours, version))
                        if ours.tag == tag
                            && ours.tombstone.is_none()
                            && precondition != Precondition::Revision(version.revision) =>
                    {
                        record.forked |= ours.forked;
                        if let Some(earlier) = earlier.take() {
                            record.bring_over(earlier, &ours);
                        }
                        precondition = Precondition::Revision(version.revision);
                    }
                    // The session was ended before it began.
                    Some((there, _)) if there.stops(tag) => return Ok(CommitOutcome::Ended),
                    // Another session has this random id.
                    _ => break,
                }
            }
            id = SessionId::random();
        }
        Err(self
            .unavailable("create a session")
            .because("every new id was taken already"))
    }

    /// Creates a session under `id`, the id of its visitor's token. If another request created it
    /// meanwhile, `changes` are made to that session instead.
    pub(crate) async fn begin(
        &self,
        id: SessionId,
        mut record: Record,
        changes: &[Change],
        unanswered: &mut Unanswered,
    ) -> Result<CommitOutcome> {
        let started = Instant::now();
        // A retry keeps the tag of the first attempt.
        record.tag();
        let listing = self.listing(&mut record, id, None);
        self.enter(listing).await?;
        let mut precondition = Precondition::Absent;
        let mut vanished = 0;
        loop {
            let saved = self
                .save(&id, &mut record, precondition, changes.len(), unanswered)
                .await?;
            if let Saved::Saved(revision) = saved {
                return Ok(CommitOutcome::committed(record, version(id, revision)));
            }
            self.check_patience(started)?;
            precondition = match self.read(&id).await? {
                // It expired at this moment, or it is invalid and the store does not quarantine it.
                None if vanished < 2 => {
                    vanished += 1;
                    Precondition::Absent
                }
                None => {
                    return Err(self
                        .unavailable("create a session")
                        .because("the store holds an invalid record in its place"));
                }
                Some((there, _)) if there.stops(record.tag) => return Ok(CommitOutcome::Ended),
                // An earlier save of this request succeeded, but its response was lost. Others may
                // have saved the session since.
                Some((ours, version)) if ours.tag == record.tag => {
                    let lost = unanswered.changes();
                    let arrived = match unanswered.is_empty() {
                        true => Some(changes.len()),
                        false => unanswered.arrived(ours.rev).or_else(|| unanswered.each()),
                    };
                    unanswered.clear();
                    return match arrived {
                        Some(all) if all == changes.len() => {
                            Ok(CommitOutcome::committed(ours, version))
                        }
                        Some(arrived) => {
                            self.join(ours, version, &changes[arrived..], unanswered)
                                .await
                        }
                        None => {
                            let newer = Some((ours, version));
                            Ok(CommitOutcome::Unknown { newer, lost })
                        }
                    };
                }
                // A session that ended. A request that still holds it notices the new tag.
                Some((ended, version)) if ended.tombstone.is_some() || self.is_expired(&ended) => {
                    Precondition::Revision(version.revision)
                }
                Some((existing, version)) => {
                    return self.join(existing, version, changes, unanswered).await;
                }
            };
        }
    }

    /// Makes `changes` to an existing session and saves it.
    async fn join(
        &self,
        mut record: Record,
        version: Version,
        changes: &[Change],
        unanswered: &mut Unanswered,
    ) -> Result<CommitOutcome> {
        let owner = record.user.clone();
        for change in changes {
            change.apply(&mut record, &self.limits)?;
        }
        let update = Update {
            record,
            version,
            changes,
            owner,
            before: None,
            adopts: false,
            unanswered,
        };
        self.update(update).await
    }
}

/// Returns the version of a session that was saved just now.
fn version(id: SessionId, revision: Revision) -> Version {
    Version {
        id,
        revision,
        touched: false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::clock::Clock;
    use crate::id::SessionId;
    use crate::manager::{CommitOutcome, SessionManager};
    use crate::record::Record;
    use crate::store::MemoryStore;
    use crate::testing::run;

    fn record(user: &str) -> Record {
        let mut record = Record::new(Clock::system().seconds(), None);
        record.user = Some(user.to_owned());
        record
    }

    #[test]
    fn a_session_under_a_taken_id_is_left_alone() {
        let store = Arc::new(MemoryStore::new());
        let manager = SessionManager::with_defaults(store, Clock::system());
        let id = SessionId::random();
        run(async {
            manager.create(id, record("alice"), None).await.unwrap();
            let outcome = manager.create(id, record("bob"), None).await.unwrap();
            let CommitOutcome::Committed { version, .. } = outcome else {
                panic!("another id is free");
            };
            assert!(version.id != id, "the id is taken");
            for (id, user) in [(id, "alice"), (version.id, "bob")] {
                let (there, _) = manager.read(&id).await.unwrap().expect("it is there");
                assert_eq!(there.user(), Some(user));
            }
        });
    }
}
