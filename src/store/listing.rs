//! Streams of what a store keeps.

use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use rocket::tokio::task::yield_now;

use crate::error::Result;
use crate::id::SessionId;

/// The number of sessions that are loaded before other tasks have their turn. The sessions of a store in
/// memory are always ready, so a long list would otherwise occupy a thread until its end.
const TURN: usize = 64;

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
        .enumerate()
        .then(async |(at, loaded)| {
            if at % TURN == 0 {
                yield_now().await;
            }
            loaded
        })
        .try_filter_map(async |loaded| Ok(loaded))
        .boxed()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rocket::tokio::{self, runtime::Builder};

    use super::*;

    #[test]
    fn a_long_list_gives_other_tasks_their_turn() {
        static HAD_ITS_TURN: AtomicBool = AtomicBool::new(false);
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ids = stream::repeat_with(|| Ok(SessionId::random()))
                .take(2 * TURN)
                .boxed();
            let list = load_each(ids, 1, |id| async move { Ok(Some(id)) });
            let mut list = list.skip(TURN - 1);
            assert!(list.next().await.is_some());
            tokio::spawn(async { HAD_ITS_TURN.store(true, Ordering::Relaxed) });
            assert!(list.next().await.is_some());
            assert!(HAD_ITS_TURN.load(Ordering::Relaxed));
            assert_eq!(list.count().await, TURN - 1);
        });
    }
}
