//! One session's file: how it is read, and how it is replaced while others try the same.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt as _, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use super::Durability;
use crate::clock::Clock;
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::store::{Expect, Head, Saved, Stored, Swept};

/// What files under way are called. No id begins so.
const TEMPORARY: &str = ".tmp-";

/// How old a file under way must be to have been left by a crash.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// What files kept aside for a human are called, behind the id.
const CORRUPT: &str = "corrupt";

/// The largest file that is read: the largest session there can be, with what is kept beside its
/// values.
const LARGEST: u64 = 2 * Limits::LARGEST as u64;

/// Of files up to this size a sweep looks whether they expired early: what sessions leave behind
/// for a minute is smaller.
const SMALL: u64 = 160;

/// The directory, and how files are kept in it.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    pub(super) durability: Durability,
    pub(super) clock: Clock,
    /// The user whom this process acts as.
    owner: u32,
}

/// What came of a try to read without waiting for a disk.
pub(super) enum Warm {
    Done(io::Result<Option<Stored>>),
    MightBlock,
}

/// A file that only this process may replace or remove.
struct Locked {
    file: File,
    metadata: Metadata,
}

/// What became of a try to lock a session's file.
enum Lock {
    Taken(Locked),
    /// Somebody else has it.
    Busy,
    /// There is no such file.
    Missing,
    /// What is there is not ours to touch.
    Foreign,
}

impl Dir {
    pub(super) fn new(path: PathBuf) -> Self {
        let owner = rustix::process::geteuid().as_raw();
        Self {
            path,
            durability: Durability::None,
            clock: Clock::system(),
            owner,
        }
    }

    /// Makes the directory, or checks the one that is there.
    pub(super) fn prepare(&self) -> Result<()> {
        let refuse = |why: String| {
            Err(Error::new(ErrorKind::Config, "use the directory")
                .at(self.path.display())
                .because(why))
        };
        match fs::DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return refuse(
                    "its parent does not exist; create that, or set `sessions.directory.path`"
                        .into(),
                );
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return refuse(format!(
                    "it cannot be created ({error}); create it for this user, or set `sessions.directory.path`"
                ));
            }
            _ => {}
        }
        let metadata = match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => metadata,
            Ok(_) => {
                return refuse(
                    "it is not a directory; remove it, or set `sessions.directory.path`".into(),
                );
            }
            Err(error) => {
                return refuse(format!(
                    "it cannot be read ({error}); let this user read it"
                ));
            }
        };
        if metadata.uid() != self.owner {
            return refuse(
                "it belongs to another user; `chown` it to the one who runs the application".into(),
            );
        }
        if metadata.mode() & 0o077 != 0 {
            return refuse("others than its owner have access to it; run `chmod 700` on it".into());
        }
        if let Err(error) = self.temporary() {
            return refuse(format!(
                "it cannot be written to ({error}); let this user write to it, or set `sessions.directory.path`"
            ));
        }
        Ok(())
    }

    /// Reads a session, unless that might wait for a disk.
    #[cfg(target_os = "linux")]
    pub(super) fn load_warm(&self, name: &str) -> Warm {
        use rustix::fs::{CWD, Mode, ResolveFlags, openat2};
        use rustix::io::{Errno, ReadWriteFlags, preadv2};

        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat2(
            CWD,
            self.path.join(name),
            flags,
            Mode::empty(),
            ResolveFlags::CACHED,
        ) {
            Ok(fd) => File::from(fd),
            // Not in the cache, or not there at all, or no such system call: find out the slow way.
            Err(_) => return Warm::MightBlock,
        };
        let metadata = match file.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Warm::Done(Err(error)),
        };
        if !self.is_ours(&metadata) {
            return Warm::Done(Ok(None));
        }
        let mut bytes = vec![0; metadata.len() as usize];
        match preadv2(
            &file,
            &mut [io::IoSliceMut::new(&mut bytes)],
            0,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(read) if read == bytes.len() => Warm::Done(Ok(self.unless_expired(bytes))),
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Warm::MightBlock,
            Err(error) => Warm::Done(Err(error.into())),
        }
    }

    /// Only Linux can tell whether reading would wait.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn load_warm(&self, _: &str) -> Warm {
        Warm::MightBlock
    }

    /// Reads a session. No lock: every save makes a new file, and one that is open never changes.
    pub(super) fn load(&self, name: &str) -> io::Result<Option<Stored>> {
        let Some(mut file) = self.open(name, OpenOptions::new().read(true))? else {
            return Ok(None);
        };
        let metadata = file.metadata()?;
        if !self.is_ours(&metadata) {
            return Ok(None);
        }
        let mut bytes = vec![0; metadata.len() as usize];
        file.read_exact(&mut bytes)?;
        Ok(self.unless_expired(bytes))
    }

    /// Replaces, or creates, a session, if what is there is what is expected. `None`: somebody else
    /// has it locked.
    pub(super) fn save(
        &self,
        name: &str,
        bytes: &[u8],
        expect: Expect,
    ) -> io::Result<Option<Saved>> {
        let path = self.path.join(name);
        let saved = Head::read(bytes).map(|head| Saved::Saved(head.revision));
        let saved = saved.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "what is to be saved has no head",
            )
        })?;
        if expect == Expect::Absent {
            match self.write(bytes)?.persist_noclobber(&path) {
                Ok(_) => return self.entry_written().map(|()| Some(saved)),
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.error),
            }
        }
        let locked = match self.lock(name)? {
            Lock::Taken(locked) => locked,
            Lock::Busy => return Ok(None),
            Lock::Missing if expect == Expect::Absent => return Ok(None),
            Lock::Missing => return Ok(Some(Saved::Gone)),
            Lock::Foreign if expect == Expect::Absent => return Ok(Some(Saved::Changed)),
            Lock::Foreign => return Ok(Some(Saved::Gone)),
        };
        let head = locked.head()?;
        match (
            expect,
            head.filter(|head| head.expires > self.clock.seconds()),
        ) {
            (Expect::Absent, None) if head.is_some() => {}
            (Expect::Absent, _) => return Ok(Some(Saved::Changed)),
            (Expect::Revision(_), None) if head.is_some() => return Ok(Some(Saved::Gone)),
            (Expect::Revision(revision), Some(head)) if head.revision == revision => {}
            (Expect::Revision(_), _) => return Ok(Some(Saved::Changed)),
        }
        self.write(bytes)?
            .persist(&path)
            .map_err(|error| error.error)?;
        self.entry_written()?;
        Ok(Some(saved))
    }

    /// Removes a session, and tells whether it had not expired. `None`: somebody else has it
    /// locked.
    pub(super) fn delete(&self, name: &str) -> io::Result<Option<bool>> {
        let locked = match self.lock(name)? {
            Lock::Taken(locked) => locked,
            Lock::Busy => return Ok(None),
            Lock::Missing | Lock::Foreign => return Ok(Some(false)),
        };
        let live = locked
            .head()?
            .is_none_or(|head| head.expires > self.clock.seconds());
        fs::remove_file(self.path.join(name))?;
        self.entry_written()?;
        Ok(Some(live))
    }

    /// Gives what is no session another name. `None`: somebody else has it locked.
    pub(super) fn set_aside(&self, name: &str) -> io::Result<Option<()>> {
        let path = self.path.join(name);
        match self.lock(name)? {
            Lock::Taken(_locked) => fs::rename(&path, path.with_extension(CORRUPT)).map(Some),
            Lock::Busy => Ok(None),
            Lock::Missing | Lock::Foreign => Ok(Some(())),
        }
    }

    /// Removes what expired, what was not saved for `minutes`, and what crashes left behind.
    pub(super) fn sweep(&self, minutes: u64) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Gone meanwhile, or not for us to see: either way there is nothing to remove.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if name.starts_with(TEMPORARY) {
                if metadata.is_file() && age(&metadata, SystemTime::now()) > LEFT_BEHIND {
                    fs::remove_file(entry.path()).or_else(missing_is_fine)?;
                }
            } else if name.parse::<SessionId>().is_ok() && metadata.is_file() {
                match self.is_old(&metadata, minutes)
                    || self.is_small_and_expired(&entry.path(), &metadata)
                {
                    true if self.remove_if_still_old(&name, minutes)? => swept.deleted += 1,
                    _ => swept.remaining += 1,
                }
            }
        }
        Ok(swept)
    }

    /// Returns the ids that have files.
    pub(super) fn ids(&self) -> io::Result<Vec<SessionId>> {
        let names = fs::read_dir(&self.path)?.filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().to_str()?.parse().ok().map(Ok),
            Err(error) => Some(Err(error)),
        });
        names.collect()
    }

    fn remove_if_still_old(&self, name: &str, minutes: u64) -> io::Result<bool> {
        // Whoever has it locked is about to save it.
        let Lock::Taken(locked) = self.lock(name)? else {
            return Ok(false);
        };
        let expired = locked
            .head()?
            .is_some_and(|head| head.expires <= self.clock.seconds());
        let old = expired || self.is_old(&locked.metadata, minutes);
        if old {
            fs::remove_file(self.path.join(name))?;
        }
        Ok(old)
    }

    fn is_old(&self, metadata: &Metadata, minutes: u64) -> bool {
        age(metadata, self.clock.now()) >= Duration::from_secs(minutes.saturating_mul(60))
    }

    fn is_small_and_expired(&self, path: &Path, metadata: &Metadata) -> bool {
        let read = || Head::read(&fs::read(path).ok()?);
        metadata.len() <= SMALL && read().is_some_and(|head| head.expires <= self.clock.seconds())
    }

    /// Opens a session's file; `None` when there is none, or something that is no file.
    fn open(&self, name: &str, options: &mut OpenOptions) -> io::Result<Option<File>> {
        use rustix::io::Errno;

        let path = self.path.join(name);
        // Not through a symbolic link, and without waiting for whoever has the other end of a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let error = match options.custom_flags(flags.bits().cast_signed()).open(&path) {
            Ok(file) => return Ok(Some(file)),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            // The whole directory may be gone, which is no news about this session.
            Some(Errno::NOENT) => fs::metadata(&self.path).map(|_| None),
            Some(Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::NODEV) => {
                warn_of_foreign("no regular file");
                Ok(None)
            }
            Some(Errno::ACCESS) if fs::symlink_metadata(&path).is_ok() => {
                warn_of_foreign("closed to this user");
                Ok(None)
            }
            _ => Err(error),
        }
    }

    /// Locks a session's file, without waiting.
    fn lock(&self, name: &str) -> io::Result<Lock> {
        let path = self.path.join(name);
        loop {
            let Some(file) = self.open(name, OpenOptions::new().read(true).write(true))? else {
                return Ok(if fs::symlink_metadata(&path).is_ok() {
                    Lock::Foreign
                } else {
                    Lock::Missing
                });
            };
            // By its full name: since Rust 1.89 `File` has methods of the same names that answer
            // other types.
            match fs2::FileExt::try_lock_exclusive(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Lock::Busy),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let metadata = file.metadata()?;
            if !self.is_ours(&metadata) {
                return Ok(Lock::Foreign);
            }
            match fs::symlink_metadata(&path) {
                // Only the lock on the file that has the name counts.
                Ok(named) if (named.dev(), named.ino()) == (metadata.dev(), metadata.ino()) => {
                    return Ok(Lock::Taken(Locked { file, metadata }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::Missing),
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns whether this is a file that we wrote, or could have.
    fn is_ours(&self, metadata: &Metadata) -> bool {
        let wrong = if !metadata.is_file() {
            "no regular file"
        } else if metadata.uid() != self.owner {
            "another user's"
        } else if metadata.mode() & 0o077 != 0 {
            "open to others than its owner"
        } else if metadata.len() > LARGEST {
            "larger than any session"
        } else {
            return true;
        };
        warn_of_foreign(wrong);
        false
    }

    fn unless_expired(&self, bytes: Vec<u8>) -> Option<Stored> {
        let expired = Head::read(&bytes).is_some_and(|head| head.expires <= self.clock.seconds());
        (!expired).then(|| Stored::new(bytes))
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        // tempfile gives it mode 0600.
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .rand_bytes(12)
            .tempfile_in(&self.path)
    }

    /// Returns a file, beside the others and without a name of its own yet, with `bytes` in it.
    fn write(&self, bytes: &[u8]) -> io::Result<NamedTempFile> {
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        file.as_file().set_modified(self.clock.now())?;
        if self.durability != Durability::None {
            file.as_file().sync_all()?;
        }
        Ok(file)
    }

    /// Makes sure, where that is asked for, that the directory's entries are on the disk.
    fn entry_written(&self) -> io::Result<()> {
        match self.durability {
            Durability::Full => File::open(&self.path)?.sync_all(),
            Durability::None | Durability::Data => Ok(()),
        }
    }
}

impl Locked {
    /// Returns the head of what is in the file; `None` when it is no session.
    fn head(&self) -> io::Result<Option<Head>> {
        let mut start = [0; Head::MAX_LEN];
        let read = self.file.read_at(&mut start, 0)?;
        Ok(Head::read(&start[..read]))
    }
}

/// How long before `now` the file was written: nothing, where that lies ahead because a clock was
/// set back.
fn age(metadata: &Metadata, now: SystemTime) -> Duration {
    now.duration_since(metadata.modified().unwrap_or(UNIX_EPOCH))
        .unwrap_or_default()
}

fn missing_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

fn warn_of_foreign(what: &str) {
    log::warn!(
        "something in the directory of sessions that has a session's name is {what}; it was left alone"
    );
}
