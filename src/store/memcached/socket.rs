//! One socket, as the driver sees it and as it is.

use std::net::SocketAddr;
use std::os::fd::AsFd;

use memcache::exp::{AsyncMetaConnection, Error as Cause};
use rocket::tokio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

pub(super) struct Socket {
    pub(super) driver: AsyncMetaConnection,
    /// The same socket, for what the driver does not offer: the check between two commands, and
    /// `cas`.
    pub(super) raw: TcpStream,
}

impl Socket {
    /// Connects to one of `addresses`.
    pub(super) async fn connect(addresses: &[SocketAddr]) -> Result<Self, Cause> {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        let raw = stream.as_fd().try_clone_to_owned()?;
        Ok(Self {
            raw: TcpStream::from_std(raw.into())?,
            driver: AsyncMetaConnection::from_stream(stream),
        })
    }

    /// Returns whether the server has neither closed the connection nor sent anything unexpected.
    pub(super) fn is_open(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let read = recv(&self.raw, &mut [0_u8; 1], flags);
        matches!(read, Err(Errno::AGAIN))
    }
}
