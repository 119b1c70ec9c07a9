//! One session's file in the directory: loaded, saved, deleted and swept.

//!
//! A file's time of modification is that of the save. Its time of access is when the session expires,
//! as its head says too: a sweep need not open a file that is far from its end. Whoever else sets that
//! time makes a sweep look into the file, or leave it for later, and never removes a session that lives.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::dir::{CORRUPT, Caller, Dir, Lock, TEMPORARY, Warm, age, file_time};
use crate::id::SessionId;
use crate::store::{Precondition, RecordHeader, Revision, Saved, Stored, Swept};

impl Dir {
    /// Reads a session, unless that might wait for a disk.
    pub(super) fn load_warm(&self, name: &str) -> Warm<Stored> {
        match self.read_warm(name) {
            Warm::Done(read) => {
                Warm::Done(read.map(|bytes| bytes.and_then(|bytes| self.unless_expired(bytes))))
            }
            Warm::MightBlock => Warm::MightBlock,
        }
    }

    /// Reads a session. No lock: every save makes a new file, and one that is open never changes.
    pub(super) fn load(&self, name: &str) -> io::Result<Option<Stored>> {
        Ok(self
            .read(name)?
            .and_then(|bytes| self.unless_expired(bytes)))
    }

    /// Replaces, or creates, a session, if what is there is what is expected. `None`: somebody else
    /// has it locked.
    pub(super) fn save(
        &self,
        name: &str,
        bytes: &[u8],
        precondition: Precondition,
        caller: &Caller,
    ) -> io::Result<Option<Saved>> {
        let new = RecordHeader::read(bytes).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "what is to be saved has no head",
            )
        })?;
        let saved = Saved::Saved(new.revision);
        let times = FileTimes::new()
            .set_modified(self.clock.now())
            .set_accessed(file_time(Duration::from_secs(new.expires)));
        if precondition == Precondition::Absent && self.create(name, bytes, times, caller)? {
            return Ok(Some(saved));
        }
        let locked = match self.lock(name)? {
            Lock::Taken(locked) => locked,
            Lock::Busy => return Ok(None),
            Lock::Missing if precondition == Precondition::Absent => return Ok(None),
            Lock::Missing => return Ok(Some(Saved::Gone)),
            Lock::Foreign if precondition == Precondition::Absent => {
                return Ok(Some(Saved::Changed));
            }
            Lock::Foreign => return Ok(Some(Saved::Gone)),
        };
        let head = head(&locked.file)?;
        match (
            precondition,
            head.filter(|head| head.expires > self.clock.seconds()),
        ) {
            (Precondition::Absent, None) if head.is_some() => {}
            (Precondition::Absent, _) => return Ok(Some(Saved::Changed)),
            (Precondition::Revision(_), None) if head.is_some() => return Ok(Some(Saved::Gone)),
            (Precondition::Revision(revision), Some(head)) if head.revision == revision => {}
            (Precondition::Revision(_), _) => return Ok(Some(Saved::Changed)),
        }
        self.replace(name, bytes, times, caller, &locked)?;
        Ok(Some(saved))
    }

    /// Removes a session, and tells whether it had not expired. `None`: somebody else has it
    /// locked.
    pub(super) fn delete(&self, name: &str, caller: &Caller) -> io::Result<Option<bool>> {
        let locked = match self.lock(name)? {
            Lock::Taken(locked) => locked,
            Lock::Busy => return Ok(None),
            Lock::Missing | Lock::Foreign => return Ok(Some(false)),
        };
        let live = head(&locked.file)?.is_none_or(|head| head.expires > self.clock.seconds());
        self.remove(name, caller, &locked)?;
        Ok(Some(live))
    }

    /// Removes a session if it is still the save `revision`, and tells whether it was. `None`:
    /// somebody else has it locked.
    pub(super) fn delete_if(
        &self,
        name: &str,
        revision: Revision,
        caller: &Caller,
    ) -> io::Result<Option<bool>> {
        let locked = match self.lock(name)? {
            Lock::Taken(locked) => locked,
            Lock::Busy => return Ok(None),
            Lock::Missing | Lock::Foreign => return Ok(Some(false)),
        };
        let now = self.clock.seconds();
        let same =
            head(&locked.file)?.is_some_and(|head| head.revision == revision && head.expires > now);
        if same {
            self.remove(name, caller, &locked)?;
        }
        Ok(Some(same))
    }

    /// Gives what is no session another name. `None`: somebody else has it locked.
    pub(super) fn quarantine(&self, name: &str, caller: &Caller) -> io::Result<Option<()>> {
        let path = self.path.join(name);
        match self.lock(name)? {
            Lock::Taken(_locked) => {
                caller.still_waits()?;
                fs::rename(&path, path.with_extension(CORRUPT)).map(Some)
            }
            Lock::Busy => Ok(None),
            Lock::Missing | Lock::Foreign => Ok(Some(())),
        }
    }

    /// Removes what expired, what was not saved for `minutes`, and what crashes left behind.
    pub(super) fn sweep(&self, minutes: u64, caller: &Caller) -> io::Result<Swept> {
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
            if metadata.is_dir() {
                self.sweep_entries(&name, caller)?;
            } else if name.starts_with(TEMPORARY) {
                self.remove_left_behind(&name, &metadata, caller)?;
            } else if name.parse::<SessionId>().is_ok() && metadata.is_file() {
                let old = self.is_old(&metadata, minutes)
                    || metadata.accessed()? <= self.clock.now() && self.has_expired(&name)?;
                match old && self.remove_if_still_old(&name, minutes, caller)? {
                    true => swept.deleted += 1,
                    false => swept.remaining += 1,
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

    pub(super) fn remove_if_still_old(
        &self,
        name: &str,
        minutes: u64,
        caller: &Caller,
    ) -> io::Result<bool> {
        // Whoever has it locked is about to save it.
        let Lock::Taken(locked) = self.lock(name)? else {
            return Ok(false);
        };
        let old = self.is_over(head(&locked.file)?) || self.is_old(&locked.metadata, minutes);
        if old {
            self.remove(name, caller, &locked)?;
        }
        Ok(old)
    }

    fn is_old(&self, metadata: &fs::Metadata, minutes: u64) -> bool {
        age(metadata, self.clock.now()) >= Duration::from_secs(minutes.saturating_mul(60))
    }

    /// Returns whether the session in a file has expired, without a lock.
    fn has_expired(&self, name: &str) -> io::Result<bool> {
        match self.open(name, OpenOptions::new().read(true))? {
            Some(file) => Ok(self.is_over(head(&file)?)),
            None => Ok(false),
        }
    }

    fn is_over(&self, head: Option<RecordHeader>) -> bool {
        head.is_some_and(|head| head.expires <= self.clock.seconds())
    }

    fn unless_expired(&self, bytes: Vec<u8>) -> Option<Stored> {
        let over = self.is_over(RecordHeader::read(&bytes));
        (!over).then(|| Stored::new(bytes))
    }
}

/// Returns the head of what is in a session's file; `None` when it is no session.
fn head(file: &File) -> io::Result<Option<RecordHeader>> {
    let mut start = [0; RecordHeader::MAX_LEN];
    let read = file.read_at(&mut start, 0)?;
    Ok(RecordHeader::read(&start[..read]))
}
