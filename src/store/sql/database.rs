//! The database: its address, its pool, and how often a statement is sent.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rocket::tokio::time::sleep;

use super::SqlPool;
use super::address::Address;
use super::dialect::Dialect;
use super::error::{Failed, Fate, failure, fate, misses_column, misses_table};
use super::pool::{Pool, Value};
use crate::error::{Error, ErrorKind, Result};

/// A database, and the connections to it.
pub(super) struct Database {
    /// `None` if the application brings the pool.
    address: Option<Address>,
    dialect: Dialect,
    /// The server without user and password, or the file.
    place: String,
    pub(super) max_connections: u32,
    pub(super) timeout: Duration,
    pool: OnceLock<Pool>,
}

/// Whether to send a statement again when the connection breaks before its outcome is known.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Yes,
    No,
}

/// The outcome of a statement.
pub(super) struct Outcome<T> {
    pub(super) value: T,
    /// The statement was sent more than once, because a connection broke. It may have been executed
    /// twice.
    pub(super) was_resent: bool,
}

/// The columns that a query would return.
pub(super) enum Described {
    /// The names of their types.
    Types(Vec<String>),
    NoTable,
    NoColumn,
}

/// On how many further connections a statement is sent after one that broke.
const BROKEN: u32 = 2;

/// The pause before the next attempt, if others worked on the same rows.
const PAUSE: Duration = Duration::from_millis(5);

impl Database {
    pub(super) fn open(url: &str) -> Result<Self> {
        let address = Address::parse(url)?;
        Ok(Self {
            dialect: address.dialect(),
            place: address.place(),
            address: Some(address),
            max_connections: 10,
            timeout: Duration::from_secs(1),
            pool: OnceLock::new(),
        })
    }

    pub(super) fn with_pool(SqlPool(pool): SqlPool) -> Self {
        Self {
            address: None,
            dialect: pool.dialect(),
            place: "the database of the application's pool".into(),
            max_connections: 0,
            timeout: Duration::from_secs(1),
            pool: OnceLock::from(pool),
        }
    }

    /// Returns whether there is no file at the address.
    #[cfg(feature = "cli")]
    pub(super) fn lacks_file(&self) -> bool {
        self.address.as_ref().is_some_and(Address::lacks_file)
    }

    /// Returns whether this is `other`, as far as the addresses tell.
    #[cfg(feature = "cli")]
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let addresses = self.address.as_ref().zip(other.address.as_ref());
        addresses.is_some_and(|(one, other)| one.location() == other.location())
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The server without user and password, or the file.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Returns the pool, which is made in the runtime that first uses it.
    pub(super) fn pool(&self) -> &Pool {
        self.pool.get_or_init(|| {
            let address = self.address.as_ref();
            let address = address.expect("without an address there is a pool from the start");
            address.pool(self.max_connections, self.timeout)
        })
    }

    /// Creates the file of SQLite if it is missing.
    pub(super) fn create_file(&self) {
        if let Some(address) = &self.address {
            address.create_file();
        }
    }

    /// Executes a statement, and returns how many rows it changed.
    pub(super) async fn execute(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
        retry: Retry,
    ) -> Result<Outcome<u64>> {
        self.attempt(act, retry, || self.pool().execute(sql, values))
            .await
    }

    /// Executes an insertion, and returns whether there was no row with the same key.
    pub(super) async fn insert(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
        retry: Retry,
    ) -> Result<Outcome<bool>> {
        self.attempt(act, retry, || async {
            match self.pool().execute(sql, values).await {
                Ok(rows) => Ok(rows > 0),
                Err(failed) if fate(&failed) == Fate::Exists => Ok(false),
                Err(failed) => Err(failed),
            }
        })
        .await
    }

    /// Returns the bytes that a query finds.
    pub(super) async fn bytes(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<Vec<u8>>> {
        let found = self.attempt(act, Retry::Yes, || self.pool().bytes(sql, values));
        Ok(found.await?.value)
    }

    /// Returns the number that a query finds.
    pub(super) async fn number(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<i64>> {
        let found = self.attempt(act, Retry::Yes, || self.pool().number(sql, values));
        Ok(found.await?.value)
    }

    /// Returns the columns of all rows that a query finds.
    pub(super) async fn rows(
        &self,
        act: &'static str,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Vec<Vec<u8>>>> {
        let found = self.attempt(act, Retry::Yes, || self.pool().rows(sql, values));
        Ok(found.await?.value)
    }

    /// Returns the columns that `sql` would return.
    pub(super) async fn describe(&self, act: &'static str, sql: &str) -> Result<Described> {
        let described = self.attempt(act, Retry::Yes, || async {
            match self.pool().column_types(sql).await {
                Ok(types) => Ok(Described::Types(types)),
                Err(failed) if misses_table(&failed) => Ok(Described::NoTable),
                Err(failed) if misses_column(&failed) => Ok(Described::NoColumn),
                Err(failed) => Err(failed),
            }
        });
        Ok(described.await?.value)
    }

    /// Executes statements without values in one transaction. It does no harm to execute them twice.
    pub(super) async fn transaction(&self, act: &'static str, statements: &[String]) -> Result<()> {
        let done = self.attempt(act, Retry::Yes, || self.pool().transaction(statements));
        done.await.map(|done| done.value)
    }

    /// Returns the error about a statement whose outcome is unknown.
    pub(super) fn unknown(&self, act: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, act)
            .at(&self.place)
            .because("the connection broke, and the outcome is unknown")
    }

    /// Calls `send` until it succeeds, or a further attempt is no use or not safe.
    async fn attempt<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        act: &'static str,
        retry: Retry,
        send: impl Fn() -> F,
    ) -> Result<Outcome<T>> {
        let (begin, mut was_resent, mut broken) = (Instant::now(), false, 0);
        loop {
            let failed = match send().await {
                Ok(value) => return Ok(Outcome { value, was_resent }),
                Err(failed) => failed,
            };
            let again = match fate(&failed) {
                Fate::Contended => begin.elapsed() < self.timeout,
                Fate::Refused => broken < BROKEN,
                Fate::Unknown => broken < BROKEN && retry == Retry::Yes,
                Fate::Exists | Fate::Failed => false,
            };
            if !again {
                return Err(failure(&self.place, act, &failed));
            }
            match fate(&failed) {
                Fate::Contended => sleep(PAUSE).await,
                fate => {
                    was_resent |= fate == Fate::Unknown;
                    broken += 1;
                }
            }
        }
    }
}
