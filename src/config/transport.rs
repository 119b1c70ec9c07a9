//! How a session is found: by a cookie, by a token in a header, or by both.

use serde::{Deserialize, Serialize};

/// The part of a request that carries the credential of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Cookie,
    Header,
    /// In the cookie; in the header if the cookie opens no session.
    Both,
}
