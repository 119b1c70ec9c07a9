//! The file of one entry, in the directory of its namespace: read, edited, listed and swept.
//!
//! A file begins with a line that holds the time when the entry expires, in milliseconds since 1970,
//! or 0 for never. The bytes of the value follow. The file's modification time is the same point in
//! time, so that the sweep does not open each file.

use std::fs::{self, DirBuilder, FileTimes};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::time::Duration;

use super::cached_read::CachedRead;
use super::cancel::CancelToken;
use super::dir::{Dir, FOR_EVER, LockedFile, TEMPORARY, file_time};
use super::lock::Lock;
use crate::store::edit::{Action, Edit};
use crate::store::{Key, Namespace};

/// The content of an entry's file.
struct Entry<'a> {
    /// Milliseconds since 1970; `None` means never.
    expires: Option<u64>,
    value: &'a [u8],
}

impl Dir {
    /// Reads an entry, unless that would wait for a disk.
    pub(super) fn entry_cached(&self, key: &Key) -> CachedRead<Vec<u8>> {
        self.subdirectory(key.namespace())
            .read_cached(key.escaped())
            .and_then(|bytes| self.value(&bytes))
    }

    /// Reads an entry.
    pub(super) fn entry(&self, key: &Key) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.subdirectory(key.namespace()).read(key.escaped())?;
        Ok(bytes.and_then(|bytes| self.value(&bytes)))
    }

    /// Edits an entry. Returns `None` if the file is locked, or was created just now.
    pub(super) fn edit<T>(
        &self,
        key: &Key,
        edit: impl Fn(Option<&[u8]>) -> Edit<T>,
        cancel: &CancelToken,
    ) -> io::Result<Option<T>> {
        let (dir, name) = (self.subdirectory(key.namespace()), key.escaped());
        let now = self.clock.millis();
        match dir.lock(name)? {
            Lock::Busy => Ok(None),
            Lock::Foreign => Err(io::Error::other(
                "a file of another program has the name of the entry",
            )),
            Lock::Missing => {
                let edit = edit(None);
                if let Action::Set(value, lifetime) = edit.action {
                    let expires = lifetime.end(now, None);
                    cancel.check()?;
                    dir.ensure_exists()?;
                    if !dir.create(name, &encode(expires, &value), times(expires), cancel)? {
                        return Ok(None);
                    }
                }
                Ok(Some(edit.output))
            }
            Lock::Acquired(locked) => {
                let bytes = content(&locked)?;
                let entry = Entry::read(&bytes).filter(|entry| entry.is_live(now));
                let expires = entry.as_ref().and_then(|entry| entry.expires);
                let edit = edit(entry.map(|entry| entry.value));
                match edit.action {
                    Action::Leave => {}
                    Action::Remove => dir.remove(name, cancel, &locked)?,
                    Action::Set(value, lifetime) => {
                        let expires = lifetime.end(now, expires);
                        let (bytes, times) = (encode(expires, &value), times(expires));
                        dir.replace(name, &bytes, times, cancel, &locked)?;
                    }
                }
                Ok(Some(edit.output))
            }
        }
    }

    /// Returns the names of all live entries in a namespace whose keys reveal them.
    pub(super) fn entries(&self, namespace: &Namespace) -> io::Result<Vec<Vec<u8>>> {
        let dir = self.subdirectory(namespace.as_str());
        let mut names = Vec::new();
        for file in dir.files()? {
            let Some(name) = namespace.name(&file) else {
                continue;
            };
            let bytes = dir.read(&file)?;
            if bytes.is_some_and(|bytes| self.value(&bytes).is_some()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Removes the files called `names` in a namespace, and returns how many of them were live
    /// entries. Locked files stay in `names`.
    pub(super) fn clear(
        &self,
        namespace: &Namespace,
        names: &mut Vec<String>,
        cancel: &CancelToken,
    ) -> io::Result<u64> {
        let dir = self.subdirectory(namespace.as_str());
        let now = self.clock.millis();
        let mut cleared = 0;
        let mut busy = Vec::new();
        for name in names.drain(..) {
            match dir.lock(&name)? {
                Lock::Acquired(locked) => {
                    let bytes = content(&locked)?;
                    dir.remove(&name, cancel, &locked)?;
                    let is_live = Entry::read(&bytes).is_some_and(|entry| entry.is_live(now));
                    cleared += u64::from(is_live);
                }
                Lock::Busy => busy.push(name),
                Lock::Missing | Lock::Foreign => {}
            }
        }
        *names = busy;
        Ok(cleared)
    }

    /// Removes expired entries in the namespace called `namespace`, and temporary files that a crash
    /// left behind.
    pub(super) fn sweep_entries(&self, namespace: &str, cancel: &CancelToken) -> io::Result<()> {
        if Namespace::new(namespace).is_err() {
            return Ok(());
        }
        let dir = self.subdirectory(namespace);
        let now = self.clock.millis();
        for entry in fs::read_dir(&dir.path)? {
            let entry = entry?;
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata())
            else {
                continue;
            };
            if name.starts_with(TEMPORARY) {
                dir.remove_abandoned(&name, &metadata, cancel)?;
            } else if metadata.is_file()
                && metadata.modified()? <= self.clock.now()
                && let Lock::Acquired(locked) = dir.lock(&name)?
                && Entry::read(&content(&locked)?).is_some_and(|entry| !entry.is_live(now))
            {
                dir.remove(&name, cancel, &locked)?;
            }
        }
        Ok(())
    }

    /// Returns the names of all files in this directory, except temporary files.
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

    /// Creates this directory if it is missing.
    fn ensure_exists(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            created => created,
        }
    }

    /// Returns the value in an entry's file, unless it has expired.
    fn value(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let entry = Entry::read(bytes).filter(|entry| entry.is_live(self.clock.millis()))?;
        Some(entry.value.to_vec())
    }
}

impl<'a> Entry<'a> {
    /// Reads the content of a file; `None` if it is not an entry.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let line = bytes.iter().position(|&byte| byte == b'\n')?;
        let expires: u64 = std::str::from_utf8(&bytes[..line]).ok()?.parse().ok()?;
        Some(Self {
            expires: (expires > 0).then_some(expires),
            value: &bytes[line + 1..],
        })
    }

    fn is_live(&self, now: u64) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
}

/// Returns the content of an entry's file.
fn encode(expires: Option<u64>, value: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{}\n", expires.unwrap_or(0)).into_bytes();
    bytes.extend_from_slice(value);
    bytes
}

/// Returns the modification time of an entry's file.
fn times(expires: Option<u64>) -> FileTimes {
    let time = file_time(expires.map_or(FOR_EVER, Duration::from_millis));
    FileTimes::new().set_modified(time)
}

/// Reads the locked file.
fn content(locked: &LockedFile) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(locked.metadata.len() as usize);
    (&locked.file).read_to_end(&mut bytes)?;
    Ok(bytes)
}
