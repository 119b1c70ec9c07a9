//! Streams of what a store keeps.

use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::error::Result;
use crate::id::SessionId;

/// Returns the items of a list that is fetched as a whole.
pub(super) fn items<'a, T: Send + 'a>(
    fetch: impl Future<Output = Result<Vec<T>>> + Send + 'a,
) -> BoxStream<'a, Result<T>> {
    stream::once(fetch)
        .map_ok(|items| stream::iter(items).map(Ok))
        .try_flatten()
        .boxed()
}

/// Returns the names that are session ids.
#[cfg(any(feature = "redis", feature = "memcached"))]
pub(super) fn ids<'a>(names: BoxStream<'a, Result<String>>) -> BoxStream<'a, Result<SessionId>> {
    names
        .try_filter_map(async |name: String| Ok(name.parse().ok()))
        .boxed()
}

/// Loads each session, at most `concurrency` at the same time, and leaves out those that are gone.
pub(super) fn load_each<'a, T: Send + 'a, F>(
    ids: BoxStream<'a, Result<SessionId>>,
    concurrency: usize,
    load: impl FnMut(SessionId) -> F + Send + 'a,
) -> BoxStream<'a, Result<T>>
where
    F: Future<Output = Result<Option<T>>> + Send + 'a,
{
    ids.map_ok(load)
        .try_buffer_unordered(concurrency)
        .try_filter_map(async |loaded| Ok(loaded))
        .boxed()
}
