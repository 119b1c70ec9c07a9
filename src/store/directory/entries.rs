//! One entry's file, in the directory of its namespace: read, changed, listed and swept.
//!
//! A file begins with a line that tells when the entry expires, in milliseconds since 1970, 0 for
//! never; the bytes follow. Its time of modification says the same, so that a sweep need not open
//! it.

use std::fs::{self, DirBuilder, FileTimes};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use super::dir::{Caller, Dir, FOR_EVER, Lock, Locked, TEMPORARY, Warm, file_time};
use crate::store::edit::{Next, Step};
use crate::store::{Key, Namespace};

/// What is in an entry's file.
struct Entry<'a> {
    /// Milliseconds since 1970.
    expires: Option<u64>,
    value: &'a [u8],
}

impl Dir {
    /// Reads an entry, unless that might wait for a disk.
    pub(super) fn entry_warm(&self, key: &Key) -> Warm<Vec<u8>> {
        match self.within(key.namespace()).read_warm(key.escaped()) {
            Warm::Done(read) => {
                Warm::Done(read.map(|bytes| bytes.and_then(|bytes| self.value(&bytes))))
            }
            Warm::MightBlock => Warm::MightBlock,
        }
    }

    /// Reads an entry.
    pub(super) fn entry(&self, key: &Key) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.within(key.namespace()).read(key.escaped())?;
        Ok(bytes.and_then(|bytes| self.value(&bytes)))
    }

    /// Changes an entry. `None`: somebody else has it locked, or was faster.
    pub(super) fn edit<T>(
        &self,
        key: &Key,
        step: impl Fn(Option<&[u8]>) -> Step<T>,
        caller: &Caller,
    ) -> io::Result<Option<T>> {
        let (there, name) = (self.within(key.namespace()), key.escaped());
        let now = self.clock.millis();
        match there.lock(name)? {
            Lock::Busy => Ok(None),
            Lock::Foreign => Err(io::Error::other(
                "what has the entry's name is not this store's",
            )),
            Lock::Missing => {
                let step = step(None);
                if let Next::Keep(value, lifetime) = step.next {
                    let expires = lifetime.end(now, None);
                    caller.still_waits()?;
                    there.made()?;
                    if !there.create(name, &file(expires, &value), times(expires), caller)? {
                        return Ok(None);
                    }
                }
                Ok(Some(step.answer))
            }
            Lock::Taken(locked) => {
                let bytes = content(&locked)?;
                let entry = Entry::read(&bytes).filter(|entry| entry.lives(now));
                let expires = entry.as_ref().and_then(|entry| entry.expires);
                let step = step(entry.map(|entry| entry.value));
                match step.next {
                    Next::Same => {}
                    Next::Nothing => there.remove(name, caller, &locked)?,
                    Next::Keep(value, lifetime) => {
                        let expires = lifetime.end(now, expires);
                        let (file, times) = (file(expires, &value), times(expires));
                        there.replace(name, &file, times, caller, &locked)?;
                    }
                }
                Ok(Some(step.answer))
            }
        }
    }

    /// Returns the names in a namespace that their keys tell, without what expired.
    pub(super) fn entries(&self, namespace: &Namespace) -> io::Result<Vec<Vec<u8>>> {
        let there = self.within(namespace.as_str());
        let mut names = Vec::new();
        for file in there.files()? {
            let Some(name) = namespace.name(&file) else {
                continue;
            };
            if there
                .read(&file)?
                .is_some_and(|bytes| self.value(&bytes).is_some())
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes the files called `names` in a namespace, and returns how many of them were entries that
    /// had not expired. Those that somebody else has locked stay in `names`.
    pub(super) fn clear(
        &self,
        namespace: &Namespace,
        names: &mut Vec<String>,
        caller: &Caller,
    ) -> io::Result<u64> {
        let there = self.within(namespace.as_str());
        let now = self.clock.millis();
        let mut cleared = 0;
        let mut busy = Vec::new();
        for name in names.drain(..) {
            match there.lock(&name)? {
                Lock::Taken(locked) => {
                    let entry = content(&locked)?;
                    there.remove(&name, caller, &locked)?;
                    let lives = Entry::read(&entry).is_some_and(|entry| entry.lives(now));
                    cleared += u64::from(lives);
                }
                Lock::Busy => busy.push(name),
                Lock::Missing | Lock::Foreign => {}
            }
        }
        *names = busy;
        Ok(cleared)
    }

    /// Removes what expired in the namespace called `namespace`, and what crashes left behind.
    pub(super) fn sweep_entries(&self, namespace: &str, caller: &Caller) -> io::Result<()> {
        if Namespace::new(namespace).is_err() {
            return Ok(());
        }
        let there = self.within(namespace);
        let now = self.clock.millis();
        for entry in fs::read_dir(&there.path)? {
            let entry = entry?;
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata())
            else {
                continue;
            };
            if name.starts_with(TEMPORARY) {
                there.remove_left_behind(&name, &metadata, caller)?;
            } else if metadata.is_file()
                && metadata.modified()? <= self.clock.now()
                && let Lock::Taken(locked) = there.lock(&name)?
                && Entry::read(&content(&locked)?).is_some_and(|entry| !entry.lives(now))
            {
                there.remove(&name, caller, &locked)?;
            }
        }
        Ok(())
    }

    /// Returns what the files in this directory are called, but for those under way.
    pub(super) fn files(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let mut names: Vec<String> = names
            .filter_map(|name: io::Result<_>| name.transpose())
            .collect::<io::Result<_>>()?;
        names.retain(|name| !name.starts_with(TEMPORARY));
        Ok(names)
    }

    /// Makes this directory, unless it is there.
    fn made(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Returns the value in an entry's file, unless it expired.
    fn value(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let entry = Entry::read(bytes).filter(|entry| entry.lives(self.clock.millis()))?;
        Some(entry.value.to_vec())
    }
}

impl<'a> Entry<'a> {
    /// Returns what is in a file; `None` when it is no entry.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let line = bytes.iter().position(|&byte| byte == b'\n')?;
        let expires: u64 = std::str::from_utf8(&bytes[..line]).ok()?.parse().ok()?;
        Some(Self {
            expires: (expires > 0).then_some(expires),
            value: &bytes[line + 1..],
        })
    }

    fn lives(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

/// Returns what to write in an entry's file.
fn file(expires: Option<u64>, value: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{}\n", expires.unwrap_or(0)).into_bytes();
    bytes.extend_from_slice(value);
    bytes
}

/// Returns the time of modification of an entry's file.
fn times(expires: Option<u64>) -> FileTimes {
    let time = file_time(expires.map_or(FOR_EVER, Duration::from_millis));
    FileTimes::new().set_modified(time)
}

/// Returns what is in the file that is locked.
fn content(locked: &Locked) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(locked.metadata.len() as usize);
    (&locked.file).read_to_end(&mut bytes)?;
    Ok(bytes)
}
