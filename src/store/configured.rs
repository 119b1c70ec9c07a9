//! The stores that `Rocket.toml` names, made as it says.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, RedisConfig, StoreName};
use crate::error::{Error, Result};
use crate::store::{DirectoryStore, KeyValue, MemoryStore, Server, SessionStore};

/// What an application keeps things in.
pub(crate) struct Stores {
    pub(crate) sessions: Arc<dyn SessionStore>,
    /// `None` where the store of the sessions keeps no entries, and no other is configured.
    pub(crate) cache: Option<Arc<dyn KeyValue>>,
    pub(crate) rate_limit: Option<Arc<dyn KeyValue>>,
    /// Those for the cache and the rate limit, as far as they are not the one of the sessions.
    pub(crate) others: Vec<Arc<dyn SessionStore>>,
}

/// Returns the stores that `config` names, with `own`, if there is one, for the sessions. A store
/// that is named twice is one. No server is reached yet.
///
/// # Errors
///
/// When a store cannot be made so, with the key that is wrong.
pub(crate) fn stores(
    config: &Config,
    clock: &Clock,
    own: Option<Arc<dyn SessionStore>>,
) -> Result<Stores> {
    let mut named: Vec<(StoreName, Arc<dyn SessionStore>)> = Vec::new();
    let sessions = match own {
        Some(own) => own,
        None => {
            let sessions = store(config.store, "sessions.store", config, clock)?;
            named.push((config.store, Arc::clone(&sessions)));
            sessions
        }
    };
    let mut others = Vec::new();
    let mut entries = |name: Option<StoreName>, key: &str| -> Result<Option<Arc<dyn KeyValue>>> {
        let Some(name) = name else {
            return Ok(Arc::clone(&sessions).key_value());
        };
        if let Some((_, there)) = named.iter().find(|(there, _)| *there == name) {
            return Ok(Arc::clone(there).key_value());
        }
        let other = store(name, key, config, clock)?;
        named.push((name, Arc::clone(&other)));
        others.push(Arc::clone(&other));
        Ok(other.key_value())
    };
    let cache = entries(config.cache.store, "sessions.cache.store")?;
    let rate_limit = entries(config.rate_limit.store, "sessions.rate_limit.store")?;
    Ok(Stores {
        sessions,
        cache,
        rate_limit,
        others,
    })
}

/// Returns the servers on which a Perl site keeps its sessions, if `config` tells of one. None is
/// reached yet.
///
/// # Errors
///
/// When a server cannot be reached so, with the key that is wrong.
pub(crate) fn perl(config: &Config, clock: &Clock) -> Result<Vec<Arc<dyn Server>>> {
    let perl = &config.perl;
    if perl.cookie_name.is_none() {
        return Ok(Vec::new());
    }
    // Which of several servers has a key, only the site's own client knows: each is one of its own.
    let each = |servers: &[String], key: &str| {
        let store = |server: &String| {
            let mut config = config.clone();
            config.memcached.servers = vec![server.clone()];
            memcached(key, &config, clock)
        };
        servers.iter().map(store).collect::<Result<Vec<_>>>()
    };
    match (&perl.url, &perl.servers[..]) {
        (Some(url), []) => {
            let mut config = config.clone();
            config.redis = RedisConfig {
                url: Some(url.clone()),
                ca: config.redis.ca,
                ..RedisConfig::default()
            };
            let key = "sessions.perl.url";
            let server = redis(key, &config, clock).map_err(|error| error.at(key))?;
            Ok(vec![server])
        }
        (None, [_, ..]) => {
            let key = "sessions.perl.servers";
            each(&perl.servers, key).map_err(|error| error.at(key))
        }
        (None, []) => match perl.store.unwrap_or(config.store) {
            StoreName::Redis => Ok(vec![redis("sessions.perl.store", config, clock)?]),
            StoreName::Memcached => each(&config.memcached.servers, "sessions.perl.store"),
            StoreName::Directory | StoreName::Memory => {
                let why = "a Perl site's sessions are read from \"redis\" or \"memcached\"; set it to one of them, or set `url` or `servers`";
                Err(Error::config("sessions.perl.store", why))
            }
        },
        (Some(_), [_, ..]) => {
            let why = "set only one of `url` (a Redis server) and `servers` (Memcached)";
            Err(Error::config("sessions.perl", why))
        }
    }
}

/// Returns the store called `name`, which the key `key` of the configuration asks for.
fn store(
    name: StoreName,
    key: &str,
    config: &Config,
    clock: &Clock,
) -> Result<Arc<dyn SessionStore>> {
    Ok(match name {
        StoreName::Directory => {
            let store = DirectoryStore::open(config.directory.path.relative())?;
            Arc::new(store.sync(config.directory.sync).clock(clock.clone()))
        }
        StoreName::Redis => redis(key, config, clock)?,
        StoreName::Memcached => memcached(key, config, clock)?,
        StoreName::Memory => Arc::new(
            MemoryStore::new()
                .capacity(config.memory.capacity)
                .clock(clock.clone()),
        ),
    })
}

#[cfg(feature = "redis")]
fn redis(_: &str, config: &Config, clock: &Clock) -> Result<Arc<dyn Server>> {
    use std::time::Duration;

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
                return Err(Error::config("sessions.redis.master", why));
            };
            RedisStore::sentinel(&redis.sentinels, master)
        }
        _ => {
            let why = "set only one of `url` (one server), `urls` (a cluster), and `sentinels` with `master`";
            return Err(Error::config("sessions.redis", why));
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
fn redis(key: &str, _: &Config, _: &Clock) -> Result<Arc<dyn Server>> {
    Err(left_out(key, "redis"))
}

#[cfg(feature = "memcached")]
fn memcached(_: &str, config: &Config, clock: &Clock) -> Result<Arc<dyn Server>> {
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
fn memcached(key: &str, _: &Config, _: &Clock) -> Result<Arc<dyn Server>> {
    Err(left_out(key, "memcached"))
}

#[cfg(not(all(feature = "redis", feature = "memcached")))]
/// Tells that a store was left out when this crate was compiled.
fn left_out(key: &str, feature: &str) -> Error {
    let why = format!(
        "this store is not compiled in; give `rocket_session_kit` the feature `{feature}` in \
         Cargo.toml, or choose another store"
    );
    Error::config(key, why)
}
