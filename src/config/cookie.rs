//! `[default.sessions.cookie]`: the name and the attributes of the session cookie.

use serde::{Deserialize, Serialize};

use super::settings::settings;

settings! {
    /// `[default.sessions.cookie]`
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct CookieConfig {
        /// The name of the cookie, without the prefix.
        pub(crate) name: String = "id".into(),
        /// The start of the cookie's name that makes browsers insist on its attributes. `"auto"` is the strictest prefix
        /// that the other settings allow.
        pub(crate) prefix: Prefix = Prefix::Auto,
        /// The path under which browsers send the cookie.
        pub(crate) path: String = "/".into(),
        /// The domain whose hosts all receive the cookie. If it is not set, only the host that sets the cookie receives it.
        pub(crate) domain: Option<String> = None,
        /// Whether browsers send the cookie over HTTPS only. If it is not set: in every profile but debug.
        pub(crate) secure: Option<bool> = None,
        /// Whether the cookie is hidden from scripts.
        pub(crate) http_only: bool = true,
        /// When browsers send the cookie with requests that come from other sites.
        pub(crate) same_site: SameSite = SameSite::Lax,
        /// Seconds that browsers keep the cookie. If it is not set, the cookie ends when the browser is closed.
        pub(crate) max_age: Option<u32> = None,
    }
}

/// The start of the cookie's name that makes browsers insist on its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Prefix {
    /// The strictest that the other settings allow.
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "__Host-")]
    Host,
    #[serde(rename = "__Secure-")]
    Secure,
    #[serde(rename = "")]
    None,
}

/// The cookie's attribute of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum SameSite {
    Strict,
    Lax,
    None,
}
