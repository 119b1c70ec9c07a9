//! Rate limits: for the whole application, and for single routes.

mod address;
mod batches;
mod counts;
mod hits;
mod keyed;
mod limit;
mod limiter;
mod policy;
mod routes;

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Orbit, Request, Response, Rocket, Sentinel};

pub use crate::config::By;
use crate::error::{Error, ErrorKind};
use crate::sessions::Sessions;

pub use self::keyed::KeyedRateLimit;
pub use self::limit::Limit;

use self::counts::Count;
pub(crate) use self::limiter::{Limiter, no_store};
use self::policy::Policy;
pub(crate) use self::routes::routes;

/// A request guard that lets [`Limit::LIMIT`] requests of one visitor through in any window of
/// [`Limit::WINDOW`] seconds.
///
/// The window slides: at every moment the requests of the last `WINDOW` seconds count. So there is no
/// boundary at which twice as many requests get through. A request that is refused does not count. The
/// limit is exact, however many requests and processes there are at the same time. For limits above
/// 1000 requests, a request may count up to a thousandth of the window longer.
///
/// A request counts once under each limit, even if several of its guards have the limit. To count by
/// account, by API key or by any other key, take a [`KeyedRateLimit`].
///
/// Make it the first guard of a route, so that a refused request costs nothing else. The limit for the whole
/// application is `limit` under `[default.sessions.rate_limit]` in `Rocket.toml`.
///
/// # Errors
///
/// A request beyond the limit fails with 429 and `Retry-After`; the application's catcher for 429 makes
/// the page. It neither changes nor creates a session. While the store is down, requests cannot be counted,
/// and are let through. If `sessions.rate_limit.when_store_is_down` is `"refuse"`, they fail with 503.
///
/// # Example
///
/// ```rust
/// use rocket::get;
/// use rocket_session_kit::{Limit, RateLimit};
///
/// struct Greetings;
///
/// impl Limit for Greetings {
///     const NAME: &'static str = "greetings";
///     const LIMIT: u32 = 2;
///     const WINDOW: u64 = 3600;
/// }
///
/// #[get("/")]
/// fn greet(limit: RateLimit<Greetings>) -> String {
///     format!("Hello! You can come {} more times.", limit.remaining())
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![greet], |client| {
/// # let first = client.get("/").dispatch().into_string().unwrap();
/// # assert_eq!(first, "Hello! You can come 1 more times.");
/// # client.get("/").dispatch();
/// # let refused = client.get("/").dispatch();
/// # assert_eq!(refused.status(), rocket::http::Status::TooManyRequests);
/// # assert_eq!(refused.headers().get_one("Retry-After"), Some("3600"));
/// # });
/// ```
pub struct RateLimit<L> {
    remaining: u32,
    resets_in: Duration,
    limit: PhantomData<fn() -> L>,
}

impl<L: Limit> RateLimit<L> {
    /// Returns the guard of a request that was counted under `policy`, if it could be counted.
    fn new(policy: &Policy, count: Option<Count>) -> Self {
        Self {
            remaining: count.map_or(policy.limit, |count| count.remaining),
            resets_in: Duration::from_millis(count.map_or(0, |count| count.more_in)),
            limit: PhantomData,
        }
    }

    /// Returns how many more requests of the visitor would be served now: the whole limit if this
    /// request could not be counted.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// Returns the time until more requests are served than now.
    pub fn resets_in(&self) -> Duration {
        self.resets_in
    }
}

impl<L: Limit> fmt::Debug for RateLimit<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit")
            .field("limit", &L::NAME)
            .field("remaining", &self.remaining)
            .field("resets_in", &self.resets_in)
            .finish()
    }
}

#[rocket::async_trait]
impl<'r, L: Limit> FromRequest<'r> for RateLimit<L> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let counted = async {
            let limiter = Limiter::of(request)?;
            let policy = limiter.policy::<L>()?;
            let count = limiter.count(request, &policy).await?;
            Ok::<_, Error>(Self::new(&policy, served(count)?))
        };
        match counted.await {
            Ok(limit) => Outcome::Success(limit),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl<L: Limit> Sentinel for RateLimit<L> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        cannot_launch::<L>(rocket)
    }
}

/// Returns whether the application cannot launch with the limit `L`, and logs why.
fn cannot_launch<L: Limit>(rocket: &Rocket<Ignite>) -> bool {
    if Sessions::missing(rocket) {
        return true;
    }
    let limiter = rocket.state::<Limiter>().ok_or_else(no_store);
    let policy = limiter.and_then(|limiter| {
        limiter.note_in_use(L::NAME);
        limiter.policy::<L>()
    });
    policy.inspect_err(|error| log::error!("{error}")).is_err()
}

/// Fails if `count` is a refusal.
fn served(count: Option<Count>) -> Result<Option<Count>, Error> {
    match count {
        Some(Count { refused: true, .. }) => {
            let why = "the visitor sent too many";
            Err(Error::new(ErrorKind::RateLimited, "serve a request").because(why))
        }
        count => Ok(count),
    }
}

/// Gives the limiter of `rocket`, if there is one, the secret key of its configuration. All guards of
/// the routes are known by then.
pub(crate) fn learn_key(rocket: &Rocket<Orbit>) {
    if let Some(limiter) = rocket.state::<Limiter>() {
        limiter.learn_key(rocket.config());
        limiter.warn_of_unused_tables();
    }
}

/// Writes the limits of `request` into `response`, and returns whether the request was refused.
pub(crate) fn write_headers(request: &Request<'_>, response: &mut Response<'_>) -> bool {
    let limiter = request.rocket().state::<Limiter>();
    limiter.is_some_and(|limiter| limiter.write_headers(request, response))
}
