//! Sessions that come from another store: kept as they are, and entered into the index of their user.

use std::sync::Arc;
use std::time::Duration;

use super::SessionManager;
use super::listing::{KEPT_LONGER, LISTED_LONGER};
use super::user_index::Listed;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::Result;
use crate::handle::UserKey;
use crate::id::SessionId;
use crate::record::Record;
#[cfg(feature = "cli")]
use crate::store::Stored;
use crate::store::bounded::Bounds;
use crate::store::{Precondition, Saved, SessionStore};

/// A session of another store, as it is to be kept.
#[cfg(feature = "cli")]
pub(crate) struct Copied {
    pub(crate) id: SessionId,
    pub(crate) record: Record,
    pub(crate) stored: Stored,
    pub(crate) ttl: Duration,
}

impl SessionManager {
    /// Returns a manager that keeps sessions in `store` without an application.
    pub(crate) fn of_store(store: Arc<dyn SessionStore>) -> Self {
        let clock = Clock::system();
        let bounds = Bounds::new(clock.clone(), Duration::from_secs(10)).of_store(store.name());
        Self::new(store, bounds, clock, &Config::default())
    }

    /// Keeps a session of another store under its own id and revision, if `precondition` holds.
    #[cfg(feature = "cli")]
    pub(crate) async fn keep_copy(
        &self,
        copied: &Copied,
        precondition: Precondition,
    ) -> Result<Saved> {
        let Copied {
            id,
            record,
            stored,
            ttl,
        } = copied;
        let until = record.listed.max(record.expires) + KEPT_LONGER;
        self.enter_copy(*id, record, until).await?;
        self.send(id, &stored.bytes, *ttl, precondition).await
    }

    /// Keeps a new session under `id`, with the times in `record`, unless there is one. Returns whether
    /// there was none.
    pub(crate) async fn keep_new(
        &self,
        id: SessionId,
        mut record: Record,
        ttl: Duration,
    ) -> Result<bool> {
        let now = self.clock.seconds();
        // The clock of the old system may be ahead.
        record.created = record.created.min(now);
        record.accessed = record.accessed.min(now);
        record.tag();
        let end = now.saturating_add(ttl.as_secs());
        if self.indexes.is_some() && record.user.is_some() {
            record.listed = end.saturating_add(LISTED_LONGER);
        }
        let until = record.listed.saturating_add(KEPT_LONGER);
        self.enter_copy(id, &record, until).await?;
        record.revise();
        let bytes = record.encode(&id, end);
        let saved = self.send(&id, &bytes, ttl, Precondition::Absent).await?;
        Ok(matches!(saved, Saved::Saved(_)))
    }

    /// Enters `record` into the index of its user, however many sessions the user has. An end of all of
    /// them finds it.
    async fn enter_copy(&self, id: SessionId, record: &Record, until: u64) -> Result<()> {
        let (Some(indexes), Some(user), Some(tag)) = (&self.indexes, record.user(), record.tag)
        else {
            return Ok(());
        };
        let user = UserKey::of(user);
        let now = self.clock.seconds();
        let entry = Listed {
            id,
            tag,
            since: record.log_in.as_ref().map_or(0, |log_in| log_in.at),
            at: now,
            until,
            from: None,
            displaced: 0,
        };
        let _lock = indexes.lock(user, self.bounds.patience()).await;
        self.edit_index(indexes, user, |index| {
            index.enter(entry.clone(), now);
            true
        })
        .await
    }

    /// Returns how long a copy of `record` is to be kept, if it has not expired.
    #[cfg(feature = "cli")]
    pub(crate) fn left_of_copy(&self, record: &Record) -> Option<Duration> {
        let left = record.expires.checked_sub(self.clock.seconds())?;
        (left > 0).then(|| Duration::from_secs(left))
    }
}
