//! The store for tests and examples: sessions in this process's memory.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use rocket::futures::StreamExt;
use rocket::futures::stream::{self, BoxStream};

use super::{Expect, Head, Save, Saved, SessionStore, Stored, Swept};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::record::Record;

/// A [`SessionStore`] that keeps sessions in memory: they end with the process, and no other
/// process sees them.
///
/// It never drops a session that lives: when it is full, new ones are refused with
/// [`ErrorKind::Unavailable`].
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
    sessions: Mutex<HashMap<SessionId, Entry>>,
    capacity: usize,
    clock: Clock,
}

#[derive(Debug)]
struct Entry {
    stored: Stored,
    /// Milliseconds since 1970.
    saved: u64,
    expires: u64,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self {
            sessions: Mutex::default(),
            capacity: 100_000,
            clock: Clock::system(),
        }
    }

    /// Sets how many sessions it may hold. _Default:_ 100 000
    #[must_use]
    pub fn capacity(mut self, sessions: usize) -> Self {
        self.capacity = sessions;
        self
    }

    /// Sets the clock by which sessions expire. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn full(&self) -> Error {
        Error::new(ErrorKind::Unavailable, "save a session").because(format!(
            "the memory store holds {} sessions, and may not hold more",
            self.capacity
        ))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[rocket::async_trait]
impl SessionStore for MemoryStore {
    fn is_multiprocess_safe(&self) -> bool {
        false
    }

    fn is_thread_safe(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        Ok(())
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let now = self.clock.millis();
        Ok(self
            .sessions
            .lock()
            .get(id)
            .filter(|entry| entry.expires > now)
            .map(|entry| entry.stored.clone()))
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let head = Head::read(save.bytes).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "save a session")
                .because("what is to be saved has no head")
        })?;
        let now = self.clock.millis();
        let mut sessions = self.sessions.lock();
        let there = sessions
            .get(id)
            .filter(|entry| entry.expires > now)
            .map(|entry| entry.stored.revision);
        match (save.expect, there) {
            (Expect::Absent, None) => {
                if sessions.len() >= self.capacity {
                    sessions.retain(|_, entry| entry.expires > now);
                }
                if sessions.len() >= self.capacity {
                    return Err(self.full());
                }
            }
            (Expect::Absent, Some(_)) => return Ok(Saved::Changed),
            (Expect::Revision(_), None) => return Ok(Saved::Gone),
            (Expect::Revision(expected), Some(revision)) if expected == revision => {}
            (Expect::Revision(_), Some(_)) => return Ok(Saved::Changed),
        }
        let expires = now.saturating_add(u64::try_from(save.ttl.as_millis()).unwrap_or(u64::MAX));
        sessions.insert(
            *id,
            Entry {
                stored: Stored::new(save.bytes.to_vec()),
                saved: now,
                expires,
            },
        );
        Ok(Saved::Saved(head.revision))
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let now = self.clock.millis();
        Ok(self
            .sessions
            .lock()
            .remove(id)
            .is_some_and(|entry| entry.expires > now))
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        Ok(self.load_session(id).await?.is_some())
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let now = self.clock.millis();
        let age = u64::try_from(Duration::from_secs(minutes.saturating_mul(60)).as_millis())
            .unwrap_or(u64::MAX);
        let mut sessions = self.sessions.lock();
        let before = sessions.len();
        sessions.retain(|_, entry| entry.expires > now && now.saturating_sub(entry.saved) < age);
        Ok(Swept {
            deleted: (before - sessions.len()) as u64,
            remaining: sessions.len() as u64,
        })
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Record)>> {
        let ids: Vec<SessionId> = self.sessions.lock().keys().copied().collect();
        let loaded = stream::iter(ids).then(async |id| {
            Ok(self
                .load_session(&id)
                .await?
                .and_then(|stored| Some((id, Record::listed(&stored.bytes)?))))
        });
        loaded.filter_map(async |found| found.transpose()).boxed()
    }
}
