//! Sessions in Memcached.

use std::sync::Arc;

use memcache::exp::{Delete, Get, Meta, MutationStatus, Set};
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::cas::Cas;
use super::command::Replaced;
use super::expiry::expiry;
use super::failure::{Failure, FailureKind};
use super::pool::ATTEMPTS;
use super::{CONCURRENCY, MemcachedStore, check_size, dump};
use crate::error::Result;
use crate::id::SessionId;
use crate::store::listing;
use crate::store::sweep::sweep;
use crate::store::{
    KeyValue, Precondition, RecordHeader, Revision, Save, Saved, SessionStore, Stored, Swept,
};

/// The item that a save has found under its key.
enum Current {
    /// The session itself: an earlier attempt succeeded.
    Saved,
    /// The session that it expects.
    Expected(Cas),
    /// Another session.
    Other,
    Nothing,
}

impl MemcachedStore {
    /// Loads a session with its CAS.
    async fn load(&self, act: &'static str, key: &str) -> Result<Option<(Stored, Cas)>> {
        let found = self.find(act, key).await?;
        Ok(found.map(|(bytes, cas)| (Stored::new(bytes), cas)))
    }

    /// Loads a session with its CAS. The server does not count it as used.
    async fn peek(&self, act: &'static str, key: &str) -> Result<Option<(Stored, Cas)>> {
        let get = Get::new(key).meta(Meta::default().cas()).no_lru_bump();
        let found = self.pool.get(act, key, get).await?;
        Ok(found.map(|(bytes, cas)| (Stored::new(bytes), cas)))
    }

    /// Saves a session if its precondition holds.
    ///
    /// If an attempt may have succeeded, the session is loaded and its revision compared. If the
    /// session is still the expected one, the attempt failed, and the save is sent again.
    async fn save(&self, act: &'static str, key: &str, save: Save<'_>) -> Result<Saved> {
        let new = save.header()?.revision;
        check_size(act, key, save.bytes)?;
        let (mut cas, mut must_load) = match save.precondition {
            Precondition::Absent => (None, false),
            Precondition::Revision(revision) => {
                let cached = self.pool.cached_cas(key, revision);
                (cached, cached.is_none())
            }
        };
        let (mut lost, mut losses) = (None, 0);
        loop {
            if must_load {
                let current = self.current(act, key, new, save.precondition).await?;
                cas = match (current, save.precondition) {
                    (Current::Saved, _) => return Ok(Saved::Saved(new)),
                    (Current::Expected(cas), _) => Some(cas),
                    // A lost attempt may have failed, or succeeded before another save followed.
                    (Current::Other, _) => return lost.map_or(Ok(Saved::Changed), Err),
                    (Current::Nothing, Precondition::Revision(_)) => return Ok(Saved::Gone),
                    (Current::Nothing, Precondition::Absent) => None,
                };
            }
            let ttl = expiry(Some(save.ttl));
            let sent = match cas {
                Some(cas) => self.pool.replace(act, key, save.bytes, ttl, cas).await,
                None => self.create(act, key, save.bytes, ttl, new).await,
            };
            match sent {
                Ok(Replaced::Done) => return Ok(Saved::Saved(new)),
                Ok(Replaced::Gone) => return Ok(Saved::Gone),
                Ok(Replaced::Changed) if lost.is_none() => return Ok(Saved::Changed),
                // An earlier attempt may have arrived late.
                Ok(Replaced::Changed) => {}
                Err(failure) if failure.kind == FailureKind::StaleCas => {}
                Err(failure) if failure.kind == FailureKind::Unknown => {
                    losses += 1;
                    if losses == ATTEMPTS {
                        return Err(failure.error);
                    }
                    lost = Some(failure.error);
                }
                Err(failure) => return Err(failure.error),
            }
            must_load = true;
        }
    }

    /// Loads the session under `key`, and compares it with the one to save.
    async fn current(
        &self,
        act: &'static str,
        key: &str,
        new: Revision,
        precondition: Precondition,
    ) -> Result<Current> {
        let Some((stored, cas)) = self.load(act, key).await? else {
            return Ok(Current::Nothing);
        };
        if stored.revision == new {
            return Ok(Current::Saved);
        }
        let has_header = RecordHeader::read(&stored.bytes).is_some();
        let is_expected = precondition == Precondition::Revision(stored.revision) && has_header;
        Ok(match is_expected {
            true => Current::Expected(cas),
            false => Current::Other,
        })
    }

    /// Creates a session if there is none, and caches its CAS.
    async fn create(
        &self,
        act: &'static str,
        key: &str,
        bytes: &[u8],
        ttl: u32,
        revision: Revision,
    ) -> std::result::Result<Replaced, Failure> {
        let set = Set::new(key, bytes).ttl_raw(ttl).return_cas().add();
        let response = self.pool.run_once(act, key, set, None).await?;
        if response.output.status != MutationStatus::Applied {
            return Ok(Replaced::Changed);
        }
        let cas = response.cas(response.output.cas);
        self.pool.cache_cas(key, revision, cas);
        Ok(Replaced::Done)
    }

    /// Deletes a session if it still has `revision`. `cas` is its CAS, if it is known.
    async fn delete_if(
        &self,
        act: &'static str,
        key: &str,
        revision: Revision,
        mut cas: Option<Cas>,
    ) -> Result<bool> {
        let mut losses = 0;
        loop {
            let cas = match cas.take() {
                Some(cas) => cas,
                None => match self.peek(act, key).await? {
                    Some((stored, cas)) if stored.revision == revision => cas,
                    // If an attempt was lost, it has deleted the session.
                    None => return Ok(losses > 0),
                    Some(_) => return Ok(false),
                },
            };
            let delete = Delete::new(key).compare_cas(cas.number);
            match self.pool.run_once(act, key, delete, Some(cas)).await {
                Ok(response) => return Ok(response.output.status == MutationStatus::Applied),
                Err(failure) if failure.kind == FailureKind::StaleCas => {}
                Err(failure) if failure.kind == FailureKind::Unknown && losses + 1 < ATTEMPTS => {
                    losses += 1;
                }
                Err(failure) => return Err(failure.error),
            }
        }
    }

    /// Returns all items under keys that have the form of a session's key.
    fn list(&self, act: &'static str) -> BoxStream<'_, Result<(SessionId, Stored, Cas)>> {
        let keys = self.keys(act, self.prefix.as_str().to_owned());
        listing::load_each(listing::ids(keys), CONCURRENCY, move |id| async move {
            let found = self.peek(act, &self.prefix.session(&id)).await?;
            Ok(found.map(|(stored, cas)| (id, stored, cas)))
        })
    }
}

#[rocket::async_trait]
impl SessionStore for MemcachedStore {
    fn name(&self) -> &'static str {
        "memcached"
    }

    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    fn expires_by_itself(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        for address in self.settings().servers.iter() {
            dump::check_version(address, self.settings().timeout).await?;
        }
        Ok(())
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let key = self.prefix.session(id);
        let Some((stored, cas)) = self.load("load a session", &key).await? else {
            return Ok(None);
        };
        self.pool.cache_cas(&key, stored.revision, cas);
        Ok(Some(stored))
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let (act, key) = ("save a session", self.prefix.session(id));
        let saved = self.save(act, &key, save);
        self.pool.in_time(act, &key, saved).await
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let key = self.prefix.session(id);
        let deleted = self.pool.run("delete a session", &key, Delete::new(&key));
        Ok(deleted.await?.status == MutationStatus::Applied)
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let (act, key) = ("delete a session", self.prefix.session(id));
        let cached = self.pool.cached_cas(&key, revision);
        let deleted = self.delete_if(act, &key, revision, cached);
        self.pool.in_time(act, &key, deleted).await
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let act = "delete old sessions";
        let now = self.clock.seconds();
        // The list contains the CAS of each session, which saves a round trip.
        sweep(
            self.list(act),
            now,
            minutes,
            move |id, revision, cas| async move {
                let key = self.prefix.session(&id);
                let deleted = self.delete_if(act, &key, revision, Some(cas));
                self.pool.in_time(act, &key, deleted).await
            },
        )
        .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        self.list("list the sessions")
            .map_ok(|(id, stored, _)| (id, stored))
            .boxed()
    }
}
