//! One connection to a server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memcache::exp::Error as Cause;
use rocket::tokio::time::timeout;

use super::command::Command;
use super::failure::{FailureKind, timed_out};
use super::socket::Socket;

/// How long a connection may be idle: firewalls drop idle connections silently.
const MAX_IDLE: Duration = Duration::from_secs(90);

pub(super) struct Connection {
    socket: Socket,
    /// The number of the connection, among all that were opened to its server.
    pub(super) number: u64,
    idle_since: Instant,
}

impl Connection {
    /// Connects to one of `addresses`. `number` is called once the connection is open.
    pub(super) async fn open(
        addresses: &[SocketAddr],
        number: impl FnOnce() -> u64,
    ) -> Result<Self, Cause> {
        Ok(Self {
            socket: Socket::connect(addresses).await?,
            number: number(),
            idle_since: Instant::now(),
        })
    }

    /// Returns whether the server has neither closed the connection nor sent anything unexpected.
    pub(super) fn is_open(&self) -> bool {
        self.socket.is_open()
    }

    /// Returns whether the connection was idle for too long.
    pub(super) fn is_too_old(&self) -> bool {
        self.idle_since.elapsed() >= MAX_IDLE
    }

    /// Starts the idle time.
    pub(super) fn idle(self) -> Self {
        Self {
            idle_since: Instant::now(),
            ..self
        }
    }

    /// Sends a command, and returns the response. The connection comes back only if it can still be
    /// used.
    pub(super) async fn exchange<C: Command>(
        mut self,
        command: &C,
        time_limit: Duration,
    ) -> Result<(Self, C::Output), (FailureKind, Cause)> {
        // A server ignores a command that arrives incomplete.
        let sent = timeout(time_limit, command.send(&mut self.socket)).await;
        sent.unwrap_or_else(|_| Err(timed_out()))
            .map_err(|cause| (FailureKind::NotSent, cause))?;
        let response = timeout(time_limit, command.receive(&mut self.socket)).await;
        match response.unwrap_or_else(|_| Err(timed_out())) {
            Ok(response) => Ok((self, response)),
            Err(cause) => Err((FailureKind::after_sending(&cause), cause)),
        }
    }
}
