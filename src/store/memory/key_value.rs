//! Entries in memory.

use std::fmt;
use std::time::Duration;

use rocket::futures::stream::{self, BoxStream, StreamExt};

use super::MemoryStore;
use crate::error::Result;
use crate::store::edit::{self, Action, Edit};
use crate::store::{Key, KeyValue, Namespace};

pub(super) struct Entry {
    value: Vec<u8>,
    /// Milliseconds since 1970; `None` means never.
    expires: Option<u64>,
}

impl Entry {
    pub(super) fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} bytes)", self.value.len())
    }
}

impl MemoryStore {
    /// Edits an entry in one step.
    fn edit<T>(&self, key: &Key, edit: impl Fn(Option<&[u8]>) -> Edit<T>) -> Result<T> {
        let now = self.clock.millis();
        let mut entries = self.entries.lock();
        let current = entries.get(key).filter(|entry| entry.is_live(now));
        let expires = current.and_then(|entry| entry.expires);
        let is_new = current.is_none();
        let edit = edit(current.map(|entry| &entry.value[..]));
        match edit.action {
            Action::Leave => {}
            Action::Remove => drop(entries.remove(key)),
            Action::Set(value, lifetime) => {
                if is_new && entries.len() >= self.capacity {
                    entries.retain(|_, entry| entry.is_live(now));
                    if entries.len() >= self.capacity {
                        return Err(self.full("keep an entry"));
                    }
                }
                let expires = lifetime.end(now, expires);
                entries.insert(key.clone(), Entry { value, expires });
            }
        }
        Ok(edit.output)
    }
}

#[rocket::async_trait]
impl KeyValue for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let now = self.clock.millis();
        let entries = self.entries.lock();
        let entry = entries.get(key).filter(|entry| entry.is_live(now));
        Ok(entry.map(|entry| entry.value.clone()))
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        self.edit(key, edit::set(value, ttl))
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
        let live = entries.iter().filter(|(_, entry)| entry.is_live(now));
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
            let is_cleared = key.namespace() == namespace.as_str();
            cleared += u64::from(is_cleared && entry.is_live(now));
            !is_cleared
        });
        Ok(cleared)
    }
}
