//! The driver's errors: their text for the log, and what they mean for the next attempt.

use std::io;

use sqlx::Error as SqlError;

use crate::error::{Error, ErrorKind};

/// Why a statement failed.
pub(super) struct Failed {
    error: SqlError,
    /// There was a connection to send it on.
    was_sent: bool,
}

impl Failed {
    pub(super) fn to_connect(error: SqlError) -> Self {
        let was_sent = false;
        Self { error, was_sent }
    }

    pub(super) fn to_execute(error: SqlError) -> Self {
        let was_sent = true;
        Self { error, was_sent }
    }
}

/// What an error says about the statement that failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was not executed, because others worked on the same rows. It can be sent again.
    Contended,
    /// It was not executed on this connection. It can be sent again on another.
    Refused,
    /// The connection broke. The statement was executed, or not, or will be.
    Unknown,
    /// It found a row with the same key.
    Exists,
    Failed,
}

/// Returns what a failure says about the statement.
pub(super) fn fate(failed: &Failed) -> Fate {
    match &failed.error {
        SqlError::Database(error) if error.is_unique_violation() => Fate::Exists,
        error @ SqlError::Database(_) => match code(error).as_deref() {
            Some(code) if is_contention(code) => Fate::Contended,
            _ if !failed.was_sent => Fate::Failed,
            // After a failover, a new connection may reach the server that accepts writes.
            Some(code) if is_read_only(code) => Fate::Refused,
            // PostgreSQL rolls back before it says so.
            Some("57P01") => Fate::Refused,
            // The server stops, or has ended this connection.
            Some("57P02" | "57P03" | "mysql 1053" | "mysql 1927" | "mysql 4031") => Fate::Unknown,
            _ => Fate::Failed,
        },
        _ if !failed.was_sent => Fate::Failed,
        SqlError::Io(_) | SqlError::Protocol(_) | SqlError::WorkerCrashed => Fate::Unknown,
        _ => Fate::Failed,
    }
}

/// Returns whether a database did nothing because others worked on the same rows: a conflict of
/// transactions, a deadlock, or a lock that was not free in time.
fn is_contention(code: &str) -> bool {
    let postgres = ["40001", "40P01", "55P03"].contains(&code);
    let mysql = ["mysql 1020", "mysql 1205", "mysql 1213", "mysql 1615"].contains(&code);
    let sqlite = ["sqlite 5", "sqlite 6"].contains(&code);
    postgres || mysql || sqlite
}

/// Returns whether a server refused to write, because it is a replica or was told so.
fn is_read_only(code: &str) -> bool {
    ["25006", "mysql 1290", "mysql 1792", "mysql 1836"].contains(&code)
}

/// Returns whether a statement names a table that is not there.
pub(super) fn misses_table(failed: &Failed) -> bool {
    matches!(
        code(&failed.error).as_deref(),
        Some("42P01" | "mysql 1146" | "sqlite 1 table")
    )
}

/// Returns whether a statement names a column that is not there.
pub(super) fn misses_column(failed: &Failed) -> bool {
    matches!(
        code(&failed.error).as_deref(),
        Some("42703" | "mysql 1054" | "sqlite 1 column")
    )
}

/// Returns an error that contains nothing that was sent or received. `place` is the server, without
/// user and password, or the file.
pub(super) fn failure(place: &str, act: &'static str, failed: &Failed) -> Error {
    let (kind, why) = reason(&failed.error);
    Error::new(kind, act).at(place).because(why)
}

/// Returns the cause in this crate's words: the driver's text may quote a value.
fn reason(error: &SqlError) -> (ErrorKind, String) {
    use ErrorKind::{Config, Unavailable};

    let unavailable = |why: &str| (Unavailable, why.to_owned());
    match error {
        SqlError::PoolTimedOut => unavailable(
            "no connection was free in time; the database is slow, or `max_connections` is too small",
        ),
        SqlError::PoolClosed => unavailable("its pool of connections was closed"),
        SqlError::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            unavailable("the connection was refused; is the server running?")
        }
        // The text is the system's, and quotes nothing that was sent.
        SqlError::Io(error) => (Unavailable, format!("the connection failed: {error}")),
        SqlError::Tls(_) => {
            unavailable("TLS failed; see `sslmode` and the certificates in the URL")
        }
        SqlError::Configuration(_) => (Config, "the URL is invalid".to_owned()),
        SqlError::Database(_) => of_database(code(error).as_deref().unwrap_or_default()),
        SqlError::ColumnDecode { .. } | SqlError::Decode(_) | SqlError::ColumnNotFound(_) => (
            Config,
            "the table has columns of other types; choose another `table`".to_owned(),
        ),
        _ => unavailable("the driver failed"),
    }
}

/// Returns the meaning of an error code of a database. The codes are those of
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>,
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/> and <https://www.sqlite.org/rescode.html>.
fn of_database(code: &str) -> (ErrorKind, String) {
    use ErrorKind::{Config, Unavailable};

    let (kind, why) = match code {
        "sqlite 5" | "sqlite 6" => (Unavailable, "another process locks the file for too long"),
        code if is_contention(code) => (Unavailable, "too many others work on the same rows"),
        "28P01" | "28000" | "mysql 1045" | "mysql 1698" => (
            Config,
            "it refused the user or the password; check both in the URL",
        ),
        "3D000" | "mysql 1049" => (
            Config,
            "there is no such database; create it, or change the URL",
        ),
        "42501" | "mysql 1044" | "mysql 1142" => (Config, "its user lacks a necessary right"),
        "42P01" | "mysql 1146" | "sqlite 1 table" => (
            Config,
            "the table is missing; set `migrate = true`, or create it",
        ),
        "42601" | "mysql 1064" | "sqlite 1 syntax" => (
            Config,
            "the name of the table is a word of SQL; choose another `table`",
        ),
        "42703" | "42804" | "mysql 1054" | "sqlite 1 column" => (
            Config,
            "the table is not one of sessions; choose another `table`",
        ),
        code if is_read_only(code) => (
            Unavailable,
            "it is a replica or a server that accepts no writes",
        ),
        "53100" | "53200" | "mysql 1021" | "mysql 1114" | "sqlite 13" => {
            (Unavailable, "it has no room left")
        }
        "57014" | "mysql 1969" | "mysql 3024" => (
            Unavailable,
            "it cancelled the statement; see its time limit for statements",
        ),
        "26000" | "42P05" => (
            Config,
            "a proxy before it mixes up prepared statements; let PgBouncer pool sessions",
        ),
        "53300" | "mysql 1040" | "mysql 1203" => (Unavailable, "it has too many connections"),
        "mysql 1153" => (
            Unavailable,
            "the session is too large for its `max_allowed_packet`",
        ),
        "57P01" | "57P02" | "57P03" | "mysql 1053" | "mysql 1927" | "mysql 4031" => (
            Unavailable,
            "it is shutting down or starting, or it has ended the connection",
        ),
        "sqlite 8" => (Unavailable, "the file is read-only"),
        "sqlite 10" => (Unavailable, "the file cannot be read or written"),
        "sqlite 14" => (
            Config,
            "the file is missing or cannot be opened; its directory must exist and be writable",
        ),
        "sqlite 11" | "sqlite 26" => (Config, "the file is not a database, or is damaged"),
        code => return (Unavailable, format!("it reports the error {code}")),
    };
    (kind, why.to_owned())
}

/// Returns the code of a database's error: as PostgreSQL names it, or with the name of the database.
fn code(error: &SqlError) -> Option<String> {
    let SqlError::Database(error) = error else {
        return None;
    };
    #[cfg(feature = "mysql")]
    if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        return Some(format!("mysql {}", error.number()));
    }
    let code = error.code()?;
    #[cfg(feature = "sqlite")]
    if error
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .is_some()
    {
        // The upper bits say more; the code 1 is that of every wrong statement.
        let code: u32 = code.parse().ok()?;
        let says = error.message();
        if says.ends_with(": syntax error") {
            return Some("sqlite 1 syntax".to_owned());
        }
        let misses = says.strip_prefix("no such ").unwrap_or_default();
        return Some(match (code & 0xff, misses.split(':').next()) {
            (1, Some("table")) => "sqlite 1 table".to_owned(),
            (1, Some("column")) => "sqlite 1 column".to_owned(),
            (code, _) => format!("sqlite {code}"),
        });
    }
    Some(code.into_owned())
}
