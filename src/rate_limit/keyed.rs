//! The guard that counts under a key of the application, such as an account or an API key.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};

use super::counts::Counts;
use super::{Limit, Limiter, RateLimit, cannot_launch, served};
use crate::error::{Error, Result};

/// A request guard that counts attempts under a key of your own: the name of an account, an API key,
/// or anything else that a handler knows.
///
/// The guard itself counts nothing. [`count`](Self::count) counts one attempt, and
/// [`reset`](Self::reset) forgets all attempts under a key. So five wrong passwords in a row lock an
/// account for a while, and a right one before that starts anew. Each [`Limit`] and each key has a count
/// of its own.
///
/// The window slides as that of [`RateLimit`], and the limit is exact, however many requests and
/// processes count at the same time. A reset forgets exactly the attempts that were counted before it.
///
/// The key is any text or bytes. The store holds a hash of it with the application's secret key, and no
/// log shows it. Two spellings of a name are two keys: use the name as the database has it.
///
/// # Errors
///
/// The guard fails with 500 when the limit has no numbers, in code or in `Rocket.toml`. If it is a
/// guard of a route, the launch fails instead.
///
/// # Example
///
/// ```rust
/// use rocket::post;
/// use rocket_session_kit::{KeyedRateLimit, Limit, Result, Session};
///
/// /// Five wrong passwords of one account in a quarter of an hour.
/// struct Passwords;
///
/// impl Limit for Passwords {
///     const NAME: &'static str = "passwords";
///     const LIMIT: u32 = 5;
///     const WINDOW: u64 = 900;
/// }
///
/// #[post("/login/<name>/<password>")]
/// async fn login(
///     name: &str,
///     password: &str,
///     attempts: KeyedRateLimit<'_, Passwords>,
///     session: &Session,
/// ) -> Result<&'static str> {
///     attempts.count(name).await?; // 429 from the sixth attempt on
///     if password != "secret" {
///         return Ok("wrong");
///     }
///     attempts.reset(name).await?;
///     session.log_in(name);
///     Ok("welcome")
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![login], |client| {
/// # let status = |path: &str| client.post(path).dispatch().status().code;
/// # for _ in 0..3 {
/// #     (0..4).for_each(|_| assert_eq!(status("/login/ada/guess"), 200));
/// #     assert_eq!(status("/login/ada/secret"), 200);
/// # }
/// # (0..5).for_each(|_| assert_eq!(status("/login/ada/guess"), 200));
/// # let refused = client.post("/login/ada/secret").dispatch();
/// # assert_eq!(refused.status().code, 429);
/// # assert_eq!(refused.headers().get_one("Retry-After"), Some("900"));
/// # assert_eq!(status("/login/bob/secret"), 200);
/// # });
/// ```
pub struct KeyedRateLimit<'r, L> {
    limiter: &'r Limiter,
    counts: &'r Counts,
    address: Option<IpAddr>,
    limit: PhantomData<fn() -> L>,
}

impl<L: Limit> KeyedRateLimit<'_, L> {
    /// Counts an attempt under `key`, and returns what is left of the limit. Each call counts.
    ///
    /// # Errors
    ///
    /// When the limit is reached ([`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited)). A handler
    /// that returns the error with `?` responds with 429, `Retry-After` and the headers of the limit,
    /// and its changes of the session are not saved. The refused attempt does not count.
    ///
    /// While the store is down, attempts cannot be counted, and are let through. If
    /// `sessions.rate_limit.when_store_is_down` is `"refuse"`, the call fails with
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
    pub async fn count(&self, key: impl AsRef<[u8]>) -> Result<RateLimit<L>> {
        let policy = self.limiter.policy::<L>()?;
        let counting = (self.limiter).count_key(self.counts, &policy, key.as_ref(), self.address);
        let count = served(counting.await?)?;
        Ok(RateLimit::new(&policy, count))
    }

    /// Forgets all attempts under `key`, for example after a log-in that succeeded.
    ///
    /// # Errors
    ///
    /// When the store fails and `sessions.rate_limit.when_store_is_down` is `"refuse"`. Otherwise the
    /// attempts then stay counted, until they are older than the window.
    pub async fn reset(&self, key: impl AsRef<[u8]>) -> Result<()> {
        let policy = self.limiter.policy::<L>()?;
        let resetting = self.limiter.reset_key(self.counts, &policy, key.as_ref());
        resetting.await
    }
}

impl<L: Limit> fmt::Debug for KeyedRateLimit<'_, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimit")
            .field("limit", &L::NAME)
            .finish_non_exhaustive()
    }
}

#[rocket::async_trait]
impl<'r, L: Limit> FromRequest<'r> for KeyedRateLimit<'r, L> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let limiter = Limiter::of(request);
        match limiter.and_then(|limiter| limiter.policy::<L>().map(|_| limiter)) {
            Ok(limiter) => Outcome::Success(Self {
                limiter,
                counts: Counts::of(request),
                address: limiter.client(request),
                limit: PhantomData,
            }),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl<L: Limit> Sentinel for KeyedRateLimit<'_, L> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        cannot_launch::<L>(rocket)
    }
}
