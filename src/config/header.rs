//! `[default.sessions.header]`: the headers that carry tokens.

use serde::{Deserialize, Serialize};

use super::settings::settings;

settings! {
    /// `[default.sessions.header]`
    ///
    /// Used if `transport` is `"header"` or `"both"`.
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct HeaderConfig {
        /// The headers in which a client may send its token. If a request has several of them, the first in this list counts.
        pub(crate) names: Vec<String> = vec!["X-Auth-Token".into()],
    }
}
