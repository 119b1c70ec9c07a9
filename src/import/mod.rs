//! Reads the sessions that Python's pycket, pyramid_kvs and Session3 kept.
//!
//! Nothing in a pickle is ever looked up, built or called: it is read as data, within bounds of
//! size, depth and work. What has no form in JSON is refused by an error that names its type or
//! class, and shows no value.

mod pickle;
mod session3;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::id::SessionId;
use crate::notice::Notice;
use crate::record::Record;
use crate::store::{Expect, Save, Saved, SessionStore};
use pickle::{At, Node, Pickle};

pub use session3::{Session3Directory, session3};

/// JSON texts under their names.
type Named = IndexMap<String, Box<RawValue>>;

/// Why something is not imported. It names types and classes, and shows no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It is longer than 1 MiB, would become JSON longer than that, or takes too much work.
    TooLarge,
    /// Lists and dicts are nested more than 100 deep.
    TooDeep,
    /// A value contains itself.
    Recursive,
    /// It ends too early.
    Truncated,
    /// It is not what Python's `pickle` or `json` writes.
    Malformed(&'static str),
    /// It holds something that has no form in JSON, or not the one that is needed there.
    Type(String),
    /// It can be read and is something else than a session.
    NotASession,
    /// The file or directory cannot be read.
    Io(std::io::ErrorKind),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot import a session: ")?;
        match self {
            Self::TooLarge => f.write_str("it is too large"),
            Self::TooDeep => f.write_str("it is nested too deep"),
            Self::Recursive => f.write_str("a value in it contains itself"),
            Self::Truncated => f.write_str("it ends too early"),
            Self::Malformed(why) => f.write_str(why),
            Self::Type(found) => write!(f, "it holds {found}"),
            Self::NotASession => f.write_str("it is something else"),
            Self::Io(kind) => write!(f, "{kind}"),
        }
    }
}

impl std::error::Error for Refused {}

/// Returns the session that pycket kept as `session` (in Redis: in `db_sessions`), with the
/// notifications that it kept under the same key (in `db_notifications`): values under a name, each
/// to be read once by [`Notifications::take`](crate::Notifications::take).
///
/// pycket keeps no times and no user: the session begins `now`.
///
/// # Errors
///
/// When either is no pickled dict, or holds what has no form in JSON.
///
/// # Example
///
/// ```rust
/// use std::time::SystemTime;
/// use rocket_session_kit::import;
///
/// // pickle.dumps({"visits": 3}, 2)
/// let session = b"\x80\x02}q\x00X\x06\x00\x00\x00visitsq\x01K\x03s.";
/// let record = import::pycket(Some(session), None, SystemTime::now()).unwrap();
/// assert_eq!(record.get("visits").unwrap(), Some(3));
/// ```
pub fn pycket(
    session: Option<&[u8]>,
    notifications: Option<&[u8]>,
    now: SystemTime,
) -> Result<Record, Refused> {
    let mut record = Record::new(seconds(now), None);
    for (name, value) in session.map_or(Ok(IndexMap::new()), pickled_dict)? {
        record.put(&name, value);
    }
    for (name, value) in notifications.map_or(Ok(IndexMap::new()), pickled_dict)? {
        record.notifications.push(Notice::named(&name, value));
    }
    Ok(record)
}

/// Returns the session that pyramid_kvs kept as `bytes`, whichever of its codecs `json` and
/// `pickle` wrote it.
///
/// Flashed messages become notifications, in the queue `info` if they had no name. The token against
/// forged requests is left out: the session is given another, and a form that is open at that moment
/// has to be loaded again. pyramid_kvs keeps no times and no user: the session begins `now`.
///
/// # Errors
///
/// When it is neither a JSON object nor a pickled dict, or holds what has no form in JSON.
///
/// # Example
///
/// ```rust
/// use std::time::SystemTime;
/// use rocket_session_kit::import;
///
/// let session = br#"{"visits": 3, "_f_": ["Saved."], "__csrf_token": "0f3a"}"#;
/// let record = import::pyramid_kvs(session, SystemTime::now()).unwrap();
/// assert_eq!(record.keys(), ["visits"]);
/// ```
pub fn pyramid_kvs(bytes: &[u8], now: SystemTime) -> Result<Record, Refused> {
    // No pickle begins with a brace.
    let values = if bytes.trim_ascii_start().first() == Some(&b'{') {
        json_object(bytes)?
    } else {
        pickled_dict(bytes)?
    };
    let mut record = Record::new(seconds(now), None);
    for (name, value) in values {
        if name == "__csrf_token" {
            continue;
        }
        let Some(queue) = name.strip_prefix("_f_") else {
            record.put(&name, value);
            continue;
        };
        let queue = if queue.is_empty() { "info" } else { queue };
        let messages: Vec<Box<RawValue>> = serde_json::from_str(value.get())
            .map_err(|_| Refused::Type("flashed messages that are no list".into()))?;
        let notices = messages
            .into_iter()
            .map(|message| Notice::in_queue(queue, message));
        record.notifications.extend(notices);
    }
    Ok(record)
}

/// Keeps `record` in `store` for `ttl`, as a session under a new id, which is returned; `None` when
/// there is nothing in it to keep.
///
/// A session that had not been used for `idle_timeout` is over here too, when somebody comes with
/// it.
///
/// # Errors
///
/// When the store fails.
///
/// # Example
///
/// ```rust
/// # rocket_session_kit::testing::run(async {
/// use std::time::{Duration, SystemTime};
/// use rocket_session_kit::{MemoryStore, SessionStore, import};
///
/// let store = MemoryStore::new();
/// let record = import::pyramid_kvs(br#"{"visits": 3}"#, SystemTime::now()).unwrap();
/// let id = import::keep(&store, record, Duration::from_secs(86_400)).await?.unwrap();
/// assert!(store.has_session(&id).await?);
/// # Ok::<(), rocket_session_kit::Error>(())
/// # }).unwrap();
/// ```
pub async fn keep(
    store: &dyn SessionStore,
    mut record: Record,
    ttl: Duration,
) -> crate::Result<Option<SessionId>> {
    if !record.has_info() {
        return Ok(None);
    }
    let id = SessionId::random();
    record.tag();
    let bytes = record.encode(seconds(SystemTime::now()).saturating_add(ttl.as_secs()));
    let save = Save {
        bytes: &bytes,
        ttl,
        expect: Expect::Absent,
    };
    match store.save_session(&id, save).await? {
        Saved::Saved(_) => Ok(Some(id)),
        Saved::Changed | Saved::Gone => {
            let why = "a new id was taken already";
            Err(Error::new(ErrorKind::Unavailable, "keep a session").because(why))
        }
    }
}

/// Returns the names of a pickled dict and the JSON text under each.
fn pickled_dict(bytes: &[u8]) -> Result<Named, Refused> {
    let pickle = Pickle::read(bytes)?;
    if !matches!(pickle.node(pickle.root), Node::Dict(_)) {
        return Err(Refused::NotASession);
    }
    values(&pickle, pickle.root)
}

/// Returns the names of the dict at `at` and the JSON text under each.
fn values(pickle: &Pickle<'_>, at: At) -> Result<Named, Refused> {
    // As one text first: the bounds are those of the whole.
    json_object(pickle.json(at)?.as_bytes())
}

fn json_object(bytes: &[u8]) -> Result<Named, Refused> {
    const BAD: Refused = Refused::Malformed("it is not JSON");
    if bytes.len() > 2 * pickle::MAX_INPUT {
        return Err(Refused::TooLarge);
    }
    // What a session's reader could not read later is found here: numbers beyond a float's
    // range, half a surrogate pair, too deep a nesting.
    serde_json::from_slice::<serde_json::Value>(bytes).map_err(|_| BAD)?;
    serde_json::from_slice(bytes).map_err(|_| BAD)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
