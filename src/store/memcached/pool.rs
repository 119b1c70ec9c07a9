//! The connections to the servers, made when they are needed, and commands over them.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memcache::exp::{AsyncMetaConnection, Error as Cause, Get, Operation, Router as _};
use parking_lot::Mutex;
use rocket::tokio::net::{TcpStream, lookup_host};
use rocket::tokio::sync::{OnceCell, Semaphore};
use rocket::tokio::time::timeout;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::command::{Command, Meta, Replace, Replaced};
use super::hints::Hints;
use super::route::Route;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Revision;

/// How often a command is sent at most.
pub(super) const TRIES: usize = 3;

/// How long a connection may be idle: firewalls forget it without a word.
const LONGEST_IDLE: Duration = Duration::from_secs(90);

pub(super) struct Pool {
    addresses: Vec<String>,
    servers: Vec<Server>,
    connections: usize,
    timeout: Duration,
}

/// One server, and what is known of it.
struct Server {
    /// Looked up at the first call.
    addresses: OnceCell<Vec<std::net::SocketAddr>>,
    idle: Mutex<Vec<Connection>>,
    slots: Semaphore,
    /// How many connections were made.
    dials: AtomicU64,
    hints: Mutex<Hints>,
}

pub(super) struct Connection {
    pub(super) stream: AsyncMetaConnection,
    /// The same socket, for what the driver does not do: a look between two commands, and `cas`.
    pub(super) socket: TcpStream,
    /// Which of the connections to its server this is.
    number: u64,
    idle_since: Instant,
}

/// An item's CAS, and when it was learnt.
///
/// A server that is restarted counts from one again, so that an old number may be that of a new
/// item. A connection never outlives its server. So a connection that was there already when a
/// number was learnt leads to the server that told it, if it still works; one that was made later
/// may lead to another, and the number is not sent over it.
#[derive(Clone, Copy)]
pub(super) struct Cas {
    pub(super) number: u64,
    /// How many connections had been made before it was asked for.
    dials: u64,
}

/// What a server answered.
pub(super) struct Reply<T> {
    pub(super) output: T,
    /// How many connections had been made before it was asked.
    dials: u64,
}

impl<T> Reply<T> {
    /// Returns `number`, which this reply told, as what it is.
    pub(super) fn cas(&self, number: Option<u64>) -> Cas {
        Cas {
            number: number.unwrap_or(0),
            dials: self.dials,
        }
    }
}

/// A command that was not answered as it should be.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) kind: Failed,
}

/// What became of a command that was not answered as it should be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    /// It was not done.
    Unsent,
    /// It was not sent, for the CAS in it may be that of another server.
    Stale,
    /// It may have been done.
    Lost,
    /// The server says that it cannot. It may have dropped what was there.
    Refused,
    /// The server says that what is there does not suit the command.
    Rejected,
}

/// Whether a command may be sent again when the connection broke before the answer came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

impl Pool {
    pub(super) fn new(addresses: Vec<String>, connections: usize, timeout: Duration) -> Self {
        let server = |_: &String| Server {
            addresses: OnceCell::new(),
            idle: Mutex::default(),
            slots: Semaphore::new(connections),
            dials: AtomicU64::new(0),
            hints: Mutex::default(),
        };
        Self {
            servers: addresses.iter().map(server).collect(),
            addresses,
            connections,
            timeout,
        }
    }

    pub(super) fn servers(&self) -> &[String] {
        &self.addresses
    }

    pub(super) fn connections(&self) -> usize {
        self.connections
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns which server has `key`.
    pub(super) fn server_of(&self, key: &str) -> usize {
        Route.route(key.as_bytes(), &self.addresses)
    }

    /// Returns the CAS of the item under `key` whose bytes are of `revision`, if it was seen lately.
    pub(super) fn hint(&self, key: &str, revision: Revision) -> Option<Cas> {
        self.servers[self.server_of(key)].hints.lock().get(revision)
    }

    /// Remembers the CAS of an item.
    pub(super) fn remember(&self, key: &str, revision: Revision, cas: Cas) {
        let server = &self.servers[self.server_of(key)];
        server.hints.lock().insert(revision, cas);
    }

    /// Waits for `call` as long as one call may take.
    pub(super) async fn in_time<T>(
        &self,
        act: &'static str,
        key: &str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let late = || Err(self.error(act, key, "it did not answer in time"));
        timeout(self.timeout, call).await.unwrap_or_else(|_| late())
    }

    /// Sends a command that does no harm when it is done twice.
    pub(super) async fn run<O: Operation>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
    ) -> Result<O::Output> {
        let send = async {
            let reply = self
                .send(act, key, &Meta(&operation), Again::Yes, None)
                .await;
            reply
                .map(|reply| reply.output)
                .map_err(|failure| failure.error)
        };
        self.in_time(act, key, send).await
    }

    /// Returns what is under `key`, with its CAS, which `get` asks for.
    pub(super) async fn find(
        &self,
        act: &'static str,
        key: &str,
        get: Get,
    ) -> Result<Option<(Vec<u8>, Cas)>> {
        let find = async {
            let reply = self.send(act, key, &Meta(&get), Again::Yes, None).await;
            let reply = reply.map_err(|failure| failure.error)?;
            let cas = reply.cas(reply.output.item.cas);
            Ok(reply.output.value.map(|value| (value, cas)))
        };
        self.in_time(act, key, find).await
    }

    /// Sends a command that must not be done twice, with the CAS that is in it.
    pub(super) async fn change<O: Operation>(
        &self,
        act: &'static str,
        key: &str,
        operation: O,
        cas: Option<Cas>,
    ) -> std::result::Result<Reply<O::Output>, Failure> {
        let command = Meta(&operation);
        self.send(act, key, &command, Again::No, cas).await
    }

    /// Puts `value` in the place of the item that has `cas`.
    ///
    /// It is the command `cas` of the older text protocol. A server that has no memory left for the
    /// value keeps the item then; where `ms`, the command of today, is refused, it removes the item.
    pub(super) async fn replace(
        &self,
        act: &'static str,
        key: &str,
        value: &[u8],
        ttl: u32,
        cas: Cas,
    ) -> std::result::Result<Replaced, Failure> {
        let command = Replace::new(key, value, ttl, cas.number);
        let reply = self.send(act, key, &command, Again::No, Some(cas)).await?;
        Ok(reply.output)
    }

    async fn send<C: Command>(
        &self,
        act: &'static str,
        key: &str,
        command: &C,
        again: Again,
        cas: Option<Cas>,
    ) -> std::result::Result<Reply<C::Output>, Failure> {
        let failure = |kind, cause: &Cause| Failure {
            error: self.error(act, key, reason(cause)),
            kind,
        };
        let unsent = |cause: Cause| failure(Failed::Unsent, &cause);
        let server = &self.servers[self.server_of(key)];
        // A little less than a call may take, so that the connection is found out in time.
        let patience = self.timeout.mul_f64(0.9);
        let slot = timeout(patience, server.slots.acquire()).await;
        let Ok(Ok(_slot)) = slot else {
            return Err(unsent(late()));
        };
        let mut tries = 1;
        loop {
            let connection = match server.idle() {
                Some(connection) => connection,
                None => {
                    let address = &self.addresses[self.server_of(key)];
                    let dial = timeout(self.timeout.mul_f64(0.5), server.dial(address)).await;
                    dial.unwrap_or_else(|_| Err(late())).map_err(unsent)?
                }
            };
            let dials = server.dials.load(Ordering::SeqCst);
            if cas.is_some_and(|cas| cas.dials < connection.number) {
                server.put_back(connection);
                return Err(failure(Failed::Stale, &Cause::Conflict));
            }
            let (failed, cause) = match connection.exchange(command, patience).await {
                Ok((connection, output)) => {
                    server.put_back(connection);
                    return Ok(Reply { output, dials });
                }
                Err(failed) => failed,
            };
            let is_dead = matches!(cause, Cause::Io(_));
            if is_dead {
                server.forget(dials);
            }
            let harmless = failed == Failed::Unsent || again == Again::Yes;
            if tries == TRIES || !is_dead || is_late(&cause) || !harmless {
                return Err(failure(failed, &cause));
            }
            tries += 1;
        }
    }

    fn error(&self, act: &'static str, key: &str, why: &str) -> Error {
        Error::new(ErrorKind::Unavailable, act)
            .at(&self.addresses[self.server_of(key)])
            .because(why)
    }
}

impl Server {
    /// Returns a connection that waits for the next command, if there is one.
    fn idle(&self) -> Option<Connection> {
        loop {
            let connection = self.idle.lock().pop()?;
            if !connection.is_open() {
                // What ended this one has most likely ended the others too.
                self.forget(self.dials.load(Ordering::SeqCst));
            } else if connection.idle_since.elapsed() < LONGEST_IDLE {
                return Some(connection);
            }
        }
    }

    fn put_back(&self, connection: Connection) {
        let idle_since = Instant::now();
        let connection = Connection {
            idle_since,
            ..connection
        };
        self.idle.lock().push(connection);
    }

    /// Closes the idle ones of the first `dials` connections.
    fn forget(&self, dials: u64) {
        self.idle
            .lock()
            .retain(|connection| connection.number > dials);
    }

    async fn dial(&self, address: &str) -> std::result::Result<Connection, Cause> {
        let look_up = async || lookup_host(address).await.map(Iterator::collect);
        let addresses: &Vec<_> = self.addresses.get_or_try_init(look_up).await?;
        let stream = TcpStream::connect(&addresses[..]).await?;
        stream.set_nodelay(true)?;
        let socket = stream.as_fd().try_clone_to_owned()?;
        let socket = TcpStream::from_std(socket.into())?;
        Ok(Connection {
            stream: AsyncMetaConnection::from_stream(stream),
            socket,
            // It is counted once it is made: what is asked for from now on is told by the server
            // that it leads to, or by none.
            number: self.dials.fetch_add(1, Ordering::SeqCst) + 1,
            idle_since: Instant::now(),
        })
    }
}

impl Connection {
    /// Returns whether the server has neither hung up nor said anything unasked.
    fn is_open(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let read = recv(&self.socket, &mut [0_u8; 1], flags);
        matches!(read, Err(Errno::AGAIN))
    }

    /// Sends a command, and returns the connection, if it can still be used, and what was answered.
    async fn exchange<C: Command>(
        mut self,
        command: &C,
        patience: Duration,
    ) -> std::result::Result<(Self, C::Output), (Failed, Cause)> {
        // Of a part of a command a server takes no notice.
        let sent = timeout(patience, command.send(&mut self)).await;
        sent.unwrap_or_else(|_| Err(late()))
            .map_err(|cause| (Failed::Unsent, cause))?;
        let answer = timeout(patience, command.receive(&mut self)).await;
        match answer.unwrap_or_else(|_| Err(late())) {
            Ok(answer) => Ok((self, answer)),
            Err(cause) => {
                let failed = match cause {
                    Cause::Server(_) => Failed::Refused,
                    Cause::Rejected(_) => Failed::Rejected,
                    _ => Failed::Lost,
                };
                Err((failed, cause))
            }
        }
    }
}

fn late() -> Cause {
    Cause::Io(io::ErrorKind::TimedOut.into())
}

fn is_late(cause: &Cause) -> bool {
    matches!(cause, Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// Tells what went wrong, in words of our own: the driver's quote the key.
fn reason(cause: &Cause) -> &'static str {
    match cause {
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
