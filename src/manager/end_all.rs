//! Ends the sessions of a user: all of them, or the one with a handle.

use std::collections::HashMap;
use std::time::Instant;

use rocket::futures::TryStreamExt;
use rocket::futures::future::join_all;

use super::end::{Copies, EndTarget, IndexEntry, ObservedRevision};
use super::listing::LISTED_LONGER;
use super::user_index::{Listed, UserIndex, UserIndexes};
use super::{SessionManager, is_same_session};
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::handle::{SessionHandle, UserKey};
use crate::id::SessionId;
use crate::record::{Record, Tombstone};

/// How often the sessions are listed to find those of one user.
const PASSES: u32 = 20;

/// How many sessions are loaded or ended at the same time.
pub(super) const AT_ONCE: usize = 8;

/// The ids of sessions that are spared, if there are any.
type Spared<'a> = Option<&'a [Option<SessionId>; 2]>;

/// The sessions that a call has ended.
#[derive(Default)]
pub(crate) struct Ended {
    /// How many of them were still there.
    pub(crate) live: u64,
    /// The ids of those.
    pub(crate) ids: Vec<SessionId>,
    /// The entries that need no more attention.
    done: Vec<Listed>,
}

impl Ended {
    fn add(&mut self, more: Self) {
        self.live += more.live;
        self.ids.extend(more.ids);
        self.done.extend(more.done);
    }

    /// Returns `entries` without those whose sessions have ended: the index of a full store still has
    /// them.
    fn others(&self, mut entries: Vec<Listed>) -> Vec<Listed> {
        entries.retain(|entry| !self.done.contains(entry));
        entries
    }
}

impl SessionManager {
    /// Ends every session of `user` except the one under `except`.
    pub(crate) async fn end_all_of(&self, user: &str, except: Spared<'_>) -> Result<Ended> {
        let is_of_user = |record: &Record| record.user() == Some(user);
        self.end_every(UserKey::of(user), except, |_| true, is_of_user)
            .await
    }

    /// Ends the session with `handle`.
    pub(crate) async fn end_by(&self, handle: &SessionHandle) -> Result<Ended> {
        let user = handle.user();
        // Whoever names a session without a user means its visitor, who may have logged in meanwhile.
        let has_user = |record: &Record| {
            user == UserKey::nobody() || record.user().map(UserKey::of) == Some(user)
        };
        let is_meant =
            |record: &Record| record.tag.is_some_and(|tag| handle.has_tag(tag)) && has_user(record);
        self.end_every(user, None, |entry| handle.has_tag(entry.tag), is_meant)
            .await
    }

    /// Ends the sessions of a user until none is left: those whose entries `in_index` names, and, if the
    /// index may lack some, those that `in_store` names.
    async fn end_every(
        &self,
        user: UserKey,
        except: Spared<'_>,
        in_index: impl Fn(&Listed) -> bool,
        in_store: impl Fn(&Record) -> bool,
    ) -> Result<Ended> {
        let mut ended = Ended::default();
        for _ in 0..PASSES {
            let mut more = Ended::default();
            let (index, is_certain) = self.index_for_end(user).await?;
            if let Some((indexes, index)) = index {
                let mut entries = ended.others(index.sessions);
                entries.retain(&in_index);
                more = self.end_indexed(indexes, user, entries, except).await?;
            }
            if !is_certain {
                more.add(self.end_all_if(&in_store, except).await?);
            }
            let found = more.live;
            ended.add(more);
            if found == 0 {
                return Ok(ended);
            }
        }
        Err(self
            .unavailable("end the sessions of a user")
            .because("new ones begin as fast as they end"))
    }

    /// Returns the index of a user, if there is one, and whether it has all sessions. If the store drops
    /// indexes, only one that is older than every session that it may lack is certain.
    async fn index_for_end(
        &self,
        user: UserKey,
    ) -> Result<(Option<(&UserIndexes, UserIndex)>, bool)> {
        let Some(indexes) = &self.indexes else {
            return Ok((None, false));
        };
        if user == UserKey::nobody() {
            return Ok((None, false));
        }
        let index = self.index(indexes, user).await?;
        let now = self.clock.seconds();
        let longest = self.lifetimes.configured_idle() + LISTED_LONGER;
        let is_old = |index: &UserIndex| index.is_older(longest, now);
        let is_certain = index.as_ref().is_none_or(|index| !index.is_incomplete(now))
            && (!indexes.may_be_evicted() || index.as_ref().is_some_and(is_old));
        Ok((index.map(|index| (indexes, index)), is_certain))
    }

    /// Ends the sessions of `entries`, and removes them from the index of their user.
    async fn end_indexed(
        &self,
        indexes: &UserIndexes,
        user: UserKey,
        entries: Vec<Listed>,
        except: Spared<'_>,
    ) -> Result<Ended> {
        let mut lineages: Vec<Vec<&Listed>> = Vec::new();
        // The latest entry of a session first: the others lead to it.
        for entry in entries.iter().rev() {
            let mut known = lineages.iter_mut();
            match known.find(|lineage| lineage[0].tag == entry.tag) {
                Some(lineage) => lineage.push(entry),
                None => lineages.push(vec![entry]),
            }
        }
        let (mut ended, mut failure) = (Ended::default(), None);
        for some in lineages.chunks(AT_ONCE) {
            let ends = some.iter().map(|lineage| async move {
                let mut all = Ended::default();
                for entry in lineage {
                    let reason = EndReason::EndedElsewhere;
                    all.add(self.end_listed(user, entry, except, reason).await?);
                }
                Ok(all)
            });
            for outcome in join_all(ends).await {
                match outcome {
                    Ok(more) => ended.add(more),
                    Err(error) => failure = Some(error),
                }
            }
        }
        if !ended.done.is_empty() {
            // The sessions have ended, whether or not this succeeds. A failure is in the log.
            let _ = self.forget(indexes, user, &ended.done).await;
        }
        failure.map_or(Ok(ended), Err)
    }

    /// Ends the session of an entry, also if it is about to be saved for the first time. The
    /// result is empty if the entry must stay.
    pub(super) async fn end_listed(
        &self,
        user: UserKey,
        entry: &Listed,
        except: Spared<'_>,
        reason: EndReason,
    ) -> Result<Ended> {
        let started = Instant::now();
        let is_spared = |id: SessionId| except.is_some_and(|except| except.contains(&Some(id)));
        let mut ended = Ended {
            done: vec![entry.clone()],
            ..Ended::default()
        };
        loop {
            self.check_patience(started)?;
            if is_spared(entry.id) {
                return Ok(Ended::default());
            }
            let pending = entry.may_be_pending(self.clock.seconds());
            let Some((record, version)) = self.follow(entry.id).await? else {
                if !pending || self.stop_creation(entry).await? {
                    return Ok(ended);
                }
                // It is there by now.
                continue;
            };
            if is_spared(version.id) {
                return Ok(Ended::default());
            }
            let of_user = record.user().map(UserKey::of) == Some(user);
            // A log-in without a renewal may be about to set the user.
            let is_meant = of_user || pending && record.user().is_none();
            let is_meant = is_meant && is_same_session(Some(entry.tag), record.tag);
            if !is_meant && pending {
                return Ok(Ended::default());
            }
            if is_meant {
                let was_live =
                    !self.is_expired(&record) && !self.lineage_has_ended(&record).await?;
                let end_target = EndTarget {
                    tag: record.tag,
                    observed: was_live.then(|| ObservedRevision::new(self, &record, &version)),
                    copies: Copies::unless_spared(except),
                    index: IndexEntry::Kept,
                    reason,
                    ..EndTarget::new(version.id)
                };
                let has_ended = self.end_of_user(end_target, record.user).await?;
                if of_user && was_live && has_ended {
                    ended.live = 1;
                    ended.ids = vec![entry.id, version.id];
                }
            }
            return Ok(ended);
        }
    }

    /// Stops the session of `entry` from being created, by a tombstone. Returns `false` if the session
    /// is there by now.
    async fn stop_creation(&self, entry: &Listed) -> Result<bool> {
        match self.read(&entry.id).await? {
            Some((there, _)) => Ok(there.tombstone.is_some()),
            None => self.put_end_tombstone(&entry.id, Some(entry.tag)).await,
        }
    }

    /// Ends the sessions that `is_meant` names, in one listing of all sessions. Those that are renewed
    /// meanwhile are found by their tombstones.
    async fn end_all_if(
        &self,
        is_meant: &impl Fn(&Record) -> bool,
        except: Spared<'_>,
    ) -> Result<Ended> {
        let mut all = self.store().iter_sessions();
        let (mut ended, mut tombstones) = (Ended::default(), HashMap::new());
        while let Some((id, stored)) = all.try_next().await? {
            match Record::decode(stored.bytes, &id) {
                Some(record) if is_meant(&record) => {
                    self.end_unless_spared(id, except, &mut ended).await?;
                }
                Some(Record {
                    tombstone: Some(Tombstone::Moved(next)),
                    ..
                }) => drop(tombstones.insert(id, next)),
                _ => {}
            }
        }
        // After several renewals, only the last tombstone leads out of the list. A renewal that is
        // being undone has a tombstone that leads back.
        let leads_out = |next: &SessionId| match tombstones.get(next) {
            None => true,
            Some(after) => tombstones.get(after) == Some(next),
        };
        for id in tombstones.values().filter(|next| leads_out(next)) {
            if let Some((record, version)) = self.follow(*id).await?
                && is_meant(&record)
            {
                self.end_unless_spared(version.id, except, &mut ended)
                    .await?;
            }
        }
        Ok(ended)
    }

    async fn end_unless_spared(
        &self,
        id: SessionId,
        except: Spared<'_>,
        ended: &mut Ended,
    ) -> Result<()> {
        if except.is_some_and(|except| except.contains(&Some(id))) {
            return Ok(());
        }
        let end_target = EndTarget {
            copies: Copies::unless_spared(except),
            ..EndTarget::new(id)
        };
        if self.end(end_target).await? {
            ended.live += 1;
            ended.ids.push(id);
        }
        Ok(())
    }
}
