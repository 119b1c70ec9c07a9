//! Missing values of the cache, which one request computes for all that wait in its process.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::single_flight::{Leader, Role};
use super::{ACT_STORE, Cache, decode, encode};
use crate::error::{Error, Result};
use crate::store::Key;

/// The longest computation whose value is kept.
const LEASE: Duration = Duration::from_secs(600);

/// The first byte of a lease. No JSON text begins with it.
const LEASE_MARK: u8 = b'?';

/// The result of a lookup.
enum Lookup {
    Value(Vec<u8>),
    /// There is no value. A request may store one only while its lease is in the store.
    Lease(Vec<u8>, Role),
    /// Other requests set and remove the value all the time.
    Contended,
}

impl Cache {
    /// Returns the value under `name`. If there is none, calls `compute` and stores its value.
    ///
    /// The value is stored for `ttl`, or for `sessions.cache.ttl` if `ttl` is `None`.
    ///
    /// If several requests of one process miss a value at the same time, one of them computes it, and
    /// the others wait. If the computation fails, panics or is dropped, another request computes. If
    /// that fails too, each of the others computes for itself. So no request waits for more than two
    /// computations. Processes do not wait for each other, and the first value is kept.
    ///
    /// A value is not stored if any process has removed or set the value under `name`, or cleared the
    /// cache, since the computation began. So a value made from old data never outlives a removal. A
    /// value is not stored either if its computation took longer than ten minutes.
    ///
    /// While the store cannot be reached, the value is computed and not stored.
    ///
    /// `compute` must not get the value under the same name: it would wait for itself.
    ///
    /// # Errors
    ///
    /// When `compute` fails; no value is stored then. Also when the value in the cache is not a `T`,
    /// or the computed value cannot be written as JSON.
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
                // The store is down. The failure is already in the log.
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
            // A failure goes into the log. The caller still gets the value.
            let _ = self.bounds.call(ACT_STORE, keeping).await;
        }
        Ok(value)
    }

    /// Reads the value under `key`. If there is none, obtains a lease, with which one can be stored.
    async fn find(&self, key: &Key) -> Result<Lookup> {
        for _ in 0..4 {
            let lease = match self.read(key).await? {
                Some(bytes) if !is_lease(&bytes) => return Ok(Lookup::Value(bytes)),
                Some(lease) => lease,
                None => {
                    let lease = new_lease();
                    let adding = self.store.add(key, &lease, Some(LEASE));
                    if self.bounds.call(ACT_STORE, adding).await? {
                        let role = self.single_flight.join(&lease);
                        return Ok(Lookup::Lease(lease, role));
                    }
                    continue;
                }
            };
            // Another request, in this process or in another, made the lease. It stores the value if the
            // lease is still there.
            match self.single_flight.join(&lease) {
                // The leader may have finished after the lease was read, so it is read again.
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
