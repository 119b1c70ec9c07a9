//! The session manager: loads, merges, renews and ends sessions in the store.

mod batch;
mod claims;
mod commit;
#[cfg(feature = "import")]
mod copied;
mod copies;
mod create;
mod end;
mod end_all;
mod follower;
mod grace;
mod lifetimes;
mod listing;
mod load;
mod of_user;
mod renew;
mod unanswered;
mod undo;
mod update;
mod user_index;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::config::{Config, Limits, Transport, WhenTooMany};
use crate::end_reason::EndReason;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{EventKind, Listeners, SessionEvent};
use crate::id::SessionId;
use crate::keyed_locks::{KeyedLock, KeyedLocks, LockError};
use crate::record::Record;
use crate::store::bounded::Bounds;
use crate::store::{Precondition, Revision, Save, Saved, SessionStore};

use batch::Batches;
use lifetimes::Lifetimes;
use user_index::UserIndexes;

pub(crate) use claims::Claim;
#[cfg(feature = "cli")]
pub(crate) use claims::NAMESPACE as CLAIMS;
#[cfg(feature = "cli")]
pub(crate) use copied::Copied;
pub(crate) use end::{EndTarget, ObservedRevision};
pub(crate) use grace::RenewalKind;
pub(crate) use load::{Lookup, Presented, is_same_session};
pub(crate) use of_user::SessionOfUser;
pub(crate) use unanswered::{Unanswered, Unconfirmed};
pub(crate) use update::Update;

/// How long a tombstone stays in the store. A request that runs longer finds no session at the old
/// id.
const GRACE: Duration = Duration::from_secs(60);

/// How long the tombstone of a session that [somebody else](crate::end_reason::EndReason::is_news)
/// ended stays in the store at most, in seconds. The visitor is told why when the browser comes back.
const NEWS: u64 = 86_400;

/// Loads and saves sessions as the configuration says.
pub(crate) struct SessionManager {
    store: Arc<dyn SessionStore>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// The header in which a client sends the token of a new session, if tokens are allowed.
    pub(crate) token_header: Option<String>,
    pub(crate) lifetimes: Lifetimes,
    /// Seconds for which the store keeps the session of a user after a timeout.
    keep_expired: u64,
    bounds: Arc<Bounds>,
    /// One lock for each session. A request holds it while it reads a session again after a conflict.
    session_locks: KeyedLocks<SessionId>,
    batches: Batches,
    /// One lock for each tag. It is held while a session with this tag, or a copy of it, is renewed
    /// or ended.
    lineage_locks: KeyedLocks<u64>,
    /// The indexes of the users; `None` if the store keeps no entries.
    indexes: Option<UserIndexes>,
    /// 0 is any number.
    max_sessions_per_user: usize,
    when_too_many: WhenTooMany,
}

/// The id and the revision of a session in the store, as a request last saw them.
#[derive(Clone, Copy)]
pub(crate) struct Version {
    pub(crate) id: SessionId,
    pub(crate) revision: Revision,
    /// Whether this request updated the time of last use when it loaded the session.
    pub(crate) touched: bool,
}

/// The outcome of a commit: what happened to a request's changes.
pub(crate) enum CommitOutcome {
    /// The store now has this record.
    Committed {
        record: Record,
        version: Version,
        /// Whether another request had emptied the session meanwhile and removed its cookie.
        revived: bool,
    },
    /// Another request changed or renewed the session. After a renewal the changes are saved under
    /// the new id, except those that [stay behind](crate::change::Change::stays_behind). If a
    /// different user is logged in there, none of them are saved. This request's visitor does not
    /// learn the new id: it may be somebody else who knew the old one. In the grace of a renewal,
    /// nothing stays behind.
    CommittedElsewhere,
    /// The session ended meanwhile. Nothing was saved.
    Ended,
    /// Another request saved the session after a save of this request with an unknown outcome. The
    /// first `lost` changes were in that save. They may already be in the store, so they are never
    /// sent again.
    Unknown {
        /// The record in the store, unless it has moved to another id.
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

/// Returns the outcome of a commit, `elsewhere` if the session has moved to another id.
fn committed(record: Record, version: Version, revived: bool, elsewhere: bool) -> CommitOutcome {
    match elsewhere {
        true => CommitOutcome::CommittedElsewhere,
        false => CommitOutcome::Committed {
            record,
            version,
            revived,
        },
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
            indexes: Arc::clone(&store).key_value().map(UserIndexes::new),
            store,
            clock,
            limits: config.limits,
            token_header: match config.transport {
                Transport::Cookie => None,
                Transport::Header | Transport::Both => config.header.names.first().cloned(),
            },
            lifetimes: Lifetimes::new(config),
            keep_expired: config.keep_expired,
            bounds,
            session_locks: KeyedLocks::new(),
            batches: Batches::default(),
            lineage_locks: KeyedLocks::new(),
            max_sessions_per_user: config.max_sessions_per_user.into(),
            when_too_many: config.when_too_many,
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

    /// Returns those who learn of events.
    pub(crate) fn listeners(&self) -> &Listeners {
        self.bounds.heard_by()
    }

    /// Tells the listeners if `error` says that a session would be too large. `address` is that of the
    /// client, if it is known.
    pub(crate) fn note_limit(&self, error: &Error, address: Option<IpAddr>) {
        if error.kind() == ErrorKind::Limit {
            let event = SessionEvent::new(EventKind::SessionFull);
            self.listeners().tell(SessionEvent { address, ..event });
        }
    }

    /// Returns the lifetime of `record` in the store.
    pub(crate) fn lifetime(&self, record: &Record) -> Duration {
        if record.ended.is_some_and(EndReason::is_news) {
            return GRACE.max(Duration::from_secs(self.lifetimes.idle(record).min(NEWS)));
        }
        if record.tombstone.is_some() || !record.has_info() {
            return GRACE;
        }
        let left = self.lifetimes.left(record, self.clock.seconds());
        let kept = record.user.as_ref().map_or(0, |_| self.keep_expired);
        Duration::from_secs(left.saturating_add(kept))
    }

    /// Saves `record` with the present time. The attempt stays in `unanswered` until the store
    /// reports its outcome. `changes` is the number of the request's changes in `record`.
    async fn save(
        &self,
        id: &SessionId,
        record: &mut Record,
        precondition: Precondition,
        changes: usize,
        unanswered: &mut Unanswered,
    ) -> Result<Saved> {
        let ttl = self.lifetime(record);
        record.revise();
        let bytes = self.encode(id, record, ttl);
        unanswered.note(record.rev, changes);
        let saved = self.send(id, &bytes, ttl, precondition).await?;
        unanswered.forget(record.rev);
        Ok(saved)
    }

    /// Saves `record` with the present time and the lifetime `ttl`, for writes that hold none of
    /// the request's changes.
    async fn put(
        &self,
        id: &SessionId,
        record: &mut Record,
        ttl: Duration,
        precondition: Precondition,
    ) -> Result<Saved> {
        record.revise();
        let bytes = self.encode(id, record, ttl);
        self.send(id, &bytes, ttl, precondition).await
    }

    /// Returns the bytes of `record` with the present time and the lifetime `ttl`.
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
        let saved = self
            .bounds
            .call("save a session", self.store.save_session(id, save))
            .await?;
        if saved == Saved::Changed && precondition != Precondition::Absent {
            self.listeners().note(EventKind::Conflict);
        }
        Ok(saved)
    }

    /// Deletes the entry under `id`.
    async fn delete(&self, id: &SessionId) -> Result<bool> {
        self.bounds
            .call("delete a session", self.store.delete_session(id))
            .await
    }

    /// Waits for the lock of the session under `id`, behind earlier requests of this process.
    async fn lock_session(&self, id: SessionId) -> Result<KeyedLock<'_, SessionId>> {
        let lock = self.session_locks.lock(id, self.bounds.patience());
        lock.await.map_err(|error| match error {
            LockError::TimedOut => self.contention_error(),
            LockError::StoreFailed => self
                .unavailable("save a session")
                .because("the store hangs"),
        })
    }

    /// Waits for the lock of the lineage with `tag`, behind earlier renewals and ends in this
    /// process. If the lock cannot be had in time, the caller goes on without it.
    async fn lock_lineage(&self, tag: Option<u64>) -> Option<KeyedLock<'_, u64>> {
        let lock = self.lineage_locks.lock(tag?, self.bounds.patience());
        lock.await.ok()
    }

    fn check_patience(&self, started: Instant) -> Result<()> {
        if started.elapsed() > self.bounds.patience() {
            Err(self.contention_error())
        } else {
            Ok(())
        }
    }

    fn unavailable(&self, act: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, act)
    }

    fn contention_error(&self) -> Error {
        self.unavailable("save a session")
            .because("too many requests change this session at once")
    }
}

#[cfg(test)]
mod interleavings;
