//! The stores that are measured: memory, a directory, and servers that are started for it.

use tempfile::TempDir;

use crate::server::Server;

/// Where the sessions are kept. It is gone after the measurement.
pub(crate) enum Place {
    Memory,
    Directory(TempDir),
    Redis(Server),
    Memcached(Server),
}

impl Place {
    pub(crate) const NAMES: [&str; 4] = ["memory", "directory", "redis", "memcached"];

    pub(crate) fn new(name: &str) -> Self {
        match name {
            "memory" => Self::Memory,
            "directory" => Self::Directory(tempfile::tempdir().expect("there is room")),
            "redis" => Self::Redis(Server::redis()),
            "memcached" => Self::Memcached(Server::memcached(Some(4096))),
            other => panic!("there is no store {other}"),
        }
    }

    /// Returns the name and the address, as [`crate::serve`] takes them.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Memory => "memory".into(),
            Self::Directory(path) => {
                let path = path.path().join("sessions");
                format!("directory {}", path.display())
            }
            Self::Redis(server) => format!("redis redis://127.0.0.1:{}", server.port),
            Self::Memcached(server) => format!("memcached 127.0.0.1:{}", server.port),
        }
    }
}
