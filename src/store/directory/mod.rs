//! The store that needs no server: a directory with one file per session.

mod dir;
mod entries;
mod sessions;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rocket::futures::StreamExt;
use rocket::futures::stream::{self, BoxStream};
use rocket::tokio::task::{spawn_blocking, yield_now};
use rocket::tokio::time::sleep;

use self::dir::{Caller, Dir, Warm};
use super::edit::{self, Step};
use super::{Key, KeyValue, Namespace, Revision, Save, Saved, SessionStore, Stored, Swept};
use crate::clock::Clock;
use crate::config::Durability;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;

/// A [`SessionStore`] that keeps one file per session in a directory.
///
/// A save writes a file beside the old one and renames it into place: a reader finds the session as
/// it was or as it is, never half of each, also after a crash of the process. (After a power cut it
/// depends on [`Durability`].) Writers, in this process and in others, take turns by an exclusive
/// `flock(2)` on the session's file, and make sure that it still is the session's file. Readers
/// take no lock.
///
/// The directory belongs to this user alone (mode `0700`), and so do the files in it (`0600`); what
/// is not such a file is neither read, followed nor written. A file's name is the session's id and
/// its content is JSON.
///
/// Use it when one machine serves the site. Not on NFS, whose locks and caches do not hold what is
/// said above. For several machines use a server.
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

/// The largest value of an entry: what is read of a file, less the line before the value.
const LARGEST_VALUE: usize = dir::LARGEST as usize - 32;

impl DirectoryStore {
    /// Returns the store in the directory at `path`, which is created when it is missing, but not
    /// its parent.
    ///
    /// # Errors
    ///
    /// When the directory cannot be created or written to, or others than its owner have access to
    /// it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let dir = Dir::new(path.into());
        dir.prepare()?;
        Ok(Self { dir: Arc::new(dir) })
    }

    /// Sets what survives when the power fails. _Default:_ [`Durability::None`]
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

    /// Returns where the sessions are.
    pub fn path(&self) -> &Path {
        &self.dir.path
    }

    /// Does `work` where it may wait for the disk.
    ///
    /// It may have to wait for a thread, too. When this is given up meanwhile, `work` never begins;
    /// when it has begun, it asks the [`Caller`] before each of its steps.
    async fn blocking<T: Send + 'static>(
        &self,
        act: &'static str,
        work: impl FnOnce(&Dir, &Caller) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let dir = Arc::clone(&self.dir);
        let (caller, _waits) = Caller::new();
        let work = move || {
            caller.still_waits()?;
            work(&dir, &caller)
        };
        match spawn_blocking(work).await {
            Ok(done) => done.map_err(|error| self.unavailable(act, error)),
            Err(panic) => Err(self.unavailable(act, io::Error::other(panic.to_string()))),
        }
    }

    /// Does `work` as soon as nobody else has the session's file locked.
    ///
    /// `work` answers `None` while somebody has. It is then asked again, so that waiting takes no
    /// thread, and so that nothing happens any more once the caller has given up.
    async fn in_turn<T: Send + 'static>(
        &self,
        act: &'static str,
        work: impl Fn(&Dir, &Caller) -> io::Result<Option<T>> + Send + Sync + 'static,
    ) -> Result<T> {
        let work = Arc::new(work);
        let mut pause = Pause::default();
        loop {
            let again = Arc::clone(&work);
            let done = self.blocking(act, move |dir, caller| again(dir, caller));
            if let Some(done) = done.await? {
                return Ok(done);
            }
            pause.pass().await;
        }
    }

    /// Changes an entry in one step. See [`edit`].
    async fn edit<T: Send + 'static>(
        &self,
        key: &Key,
        act: &'static str,
        step: impl Fn(Option<&[u8]>) -> Step<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let key = key.clone();
        self.in_turn(act, move |dir, caller| dir.edit(&key, &step, caller))
            .await
    }

    fn unavailable(&self, act: &'static str, error: io::Error) -> Error {
        Error::new(ErrorKind::Unavailable, act)
            .at(self.dir.path.display())
            .because(error)
    }
}

#[rocket::async_trait]
impl SessionStore for DirectoryStore {
    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    fn is_thread_safe(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        self.dir.prepare()
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let name = id.to_hex();
        match self.dir.load_warm(&name) {
            Warm::Done(done) => done.map_err(|error| self.unavailable("load a session", error)),
            Warm::MightBlock => {
                self.blocking("load a session", move |dir, _| dir.load(&name))
                    .await
            }
        }
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let (name, bytes, precondition) = (id.to_hex(), save.bytes.to_vec(), save.precondition);
        self.in_turn("save a session", move |dir, caller| {
            dir.save(&name, &bytes, precondition, caller)
        })
        .await
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let name = id.to_hex();
        self.in_turn("delete a session", move |dir, caller| {
            dir.delete(&name, caller)
        })
        .await
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let name = id.to_hex();
        self.in_turn("delete a session", move |dir, caller| {
            dir.delete_if(&name, revision, caller)
        })
        .await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        Ok(self.load_session(id).await?.is_some())
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        self.blocking("delete old sessions", move |dir, caller| {
            dir.sweep(minutes, caller)
        })
        .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let names = self.blocking("list the sessions", |dir, _| dir.ids());
        let ids = stream::once(names).flat_map(|ids| match ids {
            Ok(ids) => stream::iter(ids).map(Ok).left_stream(),
            Err(error) => stream::once(async { Err(error) }).right_stream(),
        });
        let loaded = ids.then(async |id| {
            let id = id?;
            let stored = self.load_session(&id).await?;
            Ok(stored.map(|stored| (id, stored)))
        });
        loaded.filter_map(async |found| found.transpose()).boxed()
    }

    async fn quarantine(&self, id: &SessionId) -> Result<()> {
        let name = id.to_hex();
        self.in_turn("keep aside what is no session", move |dir, caller| {
            dir.quarantine(&name, caller)
        })
        .await
    }
}

#[rocket::async_trait]
impl KeyValue for DirectoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        match self.dir.entry_warm(key) {
            Warm::Done(done) => done.map_err(|error| self.unavailable("read an entry", error)),
            Warm::MightBlock => {
                let key = key.clone();
                self.blocking("read an entry", move |dir, _| dir.entry(&key))
                    .await
            }
        }
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        fits(value)?;
        self.edit(key, "keep an entry", edit::set(value, ttl)).await
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        self.swap(key, None, value, ttl).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        fits(value)?;
        self.edit(key, "keep an entry", edit::swap(expected, value, ttl))
            .await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let taken = self.edit(key, "remove an entry", edit::take).await?;
        Ok(taken.is_some())
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.edit(key, "take an entry", edit::take).await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        self.edit(key, "increment an entry", edit::increment(by, ttl))
            .await?
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let namespace = namespace.clone();
        let names = self.blocking("list the entries", move |dir, _| dir.entries(&namespace));
        stream::once(names)
            .flat_map(|names| match names {
                Ok(names) => stream::iter(names).map(Ok).left_stream(),
                Err(error) => stream::once(async { Err(error) }).right_stream(),
            })
            .boxed()
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let act = "clear the entries";
        let there = self.dir.within(namespace.as_str());
        let mut names = self.blocking(act, move |_, _| there.files()).await?;
        let mut cleared = 0;
        let mut pause = Pause::default();
        loop {
            let namespace = namespace.clone();
            let clear = self.blocking(act, move |dir, caller| {
                let cleared = dir.clear(&namespace, &mut names, caller)?;
                Ok((cleared, names))
            });
            let (more, busy) = clear.await?;
            cleared += more;
            if busy.is_empty() {
                return Ok(cleared);
            }
            names = busy;
            pause.pass().await;
        }
    }
}

/// The time until a lock that somebody else has is asked for again: longer each time, and never a
/// thread's.
#[derive(Default)]
struct Pause(Duration);

impl Pause {
    async fn pass(&mut self) {
        match self.0 {
            Duration::ZERO => yield_now().await,
            pause => sleep(pause).await,
        }
        self.0 = (self.0 * 2).clamp(Duration::from_millis(1), Duration::from_millis(8));
    }
}

/// Refuses what could be written, but not be read.
fn fits(value: &[u8]) -> Result<()> {
    if value.len() <= LARGEST_VALUE {
        return Ok(());
    }
    let why = format!("a value may not take more than {LARGEST_VALUE} bytes");
    Err(Error::new(ErrorKind::Limit, "keep an entry").because(why))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::store::{Precondition, Revision};

    /// What is in a directory, and in those in it.
    fn tree(path: &Path) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(path).expect("it is there") {
            let path = entry.expect("it is there").path();
            match path.is_dir() {
                true => all.extend(tree(&path)),
                false => drop(all.insert(path.clone(), fs::read_to_string(path).expect("a text"))),
            }
        }
        all
    }

    /// It was saved anew after a sweep had found it expired.
    #[test]
    fn a_sweep_looks_again_when_it_has_the_lock() {
        let there = tempfile::tempdir().expect("there is room");
        let dir = Dir::new(there.path().join("sessions"));
        dir.prepare().expect("it can be made");
        let (caller, _waits) = Caller::new();
        let name = SessionId::random().to_hex();
        let live = br#"{"rev":"0000000000000001","expires":99999999999,"#;
        dir.save(&name, live, Precondition::Absent, &caller)
            .expect("it is saved");
        let swept = dir.remove_if_still_old(&name, u64::MAX, &caller);
        assert!(!swept.expect("it can look"));
        assert!(dir.load(&name).expect("it can be read").is_some());
        let swept = dir.remove_if_still_old(&name, 0, &caller);
        assert!(swept.expect("it can look"));
        assert!(dir.load(&name).expect("it can be read").is_none());
    }

    /// The caller gives up while the thread is at work already.
    #[test]
    fn no_step_is_taken_for_a_caller_who_gave_up() {
        let there = tempfile::tempdir().expect("there is room");
        let dir = Dir::new(there.path().join("sessions"));
        dir.prepare().expect("it can be made");
        let namespace = Namespace::new("cache").expect("it is a name");
        let (key, other) = (
            namespace.key("a"),
            Namespace::new("b").expect("a name").key("b"),
        );
        let (old, new) = (SessionId::random().to_hex(), SessionId::random().to_hex());
        let bytes =
            |rev: u8| format!(r#"{{"rev":"{rev:016x}","expires":99999999999,"#).into_bytes();
        let (caller, waits) = Caller::new();
        let set = |key: &Key, caller: &Caller| dir.edit(key, edit::set(b"x", None), caller);
        dir.save(&old, &bytes(1), Precondition::Absent, &caller)
            .expect("it is saved");
        set(&key, &caller).expect("it is set");
        let before = tree(there.path());
        assert_eq!(before.len(), 2);

        drop(waits);
        let next = Precondition::Revision(Revision(1));
        let mut names = vec!["a".into()];
        let refused = [
            dir.save(&old, &bytes(2), next, &caller).is_err(),
            dir.save(&new, &bytes(2), Precondition::Absent, &caller)
                .is_err(),
            dir.delete(&old, &caller).is_err(),
            dir.delete_if(&old, Revision(1), &caller).is_err(),
            dir.quarantine(&old, &caller).is_err(),
            dir.sweep(0, &caller).is_err(),
            set(&key, &caller).is_err(),
            set(&other, &caller).is_err(),
            dir.edit(&key, edit::take, &caller).is_err(),
            dir.clear(&namespace, &mut names, &caller).is_err(),
        ];
        assert_eq!(refused, [true; 10]);
        assert!(tree(there.path()) == before, "something was changed");
        assert!(!dir.within("b").path.exists());
    }
}
