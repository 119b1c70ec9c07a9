//! Entries in Memcached: what takes more than a command compares the item's CAS.

use std::time::Duration;

use memcache::exp::{Arithmetic, Delete, Get, Meta, MutationResult, Operation, Set};
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::pool::{Cas, Failed};
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
    async fn found(&self, act: &'static str, key: &str) -> Result<Option<(Vec<u8>, Cas)>> {
        let get = Get::new(key).meta(Meta::default().cas());
        self.pool.find(act, key, get).await
    }

    /// Sends a command that must not be done twice, and returns whether it was done.
    async fn once<O: Operation<Output = MutationResult>>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
    ) -> Result<bool> {
        let send = async {
            let reply = self.pool.change(act, key, operation, None).await;
            let reply = reply.map_err(|failure| failure.error)?;
            Ok(reply.output.applied())
        };
        self.pool.in_time(act, key, send).await
    }

    /// Sends a command that compares the CAS, and returns whether it was the item's.
    async fn compare<O: Operation<Output = MutationResult>>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
        cas: Cas,
    ) -> Result<bool> {
        match self.pool.change(act, key, operation, Some(cas)).await {
            Ok(reply) => Ok(reply.output.applied()),
            Err(failure) if failure.kind == Failed::Stale => Ok(false),
            Err(failure) => Err(failure.error),
        }
    }

    async fn counted(
        &self,
        act: &'static str,
        key: &Key,
        by: u64,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        let entry = self.entry(key);
        loop {
            // The server counts on beyond 63 bits, and takes more for a number than others do.
            let before = match self.get(key).await? {
                Some(there) => edit::number(&there).ok_or_else(edit::not_a_number)?,
                None => 0,
            };
            edit::sum(before, by).ok_or_else(edit::too_large)?;
            let mut add = Arithmetic::new(&entry).delta(by);
            if ttl.is_some() {
                add = add.initial(by, told(ttl));
            }
            let added = match self.pool.change(act, &entry, add, None).await {
                Ok(reply) => reply.output,
                Err(failure) if failure.kind == Failed::Rejected => {
                    return Err(edit::not_a_number());
                }
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
        let set = Set::new(&key, value).ttl_raw(told(ttl));
        self.pool.run(act, &key, set).await?;
        Ok(())
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let (act, key) = ("keep an entry", self.entry(key));
        fits(act, &key, value)?;
        let add = Set::new(&key, value).ttl_raw(told(ttl)).add();
        self.once(act, &key, add).await
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
        let swap = async {
            loop {
                let cas = match self.found(act, &key).await? {
                    Some((there, cas)) if there == expected => cas,
                    _ => return Ok(false),
                };
                let set = Set::new(&key, value).ttl_raw(told(ttl));
                let set = set.compare_cas(cas.number);
                if self.compare(act, &key, set, cas).await? {
                    return Ok(true);
                }
                // Somebody was faster, perhaps with the same bytes.
            }
        };
        self.pool.in_time(act, &key, swap).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let (act, key) = ("remove an entry", self.entry(key));
        self.once(act, &key, Delete::new(&key)).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let (act, key) = ("take an entry", self.entry(key));
        let take = async {
            while let Some((there, cas)) = self.found(act, &key).await? {
                let delete = Delete::new(&key).compare_cas(cas.number);
                if self.compare(act, &key, delete, cas).await? {
                    return Ok(Some(there));
                }
            }
            Ok(None)
        };
        self.pool.in_time(act, &key, take).await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        let act = "increment an entry";
        let count = self.counted(act, key, by, ttl);
        self.pool.in_time(act, &self.entry(key), count).await
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
