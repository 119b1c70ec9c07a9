//! What the bytes of a session mean.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::rest::{Rest, Sieve};
use crate::values::Values;

/// The only version of the format so far. Fields can be added without a new one: see
/// `docs/how-it-works.md`, "The record".
const VERSION: u8 = 1;

/// One session as a store keeps it: what [`iter_sessions`](crate::store::SessionStore::iter_sessions)
/// yields.
///
/// It is one JSON document, the same bytes in every store. A value stays the JSON text it was until
/// somebody asks for it as a type, so that big numbers and the order of keys survive whatever reads
/// and writes the session. `Debug` shows no value and no name.
#[derive(Clone, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Record {
    /// Stands first and has a fixed width, so that a store can compare it unparsed: see
    /// [`RecordHeader`](crate::store::RecordHeader).
    #[serde(
        rename = "rev",
        serialize_with = "write_rev",
        deserialize_with = "read_rev"
    )]
    pub(crate) rev: u64,
    pub(crate) expires: u64,
    #[serde(rename = "v", deserialize_with = "read_version")]
    version: u8,
    /// Under which id it was saved: a record found under another was put there by mistake. One of an
    /// early version has none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "write_own_id",
        deserialize_with = "read_own_id"
    )]
    id: Option<SessionId>,
    pub(crate) created: u64,
    pub(crate) accessed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    /// Whom the rate limit counts: random, and the same after every log-in and renewal. Given when
    /// the session is first kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tag: Option<u64>,
    /// Whether there are copies of the session, which end together. They have the same tag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) forked: bool,
    #[serde(default = "Values::new", skip_serializing_if = "Values::is_empty")]
    pub(crate) values: Values,
    /// The oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notifications: Vec<StoredMessage>,
    /// Form tokens, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tokens: Vec<String>,
    /// What the session's CSRF tokens are made of. There is one, unless requests made their own at
    /// the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) csrf: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(rename = "parting")]
    pub(crate) tombstone: Option<Tombstone>,
    #[serde(flatten, skip_deserializing)]
    rest: Rest,
}

/// What a session leaves behind, for a minute, under an id that it no longer has.
///
/// No cookie opens it. It is for the requests that were under way: they learn what became of the
/// session they hold.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tombstone {
    /// It was renewed, and goes on under this id.
    #[serde(serialize_with = "write_id", deserialize_with = "read_id")]
    Moved(SessionId),
    /// It ended, and this is about to be deleted.
    Ended,
}

impl Record {
    /// Returns a session that begins at `now` (in seconds since 1970) and has nothing in it.
    pub(crate) fn new(now: u64, address: Option<IpAddr>) -> Self {
        Self {
            rev: 0,
            expires: 0,
            version: VERSION,
            id: None,
            created: now,
            accessed: now,
            user: None,
            address,
            tag: None,
            forked: false,
            values: Values::new(),
            notifications: Vec::new(),
            tokens: Vec::new(),
            csrf: Vec::new(),
            tombstone: None,
            rest: Rest::default(),
        }
    }

    /// Returns what a session leaves behind when it departs.
    pub(crate) fn tombstone(now: u64, tombstone: Tombstone) -> Self {
        Self {
            tombstone: Some(tombstone),
            ..Self::new(now, None)
        }
    }

    /// Gives it its tag, if it has none yet.
    pub(crate) fn tag(&mut self) {
        self.tag
            .get_or_insert_with(|| Uuid::new_v4().as_u64_pair().1);
    }

    /// Reads back what [`encode`](Self::encode) wrote; `None` when `bytes` are not that, or were
    /// written for another id than `id`, under which they were found.
    pub(crate) fn decode(bytes: &[u8], id: &SessionId) -> Option<Self> {
        let record: Self = serde_json::from_str(std::str::from_utf8(bytes).ok()?).ok()?;
        record.id.is_none_or(|own| own == *id).then_some(record)
    }

    /// As [`decode`](Self::decode), for a list of sessions: without what only waits to vanish.
    pub(crate) fn listed(bytes: &[u8], id: &SessionId) -> Option<Self> {
        let record = Self::decode(bytes, id);
        if record.is_none() {
            log::warn!(
                "the store holds something under a session's id that is not that session; it was left out of the list"
            );
        }
        record.filter(|record| record.tombstone.is_none() && record.has_info())
    }

    /// Returns the bytes for a store, to be kept under `id`, and under a revision that was never
    /// used before.
    pub(crate) fn encode(&mut self, id: &SessionId, expires: u64) -> Vec<u8> {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        // Each half has bits that tell the version; no place has one in both.
        self.rev = high ^ low;
        self.expires = expires;
        self.id = Some(*id);
        let messages = self.notifications.len() * 64 + self.messages_size();
        let mut bytes = Vec::with_capacity(200 + self.size() + messages + self.rest.size());
        serde_json::to_writer(&mut bytes, self)
            .expect("names are strings and values are JSON already");
        bytes
    }

    /// Returns whether there is anything in it: a session without is not worth keeping.
    pub(crate) fn has_info(&self) -> bool {
        self.user.is_some()
            || !self.values.is_empty()
            || !self.notifications.is_empty()
            || !self.tokens.is_empty()
            || !self.csrf.is_empty()
    }

    /// Returns the user who is logged in, if one is.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Returns when the session began.
    pub fn created_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.created)
    }

    /// Returns when the session was last used, up to `touch_every` seconds late.
    pub fn accessed_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.accessed)
    }

    /// Returns the address that the session's first request came from.
    pub fn remote_address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Returns the names of the values, in the order in which they came.
    pub fn keys(&self) -> Vec<String> {
        self.values.names()
    }

    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the value under `name`, if there is one.
    ///
    /// # Errors
    ///
    /// When there is a value and it is not a `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.values.get(name).map(read_value).transpose()
    }

    /// Puts `value` under `name`, unless the session would outgrow `limits`.
    pub(crate) fn set(&mut self, name: &str, value: Box<RawValue>, limits: &Limits) -> Result<()> {
        const ACT: &str = "keep a value in the session";
        let beyond = |what: String| Err(Error::new(ErrorKind::Limit, ACT).because(what));
        let old = self
            .values
            .get(name)
            .map(|old| name.len() + old.get().len());
        if name.len() > limits.key_length {
            return beyond(format!(
                "its name is longer than {} bytes (`sessions.limits.key_length`)",
                limits.key_length
            ));
        }
        if old.is_none() && self.len() >= limits.keys {
            return beyond(format!(
                "the session has {} values already (`sessions.limits.keys`)",
                limits.keys
            ));
        }
        if self.size() - old.unwrap_or(0) + name.len() + value.get().len() > limits.size {
            return Err(too_large(ACT, limits));
        }
        self.values.insert(name, value);
        Ok(())
    }

    /// Puts `value` under `name`, whatever the limits: for what another system kept.
    pub(crate) fn put(&mut self, name: &str, value: Box<RawValue>) {
        self.values.insert(name, value);
    }

    /// Makes the changes that made `now` of `own`, as far as requests make them to a session that was
    /// renewed under their hands.
    pub(crate) fn bring_over(&mut self, own: &Self, now: &Self) {
        for name in own.keys() {
            if now.values.get(&name).is_none() {
                self.values.remove(&name);
            }
        }
        for name in now.keys() {
            let value = |record: &Self| record.values.get(&name).map(ToOwned::to_owned);
            let (before, after) = (value(own), value(now));
            let changed =
                before.as_deref().map(RawValue::get) != after.as_deref().map(RawValue::get);
            if let Some(after) = after.filter(|_| changed) {
                self.put(&name, after);
            }
        }
        if own.user.is_some() && now.user.is_none() {
            self.user = None;
        }
        for message in &now.notifications {
            let mut known = own.notifications.iter().chain(&self.notifications);
            if known.all(|known| known.id != message.id) {
                self.notifications.push(message.clone());
            }
        }
    }

    /// Says who the visitor is, unless the session would outgrow `limits`.
    pub(crate) fn set_user(&mut self, user: Option<&str>, limits: &Limits) -> Result<()> {
        let user_len = |user: Option<&str>| user.map_or(0, str::len);
        if self.size() - user_len(self.user()) + user_len(user) > limits.size {
            return Err(too_large("keep the user in the session", limits));
        }
        self.user = user.map(str::to_owned);
        Ok(())
    }

    /// Lets `message` wait. Where too much waits then, the oldest make room; a named value takes the
    /// place of the one before it.
    pub(crate) fn notify(&mut self, message: StoredMessage, limits: &Limits) -> Result<()> {
        if message.size() > limits.notifications_size || limits.notifications == 0 {
            let why = format!(
                "it takes more than {} bytes (`sessions.limits.notifications_size`), or none may \
                 wait (`sessions.limits.notifications`)",
                limits.notifications_size
            );
            let error = Error::new(ErrorKind::Limit, "keep a notification in the session");
            return Err(error.because(why));
        }
        self.notifications
            .retain(|old| !(message.named && old.named && old.queue == message.queue));
        self.notifications.push(message);
        let mut size = self.messages_size();
        let mut excess = self
            .notifications
            .len()
            .saturating_sub(limits.notifications);
        let too_many = self.notifications.iter().take_while(|oldest| {
            let goes = excess > 0 || size > limits.notifications_size;
            size -= oldest.size();
            excess = excess.saturating_sub(1);
            goes
        });
        let too_many = too_many.count();
        self.notifications.drain(..too_many);
        Ok(())
    }

    fn messages_size(&self) -> usize {
        self.notifications.iter().map(StoredMessage::size).sum()
    }

    /// Returns how many bytes the user, names and values take.
    fn size(&self) -> usize {
        self.user.as_ref().map_or(0, String::len) + self.values.size()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let mut rest = Rest::default();
        let sieve = Sieve {
            source,
            rest: &mut rest,
        };
        let mut record = Self::deserialize(sieve)?;
        record.rest = rest;
        Ok(record)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("created_at", &self.created_at())
            .field("accessed_at", &self.accessed_at())
            .field("logged_in", &self.user.is_some())
            .field("values", &self.len())
            .field("notifications", &self.notifications.len())
            .finish_non_exhaustive()
    }
}

/// Returns `raw` as a `T`. The error tells the types, never the data.
pub(crate) fn read_value<T: DeserializeOwned>(raw: &RawValue) -> Result<T> {
    serde_json::from_str(raw.get()).map_err(|_| {
        let found = match raw.get().as_bytes().first() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        let why = format!("what is there is {found} that does not fit");
        Error::new(ErrorKind::Value, "read a value of the session")
            .at(std::any::type_name::<T>())
            .because(why)
    })
}

/// Returns `value` as JSON text. The error tells the type, never the data.
pub(crate) fn write_value<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value).map_err(|_| {
        Error::new(ErrorKind::Value, "write a value of the session")
            .at(std::any::type_name::<T>())
            .because("the type has no form in JSON")
    })
}

fn too_large(act: &'static str, limits: &Limits) -> Error {
    let why = format!(
        "the session would be larger than {} bytes (`sessions.limits.size`)",
        limits.size
    );
    Error::new(ErrorKind::Limit, act).because(why)
}

fn write_rev<S: Serializer>(rev: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{rev:016x}"))
}

fn read_rev<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let digits = <&str>::deserialize(deserializer)?;
    u64::from_str_radix(digits, 16).map_err(D::Error::custom)
}

fn read_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        VERSION => Ok(VERSION),
        other => Err(D::Error::custom(format_args!(
            "version {other} is not known"
        ))),
    }
}

fn write_id<S: Serializer>(id: &SessionId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.digits())
}

fn write_own_id<S: Serializer>(id: &Option<SessionId>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&id.map(|id| id.digits()).unwrap_or_default())
}

fn read_own_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SessionId>, D::Error> {
    read_id(deserializer).map(Some)
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
    <&str>::deserialize(deserializer)?
        .parse()
        .map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_what_kind_of_value_is_there_and_not_the_value() {
        for (json, kind) in [
            (r#""s3cr3t""#, "a string"),
            (r#"{"s3cr3t":1}"#, "an object"),
            (r#"["s3cr3t"]"#, "an array"),
            ("true", "a boolean"),
            ("false", "a boolean"),
            ("null", "null"),
            ("-7", "a number"),
        ] {
            let value = RawValue::from_string(json.to_owned()).expect("it is JSON");
            let error = read_value::<u8>(&value).expect_err("it is no small number");
            let told = error.to_string();
            assert!(told.contains(&format!("there is {kind} that")), "{told}");
            assert!(!told.contains("s3cr3t"), "{told}");
        }
    }
}
