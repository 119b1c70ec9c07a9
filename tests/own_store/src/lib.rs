//! A store of your own, based on SQLite. It uses only the public API.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use rocket::async_trait;
use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use rocket::tokio::task::spawn_blocking;
use rocket_session_kit::store::{
    Key, KeyValue, Namespace, Precondition, RecordHeader, Revision, Save, Saved, SessionStore,
    Stored, Swept,
};
use rocket_session_kit::{Clock, Error, ErrorKind, Result, SessionId};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS sessions
        (id TEXT PRIMARY KEY, saved INTEGER NOT NULL, expires INTEGER NOT NULL, bytes BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS entries
        (namespace TEXT, name TEXT, expires INTEGER, value BLOB NOT NULL, PRIMARY KEY (namespace, name));";

/// The number of sessions that a list reads from the file at once.
const PAGE: u32 = 100;

/// Sessions and entries in a file of SQLite.
pub struct SqliteStore {
    connection: Arc<Mutex<Connection>>,
    clock: Clock,
}

impl SqliteStore {
    /// Returns the store in the file at `path`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let opened = spawn_blocking(move || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            Ok(connection)
        });
        let connection = told("open the store", opened.await)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            clock: Clock::system(),
        })
    }

    /// Sets the clock by which sessions expire.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Milliseconds since 1970.
    fn now(&self) -> i64 {
        millis(
            self.clock
                .now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
        )
    }

    /// Executes `work` in one transaction, unless the caller has given up.
    async fn transact<T: Send + 'static>(
        &self,
        act: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.connection);
        let waits = Arc::new(());
        let caller = Arc::downgrade(&waits);
        let done = spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            match caller.strong_count() {
                0 => transaction.rollback()?,
                _ => transaction.commit()?,
            }
            Ok(done)
        });
        told(act, done.await)
    }

    /// Edits an entry in one transaction: `step` gets the current entry, and returns the new one with a
    /// result. `None` leaves the entry as it is.
    async fn edit<T: Send + 'static>(
        &self,
        act: &'static str,
        key: &Key,
        step: impl FnOnce(Option<Entry>) -> (Option<Next>, T) + Send + 'static,
    ) -> Result<T> {
        let (key, now) = (key.clone(), self.now());
        self.transact(act, move |transaction| {
            let place = (key.namespace(), key.escaped());
            let (next, result) = step(entry(transaction, &key, now)?);
            match next {
                None => {}
                Some(Next::Nothing) => {
                    let delete = "DELETE FROM entries WHERE namespace = ?1 AND name = ?2";
                    transaction.execute(delete, place)?;
                }
                Some(Next::Keep(Entry { value, expires })) => {
                    let keep = "INSERT OR REPLACE INTO entries (namespace, name, value, expires)
                        VALUES (?1, ?2, ?3, ?4)";
                    transaction.execute(keep, (place.0, place.1, value, expires))?;
                }
            }
            Ok(result)
        })
        .await
    }

    fn kept(&self, value: &[u8], ttl: Option<Duration>) -> Next {
        Next::Keep(Entry {
            value: value.to_vec(),
            expires: ttl.map(|ttl| self.now().saturating_add(millis(ttl))),
        })
    }
}

struct Entry {
    value: Vec<u8>,
    /// Milliseconds since 1970; `None` means never.
    expires: Option<i64>,
}

enum Next {
    Keep(Entry),
    Nothing,
}

fn entry(transaction: &Transaction<'_>, key: &Key, now: i64) -> rusqlite::Result<Option<Entry>> {
    let select = "SELECT value, expires FROM entries
        WHERE namespace = ?1 AND name = ?2 AND ifnull(expires > ?3, TRUE)";
    let place = (key.namespace(), key.escaped(), now);
    let entry = transaction.query_row(select, place, |row| {
        Ok(Entry {
            value: row.get(0)?,
            expires: row.get(1)?,
        })
    });
    entry.optional()
}

fn session(
    transaction: &Transaction<'_>,
    id: &SessionId,
    now: i64,
) -> rusqlite::Result<Option<Stored>> {
    let select = "SELECT bytes FROM sessions WHERE id = ?1 AND expires > ?2";
    let bytes = transaction.query_row(select, (id.to_hex(), now), |row| row.get(0));
    Ok(bytes.optional()?.map(Stored::new))
}

/// Returns a time in milliseconds, rounded up.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

/// Returns the result of a thread that worked on the file.
fn told<T>(
    act: &'static str,
    done: std::result::Result<rusqlite::Result<T>, rocket::tokio::task::JoinError>,
) -> Result<T> {
    let failed = |why: String| Error::new(ErrorKind::Unavailable, act).because(why);
    done.map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))
}

#[async_trait]
impl SessionStore for SqliteStore {
    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        self.transact("set the store up", |transaction| {
            transaction.execute_batch(TABLES)
        })
        .await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let (id, now) = (*id, self.now());
        self.transact("load a session", move |transaction| {
            session(transaction, &id, now)
        })
        .await
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let act = "save a session";
        let (id, now, precondition) = (*id, self.now(), save.precondition);
        let bytes = save.bytes.to_vec();
        let RecordHeader { revision, .. } = RecordHeader::read(&bytes).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, act).because("its bytes have no header")
        })?;
        let expires = now.saturating_add(millis(save.ttl));
        self.transact(act, move |transaction| {
            let there = session(transaction, &id, now)?.map(|stored| stored.revision);
            match (precondition, there) {
                (Precondition::Absent, None) => {}
                (Precondition::Revision(expected), Some(there)) if expected == there => {}
                (Precondition::Revision(_), None) => return Ok(Saved::Gone),
                (_, Some(_)) => return Ok(Saved::Changed),
            }
            let save = "INSERT OR REPLACE INTO sessions (id, saved, expires, bytes) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(save, params![id.to_hex(), now, expires, bytes])?;
            Ok(Saved::Saved(revision))
        })
        .await
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let (id, now) = (*id, self.now());
        self.transact("delete a session", move |transaction| {
            let delete = "DELETE FROM sessions WHERE id = ?1 AND expires > ?2";
            Ok(transaction.execute(delete, (id.to_hex(), now))? > 0)
        })
        .await
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let (id, now) = (*id, self.now());
        self.transact("delete a session", move |transaction| {
            let there = session(transaction, &id, now)?;
            let same = there.is_some_and(|stored| stored.revision == revision);
            if same {
                transaction.execute("DELETE FROM sessions WHERE id = ?1", [id.to_hex()])?;
            }
            Ok(same)
        })
        .await
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let now = self.now();
        let age = millis(Duration::from_secs(minutes.saturating_mul(60)));
        self.transact("delete old sessions", move |transaction| {
            transaction.execute("DELETE FROM entries WHERE expires <= ?1", [now])?;
            let delete = "DELETE FROM sessions WHERE expires <= ?1 OR ?1 - saved >= ?2";
            let deleted = transaction.execute(delete, (now, age))?;
            let count = "SELECT count(*) FROM sessions";
            let remaining: u32 = transaction.query_row(count, [], |row| row.get(0))?;
            Ok(Swept {
                deleted: deleted as u64,
                remaining: remaining.into(),
            })
        })
        .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let pages = stream::try_unfold(String::new(), |last| async {
            let now = self.now();
            let page = self.transact("list the sessions", move |transaction| {
                let select = "SELECT id, bytes FROM sessions
                    WHERE id > ?1 AND expires > ?2 ORDER BY id LIMIT ?3";
                let mut select = transaction.prepare_cached(select)?;
                let rows = select.query_map((last, now, PAGE), |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
                })?;
                rows.collect::<rusqlite::Result<Vec<_>>>()
            });
            let page = page.await?;
            let last = page.last().map(|(id, _)| id.clone());
            Ok::<_, Error>(last.map(|last| (stream::iter(page).map(Ok), last)))
        });
        pages
            .try_flatten()
            .try_filter_map(async |(id, bytes)| {
                Ok(id.parse().ok().map(|id| (id, Stored::new(bytes))))
            })
            .boxed()
    }

    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }
}

#[async_trait]
impl KeyValue for SqliteStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.edit("read an entry", key, |there| {
            (None, there.map(|there| there.value))
        })
        .await
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let next = self.kept(value, ttl);
        self.edit("keep an entry", key, |_| (Some(next), ())).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let (next, expected) = (self.kept(value, ttl), expected.map(<[u8]>::to_vec));
        self.edit("keep an entry", key, move |there| {
            let swaps = there.map(|there| there.value) == expected;
            (Some(next).filter(|_| swaps), swaps)
        })
        .await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        Ok(self.take(key).await?.is_some())
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.edit("take an entry", key, |there| {
            (Some(Next::Nothing), there.map(|there| there.value))
        })
        .await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        let act = "increment an entry";
        let fresh = ttl.map(|ttl| self.now().saturating_add(millis(ttl)));
        let wrong =
            move |why: &'static str| (None, Err(Error::new(ErrorKind::Value, act).because(why)));
        let sum = self.edit(act, key, move |there| {
            let (before, expires) = match there {
                None => (Some(0), fresh),
                Some(there) => (number(&there.value), there.expires),
            };
            let Some(before) = before else {
                return wrong("its value is not a number");
            };
            match before
                .checked_add(by)
                .filter(|sum| i64::try_from(*sum).is_ok())
            {
                Some(sum) => {
                    let value = sum.to_string().into_bytes();
                    (Some(Next::Keep(Entry { value, expires })), Ok(sum))
                }
                None => wrong("the sum does not fit into 63 bits"),
            }
        });
        sum.await?
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let (namespace, now) = (namespace.clone(), self.now());
        let names = self.transact("list the entries", move |transaction| {
            let select =
                "SELECT name FROM entries WHERE namespace = ?1 AND ifnull(expires > ?2, TRUE)";
            let mut select = transaction.prepare_cached(select)?;
            let names =
                select.query_map((namespace.as_str(), now), |row| row.get::<_, String>(0))?;
            let names = names.filter_map(|name| name.map(|name| namespace.name(&name)).transpose());
            names.collect::<rusqlite::Result<Vec<_>>>()
        });
        let all = async { Ok::<_, Error>(stream::iter(names.await?).map(Ok)) };
        stream::once(all).try_flatten().boxed()
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let (namespace, now) = (namespace.clone(), self.now());
        self.transact("clear the entries", move |transaction| {
            transaction.execute("DELETE FROM entries WHERE expires <= ?1", [now])?;
            let delete = "DELETE FROM entries WHERE namespace = ?1";
            Ok(transaction.execute(delete, [namespace.as_str()])? as u64)
        })
        .await
    }
}

/// Returns the number in decimal digits.
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}
