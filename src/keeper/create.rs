//! The beginning of a session: under a random id, or under that of a token.

use std::time::Instant;

use super::{Found, Held, Keeper, Kept, Unsure, Update};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::record::Record;
use crate::store::{Expect, Revision, Saved};

/// How many ids are tried for a new session.
const IDS: u32 = 3;

impl Keeper {
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
    ) -> Result<Kept> {
        record.tag();
        let (mut id, tag) = (id, record.tag);
        let ttl = self.lifetime(&record);
        for _ in 0..IDS {
            let mut expect = Expect::Absent;
            loop {
                let saved = self.put(&id, &mut record, ttl, expect).await?;
                if let Saved::Saved(revision) = saved {
                    return Ok(Kept::here(record, held(id, revision)));
                }
                match self.reload(&id).await? {
                    // The store was asked twice, and the first answer got lost.
                    Found::Live(ours, held) if ours.rev == record.rev => {
                        return Ok(Kept::here(ours, held));
                    }
                    Found::Live(ours, held)
                        if ours.tag == tag && expect != Expect::Revision(held.revision) =>
                    {
                        if let Some(earlier) = earlier.take() {
                            record.bring_over(earlier, &ours);
                            record.forked |= ours.forked;
                        }
                        expect = Expect::Revision(held.revision);
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
        unsure: &mut Unsure,
    ) -> Result<Kept> {
        let started = Instant::now();
        // Where this request tried before, the tag is the one of then.
        record.tag();
        let mut expect = Expect::Absent;
        let mut vanished = 0;
        loop {
            let saved = self
                .save(&id, &mut record, expect, changes.len(), unsure)
                .await?;
            if let Saved::Saved(revision) = saved {
                return Ok(Kept::here(record, held(id, revision)));
            }
            self.check_patience(started)?;
            expect = match self.look(&id).await? {
                // It expired at this moment, or is no session and the store cannot keep it aside.
                None if vanished < 2 => {
                    vanished += 1;
                    Expect::Absent
                }
                None => {
                    return Err(self
                        .unavailable("create a session")
                        .because("what the store has in its place is no session"));
                }
                // The store was asked twice, and the first answer got lost. Others may have saved
                // it since.
                Some((ours, held)) if ours.tag == record.tag => {
                    let lost = unsure.changes();
                    let arrived = match unsure.is_empty() {
                        true => Some(changes.len()),
                        false => unsure.arrived(ours.rev).or_else(|| unsure.each()),
                    };
                    unsure.clear();
                    return match arrived {
                        Some(all) if all == changes.len() => Ok(Kept::here(ours, held)),
                        Some(arrived) => self.join(ours, held, &changes[arrived..], unsure).await,
                        None => {
                            let newer = Some((ours, held));
                            Ok(Kept::Unknown { newer, lost })
                        }
                    };
                }
                // One that ended. A request that still has it finds out by the tag.
                Some((over, held)) if over.parting.is_some() || self.is_over(&over) => {
                    Expect::Revision(held.revision)
                }
                Some((begun, held)) => return self.join(begun, held, changes, unsure).await,
            };
        }
    }

    /// Makes `changes` to a session that is there already, and keeps it.
    async fn join(
        &self,
        mut record: Record,
        held: Held,
        changes: &[Change],
        unsure: &mut Unsure,
    ) -> Result<Kept> {
        let owner = record.user.clone();
        for change in changes {
            change.apply(&mut record, &self.limits)?;
        }
        let update = Update {
            record,
            held,
            changes,
            owner,
            before: None,
            unsure,
        };
        self.update(update).await
    }
}

/// Returns what is held right after a save.
fn held(id: SessionId, revision: Revision) -> Held {
    Held {
        id,
        revision,
        touched: false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::clock::Clock;
    use crate::config::Config;
    use crate::id::SessionId;
    use crate::keeper::{Keeper, Kept};
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
        let keeper = Keeper::new(store, Clock::system(), &Config::default());
        let id = SessionId::random();
        run(async {
            keeper.create(id, record("alice"), None).await.unwrap();
            let kept = keeper.create(id, record("bob"), None).await.unwrap();
            let Kept::Here { held, .. } = kept else {
                panic!("another id is free");
            };
            assert!(held.id != id, "the id is taken");
            for (id, user) in [(id, "alice"), (held.id, "bob")] {
                let (there, _) = keeper.look(&id).await.unwrap().expect("it is there");
                assert_eq!(there.user(), Some(user));
            }
        });
    }
}
