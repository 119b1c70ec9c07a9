//! The stores that are measured: memory, a directory, a file of SQLite, and servers that are started
//! for it.

use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::server::Server;
use crate::support::sql_server::{Kind, SqlServer};

/// Where the sessions are kept. It is gone after the measurement.
pub(crate) enum Place {
    Memory,
    Directory(TempDir),
    Redis(Server),
    Memcached(Server),
    Sqlite(TempDir),
    Sql(SqlServer, Kind),
}

impl Place {
    pub(crate) const NAMES: [&str; 7] = [
        "memory",
        "directory",
        "redis",
        "memcached",
        "sqlite",
        "postgres",
        "mariadb",
    ];

    pub(crate) fn new(name: &str) -> Self {
        let folder = || tempfile::tempdir().expect("there is room");
        let server = |kind, more: &[&str]| Self::Sql(SqlServer::with(kind, more), kind);
        match name {
            "memory" => Self::Memory,
            "directory" => Self::Directory(folder()),
            "redis" => Self::Redis(Server::redis()),
            "memcached" => Self::Memcached(Server::memcached(Some(4096))),
            "sqlite" => Self::Sqlite(folder()),
            // Their caches are those of a database of this size: by default both have 128 MB.
            "postgres" => server(Kind::Postgres, &["-c", "shared_buffers=1GB"]),
            "mariadb" => server(Kind::MariaDb, &["--innodb-buffer-pool-size=1G"]),
            other => panic!("there is no store {other}"),
        }
    }

    /// Returns the name and the address, as [`crate::serve`] takes them.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Memory => "memory".into(),
            Self::Directory(path) => {
                let path = path.path().join("sessions");
                format!("directory {}", path.display())
            }
            Self::Redis(server) => format!("redis redis://127.0.0.1:{}", server.port),
            Self::Memcached(server) => format!("memcached 127.0.0.1:{}", server.port),
            Self::Sqlite(path) => {
                format!(
                    "sqlite sqlite:{}",
                    path.path().join("sessions.db").display()
                )
            }
            Self::Sql(server, Kind::Postgres) => format!("postgres {}", server.url()),
            Self::Sql(server, Kind::MariaDb) => format!("mysql {}", server.url()),
        }
    }

    pub(crate) fn is_sql(&self) -> bool {
        matches!(self, Self::Sqlite(_) | Self::Sql(..))
    }

    /// Adds sessions of some 500 bytes with one statement, all of which have expired or none. They are rows
    /// as the store saves them.
    pub(crate) fn insert(&self, count: u64, expired: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("it is past 1970").as_secs();
        let day = 86_400;
        let (saved, expires) = if expired {
            (now - day - 60, now - 60)
        } else {
            (now, now + day)
        };
        let values = (0..10).map(|n| format!(r#""key{n}":"{}""#, "x".repeat(30)));
        let values = values.collect::<Vec<_>>().join(",");
        let rest = format!(
            r#"","expires":{expires},"v":1,"created":{saved},"accessed":{saved},"values":{{{values}}}}}"#
        );
        // Not all expire in the same millisecond.
        let numbers = format!("{saved}000 + n % 1000, {expires}000 + n % 1000");
        let into = "INSERT INTO sessions (id, revision, saved, expires, bytes)";
        let head = r#"{"rev":""#;
        match self {
            Self::Sqlite(_) => drop(self.sql(&format!(
                "{into} WITH RECURSIVE rows (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM rows WHERE n < {count}) \
                 SELECT randomblob(16), n, {numbers}, CAST(printf('{head}%016x{rest}', n) AS blob) FROM rows"
            ))),
            Self::Sql(_, Kind::Postgres) => drop(self.sql(&format!(
                "{into} SELECT uuid_send(gen_random_uuid()), n, {numbers}, \
                 convert_to('{head}' || lpad(to_hex(n), 16, '0') || '{rest}', 'UTF8') \
                 FROM generate_series(1, {count}) AS n"
            ))),
            Self::Sql(_, Kind::MariaDb) => drop(self.sql(&format!(
                "{into} SELECT UNHEX(MD5(CONCAT(RAND(), seq))), seq, {}, \
                 CONCAT('{head}', LPAD(LOWER(HEX(seq)), 16, '0'), '{rest}') FROM seq_1_to_{count}",
                numbers.replace('n', "seq")
            ))),
            _ => unreachable!("it is no database"),
        }
        if let Self::Sql(_, Kind::Postgres) = self {
            // It does so itself within a minute.
            self.sql("ANALYZE sessions");
        }
    }

    /// Returns the bytes of the table of sessions and its indexes.
    pub(crate) fn table_bytes(&self) -> f64 {
        let bytes = match self {
            Self::Sqlite(path) => {
                self.sql("PRAGMA wal_checkpoint(TRUNCATE)");
                let file = fs::metadata(path.path().join("sessions.db"));
                return file.expect("it is there").len() as f64;
            }
            Self::Sql(_, Kind::Postgres) => self.sql("SELECT pg_total_relation_size('sessions')"),
            Self::Sql(_, Kind::MariaDb) => self.sql(
                "SELECT file_size FROM information_schema.innodb_sys_tablespaces WHERE name = 'sessions/sessions'",
            ),
            _ => unreachable!("it is no database"),
        };
        bytes.trim().parse().expect("it is a number")
    }

    /// Executes SQL with the client of the database, and returns what it prints.
    fn sql(&self, sql: &str) -> String {
        let path = match self {
            Self::Sqlite(path) => path.path().join("sessions.db"),
            Self::Sql(server, _) => return server.sql(sql),
            _ => unreachable!("it is no database"),
        };
        let wait = format!(".timeout {}", Duration::from_secs(60).as_millis());
        let mut client = Command::new("sqlite3");
        let output = client.args(["-cmd", &wait]).arg(path).arg(sql).output();
        let output = output.expect("sqlite3 is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
