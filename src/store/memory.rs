//! The store for tests and examples: sessions in this process's memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocket::futures::StreamExt;
use rocket::futures::stream::{self, BoxStream};

use super::edit::{self, Next, Step};
use super::{
    Key, KeyValue, Namespace, Precondition, RecordHeader, Revision, Save, Saved, SessionStore,
    Stored, Swept,
};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;

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
    sessions: Mutex<HashMap<SessionId, StoredEntry>>,
    entries: Mutex<HashMap<Key, Entry>>,
    capacity: usize,
    clock: Clock,
}

#[derive(Debug)]
struct StoredEntry {
    stored: Stored,
    /// Milliseconds since 1970.
    saved: u64,
    expires: u64,
}

struct Entry {
    value: Vec<u8>,
    /// Milliseconds since 1970; `None` is never.
    expires: Option<u64>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} bytes)", self.value.len())
    }
}

impl Entry {
    fn lives(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
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

    /// Sets how many sessions, and beside them how many entries, it may hold. _Default:_ 100 000
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
            "the memory store holds {} of them, and may not hold more",
            self.capacity
        ))
    }

    /// Changes an entry in one step. See [`edit`].
    fn edit<T>(&self, key: &Key, step: impl Fn(Option<&[u8]>) -> Step<T>) -> Result<T> {
        let now = self.clock.millis();
        let mut entries = self.entries.lock();
        let there = entries.get(key).filter(|entry| entry.lives(now));
        let old = there.and_then(|entry| entry.expires);
        let is_new = there.is_none();
        let step = step(there.map(|entry| &entry.value[..]));
        match step.next {
            Next::Same => {}
            Next::Nothing => drop(entries.remove(key)),
            Next::Keep(value, lifetime) => {
                if is_new && entries.len() >= self.capacity {
                    entries.retain(|_, entry| entry.lives(now));
                    if entries.len() >= self.capacity {
                        return Err(self.full("keep an entry"));
                    }
                }
                let expires = lifetime.end(now, old);
                entries.insert(key.clone(), Entry { value, expires });
            }
        }
        Ok(step.answer)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

#[rocket::async_trait]
impl SessionStore for MemoryStore {
    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

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
        let head = RecordHeader::read(save.bytes).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "save a session")
                .because("what is to be saved has no head")
        })?;
        let now = self.clock.millis();
        let mut sessions = self.sessions.lock();
        let there = sessions
            .get(id)
            .filter(|entry| entry.expires > now)
            .map(|entry| entry.stored.revision);
        match (save.precondition, there) {
            (Precondition::Absent, None) => {
                if sessions.len() >= self.capacity {
                    sessions.retain(|_, entry| entry.expires > now);
                }
                if sessions.len() >= self.capacity {
                    return Err(self.full("save a session"));
                }
            }
            (Precondition::Absent, Some(_)) => return Ok(Saved::Changed),
            (Precondition::Revision(_), None) => return Ok(Saved::Gone),
            (Precondition::Revision(expected), Some(revision)) if expected == revision => {}
            (Precondition::Revision(_), Some(_)) => return Ok(Saved::Changed),
        }
        let expires = now.saturating_add(u64::try_from(save.ttl.as_millis()).unwrap_or(u64::MAX));
        sessions.insert(
            *id,
            StoredEntry {
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

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let now = self.clock.millis();
        let mut sessions = self.sessions.lock();
        let there = sessions.get(id).filter(|entry| entry.expires > now);
        let same = there.is_some_and(|entry| entry.stored.revision == revision);
        if same {
            sessions.remove(id);
        }
        Ok(same)
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        Ok(self.load_session(id).await?.is_some())
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let now = self.clock.millis();
        let age = u64::try_from(Duration::from_secs(minutes.saturating_mul(60)).as_millis())
            .unwrap_or(u64::MAX);
        self.entries.lock().retain(|_, entry| entry.lives(now));
        let mut sessions = self.sessions.lock();
        let before = sessions.len();
        sessions.retain(|_, entry| entry.expires > now && now.saturating_sub(entry.saved) < age);
        Ok(Swept {
            deleted: (before - sessions.len()) as u64,
            remaining: sessions.len() as u64,
        })
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let ids: Vec<SessionId> = self.sessions.lock().keys().copied().collect();
        let loaded = stream::iter(ids).then(async |id| {
            let stored = self.load_session(&id).await?;
            Ok(stored.map(|stored| (id, stored)))
        });
        loaded.filter_map(async |found| found.transpose()).boxed()
    }
}

#[rocket::async_trait]
impl KeyValue for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let now = self.clock.millis();
        let entries = self.entries.lock();
        let there = entries.get(key).filter(|entry| entry.lives(now));
        Ok(there.map(|entry| entry.value.clone()))
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        self.edit(key, edit::set(value, ttl))
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        self.swap(key, None, value, ttl).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        self.edit(key, edit::swap(expected, value, ttl))
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        Ok(self.edit(key, edit::take)?.is_some())
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.edit(key, edit::take)
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        self.edit(key, edit::increment(by, ttl))?
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let now = self.clock.millis();
        let entries = self.entries.lock();
        let live = entries.iter().filter(|(_, entry)| entry.lives(now));
        let names: Vec<Vec<u8>> = live
            .filter(|(key, _)| key.namespace() == namespace.as_str())
            .filter_map(|(key, _)| namespace.name(key.escaped()))
            .collect();
        stream::iter(names).map(Ok).boxed()
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let now = self.clock.millis();
        let mut cleared = 0;
        self.entries.lock().retain(|key, entry| {
            let goes = key.namespace() == namespace.as_str();
            cleared += u64::from(goes && entry.lives(now));
            !goes
        });
        Ok(cleared)
    }
}
