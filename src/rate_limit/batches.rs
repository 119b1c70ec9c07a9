//! Batches of requests: those of one visitor at one time are counted in one write.

use std::collections::HashMap;
use std::sync::Arc;

use rocket::tokio::sync::{Mutex, oneshot};

use super::counts::Count;
use super::policy::Policy;
use crate::error::Result;
use crate::store::Key;

/// The batches of this process, each under its key and policy.
#[derive(Default)]
pub(super) struct Batches(parking_lot::Mutex<HashMap<(Key, Policy), Arc<Batch>>>);

/// The concurrent requests that are counted under one key by one policy.
#[derive(Default)]
struct Batch {
    /// The requests that are not counted yet.
    waiting: parking_lot::Mutex<Vec<oneshot::Sender<Result<Count>>>>,
    /// The request that holds this lock counts.
    counting: Mutex<()>,
}

/// Keeps a batch in the map. The last guard of a batch removes it when it is dropped.
struct BatchGuard<'a> {
    batches: &'a Batches,
    place: (Key, Policy),
    batch: Arc<Batch>,
}

impl Batches {
    /// Counts one request together with the others of its batch.
    ///
    /// One of the requests calls `count` with the number of all requests that wait. `count` returns
    /// one [`Count`] for each of them.
    ///
    /// # Errors
    ///
    /// When `count` fails. Requests that arrived in the meantime get the same error, so that they do
    /// not wait for the same store again.
    pub(super) async fn count<F: Future<Output = Result<Vec<Count>>>>(
        &self,
        key: &Key,
        policy: &Policy,
        count: impl Fn(usize) -> F,
    ) -> Result<Count> {
        let guard = self.join(key, policy);
        let batch = &guard.batch;
        loop {
            let (sender, mut receiver) = oneshot::channel();
            batch.waiting.lock().push(sender);
            let counting = batch.counting.lock().await;
            match receiver.try_recv() {
                Ok(count) => return count,
                // The request that counted this one was cancelled.
                Err(oneshot::error::TryRecvError::Closed) => continue,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            let waiting = std::mem::take(&mut *batch.waiting.lock());
            match count(waiting.len()).await {
                Ok(counts) => {
                    for (sender, count) in waiting.into_iter().zip(counts) {
                        // A request that was cancelled in the meantime stays counted.
                        let _ = sender.send(Ok(count));
                    }
                }
                Err(error) => {
                    let arrived = std::mem::take(&mut *batch.waiting.lock());
                    for sender in waiting.into_iter().chain(arrived) {
                        let _ = sender.send(Err(error.clone()));
                    }
                }
            }
            drop(counting);
            if let Ok(count) = receiver.try_recv() {
                return count;
            }
        }
    }

    fn join(&self, key: &Key, policy: &Policy) -> BatchGuard<'_> {
        let place = (key.clone(), *policy);
        let batch = Arc::clone(self.0.lock().entry(place.clone()).or_default());
        BatchGuard {
            batches: self,
            place,
            batch,
        }
    }
}

impl Drop for BatchGuard<'_> {
    fn drop(&mut self) {
        let mut batches = self.batches.0.lock();
        // The map's reference and this one. No request joins while the map is locked.
        if Arc::strong_count(&self.batch) == 2 {
            batches.remove(&self.place);
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

    fn counts(requests: usize) -> Result<Vec<Count>> {
        let count = |remaining| Count {
            policy: POLICY,
            refused: false,
            remaining,
            more_in: 0,
        };
        Ok((0..requests as u32).map(count).collect())
    }

    #[async_test]
    async fn waiting_requests_are_counted_together_and_each_gets_its_own_count() {
        let (batches, rounds) = (Batches::default(), RefCell::new(Vec::new()));
        let key = Namespace::new("test").unwrap().key("a");
        let count = |requests| {
            rounds.borrow_mut().push(requests);
            async move {
                tokio::task::yield_now().await;
                counts(requests)
            }
        };
        let all = join_all((0..5).map(|_| batches.count(&key, &POLICY, count))).await;
        let left: Vec<u32> = all.into_iter().map(|one| one.unwrap().remaining).collect();
        assert_eq!(left, [0, 0, 1, 2, 3]);
        assert_eq!(*rounds.borrow(), [1, 4]);
        assert!(batches.0.lock().is_empty());
    }

    #[async_test]
    async fn requests_are_counted_when_the_counting_request_is_cancelled() {
        let batches = Batches::default();
        let key = Namespace::new("test").unwrap().key("a");
        let never = |_| std::future::pending();
        let mut first = Box::pin(batches.count(&key, &POLICY, never));
        assert!((&mut first).now_or_never().is_none());
        // These two wait. The second would count both, and is cancelled while it does.
        let mut second = Box::pin(batches.count(&key, &POLICY, never));
        assert!((&mut second).now_or_never().is_none());
        let third = batches.count(&key, &POLICY, async |requests| counts(requests));
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
