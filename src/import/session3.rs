//! Sessions that Session3 kept, one pickled object in a file.

use std::ffi::OsString;
use std::fs::{File, ReadDir};
use std::io::Read;
use std::path::{Path, PathBuf};

use fs2::FileExt;
use rustix::fs::{Mode, OFlags};

use super::pickle::{self, Node, Pickle};
use super::{Refused, values};
use crate::record::Record;

/// Returns the session that Session3 kept as `bytes`.
///
/// Its class does not matter: an application's own is as good. The attribute `data`, which is where
/// a `DictSession` keeps its values, and all attributes that are not Session3's own become values;
/// form tokens stay what they are.
///
/// # Errors
///
/// [`Refused::NotASession`] when it is no object with Session3's attributes; another error when it
/// cannot be read, or holds what has no form in JSON. The user may be `None`, text or a whole
/// number.
pub fn session3(bytes: &[u8]) -> Result<Record, Refused> {
    let pickle = Pickle::read(bytes)?;
    let Node::Object {
        state: Some(state), ..
    } = pickle.node(pickle.root)
    else {
        return Err(Refused::NotASession);
    };
    let attributes = match pickle.node(*state) {
        Node::Dict(_) => pickle.dict(*state)?,
        _ => return Err(Refused::NotASession),
    };
    let time = |name| match attributes.get(name).map(|&at| pickle.node(at)) {
        // Saturates: what is before 1970 becomes 0.
        Some(Node::Float(seconds)) if seconds.is_finite() => Ok(*seconds as u64),
        _ => Err(Refused::NotASession),
    };
    let own = ["id", "user", "_remote_address", "_form_tokens"];
    if !own.iter().all(|name| attributes.contains_key(name)) {
        return Err(Refused::NotASession);
    }
    // A time beyond the year 9999 is none that a clock told.
    let sane = |seconds: u64| seconds.min(253_402_300_799);
    let address = pickle
        .text(attributes["_remote_address"])
        .and_then(|text| text.parse().ok());
    let mut record = Record::new(sane(time("_creation_time")?), address);
    record.accessed = sane(time("_access_time")?).max(record.created);
    let user = attributes["user"];
    record.user = match pickle.node(user) {
        Node::None => None,
        Node::Int(digits) => Some(digits.clone()),
        _ => Some(pickle.text(user).ok_or(pickle.refuse(user))?.to_owned()),
    };

    for &token in pickle.items(attributes["_form_tokens"])? {
        let text = pickle.text(token).ok_or(pickle.refuse(token))?;
        record.tokens.push(text.to_owned());
    }
    // The whole once, so that many attributes cannot each use up the bounds.
    let all = values(&pickle, *state)?;
    for (name, value) in all {
        match name.as_str() {
            "id" | "user" | "_remote_address" | "_creation_time" | "_access_time"
            | "_form_tokens" => {}
            "data" if matches!(pickle.node(attributes["data"]), Node::Dict(_)) => {
                for (name, value) in super::json_object(value.get().as_bytes())? {
                    record.put(&name, value);
                }
            }
            _ => record.put(&name, value),
        }
    }
    Ok(record)
}

/// The sessions in a directory of Session3's `DirectorySessionStore`, one after the other.
///
/// Each item is a file's name, which was the session's id, and what became of it. Nothing is
/// changed there, and no symbolic link is followed. What is no session is left out and counted; a
/// session that cannot be imported is an item with an error.
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
}

impl Session3Directory {
    /// Begins to read the directory at `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Refused> {
        let path = path.as_ref().to_owned();
        let entries = path.read_dir().map_err(|error| Refused::Io(error.kind()))?;
        Ok(Self {
            path,
            entries,
            skipped: 0,
        })
    }

    /// Returns how many entries so far were no session: directories, links, empty files, files of
    /// another kind.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns what the file is, if it looks like a pickle at all.
    fn read(&self, name: &OsString) -> Result<Record, Refused> {
        let failed = |error: std::io::Error| match error.kind() {
            // It went while the directory was read.
            std::io::ErrorKind::NotFound => Refused::NotASession,
            kind => Refused::Io(kind),
        };
        // Not to wait for a pipe's other end, if it became one just now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(self.path.join(name), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::LOOP) => return Err(Refused::NotASession),
            Err(error) => return Err(failed(error.into())),
        };
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(Refused::NotASession);
        }
        // Session3 locks a file while it writes it.
        FileExt::lock_shared(&file).map_err(failed)?;
        let mut bytes = Vec::new();
        let limit = pickle::MAX_INPUT as u64 + 1;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        // Session3 writes protocol 2 or 4, which begin with this byte.
        if bytes.first() != Some(&0x80) {
            return Err(Refused::NotASession);
        }
        session3(&bytes)
    }
}

impl Iterator for Session3Directory {
    type Item = (OsString, Result<Record, Refused>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(error) => return Some((OsString::new(), Err(Refused::Io(error.kind())))),
            };
            let name = entry.file_name();
            let read = match entry.file_type() {
                Ok(kind) if !kind.is_file() => Err(Refused::NotASession),
                _ => self.read(&name),
            };
            match read {
                Err(Refused::NotASession) => self.skipped += 1,
                read => return Some((name, read)),
            }
        }
    }
}
