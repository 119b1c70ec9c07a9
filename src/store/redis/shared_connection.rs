//! The connection that all requests share: opened when it is needed, replaced when it breaks.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use redis::cluster_routing::RoutingInfo;
use redis::{Cmd, FromRedisValue, RedisError, RedisResult, Value};
use rocket::tokio;

use super::connection::Connection;
use super::error::{ask_redirection, failure, needs_reconnect, was_refused};
use super::script::Script;
use super::settings::Settings;
use crate::error::{Error, Result};

/// Whether to send a command again when the connection breaks before the response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    Yes,
    No,
}

/// The connection that all requests share.
pub(super) struct SharedConnection {
    settings: Settings,
    current: Mutex<Option<Connection>>,
    /// Locked by the task that opens a connection, so that the others wait for it.
    opening: tokio::sync::Mutex<()>,
}

/// The response to a command.
pub(super) struct Response {
    pub(super) value: Value,
    /// The command was sent more than once, because a connection broke. The server may have executed
    /// it twice.
    pub(super) was_resent: bool,
}

/// The greatest number of times that a command is sent.
const ATTEMPTS: usize = 3;

/// The pause before the next attempt, if the server refused a command.
const PAUSE: Duration = Duration::from_millis(20);

impl SharedConnection {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            current: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sends a command, and returns its parsed response.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        act: &'static str,
        command: &Cmd,
        retry: Retry,
    ) -> Result<T> {
        let response = self.send(command, retry).await;
        let response = response.map_err(|error| self.failure(act, &error))?;
        self.parse(act, response.value)
    }

    /// Sends a command, and returns the driver's response or error.
    pub(super) async fn send(&self, command: &Cmd, retry: Retry) -> RedisResult<Response> {
        self.send_in_time(command, retry, None).await
    }

    /// Sends a command that changes nothing to certain nodes of a cluster.
    pub(super) async fn send_to<T: FromRedisValue>(
        &self,
        act: &'static str,
        command: &Cmd,
        routing: RoutingInfo,
    ) -> Result<T> {
        let response = self.send_in_time(command, Retry::Yes, Some(&routing)).await;
        let response = response.map_err(|error| self.failure(act, &error))?;
        self.parse(act, response.value)
    }

    /// Runs a script on one key.
    pub(super) async fn run(
        &self,
        act: &'static str,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
        retry: Retry,
    ) -> Result<Response> {
        let response = match self.send(&script.by_hash(key, arguments), retry).await {
            // The server was restarted, or its cache of scripts was cleared.
            Err(error) if error.code() == Some("NOSCRIPT") => {
                self.send(&script.in_full(key, arguments), retry).await
            }
            response => response,
        };
        response.map_err(|error| self.failure(act, &error))
    }

    /// Converts the value of a response.
    pub(super) fn parse<T: FromRedisValue>(&self, act: &'static str, value: Value) -> Result<T> {
        redis::from_redis_value(value).map_err(|error| self.failure(act, &error.into()))
    }

    /// Returns the driver's error as an error of the store.
    pub(super) fn failure(&self, act: &'static str, error: &RedisError) -> Error {
        failure(&self.settings, act, error)
    }

    async fn send_in_time(
        &self,
        command: &Cmd,
        retry: Retry,
        routing: Option<&RoutingInfo>,
    ) -> RedisResult<Response> {
        let mut used = None;
        let sending = self.send_with_retries(command, retry, routing, &mut used);
        let sent = tokio::time::timeout(self.settings.call_timeout(), sending).await;
        sent.unwrap_or_else(|_| {
            let error = io::Error::from(io::ErrorKind::TimedOut).into();
            if let Some(connection) = used {
                self.discard_after(&error, &connection);
            }
            Err(error)
        })
    }

    /// Like [`send_in_time`](Self::send_in_time), without a time limit. `used` becomes the connection
    /// that waits for the response.
    async fn send_with_retries(
        &self,
        command: &Cmd,
        retry: Retry,
        routing: Option<&RoutingInfo>,
        used: &mut Option<Connection>,
    ) -> RedisResult<Response> {
        let (mut attempts, mut was_resent, mut redirection) = (1, false, None);
        loop {
            let connection = used.insert(self.connection().await?);
            let sent = match redirection.take() {
                None => connection.send(command, routing).await,
                Some(node) => Box::pin(connection.send_asking(command, node)).await,
            };
            let error = match sent {
                Ok(Value::ServerError(error)) => RedisError::from(error),
                Ok(value) => return Ok(Response { value, was_resent }),
                Err(error) => error,
            };
            self.discard_after(&error, connection);
            let refused = was_refused(&error);
            let dropped = error.is_connection_dropped();
            if attempts == ATTEMPTS || !(refused || retry == Retry::Yes && dropped) {
                return Err(error);
            }
            if refused {
                redirection = ask_redirection(&error);
                // The cluster is moving slots, or the server is loading its data.
                tokio::time::sleep(PAUSE).await;
            }
            was_resent |= dropped;
            attempts += 1;
        }
    }

    /// Returns the current connection, or opens one.
    async fn connection(&self) -> RedisResult<Connection> {
        match self.current() {
            Some(connection) => Ok(connection),
            // In a box, so that the future of each command stays small.
            None => Box::pin(self.reconnect()).await,
        }
    }

    async fn reconnect(&self) -> RedisResult<Connection> {
        let _opening = self.opening.lock().await;
        if let Some(connection) = self.current() {
            return Ok(connection);
        }
        let connection = Connection::open(&self.settings).await?;
        *self.current.lock() = Some(connection.clone());
        Ok(connection)
    }

    fn current(&self) -> Option<Connection> {
        let current = self.current.lock();
        current
            .as_ref()
            .filter(|connection| !connection.is_broken())
            .cloned()
    }

    /// Forgets a connection after an error that calls for a new one, unless a new one has replaced it
    /// already.
    fn discard_after(&self, error: &RedisError, connection: &Connection) {
        if needs_reconnect(&self.settings, error) {
            let mut current = self.current.lock();
            current.take_if(|current| current.is_clone_of(connection));
        }
    }
}
