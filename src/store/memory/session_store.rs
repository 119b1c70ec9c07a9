//! Sessions in memory.

use std::sync::Arc;

use rocket::futures::stream::{self, BoxStream, StreamExt};

use super::MemoryStore;
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Record, Tombstone};
use crate::store::{KeyValue, Precondition, Revision, Save, Saved, SessionStore, Stored, Swept};
use crate::store::{lifetime, listing};

/// A session, with times in milliseconds since 1970.
#[derive(Debug)]
pub(super) struct Session {
    stored: Stored,
    saved: u64,
    expires: u64,
    /// Whether it only tells a visitor why the session ended.
    gives_way: bool,
}

impl Session {
    fn is_live(&self, now: u64) -> bool {
        self.expires > now
    }
}

/// Returns whether `bytes` are the tombstone of an end that the store could have deleted at once, and
/// keeps only for its reason.
fn tells_of_end(id: &SessionId, bytes: &[u8]) -> bool {
    // The reason is the last field of the record, and a text. Few other records end so.
    let may_be = !id.is_of_token() && bytes.ends_with(b"\"}");
    may_be
        && Record::decode(bytes.to_vec(), id).is_some_and(|record| {
            record.tombstone == Some(Tombstone::Ended) && record.ended.is_some()
        })
}

#[rocket::async_trait]
impl SessionStore for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let now = self.clock.millis();
        let sessions = self.sessions.lock();
        let session = sessions.get(id).filter(|session| session.is_live(now));
        Ok(session.map(|session| session.stored.clone()))
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let header = save.header()?;
        let now = self.clock.millis();
        let mut sessions = self.sessions.lock();
        let current = sessions.get(id).filter(|session| session.is_live(now));
        let current = current.map(|session| session.stored.revision);
        if let Some(refusal) = save.precondition.refusal(current) {
            return Ok(refusal);
        }
        if save.precondition == Precondition::Absent && sessions.len() >= self.capacity {
            sessions.retain(|_, session| session.is_live(now));
            if sessions.len() >= self.capacity {
                sessions.retain(|_, session| !session.gives_way);
            }
            if sessions.len() >= self.capacity {
                return Err(self.full("save a session"));
            }
        }
        let session = Session {
            stored: Stored::new(save.bytes.to_vec()),
            saved: now,
            expires: now.saturating_add(lifetime::millis(save.ttl)),
            gives_way: tells_of_end(id, save.bytes),
        };
        sessions.insert(*id, session);
        Ok(Saved::Saved(header.revision))
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let now = self.clock.millis();
        let removed = self.sessions.lock().remove(id);
        Ok(removed.is_some_and(|session| session.is_live(now)))
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let now = self.clock.millis();
        let mut sessions = self.sessions.lock();
        let session = sessions.get(id).filter(|session| session.is_live(now));
        let matches = session.is_some_and(|session| session.stored.revision == revision);
        if matches {
            sessions.remove(id);
        }
        Ok(matches)
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let now = self.clock.millis();
        let age = minutes.saturating_mul(60_000);
        self.entries.lock().retain(|_, entry| entry.is_live(now));
        let mut sessions = self.sessions.lock();
        let before = sessions.len();
        sessions
            .retain(|_, session| session.is_live(now) && now.saturating_sub(session.saved) < age);
        Ok(Swept {
            deleted: (before - sessions.len()) as u64,
            remaining: sessions.len() as u64,
        })
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let ids: Vec<SessionId> = self.sessions.lock().keys().copied().collect();
        let ids = stream::iter(ids).map(Ok).boxed();
        listing::load_each(ids, 1, move |id| async move {
            let stored = self.load_session(&id).await?;
            Ok(stored.map(|stored| (id, stored)))
        })
    }
}
