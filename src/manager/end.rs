//! Ends sessions, for good.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rocket::futures::future::join;
use rocket::tokio::time::sleep;
use uuid::Uuid;

use super::follower::RenewalFollower;
use super::{SessionManager, Version, is_same_session};
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::events::{EventKind, SessionEvent};
use crate::handle::UserKey;
use crate::id::SessionId;
use crate::record::{Record, Tombstone};
use crate::store::{Revision, Saved};

/// The session to end.
#[derive(Clone, Copy)]
pub(crate) struct EndTarget {
    pub(crate) id: SessionId,
    /// The session's tag, if it is known.
    pub(crate) tag: Option<u64>,
    /// The revision that the caller saw, if it has loaded the session.
    pub(crate) observed: Option<ObservedRevision>,
    /// Whether an earlier attempt of the caller had an unknown outcome.
    pub(crate) tried: bool,
    pub(crate) copies: Copies,
    pub(crate) index: IndexEntry,
    pub(crate) reason: EndReason,
    /// The address of the client that asked for the end, if it is known.
    pub(crate) address: Option<IpAddr>,
}

/// What happens to the entry of a session that ends in the index of its user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexEntry {
    Removed,
    /// The caller removes it.
    Kept,
}

/// What happens to the copies of a session that ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// They end too.
    End,
    /// They end too, unless the store has no room for their tombstone. The caller finds and ends each
    /// of them.
    TryToEnd,
    /// They live on.
    Spare,
}

impl EndTarget {
    /// Names the session under `id`, whatever its tag.
    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            id,
            tag: None,
            observed: None,
            tried: false,
            copies: Copies::End,
            index: IndexEntry::Removed,
            reason: EndReason::EndedElsewhere,
            address: None,
        }
    }
}

impl Copies {
    /// Returns what happens to the copies of each session of a user, where `except` is spared.
    pub(super) fn unless_spared<T>(except: Option<T>) -> Self {
        match except {
            None => Self::TryToEnd,
            // The spared session must not end with one of its copies.
            Some(_) => Self::Spare,
        }
    }
}

/// What is known of an end so far.
struct Ending {
    /// The outcome for the copies of the session.
    copies: Result<()>,
    /// The user of the session.
    user: Option<String>,
}

/// The revision of a session before its end.
#[derive(Clone, Copy)]
pub(crate) struct ObservedRevision {
    pub(crate) revision: Revision,
    /// The tag that the session shares with its copies, if it has any.
    pub(crate) lineage: Option<u64>,
    /// The seconds that a copy can stay unused.
    unused: u64,
}

impl ObservedRevision {
    pub(crate) fn new(manager: &SessionManager, record: &Record, version: &Version) -> Self {
        Self {
            revision: version.revision,
            lineage: record.tag.filter(|_| record.forked),
            unused: manager.lifetimes.of_copies(record),
        }
    }
}

impl SessionManager {
    /// Ends a session and all its copies for good, following its renewals. Returns whether it was
    /// still there. An error may mean that only copies of it live on.
    pub(crate) async fn end(&self, end_target: EndTarget) -> Result<bool> {
        self.end_of_user(end_target, None).await
    }

    /// As [`end`](Self::end), for a session of `user`, if the user is known.
    pub(crate) async fn end_of_user(
        &self,
        end_target: EndTarget,
        user: Option<String>,
    ) -> Result<bool> {
        let copies = Ok(());
        let mut ending = Ending { copies, user };
        let ended = self.end_one(end_target, &mut ending).await?;
        if ended {
            self.listeners().tell(SessionEvent {
                kind: EventKind::Ended(end_target.reason),
                user: ending.user.as_deref(),
                address: end_target.address,
            });
        }
        if end_target.copies == Copies::End {
            ending.copies?;
        }
        Ok(ended)
    }

    /// Ends one session for good.
    async fn end_one(&self, end_target: EndTarget, ending: &mut Ending) -> Result<bool> {
        let EndTarget {
            mut id,
            tag,
            mut observed,
            mut tried,
            reason,
            ..
        } = end_target;
        let mut follower = RenewalFollower::new(self);
        let (mut current_tag, mut was_live) = (tag, true);
        let is_kept = loop {
            follower.check()?;
            let Some(seen) = observed.take() else {
                let Some((there, version)) = self.read(&id).await? else {
                    self.delete_what_has_expired(&id).await?;
                    // After an earlier attempt, that attempt ended the session.
                    return Ok(tried);
                };
                match there.tombstone {
                    Some(Tombstone::Moved(next)) => {
                        id = next;
                        follower.note_tombstone(there.tag).await;
                    }
                    // An expired session is ended too: it must not return when the clock is set
                    // back.
                    None if is_same_session(tag, there.tag) => {
                        was_live =
                            !self.is_expired(&there) && !self.lineage_has_ended(&there).await?;
                        current_tag = there.tag;
                        observed = Some(ObservedRevision::new(self, &there, &version));
                        ending.user = there.user;
                    }
                    _ => return Ok(tried),
                }
                continue;
            };
            let version = Version {
                id,
                revision: seen.revision,
                touched: false,
            };
            if let Some(tag) = seen.lineage.filter(|_| end_target.copies != Copies::Spare) {
                ending.copies = self.end_lineage(tag, seen.unused, reason).await;
            }
            let asked = Instant::now();
            // The visitor of a session that ended before knows already.
            let is_kept = was_live && reason.is_news() && ending.user.is_some();
            let shown = Some(reason).filter(|reason| is_kept || !reason.is_news());
            // The tombstone stops any renewal or save of this session, now and later.
            match self.put_end(&version, shown).await {
                Ok(Saved::Saved(_)) => break is_kept,
                // A session that renews itself in a loop could stay a step ahead. The lock stops
                // its renewals in this process; against other processes, random pauses help.
                Ok(Saved::Changed) => match &follower.lock {
                    None => follower.block_renewals(current_tag).await,
                    Some(_) => pause().await,
                },
                Ok(Saved::Gone) => {
                    self.delete_what_has_expired(&id).await?;
                    return Ok(tried);
                }
                // If the store has no room for a tombstone, a deletion takes its place.
                Err(error) => match self.delete_version(&version, asked).await {
                    Ok(true) => return Ok(was_live),
                    // The record has changed. It may be the tombstone.
                    Ok(false) => tried = true,
                    Err(_) => return Err(error),
                },
            }
        };
        let user = ending.user.as_deref();
        let user = user.filter(|_| end_target.index == IndexEntry::Removed);
        join(
            self.delete_tombstone(&id, is_kept),
            self.forget_session(user.map(UserKey::of), current_tag),
        )
        .await;
        Ok(was_live)
    }

    /// Deletes the tombstone under `id`, unless it `is_kept` to tell the visitor why the session ended.
    async fn delete_tombstone(&self, id: &SessionId, is_kept: bool) {
        // A deletion could remove the next session of the same token. The tombstone expires by itself.
        if !is_kept
            && !id.is_of_token()
            && let Err(error) = self.delete(id).await
        {
            log::warn!("a session ended, and its tombstone stays for a minute: {error}");
        }
    }

    /// Deletes the record of `version` unless it has changed, in the time that is left of a call that
    /// began at `started`.
    async fn delete_version(&self, version: &Version, started: Instant) -> Result<bool> {
        let left = self.bounds.timeout().saturating_sub(started.elapsed());
        let deleting = self
            .store()
            .delete_session_if(&version.id, version.revision);
        self.bounds
            .call_within(left, "delete a session", deleting)
            .await
    }

    /// Deletes a record that the store may still have under `id` although it returned none. Some
    /// stores hide expired records, and would show them again after the clock is set back.
    async fn delete_what_has_expired(&self, id: &SessionId) -> Result<()> {
        // Another session of the same token may have begun under this id.
        if !id.is_of_token() {
            self.delete(id).await?;
        }
        Ok(())
    }

    /// Replaces the record of `version` with the tombstone of an end, which shows `reason`.
    async fn put_end(&self, version: &Version, reason: Option<EndReason>) -> Result<Saved> {
        let mut record = Record::tombstone(self.clock.seconds(), Tombstone::Ended);
        record.ended = reason;
        self.replace(version, &mut record).await
    }

    /// Returns the session that was under `id`, following its renewals.
    pub(super) async fn follow(&self, mut id: SessionId) -> Result<Option<(Record, Version)>> {
        let mut follower = RenewalFollower::new(self);
        loop {
            follower.check()?;
            let Some((there, version)) = self.read(&id).await? else {
                return Ok(None);
            };
            match there.tombstone {
                Some(Tombstone::Moved(next)) => {
                    id = next;
                    follower.note_tombstone(there.tag).await;
                }
                Some(Tombstone::Ended) => return Ok(None),
                None => return Ok(Some((there, version))),
            }
        }
    }
}

/// Waits for a random time of up to four milliseconds.
pub(super) async fn pause() {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    sleep(Duration::from_micros(random % 4096)).await;
}
