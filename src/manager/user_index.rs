//! The index of a user: an entry beside the sessions that lists where the user is logged in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::end::pause;
use super::{GRACE, SessionManager};
use crate::error::Result;
use crate::handle::UserKey;
use crate::id::SessionId;
use crate::keyed_locks::{KeyedLock, KeyedLocks};
use crate::store::{KeyValue, Namespace};

/// The number of entries in one index. A user with more sessions than that is found by listing all
/// sessions of the store.
const CAPACITY: usize = 500;

/// How many seconds a session may stay in an index that is lost: the longest time for which browsers
/// keep a cookie.
const LONGEST: u64 = 400 * 86_400;

/// The indexes of all users.
pub(super) struct UserIndexes {
    store: Arc<dyn KeyValue>,
    namespace: Namespace,
    /// Edits of one index in this process queue here, so that they do not meet each other.
    locks: KeyedLocks<UserKey>,
}

/// The sessions that may belong to a user.
///
/// A session is entered before the store has it, so every session of the user is here. An entry whose
/// session has ended or expired stays until somebody notices.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct UserIndex {
    pub(super) sessions: Vec<Listed>,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    since: u64,
    /// Until when there may be sessions for which there was no room, in seconds since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    incomplete_until: u64,
}

/// One session in the index of a user, under one of its ids.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listed {
    #[serde(with = "crate::id::hex")]
    pub(super) id: SessionId,
    pub(super) tag: u64,
    /// When the user logged in there, in seconds since 1970.
    pub(super) since: u64,
    /// When this entry was made, in seconds since 1970.
    pub(super) at: u64,
    /// When the session has certainly expired unless it is entered again, in seconds since 1970.
    pub(super) until: u64,
    /// The id before the renewal that made this entry.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_id")]
    pub(super) from: Option<SessionId>,
    /// When another log-in displaced this session, in seconds since 1970; 0 if none did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) displaced: u64,
}

impl UserIndexes {
    pub(super) fn new(store: Arc<dyn KeyValue>) -> Self {
        Self {
            store,
            namespace: Namespace::new("users").expect("it is a valid name"),
            locks: KeyedLocks::new(),
        }
    }

    /// Waits for the lock of one index.
    pub(super) async fn lock(
        &self,
        user: UserKey,
        patience: Duration,
    ) -> Option<KeyedLock<'_, UserKey>> {
        self.locks.lock(user, patience).await.ok()
    }

    /// Returns whether the store may have dropped an index to make room.
    pub(super) fn may_be_evicted(&self) -> bool {
        self.store.may_evict()
    }
}

impl UserIndex {
    /// Returns whether there may be sessions of the user that it does not list.
    pub(super) fn is_incomplete(&self, now: u64) -> bool {
        now < self.incomplete_until
    }

    /// Returns whether it is older than `seconds`. A younger one may have taken the place of one that the
    /// store dropped.
    pub(super) fn is_older(&self, seconds: u64, now: u64) -> bool {
        now.saturating_sub(self.since) > seconds
    }

    /// Adds `entry`, and removes those that it replaces.
    pub(super) fn enter(&mut self, mut entry: Listed, now: u64) {
        if self.since == 0 {
            self.since = now;
        }
        self.sessions.retain(|other| now < other.until);
        let of_same = |other: &&Listed| other.tag == entry.tag;
        let before = entry.from.and_then(|from| {
            let mut same = self.sessions.iter().filter(of_same);
            same.find(|other| other.id == from)?.from
        });
        let since = self
            .sessions
            .iter()
            .filter(of_same)
            .map(|other| other.since);
        if entry.since == 0 {
            entry.since = since.min().unwrap_or(now);
        }
        // The session has left the id before the last one, or it could not leave the last one.
        let is_replaced = |other: &Listed| {
            other.tag == entry.tag && (other.id == entry.id || Some(other.id) == before)
        };
        self.sessions.retain(|other| !is_replaced(other));
        if self.sessions.len() >= CAPACITY {
            let oldest = self.sessions.remove(0);
            self.incomplete_until = self.incomplete_until.max(oldest.until);
        }
        self.sessions.push(entry);
    }

    /// Returns whether `entries` has every session in it that was not displaced.
    pub(super) fn is_known(&self, entries: &[Listed]) -> bool {
        let mut counted = self.sessions.iter().filter(|entry| entry.displaced == 0);
        counted.all(|entry| entries.contains(entry))
    }

    /// Notes that the sessions with `tags` are to end, because there are too many.
    pub(super) fn displace(&mut self, tags: &[u64], now: u64) {
        for entry in &mut self.sessions {
            if tags.contains(&entry.tag) {
                entry.displaced = now;
            }
        }
    }

    /// Returns the entries of the sessions that were displaced at such a time.
    pub(super) fn displaced(&self, at: impl Fn(u64) -> bool) -> Vec<Listed> {
        let displaced = self.sessions.iter().filter(|entry| entry.displaced > 0);
        displaced
            .filter(|entry| at(entry.displaced))
            .cloned()
            .collect()
    }

    /// Removes `entries`, unless they were made anew meanwhile.
    pub(super) fn remove(&mut self, entries: &[Listed]) {
        self.sessions.retain(|entry| !entries.contains(entry));
    }

    /// Returns the tags of the sessions that were not displaced, each once, in the order of their
    /// log-ins.
    pub(super) fn tags(&self) -> Vec<u64> {
        let counted = self.sessions.iter().filter(|entry| entry.displaced == 0);
        let mut all: Vec<&Listed> = counted.collect();
        all.sort_by_key(|entry| entry.since);
        let mut tags = Vec::new();
        for entry in all {
            if !tags.contains(&entry.tag) {
                tags.push(entry.tag);
            }
        }
        tags
    }

    /// Returns how long the store must keep it. It does not depend on the present time: the clocks of
    /// two hosts may differ.
    fn lifetime(&self, now: u64) -> Duration {
        let left = self
            .sessions
            .iter()
            .map(|entry| entry.until.saturating_sub(entry.at));
        let incomplete = self.incomplete_until.saturating_sub(now);
        // An empty index says as much as none.
        let longest = left.chain([incomplete]).max().unwrap_or(0);
        Duration::from_secs(longest.max(1))
    }
}

impl Listed {
    /// Returns whether its session may not be in the store yet.
    pub(super) fn may_be_pending(&self, now: u64) -> bool {
        now.abs_diff(self.at) < GRACE.as_secs()
    }
}

impl SessionManager {
    /// Returns the index of the user with the key `user`, and its bytes in the store.
    async fn stored_index(
        &self,
        indexes: &UserIndexes,
        user: UserKey,
    ) -> Result<(Option<Vec<u8>>, UserIndex)> {
        let key = indexes.namespace.key(user.text());
        let getting = indexes.store.get(&key);
        let stored = self
            .bounds
            .call("load the index of a user", getting)
            .await?;
        let index = match &stored {
            None => UserIndex::default(),
            Some(bytes) => serde_json::from_slice(bytes).unwrap_or_else(|_| {
                log::warn!("the store holds an invalid index of a user; it is made anew");
                UserIndex {
                    incomplete_until: self.clock.seconds() + LONGEST,
                    ..UserIndex::default()
                }
            }),
        };
        Ok((stored, index))
    }

    /// Returns the index of the user with the key `user`, if there is one.
    pub(super) async fn index(
        &self,
        indexes: &UserIndexes,
        user: UserKey,
    ) -> Result<Option<UserIndex>> {
        let (stored, index) = self.stored_index(indexes, user).await?;
        Ok(stored.map(|_| index))
    }

    /// Edits the index of a user. `edit` runs again after each conflict, and returns whether the index
    /// must be saved.
    pub(super) async fn edit_index(
        &self,
        indexes: &UserIndexes,
        user: UserKey,
        mut edit: impl FnMut(&mut UserIndex) -> bool,
    ) -> Result<()> {
        let started = Instant::now();
        let key = indexes.namespace.key(user.text());
        loop {
            let (stored, mut index) = self.stored_index(indexes, user).await?;
            if !edit(&mut index) {
                return Ok(());
            }
            let ttl = index.lifetime(self.clock.seconds());
            let bytes = serde_json::to_vec(&index).expect("an index has a form in JSON");
            let swapping = indexes
                .store
                .swap(&key, stored.as_deref(), &bytes, Some(ttl));
            if self
                .bounds
                .call("save the index of a user", swapping)
                .await?
            {
                return Ok(());
            }
            self.check_patience(started)?;
            pause().await;
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An id that may be missing.
mod optional_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::id::{SessionId, hex};

    #[derive(Serialize, Deserialize)]
    struct Id(#[serde(with = "hex")] SessionId);

    pub(super) fn serialize<S: Serializer>(
        id: &Option<SessionId>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        id.map(Id).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<SessionId>, D::Error> {
        Ok(Option::<Id>::deserialize(from)?.map(|Id(id)| id))
    }
}
