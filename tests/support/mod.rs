//! The common parts of the tests: applications, visitors and stores.

mod app;
mod backend;
pub(crate) mod browser;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub(crate) mod database;
pub(crate) mod disk;
pub(crate) mod log;
#[cfg(feature = "memcached")]
pub(crate) mod memcached;
pub(crate) mod process;
pub(crate) mod proxy;
#[cfg(feature = "redis")]
pub(crate) mod redis;
pub(crate) mod served;
#[cfg(any(feature = "redis", feature = "memcached", feature = "sqlite"))]
pub(crate) mod server;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) mod sql_server;
mod visitor;

use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(feature = "memcached")]
use rocket_session_kit::MemcachedStore;
#[cfg(feature = "redis")]
use rocket_session_kit::RedisStore;
use rocket_session_kit::store::KeyValue;
use rocket_session_kit::testing::{Act, Probe, Subject};
use rocket_session_kit::{Clock, DirectoryStore, MemoryStore};
use tempfile::TempDir;

pub(crate) use app::{App, Gates, PATIENCE, figment, push, remove_token, routes, take, text_of};
pub(crate) use backend::{Backend, on_every_shared_store, on_every_store};
pub(crate) use visitor::{Response, Visitor};

type Fault = fn(&Probe, Act);

/// Every way in which a call to the store can fail.
pub(crate) const FAULTS: [(&str, Fault); 3] = [
    ("fails", Probe::fail),
    ("hangs", Probe::hang),
    ("panics", Probe::panic),
];

/// A memory store with a manual clock.
pub(crate) async fn memory() -> Subject {
    let clock = Clock::manual();
    Subject::new(MemoryStore::new().clock(clock.clone())).clock(clock)
}

/// The same, for entries.
pub(crate) async fn memory_entries() -> Subject<dyn KeyValue> {
    let clock = Clock::manual();
    Subject::key_value(MemoryStore::new().clock(clock.clone())).clock(clock)
}

/// A directory store in its own directory, with a manual clock.
pub(crate) async fn directory() -> Subject {
    let (store, clock, there) = directory_store();
    Subject::new(store).clock(clock).keep(there)
}

/// The same, for entries.
pub(crate) async fn directory_entries() -> Subject<dyn KeyValue> {
    let (store, clock, there) = directory_store();
    Subject::key_value(store).clock(clock).keep(there)
}

fn directory_store() -> (DirectoryStore, Clock, TempDir) {
    let there = tempfile::tempdir().expect("there is room for a directory");
    let clock = Clock::manual();
    let store = DirectoryStore::open(there.path().join("sessions")).expect("it can be made");
    (store.clock(clock.clone()), clock, there)
}

/// A store on its own Redis server.
#[cfg(feature = "redis")]
pub(crate) async fn redis() -> Subject {
    let server = redis::Redis::start();
    Subject::new(RedisStore::open(&server.url()).expect("this is its URL")).keep(server)
}

/// The same, for entries.
#[cfg(feature = "redis")]
pub(crate) async fn redis_entries() -> Subject<dyn KeyValue> {
    let server = redis::Redis::start();
    Subject::key_value(RedisStore::open(&server.url()).expect("this is its URL")).keep(server)
}

/// A store on a cluster that all tests share, with a prefix that no other test has.
#[cfg(feature = "redis")]
pub(crate) async fn redis_cluster() -> Subject {
    Subject::new(cluster_store())
}

/// The same, for entries.
#[cfg(feature = "redis")]
pub(crate) async fn redis_cluster_entries() -> Subject<dyn KeyValue> {
    Subject::key_value(cluster_store())
}

#[cfg(feature = "redis")]
fn cluster_store() -> RedisStore {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let prefix = format!("test[{}]:", NEXT.fetch_add(1, Ordering::Relaxed));
    let store = RedisStore::cluster(redis::Cluster::shared()).expect("these are its URLs");
    store.prefix(prefix)
}

/// A store on this many Memcached servers of its own.
#[cfg(feature = "memcached")]
pub(crate) async fn memcached(servers: usize) -> Subject {
    let (store, servers) = memcached_store(servers);
    Subject::new(store).keep(servers)
}

/// The same, for entries.
#[cfg(feature = "memcached")]
pub(crate) async fn memcached_entries(servers: usize) -> Subject<dyn KeyValue> {
    let (store, servers) = memcached_store(servers);
    Subject::key_value(store).keep(servers)
}

#[cfg(feature = "memcached")]
fn memcached_store(servers: usize) -> (MemcachedStore, Vec<memcached::Memcached>) {
    let servers: Vec<_> = (0..servers)
        .map(|_| memcached::Memcached::start())
        .collect();
    let addresses = servers.iter().map(memcached::Memcached::address);
    let store = MemcachedStore::open(addresses).expect("these are addresses");
    (store, servers)
}
