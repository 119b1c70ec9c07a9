//! The statements, in the dialect of each database.

/// A database, as far as its SQL differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "sqlite"),
    expect(dead_code, reason = "the dialects of all databases stand side by side")
)]
pub(super) enum Dialect {
    Postgres,
    /// MariaDB speaks it, too.
    MySql,
    Sqlite,
}

/// The statements for the sessions in one table. In each, the values are bound in the order of the
/// question marks.
pub(super) struct SessionStatements {
    /// Id, now.
    pub(super) load: String,
    /// Id, revision, saved, expires, bytes. It replaces a session that had expired when this one was
    /// saved, except on MySQL.
    pub(super) insert: String,
    /// Revision, saved, expires, bytes, id, now.
    pub(super) replace_expired: String,
    /// Revision, saved, expires, bytes, id, expected revision, now.
    pub(super) update: String,
    /// Id, now.
    pub(super) revision: String,
    /// Id, now.
    pub(super) delete: String,
    /// Id, now. It deletes only what has expired.
    pub(super) delete_expired: String,
    /// Id, revision, now.
    pub(super) delete_if: String,
    /// Now, and the size of a batch.
    pub(super) sweep: String,
    /// An id, and a number: the id that comes so many rows after the first one that is greater.
    pub(super) next: String,
    /// Two ids, and a time: the sessions after the first and up to the second that were not saved since.
    pub(super) delete_old: String,
    /// Now.
    pub(super) count: String,
    /// The last id of the page before, now, and the size of a page.
    pub(super) page: String,
}

/// The statements for the entries in one table.
pub(super) struct EntryStatements {
    /// Name, now.
    pub(super) get: String,
    /// Name, value, expires.
    pub(super) set: String,
    /// Name, value, expires, now. Without the last on MySQL, where it replaces no expired entry.
    pub(super) add: String,
    /// Value, expires, name, now.
    pub(super) replace_expired: String,
    /// Value, expires, name, expected value, now.
    pub(super) swap: String,
    /// Value, name, expected value, now.
    pub(super) swap_in_time: String,
    /// Name, now.
    pub(super) remove: String,
    /// Name, expected value, now.
    pub(super) remove_if: String,
    /// The last name of the page before, the end of the names, now, and the size of a page.
    pub(super) page: String,
    /// Now, and the size of a batch.
    pub(super) sweep: String,
}

impl Dialect {
    /// Returns whether an insertion can replace what has expired, in one statement.
    pub(super) fn replaces_on_conflict(self) -> bool {
        self != Self::MySql
    }

    pub(super) fn sessions(self, table: &str) -> SessionStatements {
        let set = "revision = ?, saved = ?, expires = ?, bytes = ?";
        let insert = format!(
            "INSERT INTO {table} (id, revision, saved, expires, bytes) VALUES (?, ?, ?, ?, ?)"
        );
        let insert = match self {
            Self::MySql => insert,
            _ => format!(
                "{insert} ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, saved = excluded.saved, \
                 expires = excluded.expires, bytes = excluded.bytes WHERE {table}.expires <= excluded.saved"
            ),
        };
        SessionStatements {
            load: self.text(format!(
                "SELECT bytes FROM {table} WHERE id = ? AND expires > ?"
            )),
            insert: self.text(insert),
            replace_expired: self.text(format!(
                "UPDATE {table} SET {set} WHERE id = ? AND expires <= ?"
            )),
            update: self.text(format!(
                "UPDATE {table} SET {set} WHERE id = ? AND revision = ? AND expires > ?"
            )),
            revision: self.text(format!(
                "SELECT revision FROM {table} WHERE id = ? AND expires > ?"
            )),
            delete: self.text(format!("DELETE FROM {table} WHERE id = ? AND expires > ?")),
            delete_expired: self.text(format!("DELETE FROM {table} WHERE id = ? AND expires <= ?")),
            delete_if: self.text(format!(
                "DELETE FROM {table} WHERE id = ? AND revision = ? AND expires > ?"
            )),
            sweep: self.delete_expired(table, "id"),
            next: self.text(format!(
                "SELECT id FROM {table} WHERE id > ? ORDER BY id LIMIT 1 OFFSET ?"
            )),
            delete_old: self.text(format!(
                "DELETE FROM {table} WHERE id > ? AND id <= ? AND saved <= ?"
            )),
            count: self.text(format!("SELECT count(*) FROM {table} WHERE expires > ?")),
            page: self.text(format!(
                "SELECT id, bytes FROM {table} WHERE id > ? AND expires > ? ORDER BY id LIMIT ?"
            )),
        }
    }

    pub(super) fn entries(self, table: &str) -> EntryStatements {
        let insert = format!("INSERT INTO {table} (name, value, expires) VALUES (?, ?, ?)");
        let (set, add) = match self {
            Self::MySql => (
                format!(
                    "{insert} ON DUPLICATE KEY UPDATE value = VALUES(value), expires = VALUES(expires)"
                ),
                insert,
            ),
            _ => {
                let replace = format!(
                    "{insert} ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires = excluded.expires"
                );
                (
                    replace.clone(),
                    format!("{replace} WHERE {table}.expires <= ?"),
                )
            }
        };
        EntryStatements {
            get: self.text(format!("SELECT value FROM {table} WHERE name = ? AND expires > ?")),
            set: self.text(set),
            add: self.text(add),
            replace_expired: self.text(format!(
                "UPDATE {table} SET value = ?, expires = ? WHERE name = ? AND expires <= ?"
            )),
            swap: self.text(format!(
                "UPDATE {table} SET value = ?, expires = ? WHERE name = ? AND value = ? AND expires > ?"
            )),
            swap_in_time: self.text(format!(
                "UPDATE {table} SET value = ? WHERE name = ? AND value = ? AND expires > ?"
            )),
            remove: self.text(format!("DELETE FROM {table} WHERE name = ? AND expires > ?")),
            remove_if: self.text(format!(
                "DELETE FROM {table} WHERE name = ? AND value = ? AND expires > ?"
            )),
            page: self.text(format!(
                "SELECT name FROM {table} WHERE name > ? AND name < ? AND expires > ? ORDER BY name LIMIT ?"
            )),
            sweep: self.delete_expired(table, "name"),
        }
    }

    /// Returns a statement that deletes a batch of what has expired. On PostgreSQL, it leaves rows that another
    /// statement is about to change to the next sweep.
    fn delete_expired(self, table: &str, key: &str) -> String {
        let some = format!("SELECT {key} FROM {table} WHERE expires <= ? ORDER BY expires LIMIT ?");
        self.text(match self {
            // A join with the subquery could read the whole table for each batch.
            Self::Postgres => {
                format!(
                    "DELETE FROM {table} WHERE {key} = ANY (ARRAY({some} FOR UPDATE SKIP LOCKED))"
                )
            }
            Self::MySql => {
                format!("DELETE FROM {table} WHERE expires <= ? ORDER BY expires LIMIT ?")
            }
            Self::Sqlite => format!("DELETE FROM {table} WHERE {key} IN ({some})"),
        })
    }

    /// Returns the statements that make the tables, if they are missing.
    pub(super) fn schema(self, table: &str, entries: &str) -> Vec<String> {
        match self {
            Self::Postgres => vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {table} (id bytea PRIMARY KEY, revision bigint NOT NULL, \
                     saved bigint NOT NULL, expires bigint NOT NULL, bytes bytea NOT NULL)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {table}_expires ON {table} (expires)"),
                format!(
                    "CREATE TABLE IF NOT EXISTS {entries} (name bytea PRIMARY KEY, \
                     value bytea NOT NULL, expires bigint NOT NULL)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {entries}_expires ON {entries} (expires)"),
            ],
            Self::MySql => vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {table} (id binary(16) PRIMARY KEY, revision bigint NOT NULL, \
                     saved bigint NOT NULL, expires bigint NOT NULL, bytes longblob NOT NULL, \
                     INDEX {table}_expires (expires)) ENGINE = InnoDB"
                ),
                format!(
                    "CREATE TABLE IF NOT EXISTS {entries} (name varbinary(160) PRIMARY KEY, \
                     value longblob NOT NULL, expires bigint NOT NULL, INDEX {entries}_expires (expires)) \
                     ENGINE = InnoDB"
                ),
            ],
            Self::Sqlite => vec![
                format!(
                    "CREATE TABLE IF NOT EXISTS {table} (id blob PRIMARY KEY, revision integer NOT NULL, \
                     saved integer NOT NULL, expires integer NOT NULL, bytes blob NOT NULL)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {table}_expires ON {table} (expires)"),
                format!(
                    "CREATE TABLE IF NOT EXISTS {entries} (name blob PRIMARY KEY, value blob NOT NULL, \
                     expires integer NOT NULL)"
                ),
                format!("CREATE INDEX IF NOT EXISTS {entries}_expires ON {entries} (expires)"),
            ],
        }
    }

    /// Writes the places of values as this database numbers them.
    fn text(self, sql: String) -> String {
        if self != Self::Postgres {
            return sql;
        }
        let mut numbered = String::with_capacity(sql.len() + 16);
        for (at, part) in sql.split('?').enumerate() {
            if at > 0 {
                numbered += &format!("${at}");
            }
            numbered += part;
        }
        numbered
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use sqlx::{Connection, Executor, Row, SqliteConnection};

    use super::*;

    /// Returns how SQLite finds the rows of a statement.
    async fn plan(database: &mut SqliteConnection, sql: &str) -> String {
        let sql = format!("EXPLAIN QUERY PLAN {sql}");
        let steps = sqlx::query(&sql).fetch_all(database).await.unwrap();
        let steps: Vec<String> = steps.iter().map(|step| step.get("detail")).collect();
        steps.join("; ")
    }

    #[rocket::async_test]
    async fn sqlite_finds_all_rows_by_their_index() {
        let mut database = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for statement in Dialect::Sqlite.schema("sessions", "entries") {
            database.execute(sqlx::raw_sql(&statement)).await.unwrap();
        }
        let numbers =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)";
        for rows in [
            "sessions SELECT randomblob(16), i, i, i, x'00' FROM n",
            "entries SELECT randomblob(16), x'00', i FROM n",
        ] {
            let fill = format!(
                "INSERT INTO {}",
                rows.replacen("SELECT", &format!("{numbers} SELECT"), 1)
            );
            database.execute(fill.as_str()).await.unwrap();
        }
        database.execute("ANALYZE").await.unwrap();
        let sessions = Dialect::Sqlite.sessions("sessions");
        let entries = Dialect::Sqlite.entries("entries");
        for (sql, index) in [
            (&sessions.load, "sqlite_autoindex_sessions_1 (id=?)"),
            (&sessions.update, "sqlite_autoindex_sessions_1 (id=?)"),
            (&sessions.revision, "sqlite_autoindex_sessions_1 (id=?)"),
            (&sessions.delete, "sqlite_autoindex_sessions_1 (id=?)"),
            (&sessions.delete_if, "sqlite_autoindex_sessions_1 (id=?)"),
            (&sessions.page, "sqlite_autoindex_sessions_1 (id>?)"),
            (&sessions.next, "sqlite_autoindex_sessions_1 (id>?)"),
            (&sessions.sweep, "sessions_expires (expires<?)"),
            (&entries.get, "sqlite_autoindex_entries_1 (name=?)"),
            (&entries.swap, "sqlite_autoindex_entries_1 (name=?)"),
            (
                &entries.page,
                "sqlite_autoindex_entries_1 (name>? AND name<?)",
            ),
            (&entries.sweep, "entries_expires (expires<?)"),
        ] {
            let plan = plan(&mut database, sql).await;
            assert!(plan.contains(index), "{sql}: {plan}");
            assert!(
                !plan.contains("SCAN") && !plan.contains("TEMP"),
                "{sql}: {plan}"
            );
        }
    }
}
