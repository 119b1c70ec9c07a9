//! Stale values, which are shown at once while one request computes the next in the background.

use rocket::tokio;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::compute::Found;
use super::entry::{Header, decode};
use super::single_flight::{Leader, Role};
use super::tags::Validity;
use super::{Cache, Keep};
use crate::error::{Error, ErrorKind};
use crate::store::Key;

impl Cache {
    /// Returns the value under `name`, even if it is stale. If there is none, calls `compute` and stores
    /// its value, as [`get_or_compute`](Self::get_or_compute) does.
    ///
    /// A value is stale after its `ttl`, and for as long as [`Keep::stale_for`] says. In that time it is
    /// returned at once, and one request of each process computes the next value in the background. If
    /// the computation fails, the stale value stays, and the next request tries again. After that time
    /// the value is gone, and requests wait for a new one.
    ///
    /// The computation continues after the response, so it cannot borrow from the request: `compute`
    /// moves copies of what it needs, such as a pool of connections, which is an `Arc`.
    ///
    /// The new value is not stored if any process has removed or set the value since, or cleared the
    /// cache. A value with an invalid [tag](Self::invalidate_tag) is never returned, even stale.
    ///
    /// # Errors
    ///
    /// As [`get_or_compute`](Self::get_or_compute), if there is no value. Errors of a computation in the
    /// background are dropped, after a line in the log that does not show them.
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::time::Duration;
    ///
    /// use rocket::get;
    /// use rocket_session_kit::{Cache, Error, Keep, Result};
    ///
    /// #[get("/")]
    /// async fn news(cache: &Cache) -> Result<String> {
    ///     let minute = Duration::from_secs(60);
    ///     let keep = Keep::new().ttl(minute).stale_for(10 * minute);
    ///     cache.get_or_refresh("news", keep, || async { Ok::<_, Error>("It rained.".into()) }).await
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![news], |client| {
    /// # for _ in 0..2 {
    /// #     assert_eq!(client.get("/").dispatch().into_string().unwrap(), "It rained.");
    /// # }
    /// # });
    /// ```
    pub async fn get_or_refresh<T, E, F, Fut>(
        &self,
        name: &str,
        keep: impl Into<Keep>,
        compute: F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        E: From<Error> + Send + 'static,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        let (key, keep) = (self.namespace.key(name), keep.into());
        match self.find_or_lead(&key, true).await {
            Found::Stored(bytes, Validity::Stale) => {
                let value = decode(&bytes)?;
                let id = Header::read(&bytes).map(|header| header.id);
                let flight = self.single_flight.join(id.unwrap_or_default().as_bytes());
                if let Role::Leader(leader) = flight {
                    let cache = self.handle();
                    tokio::spawn(async move {
                        cache.refresh(&key, &keep, bytes, leader, compute).await;
                    });
                }
                Ok(value)
            }
            Found::Stored(bytes, _) => Ok(decode(&bytes)?),
            Found::Computed(bytes) => Ok(decode(&bytes)?),
            Found::Nothing { lease, leader } => {
                self.compute(&key, &keep, lease, leader, compute).await
            }
        }
    }

    /// Computes the value that replaces the `stale` one under `key`.
    async fn refresh<T, E, F, Fut>(
        &self,
        key: &Key,
        keep: &Keep,
        stale: Vec<u8>,
        leader: Leader,
        compute: F,
    ) where
        T: Serialize,
        E: From<Error>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        // The computation before may have ended after the value was read.
        let there = self.read(key).await;
        if !there.is_ok_and(|there| there.as_ref() == Some(&stale)) {
            return;
        }
        let computed = self.compute(key, keep, Some(stale), Some(leader), compute);
        if computed.await.is_err() {
            let why = "the computation failed; the old value is shown until its time is over";
            let error = Error::new(ErrorKind::Value, "refresh a value of the cache");
            self.bounds.log(&error.because(why));
        }
    }
}
