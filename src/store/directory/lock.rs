//! The lock on a file, which lets one process at a time replace or remove it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;

use super::dir::{Dir, LockedFile};

/// The outcome of an attempt to lock a file.
pub(super) enum Lock {
    Acquired(LockedFile),
    /// Another task or process holds the lock.
    Busy,
    /// There is no such file.
    Missing,
    /// The file is not the store's to touch.
    Foreign,
}

/// How often to open a file that exists but cannot be found.
const ATTEMPTS: usize = 10;

impl Dir {
    /// Tries to lock a file, without waiting.
    pub(super) fn lock(&self, name: &str) -> io::Result<Lock> {
        let path = self.path.join(name);
        let mut attempts = 0;
        loop {
            let Some(file) = self.open(name, OpenOptions::new().read(true).write(true))? else {
                attempts += 1;
                match fs::symlink_metadata(&path) {
                    // Another process may have created it just now.
                    Ok(metadata) if metadata.is_file() && attempts < ATTEMPTS => continue,
                    Ok(_) => return Ok(Lock::Foreign),
                    Err(_) => return Ok(Lock::Missing),
                }
            };
            // The full name, because since Rust 1.89 `File` has methods of the same names with
            // other return types.
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
                // The lock counts only if the name still belongs to the locked file.
                Ok(named) if (named.dev(), named.ino()) == (metadata.dev(), metadata.ino()) => {
                    return Ok(Lock::Acquired(LockedFile { file, metadata }));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::Missing),
                Err(error) => return Err(error),
            }
        }
    }
}
