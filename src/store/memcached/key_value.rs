//! Entries in Memcached: what takes more than a command compares the item's CAS.

use std::time::Duration;

use memcache::exp::{Arithmetic, Delete, Get, Meta, MutationStatus, Set};
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::{ABREAST, MemcachedStore, fits, seconds};
use crate::clock::Clock;
use crate::error::Result;
use crate::store::edit;
use crate::store::{Key, KeyValue, Namespace};

impl MemcachedStore {
    fn entry(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.as_str())
    }

    /// Returns what is there, with its CAS.
    async fn found(&self, act: &'static str, key: &str) -> Result<Option<(Vec<u8>, u64)>> {
        let get = Get::new(key).meta(Meta::default().cas());
        let found = self.pool.run(act, key, get).await?;
        Ok(found.value.zip(found.item.cas))
    }
}

fn told(ttl: Option<Duration>) -> u32 {
    seconds(ttl, Clock::system().seconds())
}

#[rocket::async_trait]
impl KeyValue for MemcachedStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let key = self.entry(key);
        let found = self.pool.run("read an entry", &key, Get::new(&key)).await?;
        Ok(found.value)
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let (act, key) = ("keep an entry", self.entry(key));
        fits(act, &key, value)?;
        let set = || Set::new(&key, value).ttl_raw(told(ttl));
        match self.pool.try_run(act, &key, set()).await {
            // Twice does no harm.
            Err(failure) if failure.ambiguous => self.pool.run(act, &key, set()).await?,
            set => set.map_err(|failure| failure.error)?,
        };
        Ok(())
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let (act, key) = ("keep an entry", self.entry(key));
        fits(act, &key, value)?;
        let add = Set::new(&key, value).ttl_raw(told(ttl)).add();
        Ok(self.pool.run(act, &key, add).await?.applied())
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let Some(expected) = expected else {
            return self.add(key, value, ttl).await;
        };
        let (act, key) = ("keep an entry", self.entry(key));
        fits(act, &key, value)?;
        loop {
            let cas = match self.found(act, &key).await? {
                Some((there, cas)) if there == expected => cas,
                _ => return Ok(false),
            };
            let set = Set::new(&key, value).ttl_raw(told(ttl)).compare_cas(cas);
            match self.pool.run(act, &key, set).await?.status {
                MutationStatus::Applied => return Ok(true),
                // Somebody was faster, perhaps with the same bytes.
                _ => continue,
            }
        }
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let key = self.entry(key);
        let removed = self.pool.run("remove an entry", &key, Delete::new(&key));
        Ok(removed.await?.applied())
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let (act, key) = ("take an entry", self.entry(key));
        loop {
            let Some((there, cas)) = self.found(act, &key).await? else {
                return Ok(None);
            };
            let delete = Delete::new(&key).compare_cas(cas);
            match self.pool.run(act, &key, delete).await?.status {
                MutationStatus::Applied => return Ok(Some(there)),
                _ => continue,
            }
        }
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        let (act, entry) = ("increment an entry", self.entry(key));
        loop {
            // The server counts on beyond 63 bits, and takes more for a number than others do.
            let before = match self.get(key).await? {
                Some(there) => edit::number(&there).ok_or_else(edit::no_number)?,
                None => 0,
            };
            edit::sum(before, by).ok_or_else(edit::too_large)?;
            let mut add = Arithmetic::new(&entry).delta(by);
            if ttl.is_some() {
                add = add.initial(by, told(ttl));
            }
            let added = match self.pool.try_run(act, &entry, add).await {
                Ok(added) => added,
                Err(failure) if failure.rejected => return Err(edit::no_number()),
                Err(failure) => return Err(failure.error),
            };
            if let Some(sum) = added.value.filter(|_| added.applied()) {
                return edit::sum(0, sum).ok_or_else(edit::too_large);
            }
            // There was nothing, and it is to stay for ever: that is not in the server's command.
            if ttl.is_none() && self.add(key, by.to_string().as_bytes(), None).await? {
                return Ok(by);
            }
        }
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let act = "list the entries";
        let prefix = format!("{}{}", self.prefix, namespace.prefix());
        let namespace = namespace.clone();
        self.names(act, prefix.clone())
            .map_ok(move |escaped| {
                let key = format!("{prefix}{escaped}");
                let name = namespace.name(&escaped);
                async move {
                    // A server lists what expired, too.
                    let get = Get::new(&key).without_value().no_lru_bump();
                    let lives = self.pool.run(act, &key, get).await?.hit();
                    Ok(name.filter(|_| lives))
                }
            })
            .try_buffer_unordered(ABREAST)
            .try_filter_map(async |name| Ok(name))
            .boxed()
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let act = "clear the entries";
        let prefix = format!("{}{}", self.prefix, namespace.prefix());
        self.names(act, prefix.clone())
            .map_ok(|escaped| {
                let key = format!("{prefix}{escaped}");
                async move {
                    let removed = self.pool.run(act, &key, Delete::new(&key)).await?;
                    Ok(u64::from(removed.applied()))
                }
            })
            .try_buffer_unordered(ABREAST)
            .try_fold(0, async |cleared, removed| Ok(cleared + removed))
            .await
    }
}
