//! The names of the stores, and what happens while one cannot be reached.

use serde::{Deserialize, Serialize};

/// The name of a store in `Rocket.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreName {
    Directory,
    Redis,
    Memcached,
    Postgres,
    Mysql,
    Sqlite,
    Memory,
}

impl StoreName {
    /// Returns the name, as it is written in `Rocket.toml`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Redis => "redis",
            Self::Memcached => "memcached",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
            Self::Memory => "memory",
        }
    }

    /// Returns whether it is a store in a table of a database.
    #[cfg(feature = "cli")]
    pub(crate) fn is_sql(self) -> bool {
        matches!(self, Self::Postgres | Self::Mysql | Self::Sqlite)
    }
}

/// The treatment of a visitor with a session while the store cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenStoreIsDown {
    /// The response is a 503.
    Refuse,
    /// An empty session that saves nothing.
    Anonymous,
}
