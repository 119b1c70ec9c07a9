//! Claims: a credential of another system counts once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::{GRACE, SessionManager};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::keyed_locks::KeyedLock;
use crate::store::{Key, KeyValue, Namespace};

/// The namespace of the claims.
pub(crate) const NAMESPACE: &str = "taken-over";

/// A credential that was claimed earlier.
pub(crate) enum Claim {
    /// It began the session under this id a moment ago: other requests of the visitor may come without
    /// the cookie.
    Recent(SessionId),
    /// It does not count any more.
    Spent,
}

impl SessionManager {
    /// Waits for the lock of `credential`, behind earlier requests of this process.
    pub(crate) async fn lock_credential(&self, credential: &str) -> Option<KeyedLock<'_, u64>> {
        let digest = Sha256::digest(credential);
        // It shares the locks of the lineages, whose tags are random.
        let number = digest.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        self.lock_lineage(number).await
    }

    /// Returns the claim on `credential`, if there is one.
    pub(crate) async fn claim_on(&self, credential: &str) -> Result<Option<Claim>> {
        let entries = self.entries()?;
        let key = key(credential)?;
        let found = self.bounds.call("find a claim", entries.get(&key)).await?;
        Ok(found.map(|value| self.read_claim(&value)))
    }

    /// Claims `credential` until `until` for the session under `id`, or for none, and returns whether
    /// this call was the first to do so.
    pub(crate) async fn claim(
        &self,
        credential: &str,
        id: Option<SessionId>,
        until: SystemTime,
    ) -> Result<bool> {
        let entries = self.entries()?;
        let left = until.duration_since(self.clock.now()).unwrap_or_default();
        // The clock of another host may be behind.
        let ttl = left.saturating_add(GRACE);
        let id = id.map(|id| id.to_hex()).unwrap_or_default();
        let value = format!("{} {id}", self.clock.seconds());
        let key = key(credential)?;
        let added = entries.add(&key, value.as_bytes(), Some(ttl));
        self.bounds.call("claim a credential", added).await
    }

    fn read_claim(&self, value: &[u8]) -> Claim {
        let parsed = || {
            let (at, id) = std::str::from_utf8(value).ok()?.split_once(' ')?;
            let age = self.clock.seconds().abs_diff(at.parse().ok()?);
            (Duration::from_secs(age) < GRACE).then_some(())?;
            id.parse().ok()
        };
        parsed().map_or(Claim::Spent, Claim::Recent)
    }

    fn entries(&self) -> Result<Arc<dyn KeyValue>> {
        Arc::clone(&self.store).key_value().ok_or_else(|| {
            let why = "the store keeps only sessions; implement `key_value` for your store";
            Error::new(ErrorKind::Unsupported, "claim a credential").because(why)
        })
    }
}

/// Returns the key of `credential`, which the store does not learn.
fn key(credential: &str) -> Result<Key> {
    let digest = Sha256::digest(credential);
    Ok(Namespace::new(NAMESPACE)?.key(digest))
}
