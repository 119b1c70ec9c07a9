//! Enters sessions into the index of their user, before they can be used.

use std::time::Instant;

use super::user_index::{Listed, UserIndex, UserIndexes};
use super::{SessionManager, is_same_session};
use crate::config::WhenTooMany;
use crate::end_reason::EndReason;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::UserKey;
use crate::id::SessionId;
use crate::record::Record;

/// How many seconds longer than a session lives it is listed at first, so that not every save has to
/// enter it anew.
pub(super) const LISTED_LONGER: u64 = 3600;

/// How many seconds longer the index keeps an entry, in case a clock is set.
pub(super) const KEPT_LONGER: u64 = 2 * LISTED_LONGER;

/// After how many seconds another request helps to end a displaced session.
const HELP_AFTER: u64 = 10;

/// An entry that is due in the index of a user.
pub(crate) struct Listing {
    user: UserKey,
    entry: Listed,
}

/// What an index says to a new entry.
enum Admission {
    /// It is in the index now, and has displaced these.
    Entered(Vec<Listed>),
    /// Some of its sessions may have ended. The caller must look.
    Check,
    Refused,
}

/// The state of the session of an entry.
pub(super) enum Presence {
    Live(Box<Record>),
    /// It has expired, and would return if the clock were set back.
    Expired,
    /// Nobody knows yet: the session may be saved at this moment.
    Pending,
    /// The session has ended, or belongs to somebody else.
    Gone,
}

impl SessionManager {
    /// Returns the entry that is due before `record` is saved under `id`, and notes it in the record.
    /// `from` is the id before a renewal.
    pub(crate) fn listing(
        &self,
        record: &mut Record,
        id: SessionId,
        from: Option<SessionId>,
    ) -> Option<Listing> {
        self.indexes.as_ref()?;
        let user = UserKey::of(record.user()?);
        if from.is_none() && !self.listing_is_due(record) {
            return None;
        }
        let now = self.clock.seconds();
        record.listed = now + self.lifetime(record).as_secs() + LISTED_LONGER;
        record.tag();
        let entry = Listed {
            id,
            tag: record.tag?,
            since: record.log_in.as_ref().map_or(0, |log_in| log_in.at),
            at: now,
            until: record.listed + KEPT_LONGER,
            from,
            displaced: 0,
        };
        Some(Listing { user, entry })
    }

    /// Returns whether `record` must be saved for the sake of its entry in the index of its user.
    pub(crate) fn listing_is_due(&self, record: &Record) -> bool {
        let end = || self.clock.seconds() + self.lifetime(record).as_secs();
        // A time far in the future counts as well: the clock was set back.
        self.indexes.is_some()
            && record.user.is_some()
            && !(end()..=end() + KEPT_LONGER).contains(&record.listed)
    }

    /// Enters a session into the index of its user, and ends those that are then too many.
    ///
    /// # Errors
    ///
    /// If the store fails, or if the user has too many sessions and the configuration refuses more.
    pub(crate) async fn enter(&self, listing: Option<Listing>) -> Result<()> {
        let (Some(Listing { user, entry }), Some(indexes)) = (listing, &self.indexes) else {
            return Ok(());
        };
        // If the lock cannot be had in time, the edit goes on without it.
        let lock = indexes.lock(user, self.bounds.patience()).await;
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        let started = Instant::now();
        let displaced = loop {
            self.check_patience(started)?;
            let (mut admission, mut seen) = (Admission::Refused, UserIndex::default());
            self.edit_index(indexes, user, |index| {
                index.remove(&gone);
                admission = self.admit(index, &entry, &live);
                seen = index.clone();
                matches!(admission, Admission::Entered(_))
            })
            .await?;
            match admission {
                Admission::Entered(displaced) => break displaced,
                Admission::Check => {}
                Admission::Refused => return Err(too_many()),
            }
            for listed in seen.sessions {
                match self.presence(user, &listed).await? {
                    Presence::Live(_) | Presence::Pending => live.push(listed),
                    Presence::Gone => gone.push(listed),
                    Presence::Expired => {
                        let reason = EndReason::IdleTimeout;
                        self.end_listed(user, &listed, None, reason).await?;
                        gone.push(listed);
                    }
                }
            }
        };
        drop(lock);
        if !displaced.is_empty() {
            self.end_displaced(indexes, user, displaced).await?;
        }
        Ok(())
    }

    /// Adds `entry` to `index`, if the user may have one more session. The sessions in `live` are
    /// there.
    fn admit(&self, index: &mut UserIndex, entry: &Listed, live: &[Listed]) -> Admission {
        let now = self.clock.seconds();
        let tags = index.tags();
        let allowed = self.max_sessions_per_user;
        let is_new = !tags.contains(&entry.tag);
        if allowed > 0 && is_new && tags.len() >= allowed {
            if !index.is_known(live) {
                return Admission::Check;
            }
            if self.when_too_many == WhenTooMany::Refuse {
                return Admission::Refused;
            }
            index.displace(&tags[..tags.len() + 1 - allowed], now);
        }
        // Those that others have displaced should have ended long ago.
        let late = now.saturating_sub(HELP_AFTER);
        let displaced = index.displaced(|at| at == now || at < late);
        index.enter(entry.clone(), now);
        Admission::Entered(displaced)
    }

    /// Ends displaced sessions, and removes them from the index of their user.
    async fn end_displaced(
        &self,
        indexes: &UserIndexes,
        user: UserKey,
        displaced: Vec<Listed>,
    ) -> Result<()> {
        for listed in &displaced {
            self.end_listed(user, listed, None, EndReason::Displaced)
                .await?;
        }
        self.forget(indexes, user, &displaced).await
    }

    /// Removes `entries` from the index of a user.
    pub(super) async fn forget(
        &self,
        indexes: &UserIndexes,
        user: UserKey,
        entries: &[Listed],
    ) -> Result<()> {
        self.edit_index(indexes, user, |index| {
            let before = index.sessions.len();
            index.remove(entries);
            index.sessions.len() < before
        })
        .await
    }

    /// Removes the session with `tag`, which has ended, from the index of its user. If that fails, the
    /// entry stays until it is noticed.
    pub(super) async fn forget_session(&self, user: Option<UserKey>, tag: Option<u64>) {
        let (Some(user), Some(tag), Some(indexes)) = (user, tag, &self.indexes) else {
            return;
        };
        let edit = self.edit_index(indexes, user, |index| {
            let before = index.sessions.len();
            index.sessions.retain(|entry| entry.tag != tag);
            index.sessions.len() < before
        });
        // The error is in the log.
        let _ = edit.await;
    }

    /// Looks for the session of `entry`, following its renewals.
    pub(super) async fn presence(&self, user: UserKey, entry: &Listed) -> Result<Presence> {
        if let Some((record, _)) = self.follow(entry.id).await?
            && record.user().map(UserKey::of) == Some(user)
            && is_same_session(Some(entry.tag), record.tag)
            && !self.lineage_has_ended(&record).await?
        {
            return Ok(match self.is_expired(&record) {
                true => Presence::Expired,
                false => Presence::Live(Box::new(record)),
            });
        }
        Ok(match entry.may_be_pending(self.clock.seconds()) {
            true => Presence::Pending,
            false => Presence::Gone,
        })
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::TooManySessions, "log the user in")
        .because("the user has as many sessions as `sessions.max_sessions_per_user` allows")
}
