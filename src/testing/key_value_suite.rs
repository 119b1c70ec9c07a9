//! The contract of [`KeyValue`], with one function for each clause.
//!
//! Each function takes a fresh [`Subject`], and panics if the store breaks the clause.
//! [`key_value_suite!`](crate::key_value_suite) makes a test of each.

mod counting;
mod expiring;
mod listing;
mod values;

use std::time::Duration;

use rocket::futures::TryStreamExt;

use super::Subject;
use crate::store::{Key, KeyValue, Namespace};

pub use counting::*;
pub use expiring::*;
pub use listing::*;
pub use values::*;

type Entries = Subject<dyn KeyValue>;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn namespace() -> Namespace {
    Namespace::new("suite").expect("the name is valid")
}

fn key(name: impl AsRef<[u8]>) -> Key {
    namespace().key(name)
}

impl Entries {
    async fn get(&self, key: &Key) -> Option<Vec<u8>> {
        self.store.get(key).await.expect("the store gets")
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) {
        let set = self.store.set(key, value, ttl).await;
        set.expect("the store sets");
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> bool {
        let added = self.store.add(key, value, ttl).await;
        added.expect("the store adds")
    }

    async fn swap(&self, key: &Key, expected: Option<&[u8]>, value: &[u8]) -> bool {
        let swapped = self.store.swap(key, expected, value, HOUR).await;
        swapped.expect("the store swaps")
    }

    async fn take(&self, key: &Key) -> Option<Vec<u8>> {
        self.store.take(key).await.expect("the store takes")
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> u64 {
        let sum = self.store.increment(key, by, ttl).await;
        sum.expect("the store increments")
    }

    async fn names(&self, namespace: &Namespace) -> Vec<Vec<u8>> {
        let names = self.store.keys(namespace).try_collect().await;
        let mut names: Vec<Vec<u8>> = names.expect("the store lists");
        names.sort();
        names
    }
}
