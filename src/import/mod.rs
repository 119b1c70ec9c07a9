//! The import of sessions from the Python systems pycket, pyramid_kvs and Session3.
//!
//! A pickle is read as data, with limits on size, depth and work. No class in it is loaded, and no
//! function is called. A value that cannot be written as JSON is a [`DecodeError`], which names the type or
//! class and the offset, and shows no value.

mod directory;
mod error;
mod input;
mod json;
mod machine;
mod node;
mod opcode;
mod pickle;
mod reduce;
mod session3;
mod spelling;
mod step;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::decode_error::DecodeError;
use crate::error::{Error, ErrorKind};
use crate::id::SessionId;
use crate::manager::SessionManager;
use crate::message::StoredMessage;
use crate::record::Record;
use crate::store::SessionStore;
use error::{holds, malformed, not_a_session, too_large, truncated};
use machine::MAX_INPUT;
use node::{At, Node};
use pickle::Pickle;

pub use directory::Session3Directory;
pub use session3::session3;

/// The names of the two forms of a session in errors.
const PICKLED: &str = "pickled session";
const JSON: &str = "session in JSON";

/// Values by name, each as JSON text.
type Named = IndexMap<String, Box<RawValue>>;

/// Returns the session that pycket keeps as `session`, with its `notifications`.
///
/// In Redis pycket keeps the two under one key, in the databases `db_sessions` and
/// `db_notifications`. Each notification becomes a value under its name for
/// [`Notifications::take`](crate::Notifications::take). pycket keeps no times and no user: the
/// session begins `now`.
///
/// # Errors
///
/// When one of them is not a pickled dict, or holds a value without a form in JSON.
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
) -> Result<Record, DecodeError> {
    let mut record = Record::new(seconds(now), None);
    if let Some(session) = session {
        for (name, value) in pickled_dict(session, PICKLED)? {
            record.put(&name, value.get());
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

/// Returns the session that pyramid_kvs keeps as `bytes`, written by its codec `json` or `pickle`.
///
/// Flashed messages become notifications; those of the queue without a name go to the queue `info`.
/// The CSRF token is left out: the session gets another one, and a form that is open at that moment
/// has to be loaded again. pyramid_kvs keeps no times and no user: the session begins `now`.
///
/// # Errors
///
/// When `bytes` are neither a JSON object nor a pickled dict, or hold a value without a form in JSON.
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
pub fn pyramid_kvs(bytes: &[u8], now: SystemTime) -> Result<Record, DecodeError> {
    // pyramid_kvs tries its own codec first, and then `pickle`. No session is both, because no pickle
    // begins with a brace.
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
            record.put(&name, value.get());
            continue;
        };
        let queue = if queue.is_empty() { "info" } else { queue };
        let messages: Vec<Box<RawValue>> = serde_json::from_str(value.get())
            .map_err(|_| holds("flashed messages that are no list").of(what))?;
        for message in messages {
            // A message that is no text is shown as JSON.
            let text = serde_json::from_str(message.get());
            let text = text.unwrap_or_else(|_| message.get().to_owned());
            record
                .notifications
                .push(StoredMessage::queued(queue, &text));
        }
    }
    Ok(record)
}

/// Saves `record` in `store` for `ttl`, as a session under a new id, and returns the id; `None` if the
/// record holds nothing worth saving. The session is one of its user from then on: it is
/// [listed](crate::Sessions::of_user) and [ended](crate::Sessions::end_all_of) like any other.
///
/// The `idle_timeout` of the application counts from the last use of the old session.
/// `[default.sessions.limits]` do not apply: an imported session that is larger stays, and later
/// changes that would make it grow are refused.
///
/// # Errors
///
/// When the store fails.
///
/// # Example
///
/// ```rust
/// use std::sync::Arc;
/// use std::time::{Duration, SystemTime};
/// use rocket_session_kit::store::SessionStore;
/// use rocket_session_kit::{MemoryStore, Result, import};
///
/// async fn take_over(store: Arc<dyn SessionStore>) -> Result<()> {
///     let record = import::pyramid_kvs(br#"{"visits": 3}"#, SystemTime::now()).unwrap();
///     let id = import::keep(store.clone(), record, Duration::from_secs(86_400)).await?.unwrap();
///     assert!(store.has_session(&id).await?);
///     Ok(())
/// }
/// # rocket_session_kit::testing::run(take_over(Arc::new(MemoryStore::new()))).unwrap();
/// ```
pub async fn keep(
    store: Arc<dyn SessionStore>,
    record: Record,
    ttl: Duration,
) -> Result<Option<SessionId>, Error> {
    if !record.has_info() {
        return Ok(None);
    }
    let (id, manager) = (SessionId::random(), SessionManager::of_store(store));
    if manager.keep_new(id, record, ttl).await? {
        return Ok(Some(id));
    }
    let why = "a new id was taken already";
    Err(Error::new(ErrorKind::Unavailable, "keep a session").because(why))
}

/// Returns the values of the pickled dict `bytes`, which errors call `what`.
fn pickled_dict(bytes: &[u8], what: &'static str) -> Result<Named, DecodeError> {
    let pickle = Pickle::read(bytes, what)?;
    if !matches!(pickle.node(pickle.root), Node::Dict(_)) {
        return Err(not_a_session(what));
    }
    values(&pickle, pickle.root)
}

/// Returns the values of the dict at `at`.
fn values(pickle: &Pickle<'_>, at: At) -> Result<Named, DecodeError> {
    // The dict becomes one text first, so that the bounds apply to all of it.
    json_object(pickle.json(at)?.as_bytes())
}

/// Returns the values of the JSON object `bytes`.
fn json_object(bytes: &[u8]) -> Result<Named, DecodeError> {
    if bytes.len() > MAX_INPUT {
        return Err(too_large().of(JSON).at(MAX_INPUT));
    }
    // This finds values that no session could read later: numbers beyond the range of a float, half a
    // surrogate pair, too deep a nesting.
    serde_json::from_slice::<serde_json::Value>(bytes).map_err(|error| {
        if error.is_eof() {
            return truncated().of(JSON).at(bytes.len());
        }
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let before: usize = lines.take(error.line().max(1) - 1).map(<[u8]>::len).sum();
        let offset = before + error.column().max(1) - 1;
        malformed("it is not JSON that can be read")
            .of(JSON)
            .at(offset)
    })?;
    serde_json::from_slice(bytes).map_err(|_| not_a_session(JSON))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
