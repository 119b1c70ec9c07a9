//! The beginning of a session: under a random id, or under that of a token.

use std::time::Instant;

use super::{CommitOutcome, Lookup, SessionManager, Unanswered, Update, Version};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::record::Record;
use crate::store::{Precondition, Revision, Saved};

/// How many ids are tried for a new session.
const IDS: u32 = 3;

impl SessionManager {
    /// Keeps a new session under `id`, or under another if that is taken.
    ///
    /// Where an earlier try of the same request got there, what it kept, which is `earlier`, is
    /// replaced. What others changed there since goes along: those who followed the mark of a
    /// renewal.
    pub(crate) async fn create(
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
                match self.reload(&id).await? {
                    // The store was asked twice, and the first answer got lost.
                    Lookup::Live(ours, version) if ours.rev == record.rev => {
                        return Ok(CommitOutcome::committed(ours, version));
                    }
                    Lookup::Live(ours, version)
                        if ours.tag == tag
                            && precondition != Precondition::Revision(version.revision) =>
                    {
                        if let Some(earlier) = earlier.take() {
                            record.bring_over(earlier, &ours);
                            record.forked |= ours.forked;
                        }
                        precondition = Precondition::Revision(version.revision);
                    }
                    // Nobody's random numbers are random.
                    _ => break,
                }
            }
            id = SessionId::random();
        }
        Err(self
            .unavailable("create a session")
            .because("every new id was taken already"))
    }

    /// Keeps a session that begins under `id`, which is that of its visitor's token; or, where
    /// another request began it meanwhile, what that one kept with `changes` made to it.
    pub(crate) async fn begin(
        &self,
        id: SessionId,
        mut record: Record,
        changes: &[Change],
        unanswered: &mut Unanswered,
    ) -> Result<CommitOutcome> {
        let started = Instant::now();
        // Where this request tried before, the tag is the one of then.
        record.tag();
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
            precondition = match self.look(&id).await? {
                // It expired at this moment, or is no session and the store cannot keep it aside.
                None if vanished < 2 => {
                    vanished += 1;
                    Precondition::Absent
                }
                None => {
                    return Err(self
                        .unavailable("create a session")
                        .because("what the store has in its place is no session"));
                }
                // The store was asked twice, and the first answer got lost. Others may have saved
                // it since.
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
                // One that ended. A request that still has it finds out by the tag.
                Some((over, version)) if over.tombstone.is_some() || self.is_over(&over) => {
                    Precondition::Revision(version.revision)
                }
                Some((existing, version)) => {
                    return self.join(existing, version, changes, unanswered).await;
                }
            };
        }
    }

    /// Makes `changes` to a session that is there already, and keeps it.
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
            unanswered,
        };
        self.update(update).await
    }
}

/// Returns what is version right after a save.
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
                let (there, _) = manager.look(&id).await.unwrap().expect("it is there");
                assert_eq!(there.user(), Some(user));
            }
        });
    }
}
