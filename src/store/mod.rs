//! What a store of sessions must do, and the few bytes of a session that it may read.

pub(crate) mod bounded;
pub(crate) mod configured;
mod directory;
mod edit;
mod key_value;
#[cfg(feature = "memcached")]
mod memcached;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rocket::futures::stream::BoxStream;

use crate::error::Result;
use crate::id::SessionId;

pub use directory::DirectoryStore;
pub use key_value::{Key, KeyValue, Namespace};
#[cfg(feature = "memcached")]
pub use memcached::MemcachedStore;
pub use memory::MemoryStore;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
pub(crate) use server::Server;

/// A place where sessions wait between two requests.
///
/// A store keeps bytes under a [`SessionId`] until they expire. It knows no cookie, no user and no
/// Rocket. Every call may come from many tasks and, where
/// [`is_multiprocess_safe()`](Self::is_multiprocess_safe) says so, from many processes at once;
/// each is one step that others see done or not done, never half.
///
/// | call             | nothing there, or expired                           | something there                            |
/// |------------------|-----------------------------------------------------|--------------------------------------------|
/// | `load_session`   | `None`                                              | its bytes and their revision               |
/// | `save_session`   | [`Precondition::Absent`]: kept, else [`Saved::Gone`]      | this revision: replaced, else [`Saved::Changed`] |
/// | `delete_session` | `false`                                             | gone for good, `true`                      |
/// | `delete_session_if` | `false`                                          | this revision: gone for good, `true`; else `false` |
/// | `has_session`    | `false`                                             | `true`                                     |
///
/// *Deleted stays deleted*: a save that was under way when the session went answers [`Saved::Gone`]
/// and keeps nothing. An `Err` is about the store, never about the session. A call whose future is
/// dropped has either happened or not: the one step that was under way at that moment may still be
/// done, and none begins after it.
///
/// The feature `testing` offers this contract as a suite of tests, for stores of one's own too.
#[rocket::async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Returns whether several processes may share what this store keeps.
    ///
    /// The launch refuses a store that says `false` when `Rocket.toml` says `multiprocess = true`.
    fn is_multiprocess_safe(&self) -> bool;

    /// Returns whether several threads may use this store. The launch refuses one that says
    /// `false`.
    fn is_thread_safe(&self) -> bool;

    /// Returns whether what expired vanishes without
    /// [`delete_old_sessions`](Self::delete_old_sessions), as it does on a server that keeps time
    /// itself. The background sweep leaves such a store alone.
    fn expires_by_itself(&self) -> bool {
        false
    }

    /// Makes ready: creates the directory, reaches the server. Called once at launch; calling it
    /// again does no harm.
    ///
    /// # Errors
    ///
    /// When the store cannot work, in a sentence that names the remedy.
    async fn setup(&self) -> Result<()>;

    /// Returns the bytes last saved under `id`, and their revision.
    ///
    /// # Errors
    ///
    /// When the store cannot tell whether there are any.
    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>>;

    /// Keeps bytes under `id`, if what is there is what the save expects.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did. What was there before is then
    /// intact, or wholly replaced.
    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved>;

    /// Removes what is kept under `id`, whatever its revision, and returns whether there was any.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did.
    async fn delete_session(&self, id: &SessionId) -> Result<bool>;

    /// Removes what is kept under `id` if it is still the save `revision`, and returns whether it
    /// was.
    ///
    /// A session is ended in this way where the store has no room for anything new: a deletion
    /// must succeed then.
    ///
    /// # Errors
    ///
    /// When the store could not do it, or cannot tell whether it did.
    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool>;

    /// Returns whether anything is kept under `id`.
    ///
    /// # Errors
    ///
    /// When the store cannot tell.
    async fn has_session(&self, id: &SessionId) -> Result<bool>;

    /// Removes what expired, and all sessions that were not saved for `minutes`: what a daily job
    /// does. With [`u64::MAX`] only what expired goes, which is what the background sweep asks for:
    /// when a session expires was said by the application that saved it, and a sweep may be
    /// another's.
    ///
    /// A session that is saved while this runs survives it.
    ///
    /// # Errors
    ///
    /// When the store cannot list what it keeps.
    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept>;

    /// Returns all that is kept and has not expired, in no order, one after the other and not all
    /// at once.
    ///
    /// A session that is created or ends meanwhile may be there or not. What the bytes mean is not
    /// the store's affair: [`Sessions::iter_sessions`](crate::Sessions::iter_sessions) reads them,
    /// and leaves out what is no session any more.
    ///
    /// The stream holds an `Err` when the store cannot go on.
    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>>;

    /// Keeps aside, for a human to look at, bytes under `id` that turned out to be no session; then
    /// nothing is under `id`.
    ///
    /// A store that cannot does nothing, which is the default: the bytes stay until they expire.
    ///
    /// # Errors
    ///
    /// When the store tried and failed.
    async fn quarantine(&self, id: &SessionId) -> Result<()> {
        let _ = id;
        Ok(())
    }

    /// Returns this store as one that keeps entries too, for the cache and the rate limit.
    ///
    /// A store that implements [`KeyValue`] answers `Some(self)`. One that does not answers `None`,
    /// which is the default: the cache and the rate limit then need a `store` of their own in
    /// `Rocket.toml`.
    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        None
    }
}

/// Which of the saves under one id this is: two saves never have the same.
///
/// What the number means is the store's affair. Most use the one in the [`RecordHeader`] of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revision(pub u64);

/// What a store holds under an id.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// What was saved, to the byte.
    pub bytes: Vec<u8>,
    /// Which save it was.
    pub revision: Revision,
}

impl Stored {
    /// Returns `bytes` with the revision that their [`RecordHeader`] tells.
    pub fn new(bytes: Vec<u8>) -> Self {
        let revision = RecordHeader::read(&bytes).map_or(Revision(0), |head| head.revision);
        Self { bytes, revision }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored({} bytes)", self.bytes.len())
    }
}

/// One save: what to keep, for how long, and what must be there before.
#[derive(Clone, Copy)]
pub struct Save<'a> {
    /// What to keep. It begins with a [`RecordHeader`].
    pub bytes: &'a [u8],
    /// How long to keep it, unless it is saved again. The [`RecordHeader`] of the bytes says the same as a
    /// point in time.
    pub ttl: Duration,
    /// What must be there before.
    pub precondition: Precondition,
}

impl fmt::Debug for Save<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Save({} bytes, for {:?}, {:?})",
            self.bytes.len(),
            self.ttl,
            self.precondition
        )
    }
}

/// What must be under an id for a save to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing, or something that expired.
    Absent,
    /// What [`load_session`](SessionStore::load_session) or an earlier save told.
    Revision(Revision),
}

/// What became of a save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is kept, as this revision.
    Saved(Revision),
    /// Something else is there; nothing was written.
    Changed,
    /// There is nothing any more; nothing was written.
    Gone,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// How many sessions it removed.
    pub deleted: u64,
    /// How many it left.
    pub remaining: u64,
}

/// The start of every session's bytes: all that a store may read of them.
///
/// It looks like `{"rev":"9f86d081884c7d65","expires":1763745460,` and is the start of a JSON
/// object.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::store::{RecordHeader, Revision};
///
/// let head = RecordHeader::read(br#"{"rev":"9f86d081884c7d65","expires":1763745460,"v":1}"#).unwrap();
/// assert_eq!(head.revision, Revision(0x9f86_d081_884c_7d65));
/// assert_eq!(head.expires, 1_763_745_460);
/// assert_eq!(RecordHeader::read(b"garbage"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Which save wrote these bytes.
    pub revision: Revision,
    /// When the session expires unless it is saved again, in seconds since 1970.
    pub expires: u64,
}

impl RecordHeader {
    /// The longest a head can be, in bytes.
    pub const MAX_LEN: usize = 64;
    /// Where the 16 hex digits of the revision stand.
    pub const REVISION: std::ops::Range<usize> = 8..24;

    /// Returns the head of `bytes`, or of the first [`MAX_LEN`](Self::MAX_LEN) of them; `None` when
    /// they have none.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let revision = bytes.strip_prefix(br#"{"rev":""#)?.get(..16)?;
        let expires = bytes
            .get(Self::REVISION.end..)?
            .strip_prefix(br#"","expires":"#)?;
        let digits = expires
            .iter()
            .position(|byte| !byte.is_ascii_digit())
            .filter(|&at| expires[at] == b',')?;
        Some(Self {
            revision: Revision(u64::from_str_radix(lower_hex(revision)?, 16).ok()?),
            expires: std::str::from_utf8(&expires[..digits]).ok()?.parse().ok()?,
        })
    }
}

fn lower_hex(digits: &[u8]) -> Option<&str> {
    let canonical = digits
        .iter()
        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    canonical
        .then(|| std::str::from_utf8(digits).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_head_is_read() {
        let whole = br#"{"rev":"00000000000000ff","expires":12,"v":1}"#;
        assert_eq!(
            RecordHeader::read(whole),
            Some(RecordHeader {
                revision: Revision(255),
                expires: 12
            })
        );
        let comma = whole.iter().position(|&b| b == b'1').expect("there is one") + 3;
        for cut in 0..comma {
            assert_eq!(RecordHeader::read(&whole[..cut]), None, "cut at {cut}");
        }
        for no in [
            &br#"{"rev":"00000000000000FF","expires":12,"#[..],
            br#"{"rev":"+0000000000000ff","expires":12,"#,
            br#"{"rev":"00000000000000ff","expires":-1,"#,
            br#"{"rev":"00000000000000ff","expires":,"#,
            br#"{"rev":"00000000000000ff","expires":99999999999999999999999,"#,
            br#" {"rev":"00000000000000ff","expires":12,"#,
        ] {
            assert_eq!(
                RecordHeader::read(no),
                None,
                "{}",
                String::from_utf8_lossy(no)
            );
        }
    }
}
