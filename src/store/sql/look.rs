//! A look at the database from the command line: its server, and whether the tables are there.

use super::dialect::Dialect;
use super::{SqlStore, entries_of};
use crate::error::Result;
use crate::store::server_facts::ServerFacts;

impl SqlStore {
    /// Returns the server without user and password, or the file.
    pub(crate) fn place(&self) -> &str {
        self.database.place()
    }

    /// Returns what the server tells about itself; `None` if there is no server.
    pub(crate) async fn facts(&self) -> Result<Option<ServerFacts>> {
        let version = match self.dialect() {
            Dialect::Postgres => "SELECT convert_to(current_setting('server_version'), 'UTF8')",
            Dialect::MySql => "SELECT CAST(version() AS BINARY)",
            Dialect::Sqlite => return Ok(None),
        };
        let found = self.database.bytes("use the server", version, &[]).await?;
        let version = found.map(|version| String::from_utf8_lossy(&version).into_owned());
        Ok(Some(ServerFacts {
            place: self.place().to_owned(),
            // PostgreSQL's is followed by that of its package.
            version: version.and_then(|version| version.split(' ').next().map(str::to_owned)),
            // Sessions expire by the clocks of the applications.
            time: None,
            evicts_by: None,
        }))
    }

    /// Returns whether both tables are there. It creates nothing, not even the file of SQLite.
    pub(crate) async fn has_tables(&self) -> Result<bool> {
        let names = [self.table.clone(), entries_of(&self.table)].map(|name| format!("'{name}'"));
        let names = names.join(", ");
        let sql = match self.dialect() {
            Dialect::Postgres => format!(
                "SELECT count(to_regclass(name)) FROM unnest(ARRAY[{names}]) AS names (name)"
            ),
            Dialect::MySql => format!(
                "SELECT count(*) FROM information_schema.tables \
                 WHERE table_schema = database() AND table_name IN ({names})"
            ),
            Dialect::Sqlite if self.database.lacks_file() => return Ok(false),
            Dialect::Sqlite => {
                format!("SELECT count(*) FROM sqlite_schema WHERE name IN ({names})")
            }
        };
        let found = self.database.number("look for the tables", &sql, &[]);
        Ok(found.await? == Some(2))
    }

    /// Returns whether this is the table of `other`, as far as their URLs tell.
    pub(crate) fn is_same_table(&self, other: &Self) -> bool {
        self.table == other.table && self.database.is_same(&other.database)
    }
}
