//! The application cache: values that all requests share for a limited time.

mod compute;
mod entry;
mod glob;
mod keep;
mod refresh;
mod single_flight;
mod tags;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rocket::futures::TryStreamExt;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::compute::is_lease;
use self::entry::{decode, encode};
pub use self::keep::Keep;
use self::single_flight::SingleFlight;
use crate::config::CacheConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::sessions::Sessions;
use crate::store::bounded::Bounds;
use crate::store::{Key, KeyValue, Namespace};

/// The action in the errors of calls that store a value.
const ACT_STORE: &str = "store a value in the cache";

/// The application cache: named values of any serde type. All requests of all visitors share it, in all
/// processes that use one store.
///
/// Take it as a request guard. The cache keeps values as JSON in the session store, or in the store
/// that `sessions.cache.store` names, separate from all sessions. A name can be any text, and is never
/// part of a path or a command. A value is kept for `sessions.cache.ttl` seconds, unless
/// [`set_for`](Self::set_for) sets another time.
///
/// # Errors
///
/// While the store cannot be reached, every call fails with [`ErrorKind::Unavailable`], which becomes
/// a response with status 503. Each round trip takes at most `sessions.store_timeout`. Only
/// [`get_or_compute`](Self::get_or_compute) and [`get_or_refresh`](Self::get_or_refresh) work without
/// the store: they compute the value.
///
/// A value of another type than the requested one is an error ([`ErrorKind::Value`]) and not a miss,
/// because the miss would repeat forever. [`remove`](Self::remove) the value, or [`set`](Self::set) it
/// again.
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
///             // For example, a slow request to another server.
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
    /// The namespace of the versions of tags.
    tags: Namespace,
    /// The default lifetime of a value; `None` is unlimited.
    ttl: Option<Duration>,
    single_flight: SingleFlight,
}

impl Cache {
    /// Returns the cache that `config` describes, in `store`.
    ///
    /// # Errors
    ///
    /// When the prefix cannot be part of the name of a namespace.
    pub(crate) fn new(
        bounds: Arc<Bounds>,
        store: Arc<dyn KeyValue>,
        config: &CacheConfig,
    ) -> Result<Self> {
        let namespace = |kind: &str| {
            let name = match config.prefix.as_str() {
                "" => kind.to_owned(),
                prefix => format!("{kind}-{prefix}"),
            };
            Namespace::new(&name).map_err(|_| {
                let why =
                    "a prefix consists of at most 18 lower-case letters, digits, `-` and `_`; choose such a prefix";
                Error::config("sessions.cache.prefix", why)
            })
        };
        Ok(Self {
            bounds,
            store,
            namespace: namespace("cache")?,
            tags: namespace("tags")?,
            ttl: (config.ttl > 0).then(|| Duration::from_secs(config.ttl)),
            single_flight: SingleFlight::default(),
        })
    }

    /// Returns the same cache, for a task that outlives the request.
    fn handle(&self) -> Self {
        Self {
            bounds: Arc::clone(&self.bounds),
            store: Arc::clone(&self.store),
            namespace: self.namespace.clone(),
            tags: self.tags.clone(),
            ttl: self.ttl,
            single_flight: self.single_flight.clone(),
        }
    }

    /// Returns the value under `name`, if there is one.
    ///
    /// # Errors
    ///
    /// When the store fails, or the value is not a `T`.
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
        let there = self.read(&self.namespace.key(name)).await?;
        let value = self.fresh(there).await?;
        value.map(|bytes| decode(&bytes)).transpose()
    }

    /// Sets the value under `name`.
    ///
    /// # Errors
    ///
    /// When the store fails, or `value` cannot be written as JSON.
    pub async fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<()> {
        self.keep(name, value, Keep::new()).await
    }

    /// Sets the value under `name`, for another time than `sessions.cache.ttl`, or with
    /// [tags](Keep::tag).
    ///
    /// A store may round the time up. Memcached rounds it up to whole seconds. If a tag becomes invalid
    /// before this call, `value` may be made from old data, and is valid nevertheless. To avoid that, use
    /// [`get_or_compute`](Self::get_or_compute).
    ///
    /// # Errors
    ///
    /// When the store fails, or `value` cannot be written as JSON.
    pub async fn set_for<T: Serialize + ?Sized>(
        &self,
        name: &str,
        value: &T,
        keep: impl Into<Keep>,
    ) -> Result<()> {
        self.keep(name, value, keep.into()).await
    }

    /// Removes the value under `name`, and returns whether there was one.
    ///
    /// A value that any process is [computing](Self::get_or_compute) at the same time is not kept. It
    /// counts as a value that was there, and so does a value that is invalid or stale.
    ///
    /// # Errors
    ///
    /// When the store fails. The value may still be there.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        let key = self.namespace.key(name);
        let removing = self.store.remove(&key);
        self.bounds
            .call("remove a value from the cache", removing)
            .await
    }

    /// Returns whether there is a value under `name`.
    ///
    /// # Errors
    ///
    /// When the store fails.
    pub async fn contains(&self, name: &str) -> Result<bool> {
        let there = self.read(&self.namespace.key(name)).await?;
        Ok(self.fresh(there).await?.is_some())
    }

    /// Removes the value under `name`, and returns it. Only one of several concurrent requests gets it.
    ///
    /// # Errors
    ///
    /// When the store fails; the value may then be lost. When the value is not a `T`; it is removed in
    /// this case too.
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let key = self.namespace.key(name);
        let taking = self.store.take(&key);
        let taken = self.bounds.call("take a value from the cache", taking);
        let value = self.fresh(taken.await?).await?;
        value.map(|bytes| decode(&bytes)).transpose()
    }

    /// Returns the names in this cache that match `pattern`, in no order.
    ///
    /// In a pattern, `*` matches any number of characters, and `?` matches one. All other characters
    /// match themselves. The call compares every name in the cache, so it is for administration and not
    /// for every request. Names of more than 128 bytes are not listed; each byte that is not a letter, a
    /// digit, `-` or `_` counts as three. A name whose value is still being computed, or is invalid or stale,
    /// may be listed.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot list its entries.
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

    /// Removes all values in this cache. Caches with another prefix keep theirs.
    ///
    /// # Errors
    ///
    /// When the store fails, or takes longer than ten times `sessions.store_timeout`. Some values may
    /// then be left.
    pub async fn clear(&self) -> Result<()> {
        let time = self.bounds.patience();
        let clearing = self.store.clear(&self.namespace);
        let cleared = self.bounds.call_within(time, "clear the cache", clearing);
        cleared.await.map(drop)
    }

    async fn read(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let reading = self.store.get(key);
        self.bounds
            .call("read a value from the cache", reading)
            .await
    }

    /// Returns the value `there`, unless it is a lease, invalid or stale.
    async fn fresh(&self, there: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = there.filter(|bytes| !is_lease(bytes)) else {
            return Ok(None);
        };
        let validity = self.validity(&bytes).await?;
        Ok(validity.is_usable(false).then_some(bytes))
    }

    async fn keep<T: Serialize + ?Sized>(&self, name: &str, value: &T, keep: Keep) -> Result<()> {
        let key = self.namespace.key(name);
        let bytes = encode(self.header(&keep).await?, value)?;
        let keeping = self.store.set(&key, &bytes, self.lifetime(&keep));
        self.bounds.call(ACT_STORE, keeping).await
    }
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

/// Returns the error of a guard in an application without a store for the cache.
fn no_store() -> Error {
    let why = "the session store holds only sessions; set `sessions.cache.store`, or implement \
               `key_value` for your store";
    Error::new(ErrorKind::Config, "find the cache").because(why)
}
