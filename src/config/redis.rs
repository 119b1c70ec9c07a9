//! `[default.sessions.redis]`: one server, a cluster, or a master behind sentinels.

use std::fmt;

use rocket::figment::value::magic::RelativePathBuf;
use serde::{Deserialize, Serialize};

use super::settings::settings;

settings! {
    /// `[default.sessions.redis]`
    ///
    /// Used if a store is `"redis"`. Set one of: `url` for a single server, `urls` for a cluster, or `sentinels` with
    /// `master`.
    #[derive(Clone, PartialEq, Deserialize, Serialize)]
    pub(crate) struct RedisConfig {
        /// The server: `"redis://user:password@host:port/db"`, `"rediss://…"` for TLS, or `"unix:///path"`. If no server is
        /// set at all, it is `"redis://127.0.0.1:6379"`.
        pub(crate) url: Option<String> = None,
        /// Some nodes of a cluster.
        pub(crate) urls: Vec<String> = Vec::new(),
        /// The sentinels that know which server is the master.
        pub(crate) sentinels: Vec<String> = Vec::new(),
        /// The name by which the sentinels know the master.
        pub(crate) master: Option<String> = None,
        /// The start of every key.
        pub(crate) prefix: String = "session:".into(),
        /// The number of the database, instead of the one in the URL.
        pub(crate) db: Option<u16> = None,
        /// A file of certificates to trust instead of the system's, relative to the `Rocket.toml` that names it.
        pub(crate) ca: Option<RelativePathBuf> = None,
    }
}

impl fmt::Debug for RedisConfig {
    /// Omits the URLs, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
