//! A directory of Session3: a file for each session.

use std::ffi::OsString;
use std::fs::{File, ReadDir};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs2::FileExt;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::machine::MAX_INPUT;
use super::session3::session3;
use crate::decode_error::{DecodeError, DecodeErrorKind};
use crate::record::Record;

/// The sessions in a directory of Session3's `DirectorySessionStore`, as an iterator.
///
/// An item is the name of a file, which is the id of the old session, and its session, or the reason
/// why it cannot be imported. Files without a session are skipped and counted. Nothing in the
/// directory changes, and symbolic links are not followed.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::import::Session3Directory;
///
/// let directory = tempfile::tempdir().unwrap();
/// std::fs::write(directory.path().join("README"), "no session").unwrap();
///
/// let mut sessions = Session3Directory::open(directory.path()).unwrap();
/// assert!(sessions.next().is_none());
/// assert_eq!(sessions.skipped(), 1);
/// ```
#[derive(Debug)]
pub struct Session3Directory {
    path: PathBuf,
    entries: ReadDir,
    skipped: u64,
    /// The empty files among them, until the log mentions them.
    empty: u64,
}

impl Session3Directory {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DecodeError> {
        let path = path.as_ref().to_owned();
        let entries = path
            .read_dir()
            .map_err(|error| failed(&error, "directory"))?;
        Ok(Self {
            path,
            entries,
            skipped: 0,
            empty: 0,
        })
    }

    /// Returns how many entries were skipped so far: directories, links, empty files and files of other
    /// programs.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns the session in the file, or `None` if it holds something else.
    fn read(&mut self, name: &OsString) -> Result<Option<Record>, DecodeError> {
        let bytes = self.bytes(name).map_err(|error| failed(&error, "file"))?;
        self.empty += u64::from(bytes.as_ref().is_some_and(Vec::is_empty));
        // Session3 writes protocol 2 or 4, which begin with this byte.
        let Some(bytes) = bytes.filter(|bytes| bytes.first() == Some(&0x80)) else {
            return Ok(None);
        };
        match session3(&bytes) {
            Err(error) if error.kind() == DecodeErrorKind::NotASession => Ok(None),
            read => read.map(Some),
        }
    }

    /// Returns the first bytes of the file, as many as a session may have; `None` if it is not a plain file.
    fn bytes(&self, name: &OsString) -> io::Result<Option<Vec<u8>>> {
        // A file that has just become a pipe does not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(self.path.join(name), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // It was removed, or became a link, while the directory was read.
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        // Session3 locks a file while it writes it.
        FileExt::lock_shared(&file)?;
        let mut bytes = Vec::new();
        file.take(MAX_INPUT as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Logs how many files were empty.
    fn warn_of_empty(&mut self) {
        let empty = std::mem::take(&mut self.empty);
        if empty > 0 {
            log::warn!(
                "skipped {empty} empty files of Session3: it empties a file before it writes it, and was interrupted, or is running"
            );
        }
    }
}

impl Iterator for Session3Directory {
    type Item = (OsString, Result<Record, DecodeError>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next() {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    return Some((OsString::new(), Err(failed(&error, "directory"))));
                }
                None => {
                    self.warn_of_empty();
                    return None;
                }
            };
            let name = entry.file_name();
            let read = match entry.file_type() {
                Ok(kind) if !kind.is_file() => Ok(None),
                _ => self.read(&name),
            };
            match read.transpose() {
                Some(read) => return Some((name, read)),
                None => self.skipped += 1,
            }
        }
    }
}

/// Returns the error about a file or directory that cannot be read.
fn failed(error: &io::Error, what: &'static str) -> DecodeError {
    DecodeError::new(DecodeErrorKind::Io(error.kind())).of(what)
}
