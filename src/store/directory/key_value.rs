//! Entries in a directory.

use std::time::Duration;

use rocket::futures::stream::BoxStream;

use super::cached_read::CachedRead;
use super::{Backoff, DirectoryStore, dir};
use crate::error::{Error, ErrorKind, Result};
use crate::store::edit::{self, Edit};
use crate::store::listing;
use crate::store::{Key, KeyValue, Namespace};

/// The size of the largest value: of the largest file that is read, without the line before the
/// value.
const LARGEST_VALUE: usize = dir::LARGEST as usize - 32;

impl DirectoryStore {
    /// Edits an entry in one step.
    async fn edit<T: Send + 'static>(
        &self,
        key: &Key,
        act: &'static str,
        edit: impl Fn(Option<&[u8]>) -> Edit<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let key = key.clone();
        self.retry_while_locked(act, move |dir, cancel| dir.edit(&key, &edit, cancel))
            .await
    }
}

#[rocket::async_trait]
impl KeyValue for DirectoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let act = "read an entry";
        match self.dir.entry_cached(key) {
            CachedRead::Done(read) => read.map_err(|error| self.unavailable(act, error)),
            CachedRead::WouldBlock => {
                let key = key.clone();
                self.blocking(act, move |dir, _| dir.entry(&key)).await
            }
        }
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        check_size(value)?;
        self.edit(key, "keep an entry", edit::set(value, ttl)).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        check_size(value)?;
        self.edit(key, "keep an entry", edit::swap(expected, value, ttl))
            .await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let taken = self.edit(key, "remove an entry", edit::take).await?;
        Ok(taken.is_some())
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.edit(key, "take an entry", edit::take).await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        self.edit(key, "increment an entry", edit::increment(by, ttl))
            .await?
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let namespace = namespace.clone();
        listing::items(self.blocking("list the entries", move |dir, _| dir.entries(&namespace)))
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let act = "clear the entries";
        let dir = self.dir.subdirectory(namespace.as_str());
        let mut names = self.blocking(act, move |_, _| dir.files()).await?;
        let mut cleared = 0;
        let mut backoff = Backoff::default();
        loop {
            let namespace = namespace.clone();
            let clear = self.blocking(act, move |dir, cancel| {
                let cleared = dir.clear(&namespace, &mut names, cancel)?;
                Ok((cleared, names))
            });
            let (removed, locked) = clear.await?;
            cleared += removed;
            if locked.is_empty() {
                return Ok(cleared);
            }
            names = locked;
            backoff.wait().await;
        }
    }
}

/// Refuses a value that could be written, but not read.
fn check_size(value: &[u8]) -> Result<()> {
    if value.len() <= LARGEST_VALUE {
        return Ok(());
    }
    let why = format!("a value may not take more than {LARGEST_VALUE} bytes");
    Err(Error::new(ErrorKind::Limit, "keep an entry").because(why))
}
