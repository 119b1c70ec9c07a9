//! The sweep: old sessions are deleted, and counted.

use rocket::futures::{Stream, TryStreamExt};

use super::{Revision, Stored};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::Record;

/// How many deletions run at the same time.
const CONCURRENCY: usize = 16;

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many sessions it removed.
    pub deleted: u64,
    /// How many sessions remain, with tombstones.
    pub remaining: u64,
}

/// Calls `delete` for each session whose record was last saved `minutes` before `now` or earlier.
///
/// `now` is in seconds since 1970. The third part of an item helps the store to delete it.
pub(super) async fn sweep<T, F>(
    sessions: impl Stream<Item = Result<(SessionId, Stored, T)>>,
    now: u64,
    minutes: u64,
    delete: impl Fn(SessionId, Revision, T) -> F,
) -> Result<Swept>
where
    F: Future<Output = Result<bool>>,
{
    let age = minutes.saturating_mul(60);
    sessions
        .map_ok(|(id, stored, hint)| {
            let record = Record::decode(stored.bytes, &id);
            let is_old = record.is_some_and(|record| now.saturating_sub(record.accessed) >= age);
            let deletion = is_old.then(|| delete(id, stored.revision, hint));
            async {
                match deletion {
                    Some(deletion) => deletion.await,
                    None => Ok(false),
                }
            }
        })
        .try_buffer_unordered(CONCURRENCY)
        .try_fold(Swept::default(), async |mut swept, deleted| {
            match deleted {
                true => swept.deleted += 1,
                false => swept.remaining += 1,
            }
            Ok(swept)
        })
        .await
}
