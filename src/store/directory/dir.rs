//! A directory of files: reading one, and replacing it while others try the same.

use std::fs::{self, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use super::cancel::CancelToken;
use crate::clock::Clock;
use crate::config::{Durability, Limits};

/// The start of the names of temporary files. No id and no key begins with it.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A temporary file older than this was left behind by a crash.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// The extension of quarantined files.
pub(super) const CORRUPT: &str = "corrupt";

/// The time of a file that never expires, counted from 1970: two centuries.
pub(super) const FOR_EVER: Duration = Duration::from_secs(200 * 365 * 86_400);

/// The size of the largest file that is read: the largest possible session, with the fields beside
/// its values.
pub(super) const LARGEST: u64 = 2 * Limits::LARGEST as u64;

/// A directory, and how files are kept in it.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    pub(super) path: PathBuf,
    /// The directory of the store: this one, or its parent.
    root: PathBuf,
    pub(super) durability: Durability,
    pub(super) clock: Clock,
    /// The effective user of this process.
    pub(super) owner: u32,
}

/// A file that only this process may replace or remove.
pub(super) struct LockedFile {
    pub(super) file: File,
    pub(super) metadata: Metadata,
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

    /// Returns the subdirectory called `name`, which may be missing.
    pub(super) fn subdirectory(&self, name: &str) -> Self {
        Self {
            path: self.path.join(name),
            ..self.clone()
        }
    }

    /// Reads a file. It needs no lock: every save creates a new file, and an open file never
    /// changes.
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

    /// Creates a file with `times`. Returns `false` if it exists already.
    pub(super) fn create(
        &self,
        name: &str,
        bytes: &[u8],
        times: FileTimes,
        cancel: &CancelToken,
    ) -> io::Result<bool> {
        let file = self.write(bytes, times)?;
        cancel.check()?;
        match file.persist_noclobber(self.path.join(name)) {
            Ok(_) => self.sync_directory().map(|()| true),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error.error),
        }
    }

    /// Replaces the locked file by a new one with `times`.
    pub(super) fn replace(
        &self,
        name: &str,
        bytes: &[u8],
        times: FileTimes,
        cancel: &CancelToken,
        _: &LockedFile,
    ) -> io::Result<()> {
        let file = self.write(bytes, times)?;
        cancel.check()?;
        file.persist(self.path.join(name))
            .map_err(|error| error.error)?;
        self.sync_directory()
    }

    /// Removes the locked file.
    pub(super) fn remove(
        &self,
        name: &str,
        cancel: &CancelToken,
        _: &LockedFile,
    ) -> io::Result<()> {
        cancel.check()?;
        fs::remove_file(self.path.join(name))?;
        self.sync_directory()
    }

    /// Removes a temporary file, if a crash left it behind.
    pub(super) fn remove_abandoned(
        &self,
        name: &str,
        metadata: &Metadata,
        cancel: &CancelToken,
    ) -> io::Result<()> {
        if metadata.is_file() && age(metadata, SystemTime::now()) > ABANDONED_AFTER {
            cancel.check()?;
            match fs::remove_file(self.path.join(name)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
        Ok(())
    }

    /// Opens a file. Returns `None` if there is none, or if it is not a regular file.
    pub(super) fn open(&self, name: &str, options: &mut OpenOptions) -> io::Result<Option<File>> {
        use rustix::io::Errno;

        let path = self.path.join(name);
        // It follows no symbolic link, and waits for no writer of a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let error = match options.custom_flags(flags.bits().cast_signed()).open(&path) {
            Ok(file) => return Ok(Some(file)),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            // If the whole directory is missing, the file's state is unknown.
            Some(Errno::NOENT) => fs::metadata(&self.root).map(|_| None),
            Some(Errno::LOOP | Errno::NXIO | Errno::ISDIR | Errno::NODEV) => {
                warn_of_foreign_file("not a regular file");
                Ok(None)
            }
            Some(Errno::ACCESS) if fs::symlink_metadata(&path).is_ok() => {
                warn_of_foreign_file("closed to this user");
                Ok(None)
            }
            _ => Err(error),
        }
    }

    /// Returns whether the store wrote this file, or could have.
    pub(super) fn is_ours(&self, metadata: &Metadata) -> bool {
        let problem = if !metadata.is_file() {
            "not a regular file"
        } else if metadata.uid() != self.owner {
            "owned by another user"
        } else if metadata.mode() & 0o077 != 0 {
            "open to others than its owner"
        } else if metadata.len() > LARGEST {
            "larger than any session or entry"
        } else {
            return true;
        };
        warn_of_foreign_file(problem);
        false
    }

    /// Creates a temporary file.
    pub(super) fn temporary(&self) -> io::Result<NamedTempFile> {
        // The crate `tempfile` sets mode 0600.
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .rand_bytes(12)
            .tempfile_in(&self.path)
    }

    /// Writes `bytes` to a temporary file.
    fn write(&self, bytes: &[u8], times: FileTimes) -> io::Result<NamedTempFile> {
        let mut file = self.temporary()?;
        file.write_all(bytes)?;
        file.as_file().set_times(times)?;
        if self.durability != Durability::None {
            file.as_file().sync_all()?;
        }
        Ok(file)
    }

    /// Writes the directory itself to the disk, if the durability demands it.
    fn sync_directory(&self) -> io::Result<()> {
        match self.durability {
            Durability::Full => File::open(&self.path)?.sync_all(),
            Durability::None | Durability::Data => Ok(()),
        }
    }
}

/// Returns how long before `now` the file was written: zero, if its time is later because a clock
/// was set back.
pub(super) fn age(metadata: &Metadata, now: SystemTime) -> Duration {
    now.duration_since(metadata.modified().unwrap_or(UNIX_EPOCH))
        .unwrap_or_default()
}

/// Returns the point in time at this distance from 1970, as far as a file can represent it: at most
/// two centuries, which means forever.
pub(super) fn file_time(since_1970: Duration) -> SystemTime {
    UNIX_EPOCH + since_1970.min(FOR_EVER)
}

fn warn_of_foreign_file(problem: &str) {
    log::warn!(
        "a file in the directory of sessions has a name of the store, but is {problem}; the store ignores it"
    );
}
