//! Sessions that Session3 kept, one pickled object in a file.

use std::ffi::OsString;
use std::fs::{File, ReadDir};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fs2::FileExt;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::error::{Error, ErrorKind};
use super::machine::{At, MAX_INPUT, Node};
use super::pickle::Pickle;
use super::{Named, PICKLED, json_object, values};
use crate::change::TOKENS;
use crate::record::Record;

/// Session3's own attributes.
const OWN: [&str; 6] = [
    "id",
    "user",
    "_remote_address",
    "_creation_time",
    "_access_time",
    "_form_tokens",
];

/// The end of the year 9999: no clock told a later time.
const YEAR_9999: u64 = 253_402_300_799;

/// Returns the session that Session3 kept as `bytes`.
///
/// Its class does not matter: an application's own is as good. The attribute `data`, which is where
/// a `DictSession` keeps its values, and all attributes that are not Session3's own become values;
/// form tokens stay what they are.
///
/// # Errors
///
/// [`ErrorKind::NotASession`] when it is no object with Session3's attributes; another error when it
/// cannot be read, or holds what has no form in JSON. The user may be `None`, text or a whole
/// number.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::import::{self, ErrorKind};
///
/// // pickle.dumps({"visits": 3}, 2): a dict, and no session of Session3's.
/// let error = import::session3(b"\x80\x02}q\x00X\x06\x00\x00\x00visitsq\x01K\x03s.").unwrap_err();
/// assert_eq!(error.kind(), &ErrorKind::NotASession);
/// ```
pub fn session3(bytes: &[u8]) -> Result<Record, Error> {
    let pickle = Pickle::read(bytes, PICKLED)?;
    let something_else = || Error::new(ErrorKind::NotASession, PICKLED);
    let Node::Object {
        state: Some(state), ..
    } = pickle.node(pickle.root)
    else {
        return Err(something_else());
    };
    if !matches!(pickle.node(*state), Node::Dict(_)) {
        return Err(something_else());
    }
    let attributes = pickle.dict(*state)?;
    if !OWN.iter().all(|name| attributes.contains_key(name)) {
        return Err(something_else());
    }
    let time = |name| match pickle.node(attributes[name]) {
        // Saturates: what is before 1970 becomes 0.
        Node::Float(seconds) if seconds.is_finite() => Ok((*seconds as u64).min(YEAR_9999)),
        _ => Err(pickle.refuse(attributes[name])),
    };
    let address = pickle
        .text(attributes["_remote_address"])
        .and_then(|text| text.parse().ok());
    let mut record = Record::new(time("_creation_time")?, address);
    record.accessed = time("_access_time")?.max(record.created);
    let user = attributes["user"];
    record.user = match pickle.node(user) {
        Node::None => None,
        Node::Int(digits) => Some(digits.clone()),
        _ => Some(text(&pickle, user)?),
    };
    let tokens = pickle.items(attributes["_form_tokens"])?;
    // The newest, as many as a session may have.
    for &token in &tokens[tokens.len().saturating_sub(TOKENS)..] {
        record.tokens.push(text(&pickle, token)?);
    }

    // The whole once, so that many attributes cannot each use up the bounds.
    for (name, value) in values(&pickle, *state)? {
        let inner = match name.as_str() {
            name if OWN.contains(&name) => continue,
            "data" if matches!(pickle.node(attributes["data"]), Node::Dict(_)) => {
                json_object(value.get().as_bytes())?
            }
            _ => Named::from_iter([(name, value)]),
        };
        for (name, value) in inner {
            if record.values.get(&name).is_some() {
                let twice = ErrorKind::Type("an attribute and a value of one name".into());
                return Err(Error::new(twice, PICKLED));
            }
            record.put(&name, value);
        }
    }
    Ok(record)
}

fn text(pickle: &Pickle<'_>, at: At) -> Result<String, Error> {
    let text = pickle.text(at).ok_or_else(|| pickle.refuse(at))?;
    Ok(text.to_owned())
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
    /// Of these, the empty files that were not told yet.
    empty: u64,
}

impl Session3Directory {
    /// Begins to read the directory at `path`.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref().to_owned();
        let failed = |error: io::Error| Error::new(ErrorKind::Io(error.kind()), "directory");
        let entries = path.read_dir().map_err(failed)?;
        Ok(Self {
            path,
            entries,
            skipped: 0,
            empty: 0,
        })
    }

    /// Returns how many entries so far were no session: directories, links, empty files, files of
    /// another kind.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Returns the session in the file, or `None` when it holds something else.
    fn read(&mut self, name: &OsString) -> Result<Option<Record>, Error> {
        let failed = |error: io::Error| Error::new(ErrorKind::Io(error.kind()), "file");
        let bytes = self.bytes(name).map_err(failed)?;
        self.empty += u64::from(bytes.as_ref().is_some_and(Vec::is_empty));
        // Session3 writes protocol 2 or 4, which begin with this byte.
        let Some(bytes) = bytes.filter(|bytes| bytes.first() == Some(&0x80)) else {
            return Ok(None);
        };
        match session3(&bytes) {
            Err(error) if *error.kind() == ErrorKind::NotASession => Ok(None),
            read => read.map(Some),
        }
    }

    /// Returns what is in the file, as far as it is looked at; `None` when it is no plain file.
    fn bytes(&self, name: &OsString) -> io::Result<Option<Vec<u8>>> {
        // Not to wait for a pipe's other end, if it became one just now.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(self.path.join(name), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // It went, or became a link, while the directory was read.
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

    fn tell(&mut self) {
        let empty = std::mem::take(&mut self.empty);
        if empty > 0 {
            log::warn!(
                "{empty} files of Session3's were empty and were left out: it empties a file before it writes it, and was interrupted there or is running"
            );
        }
    }
}

impl Iterator for Session3Directory {
    type Item = (OsString, Result<Record, Error>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next() {
                Some(Ok(entry)) => entry,
                Some(Err(error)) => {
                    let kind = ErrorKind::Io(error.kind());
                    return Some((OsString::new(), Err(Error::new(kind, "directory"))));
                }
                None => {
                    self.tell();
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
