//! The tables at launch: they are made if they are missing, and checked.

use std::error::Error as _;

use super::database::Described;
use super::dialect::Dialect;
use super::{SqlStore, entries_of};
use crate::error::{Error, ErrorKind, Result};

const ACT: &str = "set up the store";

/// The number of the lock on PostgreSQL under which the tables are made.
const LOCK: i64 = 7_309_473_041_885_310_836;

/// The columns of the sessions, and whether each holds bytes or a number.
const SESSIONS: Columns = Columns {
    names: "id, revision, saved, expires, bytes",
    types: &[
        Type::Bytes,
        Type::Number,
        Type::Number,
        Type::Number,
        Type::Bytes,
    ],
};

/// The same for the entries.
const ENTRIES: Columns = Columns {
    names: "name, value, expires",
    types: &[Type::Bytes, Type::Bytes, Type::Number],
};

struct Columns {
    names: &'static str,
    types: &'static [Type],
}

#[derive(Clone, Copy)]
enum Type {
    Bytes,
    Number,
}

impl SqlStore {
    /// Checks that the tables can keep sessions and entries. If they are missing and the settings say so, it
    /// makes them.
    ///
    /// It checks first: a foreign table stays as it is, and a user who may make no tables can use those that
    /// are there.
    pub(super) async fn set_up(&self) -> Result<()> {
        if self.migrate {
            self.database.create_file();
        }
        if self.are_there().await? {
            return Ok(());
        }
        if self.migrate {
            self.make().await?;
        }
        match self.are_there().await? {
            true => Ok(()),
            false => {
                let why = "the table is missing; set `migrate = true`, or create it. ".to_owned();
                Err(self.refusal(why + &self.how_to_make()))
            }
        }
    }

    /// Makes the tables and indexes that are missing.
    async fn make(&self) -> Result<()> {
        let mut statements = self.schema();
        if self.dialect() == Dialect::Postgres {
            // Processes that make the same table at the same time would disturb each other.
            statements.insert(0, format!("SELECT pg_advisory_xact_lock({LOCK})"));
        }
        let made = self.database.transaction(ACT, &statements).await;
        made.map_err(|failure| match (failure.kind(), failure.source()) {
            (ErrorKind::Config, Some(why)) => {
                self.refusal(format!("{why}. {}", self.how_to_make()))
            }
            _ => failure,
        })
    }

    /// Returns whether both tables are there.
    async fn are_there(&self) -> Result<bool> {
        let sessions = self.is_there(&self.table, &SESSIONS).await?;
        let entries = self.is_there(&entries_of(&self.table), &ENTRIES).await?;
        Ok(sessions && entries)
    }

    /// Returns whether `table` is there. If it is, it must have these columns.
    async fn is_there(&self, table: &str, columns: &Columns) -> Result<bool> {
        let sql = format!("SELECT {} FROM {table}", columns.names);
        let fits = match self.database.describe(ACT, &sql).await? {
            Described::Types(found) => {
                let mut both = found.iter().zip(columns.types);
                found.len() == columns.types.len()
                    && both.all(|(found, expected)| self.is_of(*expected, found))
            }
            Described::NoTable => return Ok(false),
            Described::NoColumn => false,
        };
        if fits {
            return Ok(true);
        }
        let why = format!(
            "the table `{table}` is not one of this store; choose another `table`, or rename it. "
        );
        Err(self.refusal(why + &self.how_to_make()))
    }

    /// Returns whether a column whose type has the name `found` holds what it must.
    fn is_of(&self, expected: Type, found: &str) -> bool {
        let names: &[&str] = match (self.dialect(), expected) {
            (Dialect::Postgres, Type::Bytes) => &["bytea"],
            (Dialect::Postgres, Type::Number) => &["int8"],
            (Dialect::MySql, Type::Bytes) => &["binary", "varbinary", "blob", "longblob"],
            (Dialect::MySql, Type::Number) => &["bigint"],
            (Dialect::Sqlite, Type::Bytes) => &["blob"],
            (Dialect::Sqlite, Type::Number) => &["integer"],
        };
        names.contains(&found)
    }

    fn refusal(&self, why: String) -> Error {
        Error::new(ErrorKind::Config, ACT)
            .at(self.database.place())
            .because(why)
    }

    fn schema(&self) -> Vec<String> {
        self.dialect().schema(&self.table, &entries_of(&self.table))
    }

    /// Returns the statements that make the tables.
    fn how_to_make(&self) -> String {
        let statements = self.schema().join("; ");
        format!("These statements make the tables: {statements};")
    }
}
