//! The servers in `Rocket.toml` that hold the sessions of a Perl site.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, MemcachedConfig, RedisConfig, StoreName};
use crate::error::{Error, Result};
use crate::store::Server;
use crate::store::configured::{memcached, redis};

/// Returns the servers that hold the sessions of a Perl site; none if `config` names no such site.
/// No connection is opened yet.
///
/// # Errors
///
/// When a server cannot be used as it is configured. The error names the key.
pub(super) fn configured(config: &Config, clock: &Clock) -> Result<Vec<Arc<dyn Server>>> {
    let perl = &config.perl;
    if perl.cookie_name.is_none() {
        return Ok(Vec::new());
    }
    let timeout = config.store_timeout();
    // Only the site's own client knows which of several servers has a key, so each is a store of its
    // own here.
    let each = |servers: &[String], key: &str| {
        let store = |server: &String| {
            let one = MemcachedConfig {
                servers: vec![server.clone()],
                ..config.memcached.clone()
            };
            memcached(key, &one, timeout, clock)
        };
        servers.iter().map(store).collect::<Result<Vec<_>>>()
    };
    match (&perl.url, &perl.servers[..]) {
        (Some(url), []) => {
            let own = RedisConfig {
                url: Some(url.clone()),
                ca: config.redis.ca.clone(),
                ..RedisConfig::default()
            };
            let key = "sessions.perl.url";
            let server = redis(key, &own, timeout, clock).map_err(|error| error.at(key))?;
            Ok(vec![server])
        }
        (None, [_, ..]) => {
            let key = "sessions.perl.servers";
            each(&perl.servers, key).map_err(|error| error.at(key))
        }
        (None, []) => match perl.store.unwrap_or(config.store) {
            StoreName::Redis => {
                let key = "sessions.perl.store";
                Ok(vec![redis(key, &config.redis, timeout, clock)?])
            }
            StoreName::Memcached => each(&config.memcached.servers, "sessions.perl.store"),
            _ => {
                let why = "the sessions of a Perl site are read from \"redis\" or \"memcached\"; set it to one of them, or set `url` or `servers`";
                Err(Error::config("sessions.perl.store", why))
            }
        },
        (Some(_), [_, ..]) => {
            let why = "set only one of `url` (a Redis server) and `servers` (Memcached)";
            Err(Error::config("sessions.perl", why))
        }
    }
}
