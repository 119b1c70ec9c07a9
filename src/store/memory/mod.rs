//! The store for tests and examples: sessions in this process's memory.

mod key_value;
mod session_store;

use std::collections::HashMap;

use parking_lot::Mutex;

use self::key_value::Entry;
use self::session_store::Session;
use super::Key;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::id::SessionId;

/// A [`SessionStore`](super::SessionStore) that keeps sessions in memory. They end with the
/// process, and no other process sees them.
///
/// It never drops a session that has not expired. When it is full, it drops the tombstones that only
/// show why a session ended, and then refuses new sessions with [`ErrorKind::Unavailable`].
///
/// Use it in tests and examples.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::{MemoryStore, Sessions};
///
/// let rocket = rocket::build().attach(Sessions::with(MemoryStore::new().capacity(1000)));
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    sessions: Mutex<HashMap<SessionId, Session>>,
    entries: Mutex<HashMap<Key, Entry>>,
    capacity: usize,
    clock: Clock,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self {
            sessions: Mutex::default(),
            entries: Mutex::default(),
            capacity: 100_000,
            clock: Clock::system(),
        }
    }

    /// Sets the greatest number of sessions, and of entries. _Default:_ 100 000
    #[must_use]
    pub fn capacity(mut self, each: usize) -> Self {
        self.capacity = each;
        self
    }

    /// Sets the clock by which sessions expire. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn full(&self, act: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, act).because(format!(
            "the memory store is full; its capacity is {}",
            self.capacity
        ))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}
