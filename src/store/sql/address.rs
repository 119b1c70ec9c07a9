//! The URL of a database: how to connect, and what a new connection executes first.

#[cfg(feature = "sqlite")]
use std::fs;
#[cfg(feature = "sqlite")]
use std::os::unix::fs::OpenOptionsExt;
#[cfg(all(feature = "cli", feature = "sqlite"))]
use std::path::Path;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use percent_encoding::percent_decode_str;
#[cfg(feature = "mysql")]
use rocket::futures::future::BoxFuture;
use sqlx::ConnectOptions;
#[cfg(feature = "postgres")]
use sqlx::postgres::PgConnectOptions;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
#[cfg(feature = "mysql")]
use sqlx::{Executor, mysql::MySqlConnectOptions};

use super::connections::Connections;
use super::dialect::Dialect;
use super::pool::Pool;
use crate::error::{Error, ErrorKind, Result};

/// How to connect.
pub(super) enum Address {
    #[cfg(feature = "postgres")]
    Postgres(Box<PgConnectOptions>),
    #[cfg(feature = "mysql")]
    MySql(Box<MySqlConnectOptions>),
    #[cfg(feature = "sqlite")]
    Sqlite(Box<SqliteConnectOptions>),
}

/// The parameters that the driver knows.
#[cfg(feature = "postgres")]
const POSTGRES_PARAMETERS: [&str; 19] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "options[",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// As above.
#[cfg(feature = "mysql")]
const MYSQL_PARAMETERS: [&str; 14] = [
    "charset",
    "collation",
    "socket",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "sslca",
    "sslcert",
    "sslkey",
    "sslmode",
    "statement-cache-capacity",
    "time-zone",
    "timezone",
];

impl Address {
    /// Reads `url`.
    pub(super) fn parse(url: &str) -> Result<Self> {
        match url.split(':').next().unwrap_or_default() {
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => {
                check_parameters(url, &POSTGRES_PARAMETERS)?;
                Ok(Self::Postgres(Box::new(parsed(url)?)))
            }
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => {
                check_parameters(url, &MYSQL_PARAMETERS)?;
                Ok(Self::MySql(Box::new(parsed(url)?)))
            }
            #[cfg(feature = "sqlite")]
            "sqlite" if is_in_memory(url) => {
                let why = "each connection would have a database of its own; choose a file, or the store `memory`";
                Err(Error::new(ErrorKind::Config, "open a database in memory").because(why))
            }
            #[cfg(feature = "sqlite")]
            "sqlite" => Ok(Self::Sqlite(Box::new(parsed(url)?))),
            #[cfg(not(all(feature = "postgres", feature = "mysql", feature = "sqlite")))]
            scheme
                if ["postgres", "postgresql", "mysql", "mariadb", "sqlite"].contains(&scheme) =>
            {
                let why = "the store for this URL is not compiled in; give `rocket_session_kit` the feature \
                           `postgres`, `mysql` or `sqlite` in Cargo.toml";
                Err(Error::new(ErrorKind::Config, "open the store").because(why))
            }
            _ => Err(invalid()),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => Dialect::MySql,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Returns the server without user and password, or the file, for errors.
    pub(super) fn place(&self) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(to) => server("postgres", to.get_socket(), to.get_host(), to.get_port()),
            #[cfg(feature = "mysql")]
            Self::MySql(to) => server("mysql", to.get_socket(), to.get_host(), to.get_port()),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(to) => to.get_filename().display().to_string(),
        }
    }

    /// Returns whether it is a file that is missing from its directory. Without that, no launch can make it.
    #[cfg(feature = "cli")]
    pub(super) fn lacks_file(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(to) => {
                let file = to.get_filename();
                let directory = file.parent().filter(|path| !path.as_os_str().is_empty());
                !file.exists() && directory.is_none_or(Path::is_dir)
            }
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            _ => false,
        }
    }

    /// Returns the server and its database, or the file, so that one database has one location.
    #[cfg(feature = "cli")]
    pub(super) fn location(&self) -> (String, String) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(to) => {
                let name = to.get_database().unwrap_or_else(|| to.get_username());
                (numeric(self.place()), name.to_owned())
            }
            #[cfg(feature = "mysql")]
            Self::MySql(to) => {
                let name = to.get_database().unwrap_or_default();
                (numeric(self.place()), name.to_owned())
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(to) => {
                let path = to.get_filename();
                let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
                (path.display().to_string(), String::new())
            }
        }
    }

    /// Creates the file of SQLite if it is missing, so that only its owner can read it. If that fails, SQLite
    /// says why when it opens the file.
    pub(super) fn create_file(&self) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(to) => {
                let mut create = fs::OpenOptions::new();
                let create = create.write(true).create_new(true).mode(0o600);
                let _ = create.open(to.get_filename());
            }
            #[cfg(any(feature = "postgres", feature = "mysql"))]
            _ => {}
        }
    }

    /// Returns the connections, at most `max`, none of which is open yet.
    pub(super) fn pool(&self, max: u32, timeout: Duration) -> Pool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(to) => {
                // PgBouncer refuses a connection that sets the digits of floats, and there are no floats here.
                let to = to.as_ref().clone().extra_float_digits(None);
                let to = to.disable_statement_logging();
                Pool::Postgres(Connections::open(to, None, max, timeout))
            }
            #[cfg(feature = "mysql")]
            Self::MySql(to) => {
                let to = to.as_ref().clone().disable_statement_logging();
                Pool::MySql(Connections::open(to, Some(commit_at_once), max, timeout))
            }
            #[cfg(feature = "sqlite")]
            Self::Sqlite(to) => {
                let to = to.as_ref().clone().disable_statement_logging();
                let to = to
                    .create_if_missing(false)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Normal)
                    .busy_timeout(timeout);
                let open = |max| Connections::open(to.clone(), None, max, timeout);
                Pool::Sqlite {
                    read: open(max),
                    write: open(1),
                }
            }
        }
    }
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
fn server(scheme: &str, socket: Option<&PathBuf>, host: &str, port: u16) -> String {
    match socket {
        Some(socket) => format!("{scheme} at {}", socket.display()),
        None => format!("{scheme}://{host}:{port}"),
    }
}

/// Replaces the names of this host by one.
#[cfg(all(feature = "cli", any(feature = "postgres", feature = "mysql")))]
fn numeric(place: String) -> String {
    let names = ["//localhost:", "//[::1]:", "//::1:"];
    let name = names.iter().find(|name| place.contains(**name));
    name.map_or(place.clone(), |name| {
        place.replacen(name, "//127.0.0.1:", 1)
    })
}

/// Lets each statement count at once. A server can be set up so that it counts after a `COMMIT`.
#[cfg(feature = "mysql")]
fn commit_at_once(connection: &mut sqlx::MySqlConnection) -> BoxFuture<'_, sqlx::Result<()>> {
    Box::pin(async { connection.execute("SET autocommit = 1").await.map(drop) })
}

/// Returns whether the database has no file. Without a path, SQLite makes one that ends with its connection.
#[cfg(feature = "sqlite")]
fn is_in_memory(url: &str) -> bool {
    let path = url.split('?').next().unwrap_or_default();
    let path = path.trim_start_matches("sqlite:");
    matches!(path, "" | "//") || path.contains(":memory:") || url.contains("mode=memory")
}

/// Checks that the driver knows the parameters of `url`. It would ignore others, such as a mistyped
/// `sslmode`, and log their values.
#[cfg(any(feature = "postgres", feature = "mysql"))]
fn check_parameters(url: &str, known: &[&str]) -> Result<()> {
    let url = url.split('#').next().unwrap_or_default();
    let Some((_, parameters)) = url.split_once('?') else {
        return Ok(());
    };
    let is_known = |parameter: &str| {
        let name = parameter.split('=').next().unwrap_or_default();
        let name = percent_decode_str(name).decode_utf8_lossy();
        let name = name.split_inclusive('[').next().unwrap_or_default();
        name.is_empty() || known.contains(&name)
    };
    if parameters.split('&').all(is_known) {
        return Ok(());
    }
    let why = "the URL has an unknown parameter; correct its name, or write a `?` in the password as `%3F`";
    Err(Error::new(ErrorKind::Config, "open the store").because(why))
}

fn parsed<T: FromStr>(url: &str) -> Result<T> {
    url.parse().map_err(|_| invalid())
}

fn invalid() -> Error {
    let why = "the URL is invalid; write `postgres://user:password@host/database`, `mysql://…` or `sqlite:path`";
    Error::new(ErrorKind::Config, "open the store").because(why)
}
