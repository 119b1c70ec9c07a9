//! Entries in Memcached: by a command of the server, or by a comparison of the item's CAS.

use std::time::Duration;

use memcache::exp::{Arithmetic, Delete, Get, Meta, MutationResult, Operation, Set};
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::cas::Cas;
use super::expiry::expiry;
use super::failure::FailureKind;
use super::{CONCURRENCY, MemcachedStore, check_size};
use crate::error::Result;
use crate::store::edit;
use crate::store::{Key, KeyValue, Namespace};

impl MemcachedStore {
    /// Returns the value under `key`, with its CAS.
    pub(super) async fn find(
        &self,
        act: &'static str,
        key: &str,
    ) -> Result<Option<(Vec<u8>, Cas)>> {
        let get = Get::new(key).meta(Meta::default().cas());
        self.pool.get(act, key, get).await
    }

    /// Sends a command that must not be executed twice, and returns whether it was applied.
    async fn apply_once<O: Operation<Output = MutationResult>>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
    ) -> Result<bool> {
        let send = async {
            let response = self.pool.run_once(act, key, operation, None).await;
            let response = response.map_err(|failure| failure.error)?;
            Ok(response.output.applied())
        };
        self.pool.in_time(act, key, send).await
    }

    /// Sends a command that compares the CAS, and returns whether it was applied.
    async fn apply_if<O: Operation<Output = MutationResult>>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
        cas: Cas,
    ) -> Result<bool> {
        match self.pool.run_once(act, key, operation, Some(cas)).await {
            Ok(response) => Ok(response.output.applied()),
            Err(failure) if failure.kind == FailureKind::StaleCas => Ok(false),
            Err(failure) => Err(failure.error),
        }
    }

    async fn sum(
        &self,
        act: &'static str,
        key: &Key,
        by: u64,
        ttl: Option<Duration>,
    ) -> Result<u64> {
        let entry = self.prefix.entry(key);
        loop {
            // The server itself counts beyond 63 bits, and accepts more values as numbers than the
            // other stores do.
            let before = match self.get(key).await? {
                Some(value) => edit::number(&value).ok_or_else(edit::not_a_number)?,
                None => 0,
            };
            edit::sum(before, by).ok_or_else(edit::too_large)?;
            let mut add = Arithmetic::new(&entry).delta(by);
            if ttl.is_some() {
                add = add.initial(by, expiry(ttl));
            }
            let added = match self.pool.run_once(act, &entry, add, None).await {
                Ok(response) => response.output,
                Err(failure) if failure.kind == FailureKind::Rejected => {
                    return Err(edit::not_a_number());
                }
                Err(failure) => return Err(failure.error),
            };
            if let Some(sum) = added.value.filter(|_| added.applied()) {
                return edit::sum(0, sum).ok_or_else(edit::too_large);
            }
            // There is no entry, and the server's command cannot create one that never expires.
            if ttl.is_none() && self.add(key, by.to_string().as_bytes(), None).await? {
                return Ok(by);
            }
        }
    }
}

#[rocket::async_trait]
impl KeyValue for MemcachedStore {
    fn may_evict(&self) -> bool {
        true
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let key = self.prefix.entry(key);
        let found = self.pool.run("read an entry", &key, Get::new(&key)).await?;
        Ok(found.value)
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let (act, key) = ("keep an entry", self.prefix.entry(key));
        check_size(act, &key, value)?;
        let set = Set::new(&key, value).ttl_raw(expiry(ttl));
        self.pool.run(act, &key, set).await?;
        Ok(())
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let (act, key) = ("keep an entry", self.prefix.entry(key));
        check_size(act, &key, value)?;
        let add = Set::new(&key, value).ttl_raw(expiry(ttl)).add();
        self.apply_once(act, &key, add).await
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
        let (act, key) = ("keep an entry", self.prefix.entry(key));
        check_size(act, &key, value)?;
        let swap = async {
            loop {
                let cas = match self.find(act, &key).await? {
                    Some((current, cas)) if current == expected => cas,
                    _ => return Ok(false),
                };
                let set = Set::new(&key, value).ttl_raw(expiry(ttl));
                let set = set.compare_cas(cas.number);
                if self.apply_if(act, &key, set, cas).await? {
                    return Ok(true);
                }
                // Another call was faster, perhaps with the same bytes.
            }
        };
        self.pool.in_time(act, &key, swap).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let (act, key) = ("remove an entry", self.prefix.entry(key));
        self.apply_once(act, &key, Delete::new(&key)).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let (act, key) = ("take an entry", self.prefix.entry(key));
        let take = async {
            while let Some((value, cas)) = self.find(act, &key).await? {
                let delete = Delete::new(&key).compare_cas(cas.number);
                if self.apply_if(act, &key, delete, cas).await? {
                    return Ok(Some(value));
                }
            }
            Ok(None)
        };
        self.pool.in_time(act, &key, take).await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        let act = "increment an entry";
        let sum = self.sum(act, key, by, ttl);
        self.pool.in_time(act, &self.prefix.entry(key), sum).await
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let act = "list the entries";
        let prefix = self.prefix.namespace(namespace);
        let namespace = namespace.clone();
        self.keys(act, prefix.clone())
            .map_ok(move |escaped| {
                let key = format!("{prefix}{escaped}");
                let name = namespace.name(&escaped);
                async move {
                    // A server also lists expired items.
                    let get = Get::new(&key).without_value().no_lru_bump();
                    let is_live = self.pool.run(act, &key, get).await?.hit();
                    Ok(name.filter(|_| is_live))
                }
            })
            .try_buffer_unordered(CONCURRENCY)
            .try_filter_map(async |name| Ok(name))
            .boxed()
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let act = "clear the entries";
        let prefix = self.prefix.namespace(namespace);
        self.keys(act, prefix.clone())
            .map_ok(|escaped| {
                let key = format!("{prefix}{escaped}");
                async move {
                    let removed = self.pool.run(act, &key, Delete::new(&key)).await?;
                    Ok(u64::from(removed.applied()))
                }
            })
            .try_buffer_unordered(CONCURRENCY)
            .try_fold(0, async |cleared, removed| Ok(cleared + removed))
            .await
    }
}
