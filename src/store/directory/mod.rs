//! The store that needs no server: a directory with one file per session.

mod cached_read;
mod cancel;
mod dir;
mod entry_file;
mod key_value;
mod lock;
mod prepare;
mod session_file;
mod session_store;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rocket::tokio::task::{spawn_blocking, yield_now};
use rocket::tokio::time::sleep;

use self::cancel::CancelToken;
use self::dir::Dir;
use crate::clock::Clock;
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};

/// A [`SessionStore`](super::SessionStore) that keeps one file per session in a directory.
///
/// A save writes a temporary file and renames it over the old one. A reader sees the old session or
/// the new one, never a mixture, even after a crash of the process. (After a power cut it depends
/// on [`Durability`].) A writer, in this process or in another, holds an exclusive `flock(2)` on the
/// session's file, and checks that the name still belongs to the locked file. Readers take no lock.
///
/// The directory belongs to this user alone (mode `0700`), and so do its files (`0600`). The store
/// ignores all other files: it neither reads nor writes nor follows them. The name of a file is the
/// session's id, and its content is JSON.
///
/// Use it when one machine serves the site. Do not use it on NFS, whose locks and caches break these
/// guarantees. For several machines use a server.
///
/// # Example
///
/// ```rust,no_run
/// use rocket_session_kit::{DirectoryStore, Durability, Sessions};
///
/// let store = DirectoryStore::open("/var/lib/shop/sessions")?.sync(Durability::Data);
/// let rocket = rocket::build().attach(Sessions::with(store));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DirectoryStore {
    dir: Arc<Dir>,
}

impl DirectoryStore {
    /// Returns the store in the directory at `path`. It creates the directory if it is missing, but
    /// not its parent.
    ///
    /// # Errors
    ///
    /// When the directory cannot be created or written to, or when others than its owner have access.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let dir = Dir::new(path.into());
        dir.prepare()?;
        Ok(Self { dir: Arc::new(dir) })
    }

    /// Sets which data survives a power failure. _Default:_ [`Durability::None`]
    #[must_use]
    pub fn sync(mut self, durability: Durability) -> Self {
        Arc::make_mut(&mut self.dir).durability = durability;
        self
    }

    /// Sets the clock by which sessions expire. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        Arc::make_mut(&mut self.dir).clock = clock;
        self
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.dir.path
    }

    /// Runs `work` on a thread that may wait for the disk.
    ///
    /// If the call is dropped before a thread is free, `work` never begins. Once it has begun, it
    /// checks the [`CancelToken`] before each of its steps.
    async fn blocking<T: Send + 'static>(
        &self,
        act: &'static str,
        work: impl FnOnce(&Dir, &CancelToken) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let dir = Arc::clone(&self.dir);
        let (cancel, _guard) = CancelToken::new();
        let work = move || {
            cancel.check()?;
            work(&dir, &cancel)
        };
        match spawn_blocking(work).await {
            Ok(done) => done.map_err(|error| self.unavailable(act, error)),
            Err(panic) => Err(self.unavailable(act, io::Error::other(panic.to_string()))),
        }
    }

    /// Runs `work` until it finds the file unlocked.
    ///
    /// `work` returns `None` while the file is locked, and runs again after a pause. So the wait
    /// occupies no thread, and nothing happens once the call is dropped.
    async fn retry_while_locked<T: Send + 'static>(
        &self,
        act: &'static str,
        work: impl Fn(&Dir, &CancelToken) -> io::Result<Option<T>> + Send + Sync + 'static,
    ) -> Result<T> {
        let work = Arc::new(work);
        let mut backoff = Backoff::default();
        loop {
            let work = Arc::clone(&work);
            let done = self.blocking(act, move |dir, cancel| work(dir, cancel));
            if let Some(done) = done.await? {
                return Ok(done);
            }
            backoff.wait().await;
        }
    }

    fn unavailable(&self, act: &'static str, error: io::Error) -> Error {
        Error::new(ErrorKind::Unavailable, act)
            .at(self.dir.path.display())
            .because(error)
    }
}

/// The pause before the next attempt to lock a file. It doubles each time, up to a limit.
#[derive(Default)]
struct Backoff(Duration);

impl Backoff {
    async fn wait(&mut self) {
        match self.0 {
            Duration::ZERO => yield_now().await,
            pause => sleep(pause).await,
        }
        self.0 = (self.0 * 2).clamp(Duration::from_millis(1), Duration::from_millis(8));
    }
}
