//! Locks by key, which queue the tasks of this process that contend for one session.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio::sync::{Mutex, OwnedMutexGuard};
use rocket::tokio::time::timeout;

/// When the store last failed during a hold of the lock.
type LastFailure = Option<Instant>;

/// One lock for each key that a task holds or waits for.
pub(crate) struct KeyedLocks<K: Hash + Eq + Copy> {
    locks: parking_lot::Mutex<HashMap<K, Arc<Mutex<LastFailure>>>>,
}

/// The held lock of one key. Dropping it releases the lock.
pub(crate) struct KeyedLock<'a, K: Hash + Eq + Copy> {
    // Dropped first, so that the lock is free when the place is released.
    last_failure: OwnedMutexGuard<LastFailure>,
    _place: Place<'a, K>,
}

/// The reason why a task did not get the lock.
pub(crate) enum LockError {
    /// Too many tasks wait for the lock.
    TimedOut,
    /// The store failed during another task's hold. Tasks that waited meanwhile need not wait for
    /// the store again.
    StoreFailed,
}

/// A place among the holder of a lock and its waiters. The last one removes the lock.
struct Place<'a, K: Hash + Eq + Copy> {
    locks: &'a KeyedLocks<K>,
    key: K,
    lock: Arc<Mutex<LastFailure>>,
}

impl<K: Hash + Eq + Copy> KeyedLocks<K> {
    pub(crate) fn new() -> Self {
        Self {
            locks: parking_lot::Mutex::default(),
        }
    }

    /// Waits for the lock of `key`, for `patience` at most. Tasks get it in the order of their
    /// arrival.
    pub(crate) async fn lock(
        &self,
        key: K,
        patience: Duration,
    ) -> Result<KeyedLock<'_, K>, LockError> {
        let arrived = Instant::now();
        let lock = Arc::clone(self.locks.lock().entry(key).or_default());
        let place = Place {
            locks: self,
            key,
            lock,
        };
        let last_failure = timeout(patience, Arc::clone(&place.lock).lock_owned())
            .await
            .map_err(|_| LockError::TimedOut)?;
        match *last_failure {
            Some(failed) if failed > arrived => Err(LockError::StoreFailed),
            _ => Ok(KeyedLock {
                last_failure,
                _place: place,
            }),
        }
    }
}

impl<K: Hash + Eq + Copy> KeyedLock<'_, K> {
    /// Notes that the store failed. Tasks that wait for the lock get [`LockError::StoreFailed`].
    pub(crate) fn note_failure(&mut self) {
        *self.last_failure = Some(Instant::now());
    }
}

impl<K: Hash + Eq + Copy> Drop for Place<'_, K> {
    fn drop(&mut self) {
        let mut locks = self.locks.locks.lock();
        // The two references are the map's and this one: no task can join while the map is locked.
        if Arc::strong_count(&self.lock) == 2 {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use rocket::async_test;
    use rocket::futures::FutureExt;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[async_test]
    async fn tasks_wait_only_for_their_own_key_and_leave_no_lock_behind() {
        let locks = KeyedLocks::new();
        let held = locks.lock(0, PATIENCE).await.ok().unwrap();
        for other in 1..100 {
            let lock = locks.lock(other, PATIENCE).now_or_never();
            assert!(matches!(lock, Some(Ok(_))), "{other} waits for another key");
        }
        let mut same = Box::pin(locks.lock(0, PATIENCE));
        assert!((&mut same).now_or_never().is_none());
        drop(held);
        assert!(same.await.is_ok());
        assert!(locks.locks.lock().is_empty());
    }

    #[async_test]
    async fn waiting_tasks_fail_together_when_the_store_fails() {
        let locks = KeyedLocks::new();
        let mut held = locks.lock('a', PATIENCE).await.ok().unwrap();
        let mut waiting = Box::pin(locks.lock('a', PATIENCE));
        assert!((&mut waiting).now_or_never().is_none());
        held.note_failure();
        drop(held);
        assert!(matches!(waiting.await, Err(LockError::StoreFailed)));
        assert!(locks.lock('a', PATIENCE).await.is_ok(), "a later one tries");
    }
}
