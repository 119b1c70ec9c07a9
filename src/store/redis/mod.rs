//! The store on a Redis server, on a cluster, or on the master that sentinels name.

mod connect;
mod connection;
mod error;
#[cfg(feature = "cli")]
mod facts;
mod key_value;
mod scan;
mod script;
mod sentinel;
mod session_store;
mod settings;
mod shared_connection;
mod version;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::settings::{Servers, Settings, parse_url};
#[cfg(feature = "perl")]
use self::shared_connection::Retry;
use self::shared_connection::SharedConnection;
use super::lifetime;
use super::prefix::Prefix;
#[cfg(feature = "perl")]
use super::server::Server;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// A [`SessionStore`](super::SessionStore) on a Redis server of version 6.2 or newer, or on a
/// Valkey server.
///
/// A session is a string under the prefix and its id. The server expires it by its `PX`. A load is
/// one `GET`. A save is one script that compares the revision. All requests share one connection
/// for sessions, and another for the entries of the cache and the rate limit. A broken connection
/// is replaced. A command is then sent again, once or twice, if it is safe to execute it twice.
///
/// Use it when several machines serve the site, or when sessions should outlive the machine.
///
/// # Example
///
/// ```rust,no_run
/// use std::time::Duration;
/// use rocket_session_kit::{RedisStore, Sessions};
///
/// let store = RedisStore::open("redis://127.0.0.1:6379")?
///     .prefix("shop:")
///     .timeout(Duration::from_millis(500));
/// let rocket = rocket::build().attach(Sessions::with(store));
/// # Ok::<_, rocket_session_kit::Error>(())
/// ```
#[derive(Clone)]
pub struct RedisStore {
    sessions: Arc<SharedConnection>,
    /// A connection of its own for entries, which may be large: no session waits for one.
    entries: Arc<SharedConnection>,
    prefix: Prefix,
    clock: Clock,
}

/// How many commands of a list or a sweep run at the same time.
const CONCURRENCY: usize = 32;

/// The longest lifetime that the server accepts: some thirty thousand years, in milliseconds.
const MAX_TTL: u64 = 1_000_000_000_000_000;

impl RedisStore {
    /// Returns the store on one server. The launch connects to it.
    ///
    /// The URL is `redis://user:password@host:port/db`, `rediss://…` for TLS, or
    /// `unix:///path?db=1`.
    ///
    /// # Errors
    ///
    /// When `url` is not such a URL.
    pub fn open(url: &str) -> Result<Self> {
        Ok(Self::new(Servers::Single(parse_url(url)?)))
    }

    /// Returns the store on a cluster, some of whose nodes are at `urls`. The cluster itself names
    /// the other nodes. User, password and TLS are the same for all nodes.
    ///
    /// # Errors
    ///
    /// When there is no URL, one is invalid, or one names a database, which a cluster does not have.
    pub fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self> {
        Ok(Self::new(Servers::cluster(urls)?))
    }

    /// Returns the store on the master called `master`, as the sentinels at `urls` name it.
    ///
    /// If the master needs a user, a password, TLS or a database, `master` is a URL with the name as
    /// its host: `redis://user:password@mymaster/0`.
    ///
    /// # Errors
    ///
    /// When there is no sentinel, or a URL or the name is invalid.
    pub fn sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        master: &str,
    ) -> Result<Self> {
        Ok(Self::new(Servers::sentinel(urls, master)?))
    }

    fn new(servers: Servers) -> Self {
        let settings = Settings {
            servers,
            ca: None,
            timeout: Duration::from_secs(1),
        };
        Self {
            sessions: Arc::new(SharedConnection::new(settings.clone())),
            entries: Arc::new(SharedConnection::new(settings)),
            prefix: Prefix::default(),
            clock: Clock::system(),
        }
    }

    /// Sets the start of every key. _Default:_ `session:`
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Prefix::new(prefix);
        self
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
    /// expire by the server's clock. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the database, in place of the one in the URL.
    ///
    /// # Errors
    ///
    /// When this is a cluster, which has no databases.
    pub fn db(self, db: u16) -> Result<Self> {
        let mut settings = self.settings().clone();
        settings.servers.set_db(db)?;
        Ok(self.with(settings))
    }

    /// Trusts the certificates in the PEM file at `path`, in place of the system's.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn ca(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ca = std::fs::read(path).map_err(|error| {
            Error::new(ErrorKind::Config, "read the certificates")
                .at(path.display())
                .because(error)
        })?;
        let settings = self.settings().clone();
        Ok(self.with(Settings {
            ca: Some(ca),
            ..settings
        }))
    }

    fn settings(&self) -> &Settings {
        self.sessions.settings()
    }

    fn with(mut self, settings: Settings) -> Self {
        self.sessions = Arc::new(SharedConnection::new(settings.clone()));
        self.entries = Arc::new(SharedConnection::new(settings));
        self
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({})", self.settings().servers)
    }
}

#[cfg(feature = "perl")]
#[rocket::async_trait]
impl Server for RedisStore {
    async fn read(&self, key: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(0).arg(most);
        let act = "read a key";
        let bytes: Vec<u8> = match self.sessions.send(&command, Retry::Yes).await {
            Ok(response) => self.sessions.parse(act, response.value)?,
            Err(error) if error.code() == Some("WRONGTYPE") => {
                let why = "its value is not a Redis string";
                return Err(Error::new(ErrorKind::Value, act).because(why));
            }
            Err(error) => return Err(self.sessions.failure(act, &error)),
        };
        // For a missing key, the server returns an empty string.
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

/// Returns a lifetime in milliseconds that the server accepts, rounded up.
fn ttl_millis(ttl: Duration) -> u64 {
    lifetime::millis(ttl).clamp(1, MAX_TTL)
}
