//! Missing values of the cache, which one request computes for all that wait in its process.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{decode, encode, random};
use super::single_flight::{Leader, Role};
use super::tags::Validity;
use super::{ACT_STORE, Cache, Keep};
use crate::error::{Error, Result};
use crate::store::Key;

/// The longest computation whose value is kept.
const LEASE: Duration = Duration::from_secs(600);

/// The first byte of a lease. No JSON text begins with it.
const LEASE_MARK: u8 = b'?';

/// A value, or the duty to compute it.
pub(super) enum Found {
    Stored(Vec<u8>, Validity),
    /// Another request of this process has just computed it.
    Computed(Arc<[u8]>),
    /// There is no value. It can be stored in the place of `lease`.
    Nothing {
        lease: Option<Vec<u8>>,
        leader: Option<Leader>,
    },
}

/// The result of a lookup.
enum Lookup {
    Value(Vec<u8>, Validity),
    /// There is no value. A request may store one only while its lease is in the store.
    Lease(Vec<u8>, Role),
    /// Other requests set and remove the value all the time.
    Contended,
}

impl Cache {
    /// Returns the value under `name`. If there is none, calls `compute` and stores its value.
    ///
    /// The value is stored as `keep` says: for a time, or for `sessions.cache.ttl` if it is `None`, and
    /// with its [tags](Keep::tag).
    ///
    /// If several requests of one process miss a value at the same time, one of them computes it, and
    /// the others wait. If the computation fails, panics or is dropped, another request computes. If
    /// that fails too, each of the others computes for itself. So no request waits for more than two
    /// computations. Processes do not wait for each other, and the first value is kept.
    ///
    /// A value is not stored if any process has removed or set the value under `name`, or cleared the
    /// cache, since the computation began. So a value made from old data never outlives a removal. If a
    /// process has [invalidated](Self::invalidate_tag) one of its tags since, the value is invalid. A
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
        keep: impl Into<Keep>,
        compute: F,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        E: From<Error>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (key, keep) = (self.namespace.key(name), keep.into());
        match self.find_or_lead(&key, false).await {
            Found::Stored(bytes, _) => Ok(decode(&bytes)?),
            Found::Computed(bytes) => Ok(decode(&bytes)?),
            Found::Nothing { lease, leader } => {
                self.compute(&key, &keep, lease, leader, compute).await
            }
        }
    }

    /// Returns the value under `key`. If another request of this process computes it, waits for that.
    /// Returns [`Found::Nothing`] if this request has to compute it. `stale` is whether a stale value
    /// counts.
    pub(super) async fn find_or_lead(&self, key: &Key, stale: bool) -> Found {
        let mut waited = false;
        loop {
            let (lease, role) = match self.find(key, stale).await {
                Ok(Lookup::Value(bytes, validity)) => return Found::Stored(bytes, validity),
                Ok(Lookup::Lease(lease, role)) => (Some(lease), role),
                Ok(Lookup::Contended) => (None, Role::Leader(Leader::alone())),
                // The store is down. The failure is already in the log.
                Err(_) => (None, self.single_flight.join(key.as_str().as_bytes())),
            };
            let follower = match role {
                Role::Leader(leader) => {
                    let leader = Some(leader);
                    return Found::Nothing { lease, leader };
                }
                Role::Follower(follower) => follower,
            };
            match follower.outcome().await {
                // A tag may have become invalid before this request began, but after the computation did.
                Some(bytes) if lease.is_none() || self.is_valid(&bytes).await => {
                    return Found::Computed(bytes);
                }
                _ if waited => {
                    let leader = None;
                    return Found::Nothing { lease, leader };
                }
                _ => waited = true,
            }
        }
    }

    /// Computes the value under `key`, gives it to those that follow the leader, and stores it in the
    /// place of `lease`.
    pub(super) async fn compute<T, E, F, Fut>(
        &self,
        key: &Key,
        keep: &Keep,
        mut lease: Option<Vec<u8>>,
        mut leader: Option<Leader>,
        compute: F,
    ) -> Result<T, E>
    where
        T: Serialize,
        E: From<Error>,
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut header = None;
        if lease.is_some() {
            // Before the computation, so that a tag that becomes invalid meanwhile has another version.
            match self.header(keep).await {
                Ok(found) => header = found,
                Err(_) => (lease, leader) = (None, None),
            }
        }
        let value = compute().await?;
        if let Some(header) = &mut header {
            header.fresh_until = self.fresh_until(keep);
        }
        let bytes: Arc<[u8]> = encode(header, &value)?.into();
        if let Some(leader) = &leader {
            leader.finish(Arc::clone(&bytes));
        }
        if let Some(lease) = lease {
            let lifetime = self.lifetime(keep);
            let keeping = self.store.swap(key, Some(&lease), &bytes, lifetime);
            // A failure goes into the log. The caller still gets the value.
            let _ = self.bounds.call(ACT_STORE, keeping).await;
        }
        Ok(value)
    }

    /// Reads the value under `key`. If there is none, obtains a lease, with which one can be stored.
    /// `stale` is whether a stale value counts.
    async fn find(&self, key: &Key, stale: bool) -> Result<Lookup> {
        for _ in 0..4 {
            let unusable = match self.read(key).await? {
                Some(lease) if is_lease(&lease) => match self.join(key, lease).await? {
                    Some(found) => return Ok(found),
                    None => continue,
                },
                Some(bytes) => {
                    let validity = self.validity(&bytes).await?;
                    if validity.is_usable(stale) {
                        return Ok(Lookup::Value(bytes, validity));
                    }
                    Some(bytes)
                }
                None => None,
            };
            let lease = new_lease();
            let adding = match &unusable {
                Some(old) => self.store.swap(key, Some(old), &lease, Some(LEASE)),
                None => self.store.add(key, &lease, Some(LEASE)),
            };
            if self.bounds.call(ACT_STORE, adding).await? {
                let role = self.single_flight.join(&lease);
                return Ok(Lookup::Lease(lease, role));
            }
        }
        Ok(Lookup::Contended)
    }

    /// Joins the computation under `lease`, which another request, in this process or in another, has
    /// begun. It stores the value if the lease is still there. Returns `None` if the lease is gone, and
    /// no valid value has taken its place.
    async fn join(&self, key: &Key, lease: Vec<u8>) -> Result<Option<Lookup>> {
        let leader = match self.single_flight.join(&lease) {
            Role::Leader(leader) => leader,
            follower => return Ok(Some(Lookup::Lease(lease, follower))),
        };
        // The leader before may have finished after the lease was read, so it is read again.
        Ok(match self.read(key).await? {
            Some(bytes) if bytes == lease => Some(Lookup::Lease(lease, Role::Leader(leader))),
            Some(bytes) if !is_lease(&bytes) => {
                leader.finish(bytes.as_slice().into());
                let is_valid = self.is_valid(&bytes).await;
                is_valid.then_some(Lookup::Value(bytes, Validity::Fresh))
            }
            _ => None,
        })
    }

    /// Returns whether a value that was just computed is valid.
    async fn is_valid(&self, bytes: &[u8]) -> bool {
        let validity = self.validity(bytes).await;
        validity.is_ok_and(|validity| validity.is_usable(true))
    }
}

fn new_lease() -> Vec<u8> {
    let mut lease = vec![LEASE_MARK];
    lease.extend_from_slice(random().as_bytes());
    lease
}

pub(super) fn is_lease(bytes: &[u8]) -> bool {
    bytes.first() == Some(&LEASE_MARK)
}
