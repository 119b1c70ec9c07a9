//! The record of a session: its data, and the JSON document that stores keep.

mod document;
mod edit;
mod grace;
mod json;
mod lifetime;
mod log_in;
mod read;
mod tombstone;
mod write;

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::end_reason::EndReason;
use crate::error::Result;
use crate::handle::{SessionHandle, UserKey};
use crate::id::SessionId;
use crate::message::StoredMessage;
use crate::unknown_fields::UnknownFields;
use crate::values::Values;

pub(crate) use grace::Grace;
pub(crate) use json::{read_value, write_value};
pub(crate) use lifetime::{Lifetime, OwnTimeouts};
pub(crate) use log_in::LogIn;
pub(crate) use tombstone::Tombstone;

/// The version of the format. New fields need no new version: see `docs/how-it-works.md`,
/// "The record".
const VERSION: u8 = 1;

/// One session as a store keeps it. [`Sessions::iter_sessions`](crate::Sessions::iter_sessions) yields records.
///
/// It is one JSON document, with the same bytes in every store. A value remains JSON text until it is
/// read as a type. So large numbers and the order of keys do not change when the session is loaded and
/// saved. `Debug` shows no value and no name.
#[derive(Clone)]
pub struct Record {
    /// It comes first and has a fixed width, so that a store can compare it without parsing: see
    /// [`RecordHeader`](crate::store::RecordHeader).
    pub(crate) rev: u64,
    pub(crate) expires: u64,
    /// The id under which the record was saved. A record under another id is not that session. Records
    /// of early versions have no id.
    id: Option<SessionId>,
    pub(crate) created: u64,
    pub(crate) accessed: u64,
    pub(crate) user: Option<String>,
    /// In a box, as is `lifetime`, because most records that are loaded have none.
    pub(crate) log_in: Option<Box<LogIn>>,
    pub(crate) lifetime: Option<Box<Lifetime>>,
    /// Until when the index of the user has the session, in seconds since 1970; 0 if it has not.
    pub(crate) listed: u64,
    pub(crate) address: Option<IpAddr>,
    /// A random number by which the rate limit counts. It is set when the session is first saved, and
    /// does not change with a log-in or a renewal.
    pub(crate) tag: Option<u64>,
    /// Whether there are copies of the session. They have the same tag, and end together.
    pub(crate) forked: bool,
    pub(crate) values: Values,
    /// The oldest first.
    pub(crate) notifications: Vec<StoredMessage>,
    /// Form tokens, the oldest first.
    pub(crate) tokens: Vec<String>,
    /// The secrets of the session's CSRF tokens. There is more than one only if concurrent requests
    /// each made one.
    pub(crate) csrf: Vec<String>,
    pub(crate) tombstone: Option<Tombstone>,
    /// The grace of the renewal that left this tombstone.
    pub(crate) grace: Option<Box<Grace>>,
    /// Why the session ended, in the tombstone of an end.
    pub(crate) ended: Option<EndReason>,
    unknown: UnknownFields,
}

impl Record {
    /// Returns an empty session that begins at `now`, in seconds since 1970.
    pub(crate) fn new(now: u64, address: Option<IpAddr>) -> Self {
        Self {
            rev: 0,
            expires: 0,
            id: None,
            created: now,
            accessed: now,
            user: None,
            log_in: None,
            lifetime: None,
            listed: 0,
            address,
            tag: None,
            forked: false,
            values: Values::default(),
            notifications: Vec::new(),
            tokens: Vec::new(),
            csrf: Vec::new(),
            tombstone: None,
            grace: None,
            ended: None,
            unknown: UnknownFields::default(),
        }
    }

    /// Returns a record that contains only `tombstone`.
    pub(crate) fn tombstone(now: u64, tombstone: Tombstone) -> Self {
        Self {
            tombstone: Some(tombstone),
            ..Self::new(now, None)
        }
    }

    /// Returns whether it is a tombstone that keeps the session with `tag` from beginning.
    pub(crate) fn stops(&self, tag: Option<u64>) -> bool {
        self.tombstone == Some(Tombstone::Ended) && tag.is_some() && self.tag == tag
    }

    /// Gives it its tag, if it has none yet.
    pub(crate) fn tag(&mut self) {
        self.tag
            .get_or_insert_with(|| Uuid::new_v4().as_u64_pair().1);
    }

    /// Parses the bytes that [`encode`](Self::encode) returned for `id`. `None` if they are invalid, or
    /// were written for another id.
    pub(crate) fn decode(bytes: Vec<u8>, id: &SessionId) -> Option<Self> {
        let record = Self::read(String::from_utf8(bytes).ok()?)?;
        record.id.is_none_or(|own| own == *id).then_some(record)
    }

    /// As [`decode`](Self::decode), for a list of sessions: without tombstones and empty sessions.
    pub(crate) fn listed(bytes: Vec<u8>, id: &SessionId) -> Option<Self> {
        let record = Self::decode(bytes, id);
        if record.is_none() {
            log::warn!(
                "left an entry out of the list of sessions: its key is a session's id, and it is not that session"
            );
        }
        record.filter(|record| record.tombstone.is_none() && record.has_info())
    }

    /// Gives it a new revision, which each save needs.
    pub(crate) fn revise(&mut self) {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        // Each half has fixed bits for the version, at different positions. So all bits are random.
        self.rev = high ^ low;
    }

    /// Returns the bytes for a store to save under `id`.
    pub(crate) fn encode(&mut self, id: &SessionId, expires: u64) -> Vec<u8> {
        self.expires = expires;
        self.id = Some(*id);
        let messages = self.notifications.len() * 64 + self.messages_size();
        let log_in = self.log_in.as_ref().map_or(0, |log_in| log_in.size());
        let more = messages + log_in + self.unknown.size();
        let mut bytes = Vec::with_capacity(200 + self.size() + more);
        self.write(&mut bytes);
        bytes
    }

    /// Returns whether the session has any contents. An empty session is not saved.
    pub(crate) fn has_info(&self) -> bool {
        self.user.is_some()
            || !self.values.is_empty()
            || !self.notifications.is_empty()
            || !self.tokens.is_empty()
            || !self.csrf.is_empty()
    }

    /// Returns the user of the session, if a user is logged in.
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

    /// Returns the public name of the session, which [ends](crate::Sessions::end_by) it. Without a user it
    /// names the visitor, and stays valid when the visitor logs in.
    ///
    /// `None` for a session that another program wrote.
    pub fn handle(&self) -> Option<SessionHandle> {
        let user = self.user().map_or_else(UserKey::nobody, UserKey::of);
        Some(SessionHandle::new(user, self.tag?))
    }

    /// Returns the names of the values, in the order in which they were inserted.
    pub fn keys(&self) -> Vec<String> {
        self.values
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// Returns the number of values.
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

    fn messages_size(&self) -> usize {
        self.notifications.iter().map(StoredMessage::size).sum()
    }

    /// Returns the size of the user, names and values in bytes.
    fn size(&self) -> usize {
        self.user.as_ref().map_or(0, String::len) + self.values.size()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = Vec::new();
        self.write(&mut json);
        let json: &RawValue = serde_json::from_slice(&json).map_err(S::Error::custom)?;
        json.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let json = Box::<RawValue>::deserialize(source)?;
        let json = String::from(Box::<str>::from(json));
        Self::read(json).ok_or_else(|| D::Error::custom("it is not the record of a session"))
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
