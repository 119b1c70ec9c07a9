//! The addresses of the servers, and the settings of their connections.

use std::fmt;
use std::slice;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use crate::error::{Error, ErrorKind, Result};

/// The servers, and the settings of their connections.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) servers: Servers,
    /// Trusted certificates in PEM, in place of the system's.
    pub(super) ca: Option<Vec<u8>>,
    /// The time limit of one call.
    pub(super) timeout: Duration,
}

/// The servers to connect to.
#[derive(Clone)]
pub(super) enum Servers {
    Single(ConnectionInfo),
    /// Some nodes of a cluster.
    Cluster(Vec<ConnectionInfo>),
    /// The master that the sentinels name.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        /// User, password and database of the master. The host is the master's name.
        master: ConnectionInfo,
    },
}

impl Settings {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.servers, Servers::Cluster(_))
    }

    pub(super) fn connection_timeout(&self) -> Duration {
        self.timeout / 2
    }

    /// The time limit of a command. It is a little less than that of a call to the store, so that the
    /// command can still give up a connection that stays silent. In a cluster the driver does this, for
    /// the single nodes.
    pub(super) fn call_timeout(&self) -> Duration {
        match self.is_cluster() {
            true => self.timeout,
            false => self.response_timeout(),
        }
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.timeout.mul_f64(0.9)
    }
}

impl Servers {
    /// Returns nodes of a cluster.
    pub(super) fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self> {
        let nodes = parse_all(urls)?;
        if nodes.is_empty() {
            return Err(invalid_address(
                "a cluster needs the URL of at least one node",
            ));
        }
        if nodes.iter().any(|node| node.redis_settings().db() != 0) {
            return Err(invalid_address(
                "a cluster has no databases; remove the number from the URL",
            ));
        }
        Ok(Self::Cluster(nodes))
    }

    /// Returns the master called `master`, and its sentinels.
    pub(super) fn sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        master: &str,
    ) -> Result<Self> {
        let sentinels = parse_all(urls)?;
        if sentinels.is_empty() {
            return Err(invalid_address("at least one sentinel is needed"));
        }
        let master = match master.contains("://") {
            true => parse_url(master)?,
            false => parse_url(&format!("redis://{master}"))?,
        };
        if matches!(master.addr(), redis::ConnectionAddr::Unix(_)) {
            return Err(invalid_address("a master has a name, not a path"));
        }
        Ok(Self::Sentinel { sentinels, master })
    }

    /// Selects a database.
    pub(super) fn set_db(&mut self, db: u16) -> Result<()> {
        let (Self::Single(server) | Self::Sentinel { master: server, .. }) = self else {
            return Err(invalid_address("a cluster has no databases; remove `db`"));
        };
        let redis = server.redis_settings().clone().set_db(db.into());
        *server = server.clone().set_redis_settings(redis);
        Ok(())
    }
}

fn parse_all<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Vec<ConnectionInfo>> {
    urls.into_iter()
        .map(|url| parse_url(url.as_ref()))
        .collect()
}

/// Returns the server at a URL.
pub(super) fn parse_url(url: &str) -> Result<ConnectionInfo> {
    // The driver's error is left out: it may quote the URL with its password.
    let server = url.into_connection_info().map_err(|_| {
        invalid_address(
            "it is not a URL; write `redis://host:port`, `rediss://…` for TLS, or `unix:///path`",
        )
    })?;
    let redis = server
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    Ok(server.set_redis_settings(redis).set_tcp_settings(tcp()))
}

/// Returns TCP settings by which a connection notices lost packets.
pub(super) fn tcp() -> TcpSettings {
    let settings = TcpSettings::default().set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(2));
    settings
}

fn invalid_address(why: &str) -> Error {
    Error::new(ErrorKind::Config, "use the address of a Redis server").because(why)
}

impl fmt::Display for Servers {
    /// Shows hosts and ports only: a URL may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = match self {
            Self::Single(server) => slice::from_ref(server),
            Self::Cluster(nodes) => nodes,
            Self::Sentinel { sentinels, .. } => sentinels,
        };
        for (at, server) in servers.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{}", server.addr())?;
        }
        Ok(())
    }
}
