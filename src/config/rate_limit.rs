//! `[default.sessions.rate_limit]`: how many requests a visitor may send, and how they are counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::settings::settings;
use super::store::StoreName;
use crate::error::{Error, Result};

settings! {
    /// `[default.sessions.rate_limit]`
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct RateLimitConfig {
        /// The store of the counts. If it is not set, they are in the store of the sessions.
        pub(crate) store: Option<StoreName> = None,
        /// Requests that one visitor may send to the whole application in each window; 0 means no limit.
        pub(crate) limit: u32 = 0,
        /// The length of a window in seconds.
        pub(crate) window: u64 = 60,
        /// Whether requests are counted by session or by address. `"session"`: by session if it is older than a window,
        /// else by address. `"address"`: always by address.
        pub(crate) by: By = By::Session,
        /// The headers that report the limit. `"x"`: `X-RateLimit-*`. `"ietf"`: `RateLimit` and `RateLimit-Policy`.
        pub(crate) headers: LimitHeaders = LimitHeaders::Both,
        /// The treatment of requests that cannot be counted. `"allow"`: they are served. `"refuse"`: they get a 503.
        pub(crate) when_store_is_down: WhenUncounted = WhenUncounted::Allow,
    }
    tables {
        pub(crate) named: NamedLimits,
    }
}

/// The limits that code refers to, by their names.
pub(crate) type NamedLimits = BTreeMap<String, NamedLimit>;

settings! {
    /// `[default.sessions.rate_limit.named.login]`
    ///
    /// The numbers of the limit that the code calls `login`, by `Limit::NAME`. Each limit has a table of its own.
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct NamedLimit {
        /// Requests or attempts in each window. If it is not set, the code has the number.
        pub(crate) limit: Option<u32> = None,
        /// The length of a window in seconds. If it is not set, the code has the number.
        pub(crate) window: Option<u64> = None,
        /// Whether requests are counted by session or by address. If it is not set, the code decides.
        pub(crate) by: Option<By> = None,
    }
}

impl RateLimitConfig {
    /// Checks that requests can be counted.
    pub(super) fn check(&self) -> Result<()> {
        if self.window == 0 {
            let why = "a window needs a length; set it to 1 second or more";
            return Err(Error::config("sessions.rate_limit.window", why));
        }
        self.named.iter().try_for_each(NamedLimit::check)
    }
}

impl NamedLimit {
    /// Checks that a limit can have this name and these numbers.
    fn check((name, limit): (&String, &Self)) -> Result<()> {
        let fails = |key: &str, why: &'static str| {
            let key = format!("sessions.rate_limit.named.{name}{key}");
            Err(Error::config(&key, why))
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
            let why = "the name of a limit has 1 to 64 ASCII letters, digits, `-`, `_` and `.`; rename \
                       the table";
            return fails("", why);
        }
        if name == "app" {
            let why = "this is the name of the limit for the whole application; set `limit` and \
                       `window` of `[default.sessions.rate_limit]` instead";
            return fails("", why);
        }
        if limit.limit == Some(0) {
            return fails(
                ".limit",
                "a limit serves at least one request; set it to 1 or more",
            );
        }
        if limit.window == Some(0) {
            return fails(
                ".window",
                "a window needs a length; set it to 1 second or more",
            );
        }
        Ok(())
    }
}

/// The identity by which a [`Limit`](crate::Limit) counts a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The session, once it is older than the limit's window; else the address.
    Session,
    /// The address that the request came from, whatever its session.
    Address,
}

/// The headers that report the limit to a visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LimitHeaders {
    Both,
    /// `X-RateLimit-*`.
    X,
    /// `RateLimit` and `RateLimit-Policy`.
    Ietf,
    None,
}

/// The treatment of a request that cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenUncounted {
    Allow,
    /// The response is a 503.
    Refuse,
}
