//! The store in a table of a database: PostgreSQL, MySQL or MariaDB, or SQLite.

mod address;
mod connections;
mod database;
mod dialect;
mod error;
mod key_value;
#[cfg(feature = "cli")]
mod look;
mod pool;
mod schema;
mod session_store;

use std::fmt;
use std::time::Duration;

use self::database::Database;
use self::dialect::{Dialect, EntryStatements, SessionStatements};
pub use self::pool::SqlPool;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// A [`SessionStore`](super::SessionStore) in a table of PostgreSQL, of MySQL or MariaDB, or of SQLite.
///
/// A session is one row. A load is one statement. A save is one statement, which names the revision
/// that it replaces, so it is right under every isolation level. Expired rows are invisible, and a
/// sweep deletes them.
///
/// Use it when the application has such a database anyway.
///
/// # Example
///
/// ```rust,no_run
/// use rocket_session_kit::{Sessions, SqlStore};
///
/// let store = SqlStore::open("postgres://shop:secret@127.0.0.1/shop")?.table("visitors")?;
/// let rocket = rocket::build().attach(Sessions::with(store));
/// # Ok::<_, rocket_session_kit::Error>(())
/// ```
pub struct SqlStore {
    database: Database,
    sessions: SessionStatements,
    entries: EntryStatements,
    table: String,
    migrate: bool,
    clock: Clock,
}

/// The greatest length of a table's name: PostgreSQL has 63 bytes for it, and the names of the indexes are
/// longer.
const MAX_NAME: usize = 40;

impl SqlStore {
    /// Returns the store in the database at `url`. The launch connects to it.
    ///
    /// The URL is `postgres://user:password@host:port/database`, `mysql://…` or `mariadb://…`, or
    /// `sqlite:path`. The launch creates the file of SQLite if it is missing, for its owner only.
    ///
    /// # Errors
    ///
    /// When `url` is not such a URL, or the feature of its database is off.
    pub fn open(url: &str) -> Result<Self> {
        Ok(Self::new(Database::open(url)?))
    }

    /// Returns the store in the database of `pool`, which the application uses, too.
    ///
    /// # Example
    ///
    /// ```rust
    /// # #[cfg(feature = "sqlite")] {
    /// use std::path::Path;
    ///
    /// use rocket_session_kit::SqlStore;
    /// use rocket_session_kit::store::SessionStore;
    /// use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
    ///
    /// async fn visitors(file: &Path) -> Result<i64, Box<dyn std::error::Error>> {
    ///     let shop = SqliteConnectOptions::new().filename(file);
    ///     let pool = SqlitePool::connect_with(shop.create_if_missing(true)).await?;
    ///
    ///     let store = SqlStore::with_pool(pool.clone()).table("visitors")?;
    ///     store.setup().await?; // The launch does this.
    ///     let count = sqlx::query_scalar("SELECT count(*) FROM visitors");
    ///     Ok(count.fetch_one(&pool).await?)
    /// }
    /// # let there = tempfile::tempdir()?;
    /// # let file = there.path().join("shop.db");
    /// # assert_eq!(rocket::async_test(visitors(&file)).unwrap(), 0);
    /// # }
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn with_pool(pool: impl Into<SqlPool>) -> Self {
        Self::new(Database::with_pool(pool.into()))
    }

    fn new(database: Database) -> Self {
        let dialect = database.dialect();
        let table = "sessions".to_owned();
        Self {
            sessions: dialect.sessions(&table),
            entries: dialect.entries(&entries_of(&table)),
            table,
            database,
            migrate: true,
            clock: Clock::system(),
        }
    }

    /// Sets the name of the table. The entries of the cache and the rate limits are in another, whose
    /// name ends in `_entries`. _Default:_ `sessions`
    ///
    /// # Errors
    ///
    /// When `name` is not 1 to 40 lower-case letters, digits and `_`, the first a letter.
    pub fn table(mut self, name: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let fits = (1..=MAX_NAME).contains(&name.len());
        if !fits || !name.bytes().all(plain) || !name.starts_with(|c: char| c.is_ascii_lowercase())
        {
            let why =
                "it must have 1 to 40 lower-case letters, digits and `_`, and begin with a letter";
            return Err(Error::new(ErrorKind::Config, "use the name of a table").because(why));
        }
        let dialect = self.dialect();
        self.sessions = dialect.sessions(name);
        self.entries = dialect.entries(&entries_of(name));
        self.table = name.to_owned();
        Ok(self)
    }

    /// Sets the greatest number of connections, from 1 to 10 000. With a pool of the application it means
    /// nothing. _Default:_ 10
    #[must_use]
    pub fn max_connections(mut self, most: u32) -> Self {
        self.database.max_connections = most.clamp(1, 10_000);
        self
    }

    /// Sets how long a statement waits for a connection, on SQLite for the file, and how long it is sent again
    /// while it meets others that work on the same rows. _Default:_ 1 second
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.database.timeout = timeout;
        self
    }

    /// Sets whether the launch makes missing tables. _Default:_ `true`
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// Sets the clock by which sessions and entries expire. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn dialect(&self) -> Dialect {
        self.database.dialect()
    }

    /// Milliseconds since 1970.
    fn now(&self) -> i64 {
        i64::try_from(self.clock.millis()).unwrap_or(i64::MAX)
    }

    /// Returns when something expires that is kept for `ttl` from `now` on.
    fn expires(now: i64, ttl: Duration) -> i64 {
        let millis = super::lifetime::millis(ttl);
        // The greatest number means forever.
        now.saturating_add_unsigned(millis).min(i64::MAX - 1)
    }
}

fn entries_of(table: &str) -> String {
    format!("{table}_entries")
}

impl fmt::Debug for SqlStore {
    /// Omits the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}
