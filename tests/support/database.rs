//! A database of its own for a test that PostgreSQL, MariaDB and SQLite must all pass.

use std::process::Command;

use rocket_session_kit::SqlStore;
use rocket_session_kit::store::SessionStore;
use tempfile::TempDir;

use super::PATIENCE;
use super::sql_server::{Kind, new_database, run_sql};

/// A database.
pub(crate) struct Database {
    pub(crate) url: String,
    /// The server; SQLite has none.
    pub(crate) kind: Option<Kind>,
    _there: Option<TempDir>,
}

impl Database {
    /// A database of the shared server.
    pub(crate) fn on(kind: Kind) -> Self {
        Self::at(kind, new_database(kind))
    }

    pub(crate) fn postgres() -> Self {
        Self::on(Kind::Postgres)
    }

    pub(crate) fn mariadb() -> Self {
        Self::on(Kind::MariaDb)
    }

    pub(crate) fn sqlite() -> Self {
        let there = tempfile::tempdir().expect("there is room for a directory");
        Self {
            url: format!("sqlite:{}", there.path().join("sessions.db").display()),
            kind: None,
            _there: Some(there),
        }
    }

    /// The database at `url`, on a server that belongs to the test.
    pub(crate) fn at(kind: Kind, url: String) -> Self {
        Self {
            url,
            kind: Some(kind),
            _there: None,
        }
    }

    /// Returns a store with connections of its own.
    pub(crate) fn open(&self) -> SqlStore {
        let store = SqlStore::open(&self.url).expect("this is its URL");
        store.timeout(PATIENCE)
    }

    /// Returns the same, set up.
    pub(crate) async fn store(&self) -> SqlStore {
        let store = self.open();
        store.setup().await.expect("it can be set up");
        store
    }

    /// Returns as many of these, as in as many processes.
    pub(crate) async fn stores(&self, count: usize) -> Vec<SqlStore> {
        let mut stores = Vec::new();
        for _ in 0..count {
            stores.push(self.store().await);
        }
        stores
    }

    /// Executes SQL, and returns what the database's own client prints.
    pub(crate) fn sql(&self, sql: &str) -> String {
        let Some(kind) = self.kind else {
            let output = Command::new("sqlite3")
                .args(["-bail", "-cmd", ".timeout 20000"])
                .args([self.file(), sql])
                .output()
                .expect("sqlite3 is installed");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{sql}: {said}");
            return String::from_utf8_lossy(&output.stdout).into_owned();
        };
        let (_, name) = self.url.rsplit_once('/').expect("it names a database");
        let sql = match kind {
            Kind::Postgres => sql,
            // A server with `autocommit=0` would keep nothing.
            Kind::MariaDb => &format!("SET autocommit = 1; {sql}"),
        };
        run_sql(kind, self.port(), name, sql)
    }

    /// The port of the server.
    pub(crate) fn port(&self) -> u16 {
        let (host, _) = self.url.rsplit_once('/').expect("it names a database");
        let port = host.rsplit(':').next().expect("it names a port");
        port.parse().expect("it is a port")
    }

    /// Returns a store that reaches the server at another port.
    pub(crate) fn open_at(&self, port: u16) -> SqlStore {
        let (own, other) = (format!(":{}/", self.port()), format!(":{port}/"));
        let store = SqlStore::open(&self.url.replace(&own, &other));
        store.expect("this is its URL").timeout(PATIENCE)
    }

    /// The path of SQLite's file.
    pub(crate) fn file(&self) -> &str {
        self.url.strip_prefix("sqlite:").expect("it is a file")
    }

    /// Adds as many sessions as `count`, which expire at `expires`, in milliseconds since 1970.
    pub(crate) fn fill(&self, count: u64, expires: i64) {
        let rows = match self.kind {
            Some(Kind::Postgres) => format!(
                "SELECT decode(md5(n::text), 'hex'), n, 0, {expires}, 'x' FROM generate_series(1, {count}) AS n"
            ),
            Some(Kind::MariaDb) => {
                format!("SELECT unhex(md5(seq)), seq, 0, {expires}, 'x' FROM seq_1_to_{count}")
            }
            None => format!(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
                 SELECT randomblob(16), i, 0, {expires}, x'78' FROM n"
            ),
        };
        self.sql(&format!(
            "INSERT INTO sessions (id, revision, saved, expires, bytes) {rows}"
        ));
    }
}

/// Makes a test on each database of every named function, which takes the [`Database`].
macro_rules! on_every_database {
    ($($test:ident)*) => {
        on_every_database!(@ postgres $($test)*);
        on_every_database!(@ mariadb $($test)*);
        on_every_database!(@ sqlite $($test)*);
    };
    (@ $database:ident $($test:ident)*) => {
        mod $database {
            $(
                #[test]
                fn $test() {
                    use $crate::support::database::Database;

                    rocket::async_test(super::$test(Database::$database()));
                }
            )*
        }
    };
}

/// Makes a test on each kind of server of every named function, which takes the [`Kind`].
macro_rules! on_every_server {
    ($($test:ident)*) => {
        on_every_server!(@ postgres Postgres $($test)*);
        on_every_server!(@ mariadb MariaDb $($test)*);
    };
    (@ $server:ident $kind:ident $($test:ident)*) => {
        mod $server {
            $(
                #[test]
                fn $test() {
                    use $crate::support::sql_server::Kind;

                    rocket::async_test(super::$test(Kind::$kind));
                }
            )*
        }
    };
}

pub(crate) use {on_every_database, on_every_server};
