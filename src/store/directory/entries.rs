//! One entry's file, in the directory of its namespace: read, changed, listed and swept.
//!
//! A file begins with a line that tells when the entry expires, in milliseconds since 1970, 0 for
//! never; the bytes follow. Its time of modification says the same, so that a sweep need not open
//! it.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::dir::{Dir, Lock, Locked, TEMPORARY, Warm};
use crate::store::edit::{Next, Step};
use crate::store::{Key, Namespace};

/// The time of modification of an entry that never expires: in two centuries.
const NEVER: Duration = Duration::from_secs(200 * 365 * 86_400);

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
                    there.made()?;
                    if !there.create(name, &file(expires, &value), time(expires))? {
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
                    Next::Nothing => there.remove(name, &locked)?,
                    Next::Keep(value, lifetime) => {
                        let expires = lifetime.end(now, expires);
                        there.replace(name, &file(expires, &value), time(expires), &locked)?;
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

    /// Removes everything in a namespace, and returns how much of it had not expired.
    pub(super) fn clear(&self, namespace: &Namespace) -> io::Result<u64> {
        let there = self.within(namespace.as_str());
        let now = self.clock.millis();
        let mut cleared = 0;
        'files: for file in there.files()? {
            let locked = loop {
                match there.lock(&file)? {
                    Lock::Taken(locked) => break locked,
                    // Nobody holds it longer than a write takes.
                    Lock::Busy => thread::sleep(Duration::from_millis(1)),
                    Lock::Missing | Lock::Foreign => continue 'files,
                }
            };
            let lives = Entry::read(&content(&locked)?).is_some_and(|entry| entry.lives(now));
            there.remove(&file, &locked)?;
            cleared += u64::from(lives);
        }
        Ok(cleared)
    }

    /// Removes what expired in the namespace called `namespace`, and what crashes left behind.
    pub(super) fn sweep_entries(&self, namespace: &str) -> io::Result<()> {
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
                there.remove_left_behind(&name, &metadata)?;
            } else if metadata.is_file()
                && metadata.modified()? <= self.clock.now()
                && let Lock::Taken(locked) = there.lock(&name)?
                && Entry::read(&content(&locked)?).is_some_and(|entry| !entry.lives(now))
            {
                there.remove(&name, &locked)?;
            }
        }
        Ok(())
    }

    /// Returns what the files in this directory are called, but for those under way.
    fn files(&self) -> io::Result<Vec<String>> {
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
fn time(expires: Option<u64>) -> SystemTime {
    let since = expires.map_or(NEVER, |expires| Duration::from_millis(expires).min(NEVER));
    UNIX_EPOCH + since
}

/// Returns what is in the file that is locked.
fn content(locked: &Locked) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(locked.metadata.len() as usize);
    (&locked.file).read_to_end(&mut bytes)?;
    Ok(bytes)
}
