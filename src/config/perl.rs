//! `[default.sessions.perl]`: the sessions of a Perl site beside this application.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::settings::settings;
use super::store::StoreName;

settings! {
    /// `[default.sessions.perl]`
    ///
    /// The sessions of a Perl site beside this application, which are only read. The table needs the feature `perl`. Set at
    /// most one of `store`, `url` and `servers`; if none is set, the Perl site uses the store of the sessions.
    #[derive(Clone, PartialEq, Deserialize, Serialize)]
    pub(crate) struct PerlConfig {
        /// The cookie in which the Perl site keeps its session id. If it is not set, there is no Perl site.
        pub(crate) cookie_name: Option<String> = None,
        /// The start of every key, before the session id.
        pub(crate) key_prefix: String = "perlsess::".into(),
        /// The store of the Perl site, `"redis"` or `"memcached"`, with the server from the table of that name.
        pub(crate) store: Option<StoreName> = None,
        /// The Redis server of the Perl site.
        pub(crate) url: Option<String> = None,
        /// The Memcached servers of the Perl site. All of them are asked for a session.
        pub(crate) servers: Vec<String> = Vec::new(),
        /// Bytes that one stored session may take.
        pub(crate) size: usize = 1_048_576,
        /// How many times its stored size a session may take in memory while it is read.
        pub(crate) max_growth: usize = 64,
    }
}

impl fmt::Debug for PerlConfig {
    /// Omits the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerlConfig")
            .field("key_prefix", &self.key_prefix)
            .finish_non_exhaustive()
    }
}
