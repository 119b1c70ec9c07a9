//! The file of one session: loaded, saved, deleted and swept.
//!
//! Its modification time is the time of the save. Its access time is the time when the session
//! expires, which the record header holds too: so the sweep does not open a file that is far from
//! its end. If anybody else changes the access time, the sweep opens the file or leaves it for
//! later, but never removes a live session.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::cached_read::CachedRead;
use super::cancel::CancelToken;
use super::dir::{CORRUPT, Dir, TEMPORARY, age, file_time};
use super::lock::Lock;
use crate::id::SessionId;
use crate::store::{Precondition, RecordHeader, Revision, Saved, Stored, Swept};

/// The new content of a session's file.
pub(super) struct Content {
    pub(super) header: RecordHeader,
    pub(super) bytes: Vec<u8>,
}

impl Dir {
    /// Reads a session, unless that would wait for a disk.
    pub(super) fn load_cached(&self, name: &str) -> CachedRead<Stored> {
        self.read_cached(name)
            .and_then(|bytes| self.unless_expired(bytes))
    }

    /// Reads a session. It needs no lock: every save creates a new file, and an open file never
    /// changes.
    pub(super) fn load(&self, name: &str) -> io::Result<Option<Stored>> {
        let bytes = self.read(name)?;
        Ok(bytes.and_then(|bytes| self.unless_expired(bytes)))
    }

    /// Creates or replaces a session if the precondition holds. Returns `None` if the file is
    /// locked.
    pub(super) fn save(
        &self,
        name: &str,
        content: &Content,
        precondition: Precondition,
        cancel: &CancelToken,
    ) -> io::Result<Option<Saved>> {
        let Content { header, bytes } = content;
        let saved = Saved::Saved(header.revision);
        let times = FileTimes::new()
            .set_modified(self.clock.now())
            .set_accessed(file_time(Duration::from_secs(header.expires)));
        let is_new = precondition == Precondition::Absent;
        if is_new && self.create(name, bytes, times, cancel)? {
            return Ok(Some(saved));
        }
        let locked = match self.lock(name)? {
            Lock::Acquired(locked) => locked,
            Lock::Busy => return Ok(None),
            // It was removed just now: the next attempt can create it.
            Lock::Missing if is_new => return Ok(None),
            Lock::Foreign if is_new => return Ok(Some(Saved::Changed)),
            Lock::Missing | Lock::Foreign => return Ok(Some(Saved::Gone)),
        };
        let Some(current) = read_header(&locked.file)? else {
            // The bytes are damaged, and no save replaces them.
            return Ok(Some(Saved::Changed));
        };
        let current = (!self.has_expired(current)).then_some(current.revision);
        if let Some(refusal) = precondition.refusal(current) {
            return Ok(Some(refusal));
        }
        self.replace(name, bytes, times, cancel, &locked)?;
        Ok(Some(saved))
    }

    /// Removes a session, and returns whether it was live. Returns `None` if the file is locked.
    pub(super) fn delete(&self, name: &str, cancel: &CancelToken) -> io::Result<Option<bool>> {
        let locked = match self.lock(name)? {
            Lock::Acquired(locked) => locked,
            Lock::Busy => return Ok(None),
            Lock::Missing | Lock::Foreign => return Ok(Some(false)),
        };
        let header = read_header(&locked.file)?;
        let is_live = header.is_none_or(|header| !self.has_expired(header));
        self.remove(name, cancel, &locked)?;
        Ok(Some(is_live))
    }

    /// Removes a session if it still has `revision`, and returns whether it had. Returns `None` if
    /// the file is locked.
    pub(super) fn delete_if(
        &self,
        name: &str,
        revision: Revision,
        cancel: &CancelToken,
    ) -> io::Result<Option<bool>> {
        let locked = match self.lock(name)? {
            Lock::Acquired(locked) => locked,
            Lock::Busy => return Ok(None),
            Lock::Missing | Lock::Foreign => return Ok(Some(false)),
        };
        let matches = read_header(&locked.file)?
            .is_some_and(|header| header.revision == revision && !self.has_expired(header));
        if matches {
            self.remove(name, cancel, &locked)?;
        }
        Ok(Some(matches))
    }

    /// Renames the file of a damaged session. Returns `None` if the file is locked.
    pub(super) fn quarantine(&self, name: &str, cancel: &CancelToken) -> io::Result<Option<()>> {
        let path = self.path.join(name);
        match self.lock(name)? {
            Lock::Acquired(_locked) => {
                cancel.check()?;
                fs::rename(&path, path.with_extension(CORRUPT)).map(Some)
            }
            Lock::Busy => Ok(None),
            Lock::Missing | Lock::Foreign => Ok(Some(())),
        }
    }

    /// Removes expired sessions and entries, sessions last saved `minutes` ago or earlier, and
    /// temporary files that a crash left behind.
    pub(super) fn sweep(&self, minutes: u64, cancel: &CancelToken) -> io::Result<Swept> {
        let mut swept = Swept::default();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // The file may be gone or closed to this user: there is nothing to remove then.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                self.sweep_entries(&name, cancel)?;
            } else if name.starts_with(TEMPORARY) {
                self.remove_abandoned(&name, &metadata, cancel)?;
            } else if name.parse::<SessionId>().is_ok() && metadata.is_file() {
                let is_old = self.is_old(&metadata, minutes)
                    || metadata.accessed()? <= self.clock.now() && self.file_has_expired(&name)?;
                match is_old && self.remove_if_still_old(&name, minutes, cancel)? {
                    true => swept.deleted += 1,
                    false => swept.remaining += 1,
                }
            }
        }
        Ok(swept)
    }

    /// Returns the ids of all files.
    pub(super) fn ids(&self) -> io::Result<Vec<SessionId>> {
        let ids = fs::read_dir(&self.path)?.filter_map(|entry| match entry {
            Ok(entry) => entry.file_name().to_str()?.parse().ok().map(Ok),
            Err(error) => Some(Err(error)),
        });
        ids.collect()
    }

    /// Checks again under the lock whether a session is old, and removes it then.
    pub(super) fn remove_if_still_old(
        &self,
        name: &str,
        minutes: u64,
        cancel: &CancelToken,
    ) -> io::Result<bool> {
        // If the lock is busy, the session is about to be saved.
        let Lock::Acquired(locked) = self.lock(name)? else {
            return Ok(false);
        };
        let header = read_header(&locked.file)?;
        let is_old = header.is_some_and(|header| self.has_expired(header))
            || self.is_old(&locked.metadata, minutes);
        if is_old {
            self.remove(name, cancel, &locked)?;
        }
        Ok(is_old)
    }

    fn is_old(&self, metadata: &fs::Metadata, minutes: u64) -> bool {
        age(metadata, self.clock.now()) >= Duration::from_secs(minutes.saturating_mul(60))
    }

    /// Returns whether the session in a file has expired, without a lock.
    fn file_has_expired(&self, name: &str) -> io::Result<bool> {
        match self.open(name, OpenOptions::new().read(true))? {
            Some(file) => Ok(read_header(&file)?.is_some_and(|header| self.has_expired(header))),
            None => Ok(false),
        }
    }

    fn has_expired(&self, header: RecordHeader) -> bool {
        header.expires <= self.clock.seconds()
    }

    fn unless_expired(&self, bytes: Vec<u8>) -> Option<Stored> {
        let expired = RecordHeader::read(&bytes).is_some_and(|header| self.has_expired(header));
        (!expired).then(|| Stored::new(bytes))
    }
}

/// Returns the header of a session's file; `None` if its content is damaged.
fn read_header(file: &File) -> io::Result<Option<RecordHeader>> {
    let mut start = [0; RecordHeader::MAX_LEN];
    let read = file.read_at(&mut start, 0)?;
    Ok(RecordHeader::read(&start[..read]))
}
