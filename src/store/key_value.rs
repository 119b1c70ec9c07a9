//! The trait of stores for the cache and the rate limit: bytes under a key, for a time.

use std::time::Duration;

use rocket::futures::stream::BoxStream;

use super::{Key, Namespace};
use crate::error::Result;

/// A store for the cache and the rate limit. It keeps bytes under a key, for a time.
///
/// Each call is atomic: others, in this process and in others, see all of its effect or none.
///
/// | call        | nothing there, or expired             | something there                                    |
/// |-------------|---------------------------------------|----------------------------------------------------|
/// | `get`       | `None`                                | its bytes                                          |
/// | `set`       | kept                                  | replaced, with its lifetime                        |
/// | `add`       | kept, `true`                          | unchanged, `false`                                 |
/// | `swap`      | kept if `expected` is `None`          | replaced if it is `expected`, with its lifetime    |
/// | `remove`    | `false`                               | removed, `true`                                    |
/// | `take`      | `None`                                | removed, and returned to one caller only           |
/// | `increment` | the amount, with the lifetime         | the sum; its lifetime stays                        |
///
/// A lifetime is rounded up to the unit of the store: seconds on Memcached, milliseconds elsewhere.
/// `None` means forever, and no other lifetime does.
#[rocket::async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// Returns whether the store removes entries before their time, when it needs the room. By
    /// default it does not.
    fn may_evict(&self) -> bool {
        false
    }

    /// Returns the bytes under `key`, if there are any.
    ///
    /// # Errors
    ///
    /// When the store cannot find out.
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    /// Keeps `value` under `key` for `ttl`.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded.
    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()>;

    /// Keeps `value` under `key` for `ttl` if there is no entry yet, and returns whether it did. By
    /// default it [swaps](Self::swap) nothing for `value`.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded.
    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        self.swap(key, None, value, ttl).await
    }

    /// Keeps `value` under `key` for `ttl` if the current value is `expected`, and returns whether
    /// it did.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded.
    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool>;

    /// Removes the entry under `key`, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded.
    async fn remove(&self, key: &Key) -> Result<bool>;

    /// Removes the entry under `key`, and returns its value. Of many callers, one gets it.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded. The value may then be lost.
    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    /// Adds `by` to the number under `key`, which `get` returns as decimal digits, and returns the
    /// sum. If there is no entry, it creates one with `by` for `ttl`.
    ///
    /// # Errors
    ///
    /// When the value is not a number, the sum does not fit into 63 bits, or the store fails or
    /// cannot find out whether it succeeded.
    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64>;

    /// Returns a stream of the names in `namespace`, in no particular order, except names too long
    /// for a key: see [`Namespace::key`].
    ///
    /// An entry that is created or removed meanwhile may be listed or not. The stream yields an
    /// `Err` when the store cannot continue.
    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>>;

    /// Removes all entries in `namespace`, and returns their number.
    ///
    /// # Errors
    ///
    /// When the store fails. Some entries may remain.
    async fn clear(&self, namespace: &Namespace) -> Result<u64>;
}
