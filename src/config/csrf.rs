//! `[default.sessions.csrf]`: the origins whose pages may send forms.

use serde::{Deserialize, Serialize};

use super::settings::settings;
use crate::origin::Origin;

settings! {
    /// `[default.sessions.csrf]`
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct CsrfConfig {
        /// Other origins whose pages and scripts may send forms, such as `"https://app.example.com"`.
        pub(crate) trusted_origins: Vec<Origin> = Vec::new(),
    }
}
