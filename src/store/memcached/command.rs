//! The commands to a server, and their responses.

use std::io;

use memcache::exp::{Error as Cause, Operation, parse_meta_result};
use rocket::tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::socket::Socket;

/// The length of the longest response to `cas`.
const MAX_LINE: usize = 1024;

pub(super) trait Command {
    type Output;

    /// Sends the whole command.
    async fn send(&self, socket: &mut Socket) -> Result<(), Cause>;

    /// Waits for the response.
    async fn receive(&self, socket: &mut Socket) -> Result<Self::Output, Cause>;
}

/// A command of the meta protocol, which the driver implements.
pub(super) struct Meta<'a, O>(pub(super) &'a O);

impl<O: Operation> Command for Meta<'_, O> {
    type Output = O::Output;

    async fn send(&self, socket: &mut Socket) -> Result<(), Cause> {
        socket.driver.send(&self.0.prepare()?).await
    }

    async fn receive(&self, socket: &mut Socket) -> Result<O::Output, Cause> {
        let response = socket.driver.receive().await?;
        self.0.parse(parse_meta_result(response)?)
    }
}

/// The command `cas` of the older text protocol, which replaces an item that has a certain CAS.
///
/// When a server has no memory left for the value, it keeps the item. When it refuses `ms`, the
/// command of the meta protocol, it removes the item.
pub(super) struct Replace(Vec<u8>);

/// The outcome of a [`Replace`].
pub(super) enum Replaced {
    Done,
    /// The item has another CAS.
    Changed,
    /// The item does not exist.
    Gone,
}

impl Replace {
    /// Returns the command for the item under `key`, with an expiry as the protocol writes it.
    pub(super) fn new(key: &str, value: &[u8], ttl: u32, cas: u64) -> Self {
        let size = value.len();
        let mut text = format!("cas {key} 0 {ttl} {size} {cas}\r\n").into_bytes();
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
        Self(text)
    }
}

impl Command for Replace {
    type Output = Replaced;

    async fn send(&self, socket: &mut Socket) -> Result<(), Cause> {
        Ok(socket.raw.write_all(&self.0).await?)
    }

    async fn receive(&self, socket: &mut Socket) -> Result<Replaced, Cause> {
        let mut line = Vec::with_capacity(64);
        while !line.ends_with(b"\n") && line.len() < MAX_LINE {
            if socket.raw.read_buf(&mut line).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        let line = String::from_utf8_lossy(&line);
        match line.split_whitespace().next().unwrap_or_default() {
            "STORED" => Ok(Replaced::Done),
            "EXISTS" => Ok(Replaced::Changed),
            "NOT_FOUND" => Ok(Replaced::Gone),
            "SERVER_ERROR" => Err(Cause::Server(line.into_owned())),
            "CLIENT_ERROR" | "ERROR" => Err(Cause::Rejected(line.into_owned())),
            _ => Err(Cause::Protocol(
                "this is not a response to `cas`".to_owned(),
            )),
        }
    }
}
