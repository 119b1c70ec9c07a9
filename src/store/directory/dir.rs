//! A directory of files: how one is read, and how it is replaced while others try the same.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::clock::Clock;
use crate::config::{Durability, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::store::Namespace;

/// What files under way are called. No id and no key begins so.
pub(super) const TEMPORARY: &str = ".tmp-";

/// How old a file under way must be to have been left by a crash.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// What files kept aside for a human are called, behind the id.
pub(super) const CORRUPT: &str = "corrupt";

/// The time of a file that never expires, as time since 1970: two centuries.
pub(super) const FOR_EVER: Duration = Duration::from_secs(200 * 365 * 86_400);

/// The largest file that is read: the largest session there can be, with what is kept beside its
/// values.
pub(super) const LARGEST: u64 = 2 * Limits::LARGEST as u64;

/// A directory, and how files are kept in it.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    /// The directory of the store: this one, or the one that holds it.
    root: PathBuf,
    pub(super) durability: Durability,
    pub(super) clock: Clock,
    /// The user whom this process acts as.
    owner: u32,
}

/// Whoever waits for a call, as seen by the thread that does it.
///
/// A call may be given up while it waits for a thread, or while that thread waits for the disk. So
/// the thread looks once more before each step that others can see.
pub(super) struct Caller(Weak<()>);

impl Caller {
    /// Returns a caller who waits for as long as the other half is kept.
    pub(super) fn new() -> (Self, Arc<()>) {
        let waits = Arc::new(());
        (Self(Arc::downgrade(&waits)), waits)
    }

    /// # Errors
    ///
    /// When the call was given up, so that nothing more may happen. Nobody sees the error.
    pub(super) fn still_waits(&self) -> io::Result<()> {
        match self.0.strong_count() {
            0 => Err(io::Error::other("the call was given up")),
            _ => Ok(()),
        }
    }
}

/// What came of a try to read without waiting for a disk.
pub(super) enum Warm<T> {
    Done(io::Result<Option<T>>),
    MightBlock,
}

/// A file that only this process may replace or remove.
pub(super) struct Locked {
    pub(super) file: File,
    pub(super) metadata: Metadata,
}

/// What became of a try to lock a file.
pub(super) enum Lock {
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
            root: path.clone(),
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
            let closed = self.close(metadata.mode());
            if !closed.is_ok_and(|closed| closed) {
                return refuse(
                    "others than its owner have access to it, and what is in it may be theirs; run `chmod 700` \
                     on it, or set `sessions.directory.path` to a new directory inside it"
                        .into(),
                );
            }
            log::warn!(
                "others than its owner had access to the directory `{}`; it is closed to them now (mode 700)",
                self.path.display()
            );
        }
        if let Err(error) = self.temporary() {
            return refuse(format!(
                "it cannot be written to ({error}); let this user write to it, or set `sessions.directory.path`"
            ));
        }
        Ok(())
    }

    /// Closes the directory, whose mode is `mode`, to others than its owner. `false`: it may hold
    /// what others need, or what they put there.
    fn close(&self, mode: u32) -> io::Result<bool> {
        let others_could_write = mode & 0o022 != 0;
        let holds_only_ours = || -> io::Result<bool> {
            for entry in fs::read_dir(&self.path)? {
                if others_could_write || !self.could_have_made(&entry?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if !holds_only_ours()? {
            return Ok(false);
        }
        fs::set_permissions(&self.path, Permissions::from_mode(0o700))?;
        // Some file systems have one mode for all. And somebody may just have put something there.
        let closed = fs::metadata(&self.path)?.mode() & 0o077 == 0;
        Ok(closed && holds_only_ours()?)
    }

    /// Returns the directory in this one that is called `name`, which may be missing.
    pub(super) fn within(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
            ..self.clone()
        }
    }

    /// Reads a file, unless that might wait for a disk.
    #[cfg(target_os = "linux")]
    pub(super) fn read_warm(&self, name: &str) -> Warm<Vec<u8>> {
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
            Ok(read) if read == bytes.len() => Warm::Done(Ok(Some(bytes))),
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Warm::MightBlock,
            Err(error) => Warm::Done(Err(error.into())),
        }
    }

    /// Only Linux can tell whether reading would wait.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn read_warm(&self, _: &str) -> Warm<Vec<u8>> {
        Warm::MightBlock
    }

    /// Reads a file. No lock: every save makes a new file, and one that is open never changes.
    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(mut file) = self.open(name, OpenOptions::new().read(true))? else {
            return Ok(None);
        };
        let metadata = file.metadata()?;
        if !self.is_ours(&metadata) {
            return Ok(None);
        }
        let mut bytes = vec![0; metadata.len() as usize];
        file.read_exact(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Makes a file that has `times`. `false`: there is one already.
    pub(super) fn create(
        &self,
        name: &str,
        bytes: &[u8],
        times: FileTimes,
        caller: &Caller,
    ) -> io::Result<bool> {
        let file = self.write(bytes, times)?;
        caller.still_waits()?;
        match file.persist_noclobber(self.path.join(name)) {
            Ok(_) => self.entry_written().map(|()| true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    }

    /// Puts another file, which has `times`, in the place of the one that is locked.
    pub(super) fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        times: FileTimes,
        caller: &Caller,
        _: &Locked,
    ) -> io::Result<()> {
        let file = self.write(bytes, times)?;
        caller.still_waits()?;
        file.persist(self.path.join(name))
            .map_err(|error| error.error)?;
        self.entry_written()
    }

    /// Removes the file that is locked.
    pub(super) fn remove(&self, name: &str, caller: &Caller, _: &Locked) -> io::Result<()> {
        caller.still_waits()?;
        fs::remove_file(self.path.join(name))?;
        self.entry_written()
    }

    /// Removes a file under way, if a crash left it behind.
    pub(super) fn remove_left_behind(
        &self,
        name: &str,
        metadata: &Metadata,
        caller: &Caller,
    ) -> io::Result<()> {
        if metadata.is_file() && age(metadata, SystemTime::now()) > LEFT_BEHIND {
            caller.still_waits()?;
            missing_is_fine(fs::remove_file(self.path.join(name)))?;
        }
        Ok(())
    }

    /// Opens a file; `None` when there is none, or something that is no file.
    pub(super) fn open(&self, name: &str, options: &mut OpenOptions) -> io::Result<Option<File>> {
        use rustix::io::Errno;

        let path = self.path.join(name);
        // Not through a symbolic link, and without waiting for whoever has the other end of a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let error = match options.custom_flags(flags.bits().cast_signed()).open(&path) {
            Ok(file) => return Ok(Some(file)),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            // The whole directory may be gone, which is no news about this file.
            Some(Errno::NOENT) => fs::metadata(&self.root).map(|_| None),
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

    /// Locks a file, without waiting.
    pub(super) fn lock(&self, name: &str) -> io::Result<Lock> {
        let path = self.path.join(name);
        let mut tries = 0;
        loop {
            let Some(file) = self.open(name, OpenOptions::new().read(true).write(true))? else {
                tries += 1;
                match fs::symlink_metadata(&path) {
                    // Somebody may have made it just now.
                    Ok(metadata) if metadata.is_file() && tries < 10 => continue,
                    Ok(_) => return Ok(Lock::Foreign),
                    Err(_) => return Ok(Lock::Missing),
                }
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
            "larger than anything that is kept"
        } else {
            return true;
        };
        warn_of_foreign(wrong);
        false
    }

    /// Returns whether an entry of the directory has name, mode and owner of those made here.
    fn could_have_made(&self, entry: &fs::DirEntry) -> io::Result<bool> {
        let (name, metadata) = (entry.file_name(), entry.metadata()?);
        let name = name.to_string_lossy();
        let named = match metadata.is_dir() {
            true => Namespace::new(&name).is_ok(),
            false => {
                let aside = name
                    .strip_suffix(CORRUPT)
                    .and_then(|id| id.strip_suffix('.'));
                let id = aside.unwrap_or(&name).parse::<SessionId>();
                metadata.is_file() && (id.is_ok() || name.starts_with(TEMPORARY))
            }
        };
        Ok(named && metadata.uid() == self.owner && metadata.mode() & 0o077 == 0)
    }

    fn temporary(&self) -> io::Result<NamedTempFile> {
        // tempfile gives it mode 0600.
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .rand_bytes(12)
            .tempfile_in(&self.path)
    }

    /// Returns a file, beside the others and without a name of its own yet, with `bytes` in it.
    fn write(&self, bytes: &[u8], times: FileTimes) -> io::Result<NamedTempFile> {
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        file.as_file().set_times(times)?;
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

/// How long before `now` the file was written: nothing, where that lies ahead because a clock was
/// set back.
pub(super) fn age(metadata: &Metadata, now: SystemTime) -> Duration {
    now.duration_since(metadata.modified().unwrap_or(UNIX_EPOCH))
        .unwrap_or_default()
}

/// Returns the point in time so many seconds or milliseconds after 1970, as far as a file can have
/// it: at most two centuries, which stands for ever.
pub(super) fn file_time(since_1970: Duration) -> SystemTime {
    UNIX_EPOCH + since_1970.min(FOR_EVER)
}

/// What is gone already need not be removed.
fn missing_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn warn_of_foreign(what: &str) {
    log::warn!(
        "something in the directory of sessions that has a name of ours is {what}; it was left alone"
    );
}
