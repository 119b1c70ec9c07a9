//! Follows a session from tombstone to tombstone while it is renewed.

use std::time::Instant;

use super::{GRACE, SessionManager};
use crate::error::Result;
use crate::keyed_locks::KeyedLock;

/// How many tombstones are followed before further renewals in this process must wait.
const HEAD_START: u32 = 8;

/// Follows a session from tombstone to tombstone while it is renewed.
pub(super) struct RenewalFollower<'k> {
    manager: &'k SessionManager,
    started: Instant,
    /// When the last tombstone was found.
    last: Instant,
    tombstones: u32,
    /// While this lock is held, no request of this process renews the session.
    pub(super) lock: Option<KeyedLock<'k, u64>>,
}

impl<'k> RenewalFollower<'k> {
    pub(super) fn new(manager: &'k SessionManager) -> Self {
        let now = Instant::now();
        Self {
            manager,
            started: now,
            last: now,
            tombstones: 0,
            lock: None,
        }
    }

    /// Notes one more tombstone of the session with `tag`. The chain can grow as fast as it is
    /// followed, so after some tombstones further renewals must wait.
    pub(super) async fn note_tombstone(&mut self, tag: Option<u64>) {
        self.last = Instant::now();
        self.tombstones += 1;
        if self.tombstones == HEAD_START {
            self.block_renewals(tag).await;
        }
    }

    /// Waits for the earlier renewals in this process. Later ones wait for this end.
    pub(super) async fn block_renewals(&mut self, tag: Option<u64>) {
        if self.lock.is_none() {
            self.lock = self.manager.lock_lineage(tag).await;
        }
    }

    /// Fails if no tombstone was found for long, or if the search outlived every tombstone.
    pub(super) fn check(&self) -> Result<()> {
        match self.started.elapsed() > GRACE {
            true => Err(self.manager.contention_error()),
            false => self.manager.check_patience(self.last),
        }
    }
}
