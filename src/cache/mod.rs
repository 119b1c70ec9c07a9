//! The application cache: values that all requests share, for a time.

mod compute;
mod glob;
mod single_flight;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rocket::futures::TryStreamExt;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::compute::is_lease;
use self::single_flight::SingleFlight;
use crate::config::CacheConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sessions::Sessions;
use crate::store::bounded::Bounds;
use crate::store::{Key, KeyValue, Namespace};

/// The application's cache: values of any serde type under names, shared by all requests, of all
/// visitors, in all processes that use one store.
///
/// Take it as a request guard. Values are kept as JSON where the sessions are, or in the store that
/// `sessions.cache.store` names, apart from every session. A name is any text; it is never part of
/// a path or a command. A value is kept for `sessions.cache.ttl` seconds unless it was set for
/// another time.
///
/// # Errors
///
/// While the store cannot be reached, every call fails with [`ErrorKind::Unavailable`], which a
/// visitor is answered 503 for, and takes no longer than `sessions.store_timeout`. Only
/// [`get_or_compute`](Self::get_or_compute) goes on without the store: it computes.
///
/// What is there and is not of the type asked for is [`ErrorKind::Value`], not a miss: it would be
/// one for ever. [`remove`](Self::remove) it, or [`set`](Self::set) it anew.
///
/// # Example
///
/// ```rust
/// use rocket::get;
/// use rocket_session_kit::{Cache, Error, Result};
///
/// #[get("/")]
/// async fn news(cache: &Cache) -> Result<String> {
///     let news: Vec<String> = cache
///         .get_or_compute("news", None, || async {
///             // Asked of somebody who takes their time.
///             Ok::<_, Error>(vec!["It rained.".to_owned()])
///         })
///         .await?;
///     Ok(news.join("\n"))
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![news], |client| {
/// # for _ in 0..2 {
/// #     assert_eq!(client.get("/").dispatch().into_string().unwrap(), "It rained.");
/// # }
/// # });
/// ```
pub struct Cache {
    bounds: Arc<Bounds>,
    store: Arc<dyn KeyValue>,
    namespace: Namespace,
    /// How long a value is kept unless it is said otherwise; `None` is for ever.
    ttl: Option<Duration>,
    single_flight: SingleFlight,
}

impl Cache {
    /// Returns the cache that `config` asks for, in `store`.
    ///
    /// # Errors
    ///
    /// When the prefix can be no part of a name of a namespace.
    pub(crate) fn new(
        bounds: Arc<Bounds>,
        store: Arc<dyn KeyValue>,
        config: &CacheConfig,
    ) -> Result<Self> {
        let name = match config.prefix.as_str() {
            "" => "cache".to_owned(),
            prefix => format!("cache-{prefix}"),
        };
        let namespace = Namespace::new(&name).map_err(|_| {
            let why =
                "a prefix has at most 18 small letters, digits, `-` and `_`; choose such a one";
            Error::config("sessions.cache.prefix", why)
        })?;
        Ok(Self {
            bounds,
            store,
            namespace,
            ttl: (config.ttl > 0).then(|| Duration::from_secs(config.ttl)),
            single_flight: SingleFlight::default(),
        })
    }

    /// Returns the value under `name`, if there is one.
    ///
    /// # Errors
    ///
    /// When the store fails, or what is there is not a `T`.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Cache, Result};
    ///
    /// #[get("/")]
    /// async fn index(cache: &Cache) -> Result<String> {
    ///     cache.set("motto", "festina lente").await?;
    ///     let motto: Option<String> = cache.get("motto").await?;
    ///     assert!(cache.get::<u64>("motto").await.is_err());
    ///     Ok(motto.unwrap_or_default())
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![index], |client| {
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "festina lente");
    /// # });
    /// ```
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        decode_if_value(self.read(&self.namespace.key(name)).await?)
    }

    /// Keeps `value` under `name`, in the place of what was there.
    ///
    /// # Errors
    ///
    /// When the store fails, or `value` has no form in JSON.
    pub async fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        self.keep(name, value, self.ttl).await
    }

    /// As [`set`](Self::set), for `ttl` instead of `sessions.cache.ttl`.
    ///
    /// A store may round it up, Memcached to a second.
    ///
    /// # Errors
    ///
    /// When the store fails, or `value` has no form in JSON.
    pub async fn set_for<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
        ttl: Duration,
    ) -> Result<()> {
        self.keep(name, value, Some(ttl)).await
    }

    /// Removes what is under `name`, and returns whether there was anything.
    ///
    /// A value that is being [computed](Self::get_or_compute) at this moment, in whichever process,
    /// is not kept; it counts as something.
    ///
    /// # Errors
    ///
    /// When the store fails, so that the value may still be there.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let key = self.namespace.key(name);
        let removing = self.store.remove(&key);
        self.bounds
            .call("remove a value of the cache", removing)
            .await
    }

    /// Returns whether there is a value under `name`.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn contains(&self, name: &str) -> Result<bool> {
        let there = self.read(&self.namespace.key(name)).await?;
        Ok(there.is_some_and(|bytes| !is_lease(&bytes)))
    }

    /// Removes the value under `name`, and returns it. Of many who take it one gets it.
    ///
    /// # Errors
    ///
    /// When the store fails; then nobody may get it. When what was there is not a `T`: it is gone
    /// all the same.
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let key = self.namespace.key(name);
        let taking = self.store.take(&key);
        decode_if_value(
            self.bounds
                .call("take a value of the cache", taking)
                .await?,
        )
    }

    /// Returns the names of this cache that `pattern` matches, in no order.
    ///
    /// In a pattern `*` stands for any characters, also for none, and `?` for one; all others stand
    /// for themselves. Every name is looked at, one after the other, so this is for
    /// administrators, not for every request. A name that takes more than 128 bytes when all but
    /// letters, digits, `-` and `_` is written as `%` and two digits is not listed. One whose value
    /// is being computed may be.
    ///
    /// # Errors
    ///
    /// When the store cannot list what it keeps.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Cache, Result};
    ///
    /// #[get("/")]
    /// async fn index(cache: &Cache) -> Result<String> {
    ///     cache.set("user:1", "alice").await?;
    ///     cache.set("user:12", "bob").await?;
    ///     cache.set("news", "none").await?;
    ///     Ok(cache.keys("user:?").await?.join(","))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![index], |client| {
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "user:1");
    /// # });
    /// ```
    pub async fn keys(&self, pattern: &str) -> Result<Vec<String>> {
        let mut all = self.store.keys(&self.namespace);
        let mut matching = Vec::new();
        let act = "list the cache";
        while let Some(name) = self.bounds.call(act, all.try_next()).await? {
            if let Ok(name) = String::from_utf8(name)
                && glob::matches(pattern, &name)
            {
                matching.push(name);
            }
        }
        Ok(matching)
    }

    /// Removes everything in this cache, and nothing of another with another prefix.
    ///
    /// # Errors
    ///
    /// When the store fails, or takes more than ten times `sessions.store_timeout`: some of it may
    /// be left.
    pub async fn clear(&self) -> Result<()> {
        let time = self.bounds.patience();
        let clearing = self.store.clear(&self.namespace);
        let cleared = self.bounds.call_within(time, "clear the cache", clearing);
        cleared.await.map(drop)
    }

    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let reading = self.store.get(key);
        self.bounds.call("read a value of the cache", reading).await
    }

    async fn keep<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
        ttl: Option<Duration>,
    ) -> Result<()> {
        let (key, bytes) = (self.namespace.key(name), encode(value)?);
        let keeping = self.store.set(&key, &bytes, ttl);
        self.bounds.call("keep a value of the cache", keeping).await
    }
}

fn decode_if_value<T: DeserializeOwned>(there: Option<Vec<u8>>) -> Result<Option<T>> {
    let value = there.filter(|bytes| !is_lease(bytes));
    value.map(|bytes| decode(&bytes)).transpose()
}

/// Returns `bytes` as a `T`. The error tells the type, never the data.
fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|_| {
        let why = "what is there is of another type; get rid of it with `remove` or `clear`, or \
                   `set` it anew";
        Error::new(ErrorKind::Value, "read a value of the cache")
            .at(std::any::type_name::<T>())
            .because(why)
    })
}

/// Returns `value` as JSON. The error tells the type, never the data.
fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|_| {
        Error::new(ErrorKind::Value, "write a value of the cache")
            .at(std::any::type_name::<T>())
            .because("the type has no form in JSON")
    })
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Cache {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let cache = match Sessions::of(request) {
            Ok(_) => request.rocket().state().ok_or_else(no_store),
            Err(error) => Err(error),
        };
        match cache {
            Ok(cache) => Outcome::Success(cache),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for &Cache {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        if Sessions::missing(rocket) {
            return true;
        }
        let missing = rocket.state::<Cache>().is_none();
        if missing {
            log::error!("{}", no_store());
        }
        missing
    }
}

/// What a guard says that finds no store for the cache.
fn no_store() -> Error {
    let why = "the store of the sessions keeps nothing else; set `sessions.cache.store`, or give \
               your store a `key_value`";
    Error::new(ErrorKind::Config, "find the cache").because(why)
}
