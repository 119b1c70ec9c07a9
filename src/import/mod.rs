//! Reads the sessions that Python's pycket, pyramid_kvs and Session3 kept.
//!
//! Nothing in a pickle is ever looked up, built or called: it is read as data, within bounds of
//! size, depth and work. What has no form in JSON is refused by an error that names its type or
//! class and its place, and shows no value.

mod error;
mod machine;
mod pickle;
mod session3;
mod spelling;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::record::Record;
use crate::store::{Precondition, Save, Saved, SessionStore};
use machine::{At, MAX_INPUT, Node};
use pickle::Pickle;

pub use error::{Error, ErrorKind};
pub use session3::{Session3Directory, session3};

/// What is read, for errors.
const PICKLED: &str = "pickled session";
const JSON: &str = "session in JSON";

/// JSON texts under their names.
type Named = IndexMap<String, Box<RawValue>>;

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
) -> Result<Record, Error> {
    let mut record = Record::new(seconds(now), None);
    if let Some(session) = session {
        for (name, value) in pickled_dict(session, PICKLED)? {
            record.put(&name, value);
        }
    }
    if let Some(notifications) = notifications {
        for (name, value) in pickled_dict(notifications, "pickled notifications")? {
            record
                .notifications
                .push(StoredMessage::named(&name, value));
        }
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
pub fn pyramid_kvs(bytes: &[u8], now: SystemTime) -> Result<Record, Error> {
    // pyramid_kvs tries its own codec first and `pickle` then. No text is both: no pickle begins
    // with a brace.
    let is_json = bytes.trim_ascii_start().first() == Some(&b'{');
    let (what, values) = match is_json {
        true => (JSON, json_object(bytes)?),
        false => (PICKLED, pickled_dict(bytes, PICKLED)?),
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
        let messages: Vec<Box<RawValue>> = serde_json::from_str(value.get()).map_err(|_| {
            Error::new(
                ErrorKind::Type("flashed messages that are no list".into()),
                what,
            )
        })?;
        for message in messages {
            // What is no text is shown as JSON.
            let text = serde_json::from_str(message.get());
            let text = text.unwrap_or_else(|_| message.get().to_owned());
            record
                .notifications
                .push(StoredMessage::queued(queue, &text));
        }
    }
    Ok(record)
}

/// Keeps `record` in `store` for `ttl`, as a session under a new id, which is returned; `None` when
/// there is nothing in it to keep.
///
/// A session that had not been used for `idle_timeout` is over here too, when somebody comes with
/// it. `[default.sessions.limits]` are not asked: what a visitor had stays, and what would make a
/// session grow beyond them is refused later.
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
/// use rocket_session_kit::{MemoryStore, import};
/// use rocket_session_kit::store::SessionStore;
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
    let now = seconds(SystemTime::now());
    // The other clock may have been ahead.
    record.created = record.created.min(now);
    record.accessed = record.accessed.min(now);
    record.tag();
    let bytes = record.encode(&id, now.saturating_add(ttl.as_secs()));
    let save = Save {
        bytes: &bytes,
        ttl,
        precondition: Precondition::Absent,
    };
    match store.save_session(&id, save).await? {
        Saved::Saved(_) => Ok(Some(id)),
        Saved::Changed | Saved::Gone => {
            let why = "a new id was taken already";
            let kind = crate::ErrorKind::Unavailable;
            Err(crate::Error::new(kind, "keep a session").because(why))
        }
    }
}

/// Returns the names of the pickled dict `bytes`, which is `what`, and the JSON text under each.
fn pickled_dict(bytes: &[u8], what: &'static str) -> Result<Named, Error> {
    let pickle = Pickle::read(bytes, what)?;
    if !matches!(pickle.node(pickle.root), Node::Dict(_)) {
        return Err(Error::new(ErrorKind::NotASession, what));
    }
    values(&pickle, pickle.root)
}

/// Returns the names of the dict at `at` and the JSON text under each.
fn values(pickle: &Pickle<'_>, at: At) -> Result<Named, Error> {
    // As one text first: the bounds are those of the whole.
    json_object(pickle.json(at)?.as_bytes())
}

fn json_object(bytes: &[u8]) -> Result<Named, Error> {
    if bytes.len() > MAX_INPUT {
        return Err(Error::new(ErrorKind::TooLarge, JSON).at(MAX_INPUT));
    }
    // What a session's reader could not read later is found here: numbers beyond a float's
    // range, half a surrogate pair, too deep a nesting.
    serde_json::from_slice::<serde_json::Value>(bytes).map_err(|error| {
        if error.is_eof() {
            return Error::new(ErrorKind::Truncated, JSON).at(bytes.len());
        }
        let kind = ErrorKind::Malformed("it is not JSON that can be read");
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let before: usize = lines.take(error.line().max(1) - 1).map(<[u8]>::len).sum();
        Error::new(kind, JSON).at(before + error.column().max(1) - 1)
    })?;
    serde_json::from_slice(bytes).map_err(|_| Error::new(ErrorKind::NotASession, JSON))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
