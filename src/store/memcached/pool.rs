//! The pool of connections to all servers, and the commands over them.

use std::sync::Arc;
use std::time::Duration;

use memcache::exp::{Error as Cause, Get, Operation, Router as _};
use rocket::tokio::time::timeout;

use super::cas::Cas;
use super::command::{Command, Meta, Replace, Replaced};
use super::connection::Connection;
use super::failure::{Failure, FailureKind, NO_RESPONSE, is_timeout, reason, timed_out};
use super::node::Node;
use super::route::Route;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Revision;

/// The greatest number of times that a command is sent.
pub(super) const ATTEMPTS: usize = 3;

/// The addresses of the servers, and the settings of their connections.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) servers: Arc<[String]>,
    /// The greatest number of connections to each server.
    pub(super) connections: usize,
    /// The time limit of one call.
    pub(super) timeout: Duration,
}

pub(super) struct Pool {
    settings: Settings,
    nodes: Vec<Node>,
}

/// The response to a command.
pub(super) struct Response<T> {
    pub(super) output: T,
    /// How many connections had been opened before the command was sent.
    connections: u64,
}

impl<T> Response<T> {
    /// Returns the CAS `number` of this response.
    pub(super) fn cas(&self, number: Option<u64>) -> Cas {
        Cas::new(number.unwrap_or(0), self.connections)
    }
}

/// Whether to send a command again when the connection breaks before the response.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Yes,
    No,
}

impl Pool {
    pub(super) fn new(settings: Settings) -> Self {
        let node = |_: &String| Node::new(settings.connections);
        Self {
            nodes: settings.servers.iter().map(node).collect(),
            settings,
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the index of the server that has `key`.
    pub(super) fn server_of(&self, key: &str) -> usize {
        Route.route(key.as_bytes(), &self.settings.servers)
    }

    /// Returns the cached CAS of the item under `key` with `revision`.
    pub(super) fn cached_cas(&self, key: &str, revision: Revision) -> Option<Cas> {
        self.nodes[self.server_of(key)].cas.lock().get(revision)
    }

    /// Caches the CAS of an item.
    pub(super) fn cache_cas(&self, key: &str, revision: Revision, cas: Cas) {
        let node = &self.nodes[self.server_of(key)];
        node.cas.lock().insert(revision, cas);
    }

    /// Limits the time of a call.
    pub(super) async fn in_time<T>(
        &self,
        act: &'static str,
        key: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let timed_out = || Err(self.error(act, key, NO_RESPONSE));
        timeout(self.settings.timeout, call)
            .await
            .unwrap_or_else(|_| timed_out())
    }

    /// Sends a command that is safe to execute twice.
    pub(super) async fn run<O: Operation>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
    ) -> Result<O::Output> {
        let send = async {
            let response = self
                .send(act, key, &Meta(&operation), Retry::Yes, None)
                .await;
            response
                .map(|response| response.output)
                .map_err(|failure| failure.error)
        };
        self.in_time(act, key, send).await
    }

    /// Returns the value under `key`, with its CAS, which `get` must request.
    pub(super) async fn get(
        &self,
        act: &'static str,
        key: &str,
        get: Get,
    ) -> Result<Option<(Vec<u8>, Cas)>> {
        let get = async {
            let response = self.send(act, key, &Meta(&get), Retry::Yes, None).await;
            let response = response.map_err(|failure| failure.error)?;
            let cas = response.cas(response.output.item.cas);
            Ok(response.output.value.map(|value| (value, cas)))
        };
        self.in_time(act, key, get).await
    }

    /// Sends a command that must not be executed twice, with the CAS that it contains.
    pub(super) async fn run_once<O: Operation>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
        cas: Option<Cas>,
    ) -> std::result::Result<Response<O::Output>, Failure> {
        let command = Meta(&operation);
        self.send(act, key, &command, Retry::No, cas).await
    }

    /// Replaces the item that has `cas`.
    ///
    /// This is the command `cas` of the older text protocol. When a server has no memory left for
    /// the value, it keeps the item. When it refuses `ms`, the newer command, it removes the item.
    pub(super) async fn replace(
        &self,
        act: &'static str,
        key: &str,
        value: &[u8],
        ttl: u32,
        cas: Cas,
    ) -> std::result::Result<Replaced, Failure> {
        let command = Replace::new(key, value, ttl, cas.number);
        let response = self.send(act, key, &command, Retry::No, Some(cas)).await?;
        Ok(response.output)
    }

    async fn send<C: Command>(
        &self,
        act: &'static str,
        key: &str,
        command: &C,
        retry: Retry,
        cas: Option<Cas>,
    ) -> std::result::Result<Response<C::Output>, Failure> {
        let failure = |kind, cause: &Cause| Failure {
            error: self.error(act, key, reason(cause)),
            kind,
        };
        let not_sent = |cause: Cause| failure(FailureKind::NotSent, &cause);
        let server = self.server_of(key);
        let node = &self.nodes[server];
        // A little less than the time limit of a call, so that the call can still close the
        // connection.
        let time_limit = self.settings.timeout.mul_f64(0.9);
        let permit = timeout(time_limit, node.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            return Err(not_sent(timed_out()));
        };
        let mut attempts = 1;
        loop {
            let connection = self.connection(server).await.map_err(not_sent)?;
            let connections = node.opened();
            if cas.is_some_and(|cas| !cas.is_valid_for(connection.number)) {
                node.put_back(connection);
                return Err(failure(FailureKind::StaleCas, &Cause::Conflict));
            }
            let (kind, cause) = match connection.exchange(command, time_limit).await {
                Ok((connection, output)) => {
                    node.put_back(connection);
                    return Ok(Response {
                        output,
                        connections,
                    });
                }
                Err(failed) => failed,
            };
            let is_broken = matches!(cause, Cause::Io(_));
            if is_broken {
                node.close_idle(connections);
            }
            let is_safe = kind == FailureKind::NotSent || retry == Retry::Yes;
            if attempts == ATTEMPTS || !is_broken || is_timeout(&cause) || !is_safe {
                return Err(failure(kind, &cause));
            }
            attempts += 1;
        }
    }

    /// Returns an idle connection to a server, or opens one.
    async fn connection(&self, server: usize) -> std::result::Result<Connection, Cause> {
        if let Some(connection) = self.nodes[server].idle() {
            return Ok(connection);
        }
        let connect = self.nodes[server].connect(&self.settings.servers[server]);
        let connected = timeout(self.settings.timeout / 2, connect).await;
        connected.unwrap_or_else(|_| Err(timed_out()))
    }

    fn error(&self, act: &'static str, key: &str, why: &str) -> Error {
        Error::new(ErrorKind::Unavailable, act)
            .at(&self.settings.servers[self.server_of(key)])
            .because(why)
    }
}
