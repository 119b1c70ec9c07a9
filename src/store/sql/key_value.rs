//! Entries in a table.

use std::time::Duration;

use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use rocket::tokio::task::yield_now;

use super::SqlStore;
use super::database::Retry;
use super::pool::Value::{Bytes, Number};
use crate::error::{Error, ErrorKind, Result};
use crate::store::edit;
use crate::store::{Key, KeyValue, Namespace};

/// How many names a list reads at once.
const PAGE: i64 = 500;

/// How often a change is tried while others change the same entry.
const ATTEMPTS: u32 = 1000;

impl SqlStore {
    /// Returns when an entry expires; the greatest number means never.
    fn end(now: i64, ttl: Option<Duration>) -> i64 {
        ttl.map_or(i64::MAX, |ttl| Self::expires(now, ttl))
    }

    async fn swap_if(
        &self,
        key: &Key,
        expected: &[u8],
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let now = self.now();
        let values = [
            Bytes(value),
            Number(Self::end(now, ttl)),
            Bytes(key.as_str().as_bytes()),
            Bytes(expected),
            Number(now),
        ];
        let swapped =
            self.database
                .execute("keep an entry", &self.entries.swap, &values, Retry::No);
        Ok(swapped.await?.value > 0)
    }

    /// Returns the error about an entry that others change all the time.
    fn contended(&self, act: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, act).because("too many others change the same entry")
    }
}

#[rocket::async_trait]
impl KeyValue for SqlStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let values = [Bytes(key.as_str().as_bytes()), Number(self.now())];
        self.database
            .bytes("read an entry", &self.entries.get, &values)
            .await
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let end = Number(Self::end(self.now(), ttl));
        let values = [Bytes(key.as_str().as_bytes()), Bytes(value), end];
        let set = self
            .database
            .execute("keep an entry", &self.entries.set, &values, Retry::Yes);
        set.await.map(drop)
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let (act, now) = ("keep an entry", self.now());
        let (name, end) = (Bytes(key.as_str().as_bytes()), Number(Self::end(now, ttl)));
        let values = [name, Bytes(value), end, Number(now)];
        let in_one = self.dialect().replaces_on_conflict();
        let inserted = &values[..if in_one { 4 } else { 3 }];
        for _ in 0..ATTEMPTS {
            let added = self
                .database
                .insert(act, &self.entries.add, inserted, Retry::No)
                .await?;
            if added.value || in_one {
                return Ok(added.value);
            }
            let values = [Bytes(value), end, name, Number(now)];
            let sql = &self.entries.replace_expired;
            let replaced = self.database.execute(act, sql, &values, Retry::No).await?;
            if replaced.value > 0 || self.get(key).await?.is_some() {
                return Ok(replaced.value > 0);
            }
            // It had expired, or was removed, and a sweep has deleted it in between.
        }
        Err(self.contended(act))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        match expected {
            None => self.add(key, value, ttl).await,
            Some(expected) => self.swap_if(key, expected, value, ttl).await,
        }
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let values = [Bytes(key.as_str().as_bytes()), Number(self.now())];
        let removed =
            self.database
                .execute("remove an entry", &self.entries.remove, &values, Retry::No);
        Ok(removed.await?.value > 0)
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let (act, name) = ("take an entry", Bytes(key.as_str().as_bytes()));
        for _ in 0..ATTEMPTS {
            let Some(value) = self.get(key).await? else {
                return Ok(None);
            };
            let values = [name, Bytes(&value), Number(self.now())];
            let removed = self
                .database
                .execute(act, &self.entries.remove_if, &values, Retry::No);
            if removed.await?.value > 0 {
                return Ok(Some(value));
            }
            yield_now().await;
        }
        Err(self.contended(act))
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        let (act, name) = ("increment an entry", Bytes(key.as_str().as_bytes()));
        for _ in 0..ATTEMPTS {
            let there = self.get(key).await?;
            let before = match &there {
                None => 0,
                Some(digits) => edit::number(digits).ok_or_else(edit::not_a_number)?,
            };
            let sum = edit::sum(before, by).ok_or_else(edit::too_large)?;
            let digits = sum.to_string();
            let done = match &there {
                None => self.add(key, digits.as_bytes(), ttl).await?,
                Some(there) => {
                    let values = [
                        Bytes(digits.as_bytes()),
                        name,
                        Bytes(there),
                        Number(self.now()),
                    ];
                    let sql = &self.entries.swap_in_time;
                    let swapped = self.database.execute(act, sql, &values, Retry::No).await?;
                    swapped.value > 0
                }
            };
            if done {
                return Ok(sum);
            }
            yield_now().await;
        }
        Err(self.contended(act))
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let (prefix, end) = range(namespace);
        let start = prefix.clone();
        let pages = stream::try_unfold(Some(start), move |after: Option<Vec<u8>>| {
            let end = end.clone();
            async move {
                let Some(after) = after else { return Ok(None) };
                let values = [Bytes(&after), Bytes(&end), Number(self.now()), Number(PAGE)];
                let rows = self
                    .database
                    .rows("list the entries", &self.entries.page, &values);
                let names: Vec<Vec<u8>> = rows.await?.into_iter().flatten().collect();
                let is_last = names.len() < PAGE as usize;
                let last = names.last().cloned().filter(|_| !is_last);
                Ok(Some((names, last)))
            }
        });
        let namespace = namespace.clone();
        let name = move |key: Vec<u8>| {
            let escaped = key.strip_prefix(prefix.as_slice())?;
            namespace.name(std::str::from_utf8(escaped).ok()?)
        };
        pages
            .map_ok(move |names| {
                let names: Vec<_> = names.into_iter().filter_map(&name).map(Ok).collect();
                stream::iter(names)
            })
            .try_flatten()
            .boxed()
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let act = "clear the entries";
        let (mut after, end) = range(namespace);
        let mut cleared = 0;
        loop {
            let now = Number(self.now());
            let values = [Bytes(&after), Bytes(&end), now, Number(PAGE)];
            let names = self.database.rows(act, &self.entries.page, &values).await?;
            for name in names.iter().flatten() {
                let values = [Bytes(name), now];
                let removed = self
                    .database
                    .execute(act, &self.entries.remove, &values, Retry::Yes);
                cleared += removed.await?.value;
            }
            match names.into_iter().flatten().next_back() {
                Some(last) => after = last,
                None => return Ok(cleared),
            }
        }
    }
}

/// Returns a text before all keys of `namespace`, and one after them.
fn range(namespace: &Namespace) -> (Vec<u8>, Vec<u8>) {
    let start = namespace.prefix().into_bytes();
    let mut end = start.clone();
    if let Some(colon) = end.last_mut() {
        *colon += 1;
    }
    (start, end)
}
