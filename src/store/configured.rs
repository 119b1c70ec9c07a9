//! The stores that `Rocket.toml` names.

#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::{Config, MemcachedConfig, RedisConfig, StoreName};
use crate::error::{Error, Result};
#[cfg(feature = "memcached")]
use crate::store::MemcachedStore;
#[cfg(feature = "redis")]
use crate::store::RedisStore;
#[cfg(feature = "perl")]
use crate::store::Server;
// Without Perl sites a server is a store like any other.
#[cfg(not(feature = "perl"))]
use crate::store::SessionStore as Server;
use crate::store::{DirectoryStore, KeyValue, MemoryStore, SessionStore};

/// The stores of one application.
pub(crate) struct Stores {
    pub(crate) sessions: Arc<dyn SessionStore>,
    /// `None` if no store is configured for it and the store of the sessions keeps no entries.
    pub(crate) cache: Option<Entries>,
    /// As for the cache.
    pub(crate) rate_limit: Option<Entries>,
    /// The stores of the cache and the rate limit, without that of the sessions.
    pub(crate) others: Vec<Arc<dyn SessionStore>>,
}

/// A store of entries, with its name.
pub(crate) struct Entries {
    pub(crate) name: &'static str,
    pub(crate) store: Arc<dyn KeyValue>,
}

impl Entries {
    fn of(store: Arc<dyn SessionStore>) -> Option<Self> {
        let name = store.name();
        let store = store.key_value()?;
        Some(Self { name, store })
    }
}

/// Returns the stores that `config` names, with `own`, if there is one, for the sessions. A store
/// that is named twice is opened once. No server is contacted yet.
///
/// # Errors
///
/// When a setting cannot work; the error names its key.
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
    let mut entries = |name: Option<StoreName>, key: &str| -> Result<Option<Entries>> {
        let Some(name) = name else {
            return Ok(Entries::of(Arc::clone(&sessions)));
        };
        if let Some((_, opened)) = named.iter().find(|(opened, _)| *opened == name) {
            return Ok(Entries::of(Arc::clone(opened)));
        }
        let other = store(name, key, config, clock)?;
        named.push((name, Arc::clone(&other)));
        others.push(Arc::clone(&other));
        Ok(Entries::of(other))
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

/// Opens the store called `name`, which the setting `key` asks for.
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
        StoreName::Redis => redis(key, &config.redis, config.store_timeout(), clock)?,
        StoreName::Memcached => memcached(key, &config.memcached, config.store_timeout(), clock)?,
        #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
        StoreName::Postgres | StoreName::Mysql | StoreName::Sqlite => {
            sql::open(name, key, config, clock)?
        }
        #[cfg(not(any(feature = "postgres", feature = "mysql", feature = "sqlite")))]
        StoreName::Postgres | StoreName::Mysql | StoreName::Sqlite => {
            return Err(not_compiled_in(key, name.as_str()));
        }
        StoreName::Memory => Arc::new(
            MemoryStore::new()
                .capacity(config.memory.capacity)
                .clock(clock.clone()),
        ),
    })
}

#[cfg(feature = "redis")]
pub(crate) fn redis(
    _key: &str,
    config: &RedisConfig,
    timeout: Duration,
    clock: &Clock,
) -> Result<Arc<dyn Server>> {
    Ok(Arc::new(open_redis(config, timeout, clock)?))
}

/// Opens the Redis server, the cluster or the sentinels of `config`.
#[cfg(feature = "redis")]
pub(crate) fn open_redis(
    config: &RedisConfig,
    timeout: Duration,
    clock: &Clock,
) -> Result<RedisStore> {
    let has_cluster = !config.urls.is_empty();
    let has_sentinels = !config.sentinels.is_empty() || config.master.is_some();
    let (key, store) = match (config.url.as_deref(), has_cluster, has_sentinels) {
        (url, false, false) => (
            "sessions.redis.url",
            RedisStore::open(url.unwrap_or("redis://127.0.0.1:6379")),
        ),
        (None, true, false) => ("sessions.redis.urls", RedisStore::cluster(&config.urls)),
        (None, false, true) => {
            let Some(master) = &config.master else {
                let why = "the sentinels need the name of a master; set it to the name that they know it by";
                return Err(Error::config("sessions.redis.master", why));
            };
            (
                "sessions.redis.sentinels",
                RedisStore::sentinel(&config.sentinels, master),
            )
        }
        _ => {
            let why = "set only one of `url` (one server), `urls` (a cluster), and `sentinels` with `master`";
            return Err(Error::config("sessions.redis", why));
        }
    };
    let mut store = store
        .map_err(|error| error.at(key))?
        .prefix(&config.prefix)
        .timeout(timeout)
        .clock(clock.clone());
    if let Some(db) = config.db {
        store = store
            .db(db)
            .map_err(|error| error.at("sessions.redis.db"))?;
    }
    if let Some(ca) = &config.ca {
        store = store.ca(ca.relative())?;
    }
    Ok(store)
}

#[cfg(not(feature = "redis"))]
pub(crate) fn redis(key: &str, _: &RedisConfig, _: Duration, _: &Clock) -> Result<Arc<dyn Server>> {
    Err(not_compiled_in(key, "redis"))
}

#[cfg(feature = "memcached")]
pub(crate) fn memcached(
    _key: &str,
    config: &MemcachedConfig,
    timeout: Duration,
    clock: &Clock,
) -> Result<Arc<dyn Server>> {
    Ok(Arc::new(open_memcached(config, timeout, clock)?))
}

/// Opens the Memcached servers of `config`.
#[cfg(feature = "memcached")]
pub(crate) fn open_memcached(
    config: &MemcachedConfig,
    timeout: Duration,
    clock: &Clock,
) -> Result<MemcachedStore> {
    let store = MemcachedStore::open(config.servers.iter().cloned())
        .map_err(|error| error.at("sessions.memcached.servers"))?
        .prefix(&config.prefix)
        .map_err(|error| error.at("sessions.memcached.prefix"))?
        .connections(config.connections)
        .timeout(timeout)
        .clock(clock.clone());
    Ok(store)
}

#[cfg(not(feature = "memcached"))]
pub(crate) fn memcached(
    key: &str,
    _: &MemcachedConfig,
    _: Duration,
    _: &Clock,
) -> Result<Arc<dyn Server>> {
    Err(not_compiled_in(key, "memcached"))
}

/// Returns what the servers of the sessions tell about themselves.
#[cfg(feature = "cli")]
pub(crate) async fn facts(config: &Config) -> Result<Vec<super::server_facts::ServerFacts>> {
    match config.store {
        #[cfg(feature = "redis")]
        StoreName::Redis => {
            let store = open_redis(&config.redis, config.store_timeout(), &Clock::system())?;
            Ok(vec![store.facts().await?])
        }
        #[cfg(feature = "memcached")]
        StoreName::Memcached => {
            let timeout = config.store_timeout();
            let store = open_memcached(&config.memcached, timeout, &Clock::system())?;
            store.facts().await
        }
        #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
        StoreName::Postgres | StoreName::Mysql | StoreName::Sqlite => sql::facts(config).await,
        _ => Ok(Vec::new()),
    }
}

/// Returns where the database of the store `name`, which the setting `key` asks for, has no tables
/// yet, without making anything there. `None` if it has them.
#[cfg(feature = "cli")]
pub(crate) async fn lacks_tables(
    name: StoreName,
    key: &str,
    config: &Config,
) -> Result<Option<String>> {
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    return sql::lacks_tables(name, key, config).await;
    #[cfg(not(any(feature = "postgres", feature = "mysql", feature = "sqlite")))]
    {
        let _ = config;
        Err(not_compiled_in(key, name.as_str()))
    }
}

/// Returns whether two configurations name one table of one database.
#[cfg(feature = "cli")]
pub(crate) fn is_same_table(one: &Config, other: &Config) -> Result<bool> {
    #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
    return sql::is_same_table(one, other);
    #[cfg(not(any(feature = "postgres", feature = "mysql", feature = "sqlite")))]
    Ok(one.sql == other.sql)
}

/// Returns the error about a store whose feature is off.
fn not_compiled_in(key: &str, feature: &str) -> Error {
    let why = format!(
        "this store is not compiled in; give `rocket_session_kit` the feature `{feature}` in \
         Cargo.toml, or choose another store"
    );
    Error::config(key, why)
}
