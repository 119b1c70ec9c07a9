//! Batches: the changes of requests that contend for one session are saved together.
//!
//! A batch begins with a conflict, so requests that do not contend never wait for each other. The
//! request that repeats its save after the conflict *leads*. Requests of this process that come
//! meanwhile edit a copy of the record that is being saved. This copy is the next batch, and the
//! first of them leads it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use rocket::tokio::sync::{oneshot, watch};

use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::record::Record;
use crate::store::{Revision, Saved};

/// The sessions that a leader is saving.
///
/// Each has its own lock: an edit may run a function of the application, which must not delay the saves
/// of other sessions.
#[derive(Default)]
pub(super) struct Batches(Mutex<HashMap<SessionId, Arc<Mutex<Slot>>>>);

/// A session that a leader is saving.
struct Slot {
    record: Record,
    next: Option<NextBatch>,
    /// Whether the last leader is done, so that nobody can join.
    is_over: bool,
}

/// The batch that waits for the leader.
struct NextBatch {
    record: Record,
    start: oneshot::Sender<Start>,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// The message from the leader to the next one.
enum Start {
    /// The record is in the store with this revision. The next batch is based on it.
    Saved(Revision),
    /// The record is not in the store, so the next batch is not valid.
    NotSaved,
    Failed(Error),
}

/// The outcome of a batch.
#[derive(Clone)]
pub(super) enum Outcome {
    Saved(Arc<Record>, Revision),
    /// The batch is not in the store.
    NotSaved,
    /// The store failed before the batch was sent.
    NotSent(Error),
    /// The store may have the batch.
    Unknown(Error),
}

/// A request's place in the next batch.
pub(super) enum Place<'a> {
    Leader(NextLeader<'a>),
    Follower(watch::Receiver<Option<Outcome>>),
}

/// The first request of a batch, until it leads.
pub(super) struct NextLeader<'a> {
    start: oneshot::Receiver<Start>,
    leader: Option<Leader<'a>>,
}

/// The request that saves a session. It must report the outcome; if it is dropped, the outcome is
/// unknown.
pub(super) struct Leader<'a> {
    batches: &'a Batches,
    id: SessionId,
    slot: Arc<Mutex<Slot>>,
    /// Tells the other requests of the batch.
    followers: Option<watch::Sender<Option<Outcome>>>,
    is_over: bool,
}

impl Batches {
    /// Returns whether a request leads the saves of the session under `id`.
    pub(super) fn is_led(&self, id: &SessionId) -> bool {
        self.0.lock().contains_key(id)
    }

    /// Leads the saves of the session under `id`, with the save of `record`. Returns `None` if
    /// another request leads them.
    pub(super) fn lead(&self, id: SessionId, record: &Record) -> Option<Leader<'_>> {
        let mut slots = self.0.lock();
        let Entry::Vacant(place) = slots.entry(id) else {
            return None;
        };
        let slot = Slot {
            record: record.clone(),
            next: None,
            is_over: false,
        };
        let slot = place.insert(Arc::new(Mutex::new(slot)));
        Some(self.leader(id, slot, None))
    }

    fn leader(
        &self,
        id: SessionId,
        slot: &Arc<Mutex<Slot>>,
        followers: Option<watch::Sender<Option<Outcome>>>,
    ) -> Leader<'_> {
        Leader {
            batches: self,
            id,
            slot: Arc::clone(slot),
            followers,
            is_over: false,
        }
    }

    /// Joins the next batch of the session under `id`, by `edit` of its record. Returns the place,
    /// the revision of the batch and what `edit` returned; `None` if nobody leads, or if `edit`
    /// returned `None`.
    pub(super) fn join<T>(
        &self,
        id: &SessionId,
        edit: impl FnOnce(&mut Record) -> Result<Option<T>>,
    ) -> Result<Option<(Place<'_>, u64, T)>> {
        let Some(shared) = self.0.lock().get(id).cloned() else {
            return Ok(None);
        };
        let slot = &mut *shared.lock();
        if slot.is_over {
            return Ok(None);
        }
        // A batch without its first request is never saved.
        let next = slot
            .next
            .as_mut()
            .filter(|next| next.outcome.has_changed().is_ok());
        // A copy, because an edit may fail half-way.
        let mut record = match &next {
            Some(next) => next.record.clone(),
            None => slot.record.clone(),
        };
        let Some(edited) = edit(&mut record)? else {
            return Ok(None);
        };
        if let Some(next) = next {
            let rev = record.rev;
            next.record = record;
            return Ok(Some((Place::Follower(next.outcome.clone()), rev, edited)));
        }
        record.revise();
        let rev = record.rev;
        let (start, starts) = oneshot::channel();
        let (followers, outcome) = watch::channel(None);
        slot.next = Some(NextBatch {
            record,
            start,
            outcome,
        });
        let leader = NextLeader {
            start: starts,
            leader: Some(self.leader(*id, &shared, Some(followers))),
        };
        Ok(Some((Place::Leader(leader), rev, edited)))
    }
}

impl<'a> NextLeader<'a> {
    /// Waits until the leader before this one is done. Returns the record to save and the revision
    /// that it replaces.
    pub(super) async fn lead(mut self) -> Result<(Leader<'a>, Record, Revision), Outcome> {
        let start = (&mut self.start).await;
        let Some(mut leader) = self.leader.take() else {
            return Err(Outcome::NotSaved);
        };
        let refused = match start {
            Ok(Start::Saved(revision)) => {
                let record = leader.slot.lock().record.clone();
                return Ok((leader, record, revision));
            }
            Ok(Start::NotSaved) | Err(_) => Outcome::NotSaved,
            Ok(Start::Failed(error)) => Outcome::NotSent(error),
        };
        leader.tell(refused.clone());
        leader.is_over = true;
        Err(refused)
    }
}

impl Drop for NextLeader<'_> {
    fn drop(&mut self) {
        let Some(mut leader) = self.leader.take() else {
            return;
        };
        leader.is_over = true;
        self.start.close();
        if let Ok(Start::Saved(_)) = self.start.try_recv() {
            // It leads, and has sent nothing.
            leader.hand_over(Start::NotSaved);
        }
        leader.tell(Outcome::NotSaved);
    }
}

impl Leader<'_> {
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// Reports the outcome of a save without followers to the next leader.
    pub(super) fn finish(mut self, saved: &Result<Saved>) {
        self.hand_over(match saved {
            Ok(Saved::Saved(revision)) => Start::Saved(*revision),
            Ok(Saved::Changed | Saved::Gone) => Start::NotSaved,
            Err(error) => Start::Failed(error.clone()),
        });
    }

    /// Reports the outcome of the save of `record` to its followers and to the next leader, and
    /// returns it.
    pub(super) fn finish_batch(self, record: Record, saved: Result<Saved>) -> Outcome {
        let outcome = match &saved {
            Ok(Saved::Saved(revision)) => Outcome::Saved(Arc::new(record), *revision),
            Ok(Saved::Changed | Saved::Gone) => Outcome::NotSaved,
            Err(error) => Outcome::Unknown(error.clone()),
        };
        self.tell(outcome.clone());
        self.finish(&saved);
        outcome
    }

    fn tell(&self, outcome: Outcome) {
        if let Some(followers) = &self.followers {
            followers.send_replace(Some(outcome));
        }
    }

    /// Lets the next batch go on, if there is one.
    fn hand_over(&mut self, start: Start) {
        self.is_over = true;
        let slot = &mut *self.slot.lock();
        let goes_on = matches!(start, Start::Saved(_));
        if let Some(next) = slot.next.take() {
            slot.record = next.record;
            if next.start.send(start).is_ok() && goes_on {
                return;
            }
        }
        slot.is_over = true;
        self.batches.0.lock().remove(&self.id);
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let error = Error::new(ErrorKind::Unavailable, "save a session")
            .because("the request that saved it was cancelled");
        self.hand_over(Start::NotSaved);
        self.tell(Outcome::Unknown(error));
    }
}

/// Waits for the outcome of a batch that another request leads.
pub(super) async fn outcome(mut batch: watch::Receiver<Option<Outcome>>) -> Outcome {
    let told = batch.wait_for(Option::is_some).await;
    // Without its first request the batch is never sent.
    told.map_or(Outcome::NotSaved, |told| {
        told.clone().unwrap_or(Outcome::NotSaved)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(batches: &Batches, id: SessionId) -> Place<'_> {
        let joined = batches.join(&id, |_| Ok(Some(())));
        let (place, ..) = joined.ok().flatten().expect("somebody leads");
        place
    }

    #[test]
    fn nobody_follows_a_request_that_is_gone() {
        let (batches, id) = (Batches::default(), SessionId::random());
        let leader = batches.lead(id, &Record::new(0, None));
        let first = join(&batches, id);
        let follower = join(&batches, id);
        assert!(matches!(first, Place::Leader(_)) && matches!(follower, Place::Follower(_)));
        drop(first);
        assert!(matches!(join(&batches, id), Place::Leader(_)));
        drop(leader);
        assert!(!batches.is_led(&id));
    }

    #[test]
    fn a_leader_that_is_gone_before_it_learns_so_leads_no_longer() {
        let (batches, id) = (Batches::default(), SessionId::random());
        let leader = batches
            .lead(id, &Record::new(0, None))
            .expect("nobody leads");
        let first = join(&batches, id);
        leader.finish(&Ok(Saved::Saved(Revision(1))));
        assert!(batches.is_led(&id));
        drop(first);
        assert!(!batches.is_led(&id));
    }
}
