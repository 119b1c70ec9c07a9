//! Lists the sessions of a user.

use rocket::futures::TryStreamExt;
use rocket::futures::future::join_all;

use super::SessionManager;
use super::end_all::AT_ONCE;
use super::listing::Presence;
use super::user_index::{UserIndex, UserIndexes};
use crate::error::Result;
use crate::handle::{SessionHandle, UserKey};
use crate::record::Record;

/// A session of a user.
pub(crate) struct SessionOfUser {
    pub(crate) handle: SessionHandle,
    pub(crate) record: Record,
}

impl SessionManager {
    /// Returns the sessions of `user`, the last used first. Copies of a session count as one.
    pub(crate) async fn sessions_of(&self, user: &str) -> Result<Vec<SessionOfUser>> {
        let key = UserKey::of(user);
        let records = match self.complete_index(key).await? {
            Some((indexes, index)) => self.indexed_sessions(indexes, key, index).await?,
            None => self.listed_sessions(user).await?,
        };
        let mut sessions: Vec<SessionOfUser> = Vec::new();
        for record in records {
            // Records of other programs may have none.
            let Some(tag) = record.tag else { continue };
            let handle = SessionHandle::new(key, tag);
            match sessions.iter_mut().find(|other| other.handle == handle) {
                Some(other) if other.record.accessed < record.accessed => other.record = record,
                Some(_) => {}
                None => sessions.push(SessionOfUser { handle, record }),
            }
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.record.accessed));
        Ok(sessions)
    }

    /// Returns the session with `handle`, if it is there.
    #[cfg(feature = "cli")]
    pub(crate) async fn session_by(&self, handle: &SessionHandle) -> Result<Option<Record>> {
        let user = handle.user();
        if user != UserKey::nobody()
            && let Some((indexes, mut index)) = self.complete_index(user).await?
        {
            index.sessions.retain(|entry| handle.has_tag(entry.tag));
            let found = self.indexed_sessions(indexes, user, index).await?;
            return Ok(found.into_iter().max_by_key(|record| record.accessed));
        }
        let mut all = self.store().iter_sessions();
        while let Some((id, stored)) = all.try_next().await? {
            if let Some(record) = Record::listed(stored.bytes, &id)
                && record.handle() == Some(*handle)
                && !self.is_expired(&record)
                && !self.lineage_has_ended(&record).await?
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Returns the index of a user. `None` if all sessions of the store must be listed instead: the
    /// store has no indexes, or it may have dropped this one.
    async fn complete_index(&self, user: UserKey) -> Result<Option<(&UserIndexes, UserIndex)>> {
        let Some(indexes) = &self.indexes else {
            return Ok(None);
        };
        Ok(match self.index(indexes, user).await? {
            Some(index) if index.is_incomplete(self.clock.seconds()) => None,
            None if indexes.may_be_evicted() => None,
            index => Some((indexes, index.unwrap_or_default())),
        })
    }

    /// Loads the sessions of an index, and removes from it those that have ended.
    async fn indexed_sessions(
        &self,
        indexes: &UserIndexes,
        user: UserKey,
        index: UserIndex,
    ) -> Result<Vec<Record>> {
        let (mut records, mut gone) = (Vec::new(), Vec::new());
        for some in index.sessions.chunks(AT_ONCE) {
            let loads = some.iter().map(|entry| self.presence(user, entry));
            for (entry, presence) in some.iter().zip(join_all(loads).await) {
                match presence? {
                    Presence::Live(record) => records.push(*record),
                    Presence::Pending | Presence::Expired => {}
                    Presence::Gone => gone.push(entry.clone()),
                }
            }
        }
        if !gone.is_empty() {
            // The list is right whether or not this succeeds. A failure is in the log.
            let _ = self.forget(indexes, user, &gone).await;
        }
        Ok(records)
    }

    /// Finds the sessions of `user` among all sessions of the store.
    async fn listed_sessions(&self, user: &str) -> Result<Vec<Record>> {
        let (mut all, mut records) = (self.store().iter_sessions(), Vec::new());
        while let Some((id, stored)) = all.try_next().await? {
            if let Some(record) = Record::listed(stored.bytes, &id)
                && record.user() == Some(user)
                && !self.is_expired(&record)
                && !self.lineage_has_ended(&record).await?
            {
                records.push(record);
            }
        }
        Ok(records)
    }
}
