//! The pool of connections to one database, whichever it is, and how a statement is executed.

use rocket::futures::TryStreamExt;
use sqlx::{Connection, Executor, Row};
#[cfg(feature = "mysql")]
use sqlx::{MySql, MySqlPool};
#[cfg(feature = "postgres")]
use sqlx::{PgPool, Postgres};
#[cfg(feature = "sqlite")]
use sqlx::{Sqlite, SqlitePool};

use super::connections::Connections;
use super::dialect::Dialect;
use super::error::Failed;

/// A value in a statement.
#[derive(Clone, Copy)]
pub(super) enum Value<'v> {
    Number(i64),
    Bytes(&'v [u8]),
}

/// A pool of connections to a database, for [`SqlStore::with_pool`](crate::SqlStore::with_pool).
///
/// Every pool of the crate `sqlx` 0.8 for one of these databases converts into it.
pub struct SqlPool(pub(super) Pool);

/// The pool of each database.
pub(super) enum Pool {
    #[cfg(feature = "postgres")]
    Postgres(Connections<Postgres>),
    #[cfg(feature = "mysql")]
    MySql(Connections<MySql>),
    /// The connections that read, and the one that writes: the file has one writer at a time, and
    /// waiting for a connection is cheaper than waiting for the file.
    #[cfg(feature = "sqlite")]
    Sqlite {
        read: Connections<Sqlite>,
        write: Connections<Sqlite>,
    },
}

/// Runs the same code with the connections to each database: those that `read`, or that `write`.
macro_rules! with_connections {
    ($pool:expr, $to:ident, |$connections:ident| $body:expr) => {
        match $pool {
            #[cfg(feature = "postgres")]
            Pool::Postgres($connections) => $body,
            #[cfg(feature = "mysql")]
            Pool::MySql($connections) => $body,
            #[cfg(feature = "sqlite")]
            Pool::Sqlite {
                $to: $connections, ..
            } => $body,
        }
    };
}

/// Returns the statement `sql` with its values.
macro_rules! statement {
    ($sql:expr, $values:expr) => {
        $values
            .iter()
            .fold(sqlx::query($sql), |query, value| match *value {
                Value::Number(number) => query.bind(number),
                Value::Bytes(bytes) => query.bind(bytes),
            })
    };
}

/// Returns the value in the only column of the only row that a query finds, if there is one.
macro_rules! value {
    ($pool:expr, $sql:expr, $values:expr) => {
        with_connections!($pool, read, |connections| {
            let mut lease = connections.take().await?;
            let row = lease.connection().fetch_optional(statement!($sql, $values));
            let value = row
                .await
                .and_then(|row| row.map(|row| row.try_get(0)).transpose());
            lease.end(value)
        })
    };
}

impl Pool {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "mysql")]
            Self::MySql(_) => Dialect::MySql,
            #[cfg(feature = "sqlite")]
            Self::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// Executes a statement, and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, Failed> {
        with_connections!(self, write, |connections| {
            let mut lease = connections.take().await?;
            let done = lease.connection().execute(statement!(sql, values)).await;
            lease.end(done.map(|done| done.rows_affected()))
        })
    }

    /// Returns the bytes in the only column of the only row, if there is one.
    pub(super) async fn bytes(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<Vec<u8>>, Failed> {
        value!(self, sql, values)
    }

    /// Returns the number in the only column of the only row, if there is one.
    pub(super) async fn number(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Option<i64>, Failed> {
        value!(self, sql, values)
    }

    /// Returns the bytes in the columns of all rows.
    pub(super) async fn rows(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Vec<Vec<u8>>>, Failed> {
        with_connections!(self, read, |connections| {
            let mut lease = connections.take().await?;
            let rows = lease.connection().fetch(statement!(sql, values));
            let columns = rows
                .and_then(|row| async move { (0..row.len()).map(|at| row.try_get(at)).collect() });
            let rows = columns.try_collect().await;
            lease.end(rows)
        })
    }

    /// Executes statements without values, such as those that make tables, in one transaction. They are not
    /// prepared.
    pub(super) async fn transaction(&self, statements: &[String]) -> Result<(), Failed> {
        with_connections!(self, write, |connections| {
            let mut lease = connections.take().await?;
            let done = async {
                let mut transaction = lease.connection().begin().await?;
                for statement in statements {
                    transaction.execute(sqlx::raw_sql(statement)).await?;
                }
                transaction.commit().await
            };
            let done = done.await;
            lease.end(done)
        })
    }

    /// Returns the names of the types of the columns that `sql` returns.
    pub(super) async fn column_types(&self, sql: &str) -> Result<Vec<String>, Failed> {
        use sqlx::{Column, TypeInfo};

        with_connections!(self, read, |connections| {
            let mut lease = connections.take().await?;
            let types = lease.connection().describe(sql).await.map(|description| {
                let columns = description.columns().iter();
                columns
                    .map(|column| column.type_info().name().to_ascii_lowercase())
                    .collect()
            });
            lease.end(types)
        })
    }
}

#[cfg(feature = "postgres")]
impl From<PgPool> for SqlPool {
    fn from(pool: PgPool) -> Self {
        Self(Pool::Postgres(Connections::Shared(pool)))
    }
}

#[cfg(feature = "mysql")]
impl From<MySqlPool> for SqlPool {
    fn from(pool: MySqlPool) -> Self {
        Self(Pool::MySql(Connections::Shared(pool)))
    }
}

#[cfg(feature = "sqlite")]
impl From<SqlitePool> for SqlPool {
    fn from(pool: SqlitePool) -> Self {
        let (read, write) = (Connections::Shared(pool.clone()), Connections::Shared(pool));
        Self(Pool::Sqlite { read, write })
    }
}
