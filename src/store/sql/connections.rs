//! The connections to a database: those of the store, or those of the application's pool.

use std::io;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, PoolError, QueueMode, RecycleResult, TimeoutType, Timeouts,
};
use rocket::futures::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions, Connection, Database, Error as SqlError};

use super::error::{Failed, Fate, fate};

/// A connection that was idle for so long is tested before it is used: a server, or a firewall before it,
/// may have closed it.
const IDLE: Duration = Duration::from_secs(10);

type OptionsOf<DB> = <<DB as Database>::Connection as Connection>::Options;

/// What a new connection executes first.
pub(super) type Greeting<DB> =
    for<'c> fn(&'c mut <DB as Database>::Connection) -> BoxFuture<'c, sqlx::Result<()>>;

/// The connections to one database.
pub(super) enum Connections<DB: Database> {
    /// Those of the store. The pool of `sqlx` would test each of them when it is given back, which is
    /// a second round trip.
    Own(deadpool::managed::Pool<Connector<DB>>),
    /// Those of the application.
    Shared(sqlx::Pool<DB>),
}

/// Opens and tests connections.
pub(super) struct Connector<DB: Database> {
    options: OptionsOf<DB>,
    greeting: Option<Greeting<DB>>,
}

/// A connection for one statement. It is closed unless it is given back: a response that nobody has
/// read may be on its way.
pub(super) struct Lease<'p, DB: Database> {
    connections: &'p Connections<DB>,
    leased: Option<Leased<DB>>,
}

enum Leased<DB: Database> {
    Own(Object<Connector<DB>>),
    Shared(PoolConnection<DB>),
}

/// Closes the idle connections when it is dropped, unless all went well: what has broken one may have
/// broken all.
struct Suspicion<'p, DB: Database>(Option<&'p Connections<DB>>);

impl<DB: Database> Manager for Connector<DB> {
    type Type = DB::Connection;
    type Error = SqlError;

    async fn create(&self) -> sqlx::Result<DB::Connection> {
        let mut connection = self.options.connect().await?;
        if let Some(greeting) = self.greeting {
            greeting(&mut connection).await?;
        }
        Ok(connection)
    }

    async fn recycle(
        &self,
        connection: &mut DB::Connection,
        metrics: &Metrics,
    ) -> RecycleResult<SqlError> {
        if metrics.last_used() > IDLE {
            connection.ping().await?;
        }
        Ok(())
    }
}

impl<DB: Database> Connections<DB> {
    /// Returns at most `max` connections, which are opened when they are first needed.
    pub(super) fn open(
        options: OptionsOf<DB>,
        greeting: Option<Greeting<DB>>,
        max: u32,
        timeout: Duration,
    ) -> Self {
        let connector = Connector { options, greeting };
        let timeouts = Timeouts {
            wait: Some(timeout),
            create: Some(timeout),
            recycle: Some(timeout),
        };
        let pool = deadpool::managed::Pool::builder(connector)
            .max_size(usize::try_from(max).unwrap_or(usize::MAX))
            .timeouts(timeouts)
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .build();
        Self::Own(pool.expect("there is a runtime for the timeouts"))
    }

    /// Takes a connection.
    pub(super) async fn take(&self) -> Result<Lease<'_, DB>, Failed> {
        let mut suspicion = Suspicion(Some(self));
        let leased = match self {
            Self::Own(pool) => Leased::Own(pool.get().await.map_err(|error| match error {
                PoolError::Backend(error) => Failed::to_connect(error),
                PoolError::Timeout(TimeoutType::Create) => {
                    Failed::to_connect(SqlError::Io(io::ErrorKind::TimedOut.into()))
                }
                _ => Failed::to_connect(SqlError::PoolTimedOut),
            })?),
            Self::Shared(pool) => Leased::Shared(pool.acquire().await.map_err(Failed::to_connect)?),
        };
        suspicion.0 = None;
        Ok(Lease {
            connections: self,
            leased: Some(leased),
        })
    }
}

impl<DB: Database> Lease<'_, DB> {
    pub(super) fn connection(&mut self) -> &mut DB::Connection {
        match self
            .leased
            .as_mut()
            .expect("it is leased until it is given back")
        {
            Leased::Own(connection) => connection,
            Leased::Shared(connection) => connection,
        }
    }

    /// Ends the lease after a statement with `outcome`, which it returns. The connection is given back if
    /// it still works.
    pub(super) fn end<T>(mut self, outcome: sqlx::Result<T>) -> Result<T, Failed> {
        let outcome = outcome.map_err(Failed::to_execute);
        let works = match &outcome {
            Ok(_) => true,
            Err(failed) => matches!(fate(failed), Fate::Contended | Fate::Exists | Fate::Failed),
        };
        if works {
            self.leased = None;
        }
        outcome
    }
}

impl<DB: Database> Drop for Lease<'_, DB> {
    fn drop(&mut self) {
        let Some(leased) = self.leased.take() else {
            return;
        };
        match leased {
            Leased::Own(connection) => drop(Object::take(connection)),
            Leased::Shared(mut connection) => connection.close_on_drop(),
        }
        drop(Suspicion(Some(self.connections)));
    }
}

impl<DB: Database> Drop for Suspicion<'_, DB> {
    fn drop(&mut self) {
        // The pool of `sqlx` tests its own.
        if let Some(Connections::Own(pool)) = self.0 {
            pool.retain(|_, _| false);
        }
    }
}
