//! `[default.sessions.cache]`: where the cache is kept, and for how long.

use serde::{Deserialize, Serialize};

use super::settings::settings;
use super::store::StoreName;

settings! {
    /// `[default.sessions.cache]`
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct CacheConfig {
        /// The store of the cache. If it is not set, the cache is in the store of the sessions.
        pub(crate) store: Option<StoreName> = None,
        /// Separates the caches of several applications in one store: up to 18 of `a`-`z`, `0`-`9`, `-` and `_`.
        pub(crate) prefix: String = String::new(),
        /// Seconds that a value is kept if the code does not say otherwise; 0 means forever.
        pub(crate) ttl: u64 = 3600,
    }
}
