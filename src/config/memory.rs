//! `[default.sessions.memory]`: the sessions of a single process.

use serde::{Deserialize, Serialize};

use super::settings::settings;

settings! {
    /// `[default.sessions.memory]`
    ///
    /// Used if a store is `"memory"`.
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct MemoryConfig {
        /// The largest number of sessions. New sessions beyond it are refused.
        pub(crate) capacity: usize = 100_000,
    }
}
