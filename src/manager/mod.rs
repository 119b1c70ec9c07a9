//! Keeping a session: the store, under a deadline, and how a request's changes get into it whatever
//! others do meanwhile.

mod create;
mod end;
mod load;
mod renew;
mod unanswered;
mod undo;
mod update;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::config::{Config, Limits, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::keyed_locks::{KeyedLock, KeyedLocks, LockError};
use crate::record::Record;
use crate::store::bounded::Bounds;
use crate::store::{Precondition, Revision, Save, Saved, SessionStore};

pub(crate) use end::{Ending, Seen};
pub(crate) use load::{Lookup, same};
pub(crate) use unanswered::{Unanswered, Unconfirmed};
pub(crate) use update::Update;

/// How long a departed session's old id tells where it went. A request that was under way for
/// longer is told that the session is gone.
const GRACE: Duration = Duration::from_secs(60);

/// Loads and saves sessions by the rules of the configuration.
pub(crate) struct SessionManager {
    store: Arc<dyn SessionStore>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// The header in which the token of a new session is to come, where tokens find sessions.
    pub(crate) token_header: Option<String>,
    /// Seconds.
    idle_timeout: u64,
    /// Seconds; 0 is never.
    absolute_timeout: u64,
    /// Seconds.
    touch_every: u64,
    bounds: Arc<Bounds>,
    /// Held by a request that met a conflict while it saves the session.
    session_locks: KeyedLocks<SessionId>,
    /// Held while the session with this tag, or a copy of it, gets another id or ends.
    lineage_locks: KeyedLocks<u64>,
}

/// What the store holds of a session, as a request last saw it.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) id: SessionId,
    pub(crate) revision: Revision,
    /// Whether the request moved on the time of the session's last use when it loaded it.
    pub(crate) touched: bool,
}

/// What became of a request's changes.
pub(crate) enum CommitOutcome {
    /// The session is kept like this.
    Committed {
        record: Record,
        version: Version,
        /// Whether another request had emptied it meanwhile, and had its cookie removed.
        revived: bool,
    },
    /// Another request saw to it. Where it renewed the session meanwhile, the changes are kept
    /// under the new id, but for those that [stay behind](crate::change::Change::stays_behind), and all of them
    /// do where somebody else is logged in there. The visitor of *this* request is not told which
    /// id that is: it may be somebody else, who knew the old one.
    CommittedElsewhere,
    /// The session ended meanwhile. Nothing was kept.
    Ended,
    /// Others saved the session after a save of this request whose outcome is not known. The first
    /// `lost` changes were in that save: they may be kept already, so they are never sent again.
    Unknown {
        /// What others saved, unless it is under another id by now.
        newer: Option<(Record, Version)>,
        lost: usize,
    },
}

impl CommitOutcome {
    fn committed(record: Record, version: Version) -> Self {
        Self::Committed {
            record,
            version,
            revived: false,
        }
    }
}

impl SessionManager {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        bounds: Arc<Bounds>,
        clock: Clock,
        config: &Config,
    ) -> Self {
        Self {
            store,
            clock,
            limits: config.limits,
            token_header: match config.transport {
                Transport::Cookie => None,
                Transport::Header | Transport::Both => config.header.names.first().cloned(),
            },
            idle_timeout: config.idle_timeout,
            absolute_timeout: config.absolute_timeout,
            // A session that is used keeps clear of its end by nine tenths of the timeout.
            touch_every: config.touch_every.min(config.idle_timeout / 10),
            bounds,
            session_locks: KeyedLocks::new(),
            lineage_locks: KeyedLocks::new(),
        }
    }

    /// Returns a manager of `store` with the default configuration.
    #[cfg(test)]
    fn with_defaults(store: Arc<dyn SessionStore>, clock: Clock) -> Self {
        let bounds = Arc::new(Bounds::new(clock.clone(), Duration::from_secs(1)));
        Self::new(store, bounds, clock, &Config::default())
    }

    pub(crate) fn store(&self) -> &Arc<dyn SessionStore> {
        &self.store
    }

    /// Returns how long a save of `record` keeps it.
    fn lifetime(&self, record: &Record) -> Duration {
        if record.tombstone.is_some() || !record.has_info() {
            return GRACE;
        }
        let left = match self.absolute_timeout {
            0 => u64::MAX,
            timeout => {
                let end = record.created.saturating_add(timeout);
                end.saturating_sub(self.clock.seconds())
            }
        };
        Duration::from_secs(self.idle_timeout.min(left).max(1))
    }

    /// Asks the store to keep `record`, as of now, and notes in `unanswered` that it was asked until it
    /// says what became of it. `changes` is how many of the request's changes are in `record`.
    async fn save(
        &self,
        id: &SessionId,
        record: &mut Record,
        precondition: Precondition,
        changes: usize,
        unanswered: &mut Unanswered,
    ) -> Result<Saved> {
        let ttl = self.lifetime(record);
        let bytes = self.encode(id, record, ttl);
        unanswered.note(record.rev, changes);
        let saved = self.send(id, &bytes, ttl, precondition).await?;
        unanswered.forget(record.rev);
        Ok(saved)
    }

    /// Asks the store to keep `record`, as of now, for `ttl`. It is not one of a request's changes.
    async fn put(
        &self,
        id: &SessionId,
        record: &mut Record,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<Saved> {
        let bytes = self.encode(id, record, ttl);
        self.send(id, &bytes, ttl, precondition).await
    }

    fn encode(&self, id: &SessionId, record: &mut Record, ttl: Duration) -> Vec<u8> {
        let now = self.clock.seconds();
        record.accessed = now;
        record.encode(id, now + ttl.as_secs())
    }

    async fn send(
        &self,
        id: &SessionId,
        bytes: &[u8],
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<Saved> {
        let save = Save {
            bytes,
            ttl,
            precondition,
        };
        self.bounds
            .call("save a session", self.store.save_session(id, save))
            .await
    }

    /// Asks the store to remove what is under `id`.
    async fn delete(&self, id: &SessionId) -> Result<bool> {
        self.bounds
            .call("delete a session", self.store.delete_session(id))
            .await
    }

    /// Waits until the requests of this process that contend for the session under `id`, and came
    /// before, are through.
    async fn lock_session(&self, id: SessionId) -> Result<KeyedLock<'_, SessionId>> {
        let lock = self.session_locks.lock(id, self.bounds.patience());
        lock.await.map_err(|error| match error {
            LockError::TimedOut => self.crowded(),
            LockError::StoreFailed => self
                .unavailable("save a session")
                .because("the store hangs"),
        })
    }

    /// Waits until the requests of this process that give the session with `tag` another id, or end
    /// it, and came before are through. Without the lock the caller goes on all the same.
    async fn lock_lineage(&self, tag: Option<u64>) -> Option<KeyedLock<'_, u64>> {
        let lock = self.lineage_locks.lock(tag?, self.bounds.patience());
        lock.await.ok()
    }

    fn check_patience(&self, started: Instant) -> Result<()> {
        if started.elapsed() > self.bounds.patience() {
            Err(self.crowded())
        } else {
            Ok(())
        }
    }

    fn unavailable(&self, act: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, act)
    }

    fn crowded(&self) -> Error {
        self.unavailable("save a session")
            .because("too many requests change this session at once")
    }
}

#[cfg(test)]
mod interleavings;
