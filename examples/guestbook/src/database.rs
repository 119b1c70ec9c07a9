//! The SQLite file with the accounts and the entries, made at launch if it is missing.

use std::error::Error;
use std::path::PathBuf;

use rocket::fairing::AdHoc;
use rocket::figment::Figment;
use rocket::{Request, error};
use serde::Deserialize;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};

/// The table `[default.guestbook]` in `Rocket.toml`.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "default_file")]
    database: PathBuf,
}

/// The file in the working directory.
fn default_file() -> PathBuf {
    "guestbook.db".into()
}

/// The tables of the database. The names of accounts are unique whatever the case of their letters.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS accounts (
        name TEXT PRIMARY KEY COLLATE NOCASE,
        password TEXT NOT NULL,
        is_admin BOOLEAN NOT NULL,
        created INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        author TEXT NOT NULL REFERENCES accounts (name),
        text TEXT NOT NULL,
        written INTEGER NOT NULL
    );
";

/// The database, in the managed state: see `accounts.rs` and `entries.rs` for what it can do.
#[derive(Clone)]
pub struct Database(pub SqlitePool);

impl Database {
    /// Returns the database of the application that handles `request`, for guards.
    pub fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        let database = request.rocket().state();
        database.expect("the fairing has put it there")
    }
}

/// Returns the fairing that opens the file in `[default.guestbook] database`.
pub fn fairing() -> AdHoc {
    AdHoc::try_on_ignite("Database", |rocket| async {
        match open(rocket.figment()).await {
            Ok(database) => Ok(rocket.manage(database)),
            Err(error) => {
                error!("cannot open the database at `guestbook.database`: {error}");
                Err(rocket)
            }
        }
    })
}

async fn open(figment: &Figment) -> Result<Database, Box<dyn Error>> {
    let config: Config = figment.focus("guestbook").extract()?;
    let options = SqliteConnectOptions::new()
        .filename(config.database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(options).await?;
    sqlx::raw_sql(TABLES).execute(&pool).await?;
    Ok(Database(pool))
}
