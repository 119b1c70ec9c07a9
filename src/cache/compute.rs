//! Values that are computed when they are missing: by one request of a process, for all that wait.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::single_flight::{Leader, Role};
use super::{Cache, decode, encode};
use crate::error::{Error, Result};
use crate::store::Key;

/// How long a computation may take for its value to be kept.
const LEASE: Duration = Duration::from_secs(600);

/// What a lease begins with, as no JSON does.
const LEASE_MARK: u8 = b'?';

/// What a request that wants a value finds.
enum Lookup {
    Value(Vec<u8>),
    /// No value, but a lease: the one who has it when the value is there may keep the value.
    Lease(Vec<u8>, Role),
    /// No value, and others set and remove it all the time.
    Contended,
}

impl Cache {
    /// Returns the value under `name`; where there is none, what `compute` returns, which is kept
    /// for `ttl`, or for `sessions.cache.ttl` where that is `None`.
    ///
    /// Requests that miss the same value at once wait, in one process, for one of them to compute
    /// it. Where that one fails, panics or is dropped, another does; where that one does not get
    /// through either, each of the others computes for itself, so that nobody waits for more than
    /// two. Processes do not wait for each other; the first value is kept.
    ///
    /// A value is not kept when, since its computation began, any process removed or set what is
    /// under `name`, or cleared the cache: what was computed from old data never outlives the
    /// removal. Neither is one that took longer than ten minutes.
    ///
    /// While the store cannot be reached, the value is computed and not kept.
    ///
    /// `compute` must not ask for the same name: it would wait for itself.
    ///
    /// # Errors
    ///
    /// What `compute` returns; nothing is kept then. When what is there is not a `T`, or what was
    /// computed has no form in JSON.
    pub async fn get_or_compute<T, E, F, Fut>(
        &self,
        name: &str,
        ttl: impl Into<Option<Duration>>,
        compute: F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let key = self.namespace.key(name);
        let ttl = ttl.into().or(self.ttl);
        let mut waited = false;
        let (lease, leader) = loop {
            let (lease, role) = match self.find(&key).await {
                Ok(Lookup::Value(bytes)) => return Ok(decode(&bytes)?),
                Ok(Lookup::Lease(lease, role)) => (Some(lease), role),
                Ok(Lookup::Contended) => (None, Role::Leader(Leader::alone())),
                // The store is down, which was logged.
                Err(_) => (None, self.single_flight.join(key.as_str().as_bytes())),
            };
            match role {
                Role::Leader(leader) => break (lease, Some(leader)),
                Role::Follower(follower) => match follower.outcome().await {
                    Some(bytes) => return Ok(decode(&bytes)?),
                    None if waited => break (lease, None),
                    None => waited = true,
                },
            }
        };
        let value = compute().await?;
        let bytes: Arc<[u8]> = encode(&value)?.into();
        if let Some(leader) = &leader {
            leader.finish(Arc::clone(&bytes));
        }
        if let Some(lease) = lease {
            let keeping = self.store.swap(&key, Some(&lease), &bytes, ttl);
            // A failure was logged, and takes nothing from whoever has the value.
            let _ = self.bounds.call("keep a value of the cache", keeping).await;
        }
        Ok(value)
    }

    /// Looks for the value under `key`, and where there is none for the right to keep one.
    async fn find(&self, key: &Key) -> Result<Lookup> {
        for _ in 0..4 {
            let lease = match self.read(key).await? {
                Some(bytes) if !is_lease(&bytes) => return Ok(Lookup::Value(bytes)),
                Some(lease) => lease,
                None => {
                    let lease = new_lease();
                    let adding = self.store.add(key, &lease, Some(LEASE));
                    if self
                        .bounds
                        .call("keep a value of the cache", adding)
                        .await?
                    {
                        let role = self.single_flight.join(&lease);
                        return Ok(Lookup::Lease(lease, role));
                    }
                    continue;
                }
            };
            // The lease is another's, in this process or in another. Whoever goes by it keeps the
            // value unless it was removed since.
            match self.single_flight.join(&lease) {
                // Its follower may have landed between the look and the boarding.
                Role::Leader(leader) => match self.read(key).await? {
                    Some(bytes) if bytes == lease => {
                        return Ok(Lookup::Lease(lease, Role::Leader(leader)));
                    }
                    Some(bytes) if !is_lease(&bytes) => {
                        leader.finish(bytes.as_slice().into());
                        return Ok(Lookup::Value(bytes));
                    }
                    _ => {}
                },
                follower => return Ok(Lookup::Lease(lease, follower)),
            }
        }
        Ok(Lookup::Contended)
    }
}

fn new_lease() -> Vec<u8> {
    let mut lease = vec![LEASE_MARK];
    lease.extend_from_slice(Uuid::new_v4().simple().to_string().as_bytes());
    lease
}

pub(super) fn is_lease(bytes: &[u8]) -> bool {
    bytes.first() == Some(&LEASE_MARK)
}
