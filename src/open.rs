//! The store that `Rocket.toml` names, made as it says.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, StoreName};
use crate::error::Result;
use crate::store::{DirectoryStore, MemoryStore, SessionStore};

/// Returns the store that `config` names. No server is reached yet.
///
/// # Errors
///
/// When the store cannot be made so, with the key that is wrong.
pub(crate) fn store(config: &Config, clock: &Clock) -> Result<Arc<dyn SessionStore>> {
    Ok(match config.store {
        StoreName::Directory => {
            let store = DirectoryStore::open(config.directory.path.relative())?;
            Arc::new(store.sync(config.directory.sync).clock(clock.clone()))
        }
        StoreName::Redis => redis(config, clock)?,
        StoreName::Memcached => memcached(config, clock)?,
        StoreName::Memory => Arc::new(
            MemoryStore::new()
                .capacity(config.memory.capacity)
                .clock(clock.clone()),
        ),
    })
}

#[cfg(feature = "redis")]
fn redis(config: &Config, clock: &Clock) -> Result<Arc<dyn SessionStore>> {
    use std::time::Duration;

    use crate::config::mistake;
    use crate::store::RedisStore;

    let redis = &config.redis;
    let (one, cluster) = (redis.url.as_deref(), !redis.urls.is_empty());
    let sentinel = !redis.sentinels.is_empty() || redis.master.is_some();
    let mut key = "sessions.redis.url";
    let store = match (one, cluster, sentinel) {
        (one, false, false) => RedisStore::open(one.unwrap_or("redis://127.0.0.1:6379")),
        (None, true, false) => {
            key = "sessions.redis.urls";
            RedisStore::cluster(&redis.urls)
        }
        (None, false, true) => {
            key = "sessions.redis.sentinels";
            let Some(master) = &redis.master else {
                let why =
                    "the sentinels must be told which master; set it to the name that they give it";
                return Err(mistake("sessions.redis.master", why));
            };
            RedisStore::sentinel(&redis.sentinels, master)
        }
        _ => {
            let why = "set only one of `url` (one server), `urls` (a cluster), and `sentinels` with `master`";
            return Err(mistake("sessions.redis", why));
        }
    };
    let mut store = store
        .map_err(|error| error.at(key))?
        .prefix(&redis.prefix)
        .timeout(Duration::from_millis(config.store_timeout))
        .clock(clock.clone());
    if let Some(db) = redis.db {
        store = store
            .db(db)
            .map_err(|error| error.at("sessions.redis.db"))?;
    }
    if let Some(ca) = &redis.ca {
        store = store.ca(ca.relative())?;
    }
    Ok(Arc::new(store))
}

#[cfg(not(feature = "redis"))]
fn redis(_: &Config, _: &Clock) -> Result<Arc<dyn SessionStore>> {
    Err(left_out("redis"))
}

#[cfg(feature = "memcached")]
fn memcached(config: &Config, clock: &Clock) -> Result<Arc<dyn SessionStore>> {
    use std::time::Duration;

    use crate::store::MemcachedStore;

    let memcached = &config.memcached;
    let store = MemcachedStore::open(memcached.servers.iter().cloned())
        .map_err(|error| error.at("sessions.memcached.servers"))?
        .prefix(&memcached.prefix)
        .map_err(|error| error.at("sessions.memcached.prefix"))?
        .connections(memcached.connections)
        .timeout(Duration::from_millis(config.store_timeout))
        .clock(clock.clone());
    Ok(Arc::new(store))
}

#[cfg(not(feature = "memcached"))]
fn memcached(_: &Config, _: &Clock) -> Result<Arc<dyn SessionStore>> {
    Err(left_out("memcached"))
}

#[cfg(not(all(feature = "redis", feature = "memcached")))]
/// Tells that a store was left out when this crate was compiled.
fn left_out(feature: &str) -> crate::error::Error {
    let why = format!(
        "this store is not compiled in; give `rocket_session_kit` the feature `{feature}` in \
         Cargo.toml, or choose another store"
    );
    crate::config::mistake("sessions.store", why)
}
