//! Reads the sessions that Python's pycket, pyramid_kvs and Session3 kept.
//!
//! Nothing in a pickle is ever looked up, built or called: it is read as data, within bounds of
//! size, depth and work. What has no form in JSON is refused by an error that names its type or
//! class, and shows no value.

mod pickle;
mod session3;

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use serde_json::value::RawValue;

use crate::record::Record;
use pickle::{At, Node, Pickle};

pub use session3::{Session3Directory, session3};

/// A session of another system, as a [`Record`] and what the record has no place for.
///
/// `Debug` shows no value and no name.
#[non_exhaustive]
pub struct Imported {
    /// The session.
    pub record: Record,
    /// What the visitor was to be told once, the oldest first.
    pub notifications: Vec<Notification>,
    /// The token that the session's forms carry against forged requests (pyramid_kvs).
    pub csrf_token: Option<String>,
    /// The tokens of forms that were not yet sent, the oldest first (Session3).
    pub form_tokens: Vec<String>,
}

/// Something that a visitor was to be told once.
#[non_exhaustive]
pub struct Notification {
    /// Its name (pycket) or its queue, which may be empty (pyramid_kvs).
    pub name: String,
    /// JSON text.
    pub json: String,
}

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

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imported")
            .field("record", &self.record)
            .field("notifications", &self.notifications.len())
            .field("csrf_token", &self.csrf_token.is_some())
            .field("form_tokens", &self.form_tokens.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notification(..)")
    }
}

impl Imported {
    fn new(record: Record) -> Self {
        Self {
            record,
            notifications: Vec::new(),
            csrf_token: None,
            form_tokens: Vec::new(),
        }
    }
}

/// Returns the session that pycket kept as `session` (in Redis: in `db_sessions`), with the
/// notifications that it kept under the same key (in `db_notifications`).
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
/// let imported = import::pycket(Some(session), None, SystemTime::now()).unwrap();
/// assert_eq!(imported.record.get("visits").unwrap(), Some(3));
/// ```
pub fn pycket(
    session: Option<&[u8]>,
    notifications: Option<&[u8]>,
    now: SystemTime,
) -> Result<Imported, Refused> {
    let mut imported = Imported::new(Record::new(seconds(now), None));
    for (name, json) in session.map_or(Ok(IndexMap::new()), pickled_dict)? {
        put(&mut imported.record, &name, json)?;
    }
    for (name, json) in notifications.map_or(Ok(IndexMap::new()), pickled_dict)? {
        imported.notifications.push(Notification { name, json });
    }
    Ok(imported)
}

/// Returns the session that pyramid_kvs kept as `bytes`, whichever of its codecs `json` and
/// `pickle` wrote it.
///
/// Flashed messages become notifications, and `__csrf_token` the token. pyramid_kvs keeps no times
/// and no user: the session begins `now`.
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
/// let imported = import::pyramid_kvs(session, SystemTime::now()).unwrap();
/// assert_eq!(imported.record.keys(), ["visits"]);
/// assert_eq!(imported.notifications[0].json, r#""Saved.""#);
/// assert_eq!(imported.csrf_token.as_deref(), Some("0f3a"));
/// ```
pub fn pyramid_kvs(bytes: &[u8], now: SystemTime) -> Result<Imported, Refused> {
    // No pickle begins with a brace.
    let values = if bytes.trim_ascii_start().first() == Some(&b'{') {
        json_object(bytes)?
    } else {
        pickled_dict(bytes)?
    };
    let mut imported = Imported::new(Record::new(seconds(now), None));
    for (name, json) in values {
        if name == "__csrf_token" {
            let token = serde_json::from_str(&json)
                .map_err(|_| Refused::Type("a `__csrf_token` that is no text".into()))?;
            imported.csrf_token = Some(token);
        } else if let Some(queue) = name.strip_prefix("_f_") {
            let messages: Vec<Box<RawValue>> = serde_json::from_str(&json)
                .map_err(|_| Refused::Type("flashed messages that are no list".into()))?;
            let all = messages.iter().map(|message| Notification {
                name: queue.to_owned(),
                json: message.get().to_owned(),
            });
            imported.notifications.extend(all);
        } else {
            put(&mut imported.record, &name, json)?;
        }
    }
    Ok(imported)
}

/// Returns the names of a pickled dict and the JSON text under each.
fn pickled_dict(bytes: &[u8]) -> Result<IndexMap<String, String>, Refused> {
    let pickle = Pickle::read(bytes)?;
    if !matches!(pickle.node(pickle.root), Node::Dict(_)) {
        return Err(Refused::NotASession);
    }
    values(&pickle, pickle.root)
}

/// Returns the names of the dict at `at` and the JSON text under each.
fn values(pickle: &Pickle<'_>, at: At) -> Result<IndexMap<String, String>, Refused> {
    // As one text first: the bounds are those of the whole.
    json_object(pickle.json(at)?.as_bytes())
}

fn json_object(bytes: &[u8]) -> Result<IndexMap<String, String>, Refused> {
    const BAD: Refused = Refused::Malformed("it is not JSON");
    if bytes.len() > 2 * pickle::MAX_INPUT {
        return Err(Refused::TooLarge);
    }
    // What a session's reader could not read later is found here: numbers beyond a float's
    // range, half a surrogate pair, too deep a nesting.
    serde_json::from_slice::<serde_json::Value>(bytes).map_err(|_| BAD)?;
    let object: IndexMap<String, Box<RawValue>> = serde_json::from_slice(bytes).map_err(|_| BAD)?;
    let text = |(name, raw): (String, Box<RawValue>)| (name, String::from(Box::<str>::from(raw)));
    Ok(object.into_iter().map(text).collect())
}

fn put(record: &mut Record, name: &str, json: String) -> Result<(), Refused> {
    let raw = RawValue::from_string(json).map_err(|_| Refused::Malformed("it is not JSON"))?;
    record.put(name, raw);
    Ok(())
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |age| age.as_secs())
}
