//! A batch: requests of one visitor that are counted at the same time, all of them in one write.

use std::collections::HashMap;
use std::sync::Arc;

use rocket::tokio::sync::{Mutex, oneshot};

use super::counts::Count;
use super::policy::Policy;
use crate::error::Result;
use crate::store::Key;

/// The counts that are under way in this process.
#[derive(Default)]
pub(super) struct Batches(parking_lot::Mutex<HashMap<(Key, Policy), Arc<Batch>>>);

/// The requests that are counted under one key by one policy at the moment.
#[derive(Default)]
struct Batch {
    /// Those whom nobody counts yet.
    waiting: parking_lot::Mutex<Vec<oneshot::Sender<Result<Count>>>>,
    /// Whoever holds it counts.
    turn: Mutex<()>,
}

/// A membership in a batch. The last one to leave removes the batch.
struct Membership<'a> {
    batches: &'a Batches,
    at: (Key, Policy),
    batch: Arc<Batch>,
}

impl Batches {
    /// Returns what was found for one request. One request of the batch counts, by `count`, for all
    /// that wait at that moment; it is given their number, and returns as many answers.
    ///
    /// # Errors
    ///
    /// When they could not be counted. The same error goes to those who came meanwhile: they need
    /// not wait for the same store again.
    pub(super) async fn count<F: Future<Output = Result<Vec<Count>>>>(
        &self,
        key: &Key,
        policy: &Policy,
        count: impl Fn(usize) -> F,
    ) -> Result<Count> {
        let membership = self.join(key, policy);
        let batch = &membership.batch;
        loop {
            let (sender, mut answer) = oneshot::channel();
            batch.waiting.lock().push(sender);
            let turn = batch.turn.lock().await;
            match answer.try_recv() {
                Ok(found) => return found,
                // Whoever counted this one was given up on the way.
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let counted = std::mem::take(&mut *batch.waiting.lock());
            match count(counted.len()).await {
                Ok(found) => {
                    for (one, found) in counted.into_iter().zip(found) {
                        // One that was given up meanwhile stays counted.
                        let _ = one.send(Ok(found));
                    }
                }
                Err(error) => {
                    let came = std::mem::take(&mut *batch.waiting.lock());
                    for one in counted.into_iter().chain(came) {
                        let _ = one.send(Err(error.clone()));
                    }
                }
            }
            drop(turn);
            if let Ok(found) = answer.try_recv() {
                return found;
            }
        }
    }

    fn join(&self, key: &Key, policy: &Policy) -> Membership<'_> {
        let at = (key.clone(), *policy);
        let batch = Arc::clone(self.0.lock().entry(at.clone()).or_default());
        Membership {
            batches: self,
            at,
            batch,
        }
    }
}

impl Drop for Membership<'_> {
    fn drop(&mut self) {
        let mut batches = self.batches.0.lock();
        // The map's own and this one: nobody joins while the map is locked.
        if Arc::strong_count(&self.batch) == 2 {
            batches.remove(&self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rocket::futures::FutureExt;
    use rocket::futures::future::join_all;
    use rocket::{async_test, tokio};

    use super::*;
    use crate::config::By;
    use crate::store::Namespace;

    const POLICY: Policy = Policy {
        name: "test",
        limit: 9,
        window: 60,
        by: By::Address,
    };

    fn found(requests: usize) -> Result<Vec<Count>> {
        let count = |remaining| Count {
            policy: POLICY,
            refused: false,
            remaining,
            more_in: 0,
        };
        Ok((0..requests as u32).map(count).collect())
    }

    #[async_test]
    async fn waiting_requests_are_counted_together_with_separate_results() {
        let (batches, rounds) = (Batches::default(), RefCell::new(Vec::new()));
        let key = Namespace::new("test").unwrap().key("a");
        let count = |requests| {
            rounds.borrow_mut().push(requests);
            async move {
                tokio::task::yield_now().await;
                found(requests)
            }
        };
        let all = join_all((0..5).map(|_| batches.count(&key, &POLICY, count))).await;
        let left: Vec<u32> = all.into_iter().map(|one| one.unwrap().remaining).collect();
        assert_eq!(left, [0, 0, 1, 2, 3]);
        assert_eq!(*rounds.borrow(), [1, 4]);
        assert!(batches.0.lock().is_empty());
    }

    #[async_test]
    async fn waiting_requests_are_counted_when_their_leader_is_cancelled() {
        let batches = Batches::default();
        let key = Namespace::new("test").unwrap().key("a");
        let never = |_| std::future::pending();
        let mut first = Box::pin(batches.count(&key, &POLICY, never));
        assert!((&mut first).now_or_never().is_none());
        // These two wait; the one in front counts for both, and is given up on the way.
        let mut second = Box::pin(batches.count(&key, &POLICY, never));
        assert!((&mut second).now_or_never().is_none());
        let third = batches.count(&key, &POLICY, async |requests| found(requests));
        let mut third = Box::pin(third);
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut second).now_or_never().is_none());
        assert!((&mut third).now_or_never().is_none());
        drop(second);
        assert_eq!(third.await.unwrap().remaining, 0);
        assert!(batches.0.lock().is_empty());
    }
}
