//! The trait that every store of sessions implements.

use std::sync::Arc;

use rocket::futures::StreamExt;
use rocket::futures::stream::BoxStream;

use super::sweep::{Swept, sweep};
use super::{KeyValue, Revision, Save, Saved, Stored};
use crate::clock::Clock;
use crate::error::Result;
use crate::id::SessionId;

/// A store keeps sessions between requests.
///
/// It keeps bytes under a [`SessionId`] until they expire. It knows nothing of cookies, users and
/// Rocket. Many tasks may call it at the same time, and many processes too if
/// [`is_multiprocess_safe()`](Self::is_multiprocess_safe) returns `true`. Each call is atomic:
/// others see all of its effect or none.
///
/// | call             | nothing there, or expired                           | something there                            |
/// |------------------|-----------------------------------------------------|--------------------------------------------|
/// | `load_session`   | `None`                                              | its bytes and their revision               |
/// | `save_session`   | kept if the save requires [`Precondition::Absent`], else [`Saved::Gone`] | replaced if it has the required revision, else [`Saved::Changed`] |
/// | `delete_session` | `false`                                             | removed, `true`                            |
/// | `delete_session_if` | `false`                                          | removed if it has this revision, `true`; else `false` |
/// | `has_session`    | `false`                                             | `true`                                     |
///
/// *A deleted session stays deleted.* A save that was under way at the time returns
/// [`Saved::Gone`] and keeps nothing. An `Err` reports a failure of the store, never the state of a
/// session. A call whose future is dropped has either happened or not: the step under way at that
/// moment may still complete, and no other step begins.
///
/// The feature `testing` contains a test suite for this contract, also for stores of your own.
///
/// [`Precondition::Absent`]: super::Precondition::Absent
#[rocket::async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Returns the name of the store in figures and in the log, such as `redis`. _Default:_ `"own"`
    fn name(&self) -> &'static str {
        "own"
    }

    /// Returns whether several processes may share this store. _Default:_ `false`
    ///
    /// The launch refuses a store that returns `false` if `Rocket.toml` sets `multiprocess = true`.
    fn is_multiprocess_safe(&self) -> bool {
        false
    }

    /// Returns whether several threads may use this store. _Default:_ `true`
    ///
    /// The launch refuses a store that returns `false`.
    fn is_thread_safe(&self) -> bool {
        true
    }

    /// Returns whether expired sessions vanish by themselves, as they do on a server with its own
    /// clock. _Default:_ `false`
    ///
    /// The background sweep skips a store that returns `true`.
    fn expires_by_itself(&self) -> bool {
        false
    }

    /// Prepares the store: creates the directory, connects to the server. The launch calls it once;
    /// further calls change nothing. By default it does nothing.
    ///
    /// # Errors
    ///
    /// When the store cannot work. The error names the remedy.
    async fn setup(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the bytes last saved under `id`, and their revision.
    ///
    /// # Errors
    ///
    /// When the store cannot find out.
    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>>;

    /// Keeps bytes under `id` if the precondition of the save holds.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded. The earlier bytes are then
    /// intact, or wholly replaced.
    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved>;

    /// Removes the session under `id`, whatever its revision, and returns whether there was one.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded.
    async fn delete_session(&self, id: &SessionId) -> Result<bool>;

    /// Removes the session under `id` if it still has `revision`, and returns whether it had.
    ///
    /// A log-out deletes the session in this way when the store has no room for a save. So the
    /// deletion must succeed on a full store.
    ///
    /// # Errors
    ///
    /// When the store fails, or cannot find out whether it succeeded.
    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool>;

    /// Returns whether there is a session under `id`. By default it loads the session.
    ///
    /// # Errors
    ///
    /// When the store cannot find out.
    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        Ok(self.load_session(id).await?.is_some())
    }

    /// Removes expired sessions, and all sessions that were last saved `minutes` ago or earlier, as
    /// a daily job does. With [`u64::MAX`] it removes expired sessions only. The background sweep
    /// does this, because another application may have saved its sessions with another lifetime.
    ///
    /// A session that is saved during the sweep survives.
    ///
    /// By default it lists all sessions, and deletes each one whose record is too old by the
    /// system's clock. Lists contain no expired sessions, so a store that does not
    /// [expire them by itself](Self::expires_by_itself) must implement this method.
    ///
    /// # Errors
    ///
    /// When the store cannot list its sessions.
    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let now = Clock::system().seconds();
        let sessions = self.iter_sessions();
        let sessions = sessions.map(|listed| listed.map(|(id, stored)| (id, stored, ())));
        sweep(sessions, now, minutes, |id, revision, ()| async move {
            self.delete_session_if(&id, revision).await
        })
        .await
    }

    /// Returns a stream of all sessions that have not expired, in no particular order. It does not
    /// load them all at once.
    ///
    /// A session that is created or deleted meanwhile may be listed or not. The store does not
    /// interpret the bytes. [`Sessions::iter_sessions`](crate::Sessions::iter_sessions) decodes
    /// them, and leaves out tombstones and damaged records.
    ///
    /// The stream yields an `Err` when the store cannot continue.
    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>>;

    /// Moves damaged bytes under `id` aside, so that an administrator can examine them. Afterwards
    /// there is nothing under `id`.
    ///
    /// By default it does nothing: the bytes stay under `id` until they expire, and no save replaces
    /// them.
    ///
    /// # Errors
    ///
    /// When the store tries and fails.
    async fn quarantine(&self, id: &SessionId) -> Result<()> {
        let _ = id;
        Ok(())
    }

    /// Returns this store as a [`KeyValue`] store for the cache and the rate limit.
    ///
    /// A store that implements [`KeyValue`] returns `Some(self)`. By default it is `None`: the cache
    /// and the rate limit then need a `store` of their own in `Rocket.toml`.
    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        None
    }
}
