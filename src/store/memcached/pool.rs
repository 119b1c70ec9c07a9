//! The connections to the servers, made when they are needed.

use std::io;
use std::time::Duration;

use memcache::exp::{AsyncMetaClient, Error as Cause, Operation, Router as _};
use rocket::tokio::sync::OnceCell;
use rocket::tokio::time::timeout;

use super::route::Route;
use crate::error::{Error, ErrorKind, Result};

pub(super) struct Pool {
    servers: Vec<String>,
    connections: usize,
    timeout: Duration,
    /// Made at the first call: that asks for the addresses of names.
    client: OnceCell<AsyncMetaClient>,
}

/// A call that failed.
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether the server may have done it nevertheless.
    pub(super) ambiguous: bool,
    /// The server says that what is there does not suit the command.
    pub(super) rejected: bool,
}

impl Pool {
    pub(super) fn new(servers: Vec<String>, connections: usize, timeout: Duration) -> Self {
        Self {
            servers,
            connections,
            timeout,
            client: OnceCell::new(),
        }
    }

    pub(super) fn servers(&self) -> &[String] {
        &self.servers
    }

    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns which server has `key`.
    pub(super) fn server_of(&self, key: &str) -> usize {
        Route.route(key.as_bytes(), &self.servers)
    }

    pub(super) async fn run<O: Operation>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
    ) -> Result<O::Output> {
        let done = self.try_run(act, key, operation).await;
        done.map_err(|failure| failure.error)
    }

    /// As [`run`](Self::run), for callers who mind whether it may have happened.
    pub(super) async fn try_run<O: Operation>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
    ) -> Result<O::Output, Failure> {
        let run = async { self.client().await?.run(operation).await };
        match timeout(self.timeout, run).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(cause)) => Err(self.failure(act, key, &cause)),
            Err(_) => Err(Failure {
                ambiguous: true,
                ..self.failure(act, key, &Cause::Io(io::ErrorKind::TimedOut.into()))
            }),
        }
    }

    async fn client(&self) -> Result<&AsyncMetaClient, Cause> {
        let connect = || {
            AsyncMetaClient::builder()
                .router(Route)
                .max_idle(self.connections)
                .max_connections(Some(self.connections))
                .connect_timeout(Some(self.timeout.mul_f64(0.5)))
                // A little less than a call may take, so that the connection is found out in time.
                .io_timeout(Some(self.timeout.mul_f64(0.9)))
                .connect_multiple_async(self.servers.iter().cloned())
        };
        self.client.get_or_try_init(connect).await
    }

    fn failure(&self, act: &'static str, key: &str, cause: &Cause) -> Failure {
        let place = &self.servers[self.server_of(key)];
        let error = Error::new(ErrorKind::Unavailable, act).at(place);
        Failure {
            error: error.because(reason(cause)),
            ambiguous: cause.is_ambiguous(),
            rejected: matches!(cause, Cause::Rejected(_)),
        }
    }
}

/// Tells what went wrong, in words of our own: the driver's quote the key.
fn reason(cause: &Cause) -> &'static str {
    match cause {
        Cause::Timeout { .. } => "it did not answer in time",
        Cause::Ambiguous { source, .. } => reason(source),
        Cause::Io(error) => io_reason(error),
        Cause::Server(text) if text.contains("out of memory") => "it has no memory left",
        Cause::Server(_) => "it answered with an error",
        _ => "it answered something that was not expected",
    }
}

pub(super) fn io_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused; is the server running?",
        io::ErrorKind::TimedOut => "it did not answer in time",
        _ => "the connection was lost, or could not be made",
    }
}
