//! The store on one Memcached server, or spread over several.

mod cas;
mod command;
mod connection;
mod dump;
mod expiry;
#[cfg(feature = "cli")]
mod facts;
mod failure;
mod key_value;
mod node;
mod pool;
mod route;
mod session_store;
mod socket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use self::pool::{Pool, Settings};
use super::Key;
use super::prefix::Prefix;
#[cfg(feature = "perl")]
use super::server::Server;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// A [`SessionStore`](super::SessionStore) on Memcached servers of version 1.6.13 or newer.
///
/// A session is an item under the prefix and its id. A hash of the key selects one of the servers;
/// the order of their addresses does not matter. A load is one round trip, and so is a save, which
/// compares the item's CAS. The second save of a request needs one more round trip for the new CAS.
/// A server that is restarted or full loses sessions, and their visitors get new ones. While a server
/// is down, requests for its sessions fail with 503. No other server takes its place, because ended
/// sessions could then come back.
///
/// Use it when several machines serve the site, and sessions may be lost.
///
/// # Example
///
/// ```rust,no_run
/// use rocket_session_kit::{MemcachedStore, Sessions};
///
/// let store = MemcachedStore::open(["10.0.0.1:11211", "10.0.0.2:11211"])?.connections(32);
/// let rocket = rocket::build().attach(Sessions::with(store));
/// # Ok::<_, rocket_session_kit::Error>(())
/// ```
#[derive(Clone)]
pub struct MemcachedStore {
    pool: Arc<Pool>,
    prefix: Prefix,
    clock: Clock,
}

/// How many commands of a list or a sweep run at the same time.
const CONCURRENCY: usize = 16;

/// The length of the longest key that a server accepts.
const MAX_KEY: usize = 250;

/// The size of the largest item that a server accepts by default, without its overhead.
const MAX_ITEM: usize = 1_000_000;

impl MemcachedStore {
    /// Returns the store on the servers at `addresses`, each of which is `host:port`. The launch
    /// connects to them.
    ///
    /// # Errors
    ///
    /// When there is no address, or one is repeated or invalid.
    pub fn open<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Result<Self> {
        let mut servers: Vec<String> = Vec::new();
        for address in addresses {
            let address = address.into();
            let parts = address.rsplit_once(':');
            let port = parts.filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if port.is_none() {
                return Err(invalid_address("it is not `host:port`"));
            }
            if servers.contains(&address) {
                return Err(invalid_address("it is in the list twice"));
            }
            servers.push(address);
        }
        if servers.is_empty() {
            return Err(invalid_address("the list is empty; at least one is needed"));
        }
        let settings = Settings {
            servers: servers.into(),
            connections: 64,
            timeout: Duration::from_secs(1),
        };
        Ok(Self {
            pool: Arc::new(Pool::new(settings)),
            prefix: Prefix::default(),
            clock: Clock::system(),
        })
    }

    /// Sets the start of every key. _Default:_ `session:`
    ///
    /// # Errors
    ///
    /// When it has more than 90 characters, or others than ASCII letters, digits and punctuation.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self> {
        self.prefix = Prefix::new(prefix);
        let prefix = self.prefix.as_str();
        let is_plain = prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if is_plain && prefix.len() + Key::MAX_LEN <= MAX_KEY {
            return Ok(self);
        }
        let why = "it may have at most 90 ASCII letters, digits and punctuation marks";
        Err(Error::new(ErrorKind::Config, "use the prefix").because(why))
    }

    /// Sets the time limit of one call, with all its attempts. _Default:_ 1 second
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let settings = self.settings().clone();
        self.with(Settings {
            timeout,
            ..settings
        })
    }

    /// Sets the clock for [`delete_old_sessions`](super::SessionStore::delete_old_sessions). Sessions
    /// expire by the servers' clocks. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the greatest number of connections to each server. _Default:_ 64
    #[must_use]
    pub fn connections(self, most: usize) -> Self {
        let settings = self.settings().clone();
        self.with(Settings {
            connections: most.max(1),
            ..settings
        })
    }

    fn settings(&self) -> &Settings {
        self.pool.settings()
    }

    fn with(mut self, settings: Settings) -> Self {
        self.pool = Arc::new(Pool::new(settings));
        self
    }

    /// Returns the rest of every key that begins with `prefix`.
    fn keys(&self, act: &'static str, prefix: String) -> BoxStream<'_, Result<String>> {
        let servers = self.settings().servers.iter().enumerate();
        stream::iter(servers)
            .then(move |(server, address)| {
                let prefix = prefix.clone();
                async move {
                    let keys = dump::keys(act, address, self.settings().timeout).await?;
                    let rest = keys.into_iter().filter_map(move |key| {
                        // After a server was added or removed, others may still have keys that are
                        // no longer theirs. No request finds those.
                        let is_assigned = self.pool.server_of(&key) == server;
                        let rest = key.strip_prefix(&prefix).filter(|_| is_assigned)?;
                        Some(Ok(rest.to_owned()))
                    });
                    Ok::<_, Error>(stream::iter(rest))
                }
            })
            .try_flatten()
            .boxed()
    }
}

impl fmt::Debug for MemcachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemcachedStore({})", self.settings().servers.join(", "))
    }
}

#[cfg(feature = "perl")]
#[rocket::async_trait]
impl Server for MemcachedStore {
    async fn read(&self, key: &str, _: usize) -> Result<Option<Vec<u8>>> {
        // By default, a server has no items larger than a megabyte.
        let found = self.find("read a key", key).await?;
        Ok(found.map(|(value, _)| value))
    }
}

/// Refuses an item that is too large. A server would also drop the current item.
fn check_size(act: &'static str, key: &str, value: &[u8]) -> Result<()> {
    if key.len() + value.len() <= MAX_ITEM {
        return Ok(());
    }
    let why = format!("an item may not take more than {MAX_ITEM} bytes on Memcached");
    Err(Error::new(ErrorKind::Limit, act).because(why))
}

fn invalid_address(why: &str) -> Error {
    Error::new(ErrorKind::Config, "use the address of a Memcached server").because(why)
}
