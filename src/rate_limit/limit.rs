//! The trait of limits, whose numbers are in code or in `Rocket.toml`.

use super::policy::Policy;
use crate::config::{By, NamedLimit};
use crate::error::{Error, Result};

/// A limit: on the requests that one visitor may send to the routes with its
/// [`RateLimit`](crate::RateLimit) guard, or on the attempts under one key of a
/// [`KeyedRateLimit`](crate::KeyedRateLimit).
///
/// The table `[default.sessions.rate_limit.named.NAME]` in `Rocket.toml`, with the limit's name in the
/// place of `NAME`, overrides the numbers in the code. A limit without numbers in the code needs that
/// table: otherwise the launch fails if a route has its guard.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::{By, Limit};
///
/// /// Five log-ins in five minutes from one address.
/// struct LogIns;
///
/// impl Limit for LogIns {
///     const NAME: &'static str = "log-ins";
///     const LIMIT: u32 = 5;
///     const WINDOW: u64 = 300;
///     const BY: By = By::Address;
/// }
///
/// /// As many as `[default.sessions.rate_limit.named.downloads]` says.
/// struct Downloads;
///
/// impl Limit for Downloads {
///     const NAME: &'static str = "downloads";
/// }
/// # assert_eq!((LogIns::LIMIT, Downloads::LIMIT), (5, 0));
/// ```
pub trait Limit: Send + Sync + 'static {
    /// The name of the limit, which the response headers show. Limits with the same name share their
    /// counts.
    ///
    /// It consists of 1 to 64 ASCII letters, digits, `-`, `_` and `.`. The name `app` is reserved for the
    /// limit of the whole application. Any other name does not compile.
    const NAME: &'static str;

    /// The number of requests that are served in any window. If it is 0, the number is in `Rocket.toml`.
    const LIMIT: u32 = 0;

    /// The length of the window in seconds. If it is 0, the length is in `Rocket.toml`.
    const WINDOW: u64 = 0;

    /// Whether the limit counts requests by session or by address. A
    /// [`KeyedRateLimit`](crate::KeyedRateLimit) ignores it.
    const BY: By = By::Session;
}

/// Returns the policy of `L`, in which `named` overrides the numbers of the code.
///
/// # Errors
///
/// When neither says how many requests are served, or in which time.
pub(super) fn policy<L: Limit>(named: Option<&NamedLimit>) -> Result<Policy> {
    const { check_name(L::NAME) };
    let mut policy = Policy {
        name: L::NAME,
        limit: L::LIMIT,
        window: L::WINDOW,
        by: L::BY,
    };
    if let Some(named) = named {
        policy.limit = named.limit.unwrap_or(policy.limit);
        policy.window = named.window.unwrap_or(policy.window);
        policy.by = named.by.unwrap_or(policy.by);
    }
    let missing = match (policy.limit, policy.window) {
        (0, _) => "limit",
        (_, 0) => "window",
        _ => return Ok(policy),
    };
    let table = format!("sessions.rate_limit.named.{}", L::NAME);
    let why = format!(
        "the limit is in use, and the code leaves its numbers to `Rocket.toml`; add `limit` and \
         `window` to the table `[default.{table}]`"
    );
    Err(Error::config(&format!("{table}.{missing}"), why))
}

/// Panics, and so stops the compilation, unless `name` can be the name of a limit.
const fn check_name(name: &str) {
    let name = name.as_bytes();
    assert!(
        !name.is_empty() && name.len() <= 64,
        "the name of a limit has 1 to 64 characters"
    );
    let mut at = 0;
    while at < name.len() {
        assert!(
            matches!(name[at], b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.'),
            "the name of a limit consists of ASCII letters, digits, `-`, `_` and `.`"
        );
        at += 1;
    }
    assert!(
        !matches!(name, b"app"),
        "`app` is the name of the limit for the whole application"
    );
}
