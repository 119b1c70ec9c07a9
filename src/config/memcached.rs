//! `[default.sessions.memcached]`: the servers that share the sessions.

use serde::{Deserialize, Serialize};

use super::settings::settings;

settings! {
    /// `[default.sessions.memcached]`
    ///
    /// Used if a store is `"memcached"`.
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct MemcachedConfig {
        /// The servers. Each session is on one of them; their order does not matter.
        pub(crate) servers: Vec<String> = vec!["127.0.0.1:11211".into()],
        /// The start of every key.
        pub(crate) prefix: String = "session:".into(),
        /// The largest number of connections to each server.
        pub(crate) connections: usize = 64,
    }
}
