//! The stores in databases beside a bare prepared statement of `sqlx` on a warm connection: the same
//! SQL on the same rows, in turn.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;
use rocket_session_kit::store::{Precondition, RecordHeader, Revision, Save, Saved, SessionStore};
use rocket_session_kit::{SessionId, SqlStore};
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};

use crate::support::sql_server::{Kind, SqlServer};
use crate::{HOUR, bytes, median};

const ACTS: [&str; 4] = ["load", "insert", "replace", "delete"];

/// The order of the acts on new sessions, by their place in [`ACTS`].
const ORDER: [usize; 4] = [1, 0, 2, 3];
const ROUNDS: usize = 15;

/// How many sessions each side makes, loads, replaces and deletes in one round.
const SESSIONS: usize = 200;

/// What both sides can do. A session has the revision 1, and after it was replaced, 2.
#[rocket::async_trait]
trait Side: Send {
    async fn load(&mut self, id: &SessionId) -> usize;
    async fn insert(&mut self, id: &SessionId, bytes: &[u8]);
    async fn replace(&mut self, id: &SessionId, bytes: &[u8]);
    async fn delete(&mut self, id: &SessionId);
}

struct Store(Arc<SqlStore>);

impl Store {
    async fn save(&self, id: &SessionId, bytes: &[u8], precondition: Precondition) {
        let save = Save {
            bytes,
            ttl: HOUR,
            precondition,
        };
        let saved = self.0.save_session(id, save).await;
        assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
    }
}

#[rocket::async_trait]
impl Side for Store {
    async fn load(&mut self, id: &SessionId) -> usize {
        let loaded = self.0.load_session(id).await.expect("it works");
        loaded.expect("it is there").bytes.len()
    }

    async fn insert(&mut self, id: &SessionId, bytes: &[u8]) {
        self.save(id, bytes, Precondition::Absent).await;
    }

    async fn replace(&mut self, id: &SessionId, bytes: &[u8]) {
        let first = Precondition::Revision(Revision(1));
        self.save(id, bytes, first).await;
    }

    async fn delete(&mut self, id: &SessionId) {
        assert!(self.0.delete_session(id).await.expect("it works"));
    }
}

/// The statements of [`ACTS`], as the store sends them.
const PLAIN: [&str; 4] = [
    "SELECT bytes FROM sessions WHERE id = ? AND expires > ?",
    "INSERT INTO sessions (id, revision, saved, expires, bytes) VALUES (?, ?, ?, ?, ?)",
    "UPDATE sessions SET revision = ?, saved = ?, expires = ?, bytes = ? WHERE id = ? AND revision = ? AND expires > ?",
    "DELETE FROM sessions WHERE id = ? AND expires > ?",
];

/// Returns the same for a database that replaces an expired row in the insertion.
fn statements(numbered: bool, replaces: bool) -> [String; 4] {
    PLAIN.map(|plain| {
        let mut sql = plain.to_owned();
        if replaces && plain.starts_with("INSERT") {
            sql += " ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, saved = excluded.saved, \
                    expires = excluded.expires, bytes = excluded.bytes WHERE sessions.expires <= excluded.saved";
        }
        if !numbered {
            return sql;
        }
        let parts = sql.split('?').enumerate();
        let parts = parts.map(|(at, part)| match at {
            0 => part.to_owned(),
            _ => format!("${at}{part}"),
        });
        parts.collect()
    })
}

/// A connection, and its statements. The driver prepares each at its first use.
struct Bare<C>(C, [String; 4]);

/// Times as the store writes them: now, and in an hour.
const NOW: i64 = 1_700_000_000_000;
const END: i64 = 9_700_000_000_000;

fn key(id: &SessionId) -> Vec<u8> {
    let hex = id.to_hex();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("it is hexadecimal");
    (0..32).step_by(2).map(byte).collect()
}

macro_rules! bare {
    ($connection:ty) => {
        #[rocket::async_trait]
        impl Side for Bare<$connection> {
            async fn load(&mut self, id: &SessionId) -> usize {
                let query = sqlx::query(&self.1[0]).bind(key(id)).bind(NOW);
                let row = query.fetch_optional(&mut self.0).await.expect("it works");
                let bytes: Vec<u8> = row.expect("it is there").get(0);
                bytes.len()
            }

            async fn insert(&mut self, id: &SessionId, bytes: &[u8]) {
                let query = sqlx::query(&self.1[1]).bind(key(id)).bind(1_i64);
                let query = query.bind(NOW).bind(END).bind(bytes);
                let done = query.execute(&mut self.0).await.expect("it works");
                assert_eq!(done.rows_affected(), 1);
            }

            async fn replace(&mut self, id: &SessionId, bytes: &[u8]) {
                let query = sqlx::query(&self.1[2]).bind(2_i64).bind(NOW).bind(END);
                let query = query.bind(bytes).bind(key(id)).bind(1_i64).bind(NOW);
                let done = query.execute(&mut self.0).await.expect("it works");
                assert_eq!(done.rows_affected(), 1);
            }

            async fn delete(&mut self, id: &SessionId) {
                let query = sqlx::query(&self.1[3]).bind(key(id)).bind(NOW);
                let done = query.execute(&mut self.0).await.expect("it works");
                assert_eq!(done.rows_affected(), 1);
            }
        }
    };
}

bare!(PgConnection);
bare!(MySqlConnection);
bare!(SqliteConnection);

/// Both sides, and how long the calls of each act took, in microseconds.
struct Task {
    sides: [Box<dyn Side>; 2],
    taken: [[Vec<f64>; 2]; 4],
}

impl Task {
    /// Makes, loads, replaces and deletes sessions. The sides take turns at each call, so that whatever else
    /// this machine does happens to both.
    async fn round(mut self) -> Self {
        let ids: Vec<[SessionId; 2]> = (0..SESSIONS)
            .map(|_| [SessionId::random(), SessionId::random()])
            .collect();
        let (first, mut second) = (bytes(1), bytes(1));
        second[RecordHeader::REVISION].copy_from_slice(format!("{:016x}", 2).as_bytes());
        for act in ORDER {
            if ACTS[act] == "load" {
                // Another connection of the store may have inserted them.
                for ids in &ids {
                    self.sides[0].load(&ids[0]).await;
                    self.sides[1].load(&ids[1]).await;
                }
            }
            for (count, ids) in ids.iter().enumerate() {
                for at in [count % 2, 1 - count % 2] {
                    let (side, id) = (&mut self.sides[at], &ids[at]);
                    let started = Instant::now();
                    match ACTS[act] {
                        "load" => assert_eq!(side.load(id).await, first.len()),
                        "insert" => side.insert(id, &first).await,
                        "replace" => side.replace(id, &second).await,
                        _ => side.delete(id).await,
                    }
                    self.taken[act][at].push(started.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        self
    }
}

async fn measure<C, F>(name: &str, url: &str, numbered: bool, replaces: bool, connect: F)
where
    Bare<C>: Side + 'static,
    F: AsyncFn() -> C,
{
    let store = Arc::new(SqlStore::open(url).expect("this is a URL"));
    store.setup().await.expect("it makes its tables");
    let bare = Bare(connect().await, statements(numbered, replaces));
    let mut task = Task {
        sides: [Box::new(Store(store)), Box::new(bare)],
        taken: Default::default(),
    };
    for round in 0..=ROUNDS {
        // It runs as a request does, and not in the main thread.
        task = tokio::spawn(task.round()).await.expect("it works");
        if round == 0 {
            // It warmed up.
            task.taken = Default::default();
        }
    }
    for (act, [store, bare]) in ACTS.into_iter().zip(task.taken) {
        let (store, bare) = (median(store), median(bare));
        let ratio = store / bare;
        println!("{name:>10} {act:>8} {store:>10.1} {bare:>10.1} {ratio:>10.2}");
    }
}

/// Measures all three, and prints a table.
pub(crate) async fn databases() {
    println!(
        "\ndatabases: microseconds of a call, those of a bare prepared statement, and the ratio of the \
         medians"
    );
    println!(
        "{:>10} {:>8} {:>10} {:>10} {:>10}",
        "store", "act", "store", "bare", "ratio"
    );
    let there = tempfile::tempdir().expect("there is room");
    sqlite(&there.path().join("sessions.db")).await;
    let server = SqlServer::start(Kind::Postgres);
    let url = server.url();
    let connect = async || PgConnection::connect(&url).await.expect("it is there");
    measure("postgres", &url, true, true, connect).await;
    drop(server);
    let server = SqlServer::start(Kind::MariaDb);
    let url = server.url();
    let connect = async || MySqlConnection::connect(&url).await.expect("it is there");
    measure("mariadb", &url, false, false, connect).await;
}

async fn sqlite(path: &Path) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(10));
    let connect = async || options.connect().await.expect("it can be opened");
    let url = format!("sqlite:{}", path.display());
    measure("sqlite", &url, false, true, connect).await;
}
