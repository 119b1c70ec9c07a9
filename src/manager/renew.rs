//! Renews a session: saves it under a new id, and leaves a tombstone at the old one.

use std::time::Instant;

use super::{
    CommitOutcome, Lookup, RenewalKind, SessionManager, Unanswered, Unconfirmed, Update, Version,
    is_same_session,
};
use crate::change::Change;
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

/// How often a tombstone is sent when responses are lost: a session must not stay between two ids.
const TRIES: u32 = 3;

/// The copy of a session under its new id, until a tombstone at the old id leads to it.
struct Copied<'a> {
    /// The old session, as it was copied.
    old: Version,
    /// The tag of the old session, if it had one.
    old_tag: Option<u64>,
    /// The id that was chosen for the copy.
    id: SessionId,
    kind: RenewalKind,
    record: Record,
    version: Version,
    changes: &'a [Change],
    /// How many of the changes are in the old record already.
    made: usize,
    unanswered: &'a mut Unanswered,
    /// Whether another request had emptied the session meanwhile.
    revived: bool,
}

/// The result of an attempt to replace the old record.
enum Attempt {
    Moved,
    /// Another request saved the old record. Its changes are in the copy now.
    Merged,
    /// Another request renewed the session first, to this id. The flag is whether the old id still
    /// reaches it.
    MovedTo(SessionId, bool),
    Ended,
    Unknown {
        newer: Box<(Record, Version)>,
        lost: usize,
    },
}

impl SessionManager {
    /// Saves a session under the new id `id`, and replaces the old record with a tombstone.
    pub(crate) async fn renew(
        &self,
        id: SessionId,
        kind: RenewalKind,
        renewal: Update<'_>,
    ) -> Result<CommitOutcome> {
        if self.lineage_has_ended(&renewal.record).await? {
            return Ok(CommitOutcome::Ended);
        }
        let started = Instant::now();
        // An end that follows a chain of renewals takes this lock to stop further ones.
        let _lock = self.lock_lineage(renewal.record.tag).await;
        if kind == RenewalKind::ByAge
            && renewal.unanswered.unconfirmed.is_none()
            && let Lookup::Tombstone(Tombstone::Moved(_), grace) =
                self.reload(&renewal.version.id).await?
        {
            // Many requests may find the id too old at once. One copy is enough.
            let adopts = grace.is_some_and(|grace| self.goes_on(&grace));
            return self.join_renewed(Update { adopts, ..renewal }).await;
        }
        self.copy_and_move(id, kind, started, renewal).await
    }

    /// Saves a copy of a session under `id`, and replaces the old record with a tombstone.
    async fn copy_and_move(
        &self,
        id: SessionId,
        kind: RenewalKind,
        started: Instant,
        renewal: Update<'_>,
    ) -> Result<CommitOutcome> {
        let Update {
            mut record,
            version: old,
            changes,
            owner,
            before,
            unanswered,
            ..
        } = renewal;
        let old_tag = record.tag;
        record.tag();
        self.note_renewal(&mut record);
        let earlier = self
            .note_unconfirmed(id, &old, &record, before, unanswered)
            .await?;
        let created = self.create_listed(id, record, Some(old.id), earlier.as_ref());
        let CommitOutcome::Committed {
            record, version, ..
        } = created.await?
        else {
            return Ok(CommitOutcome::Ended);
        };
        let mut copied = Copied {
            old,
            old_tag,
            id,
            kind,
            record,
            version,
            changes,
            made: 0,
            unanswered,
            revived: false,
        };
        let attempt = self.move_copied(&mut copied, started).await?;
        let Copied {
            record,
            version,
            made,
            revived,
            ..
        } = copied;
        let outcome = match attempt {
            Attempt::Moved | Attempt::Merged => CommitOutcome::Committed {
                record,
                version,
                revived,
            },
            Attempt::MovedTo(_, in_grace) if kind.joins(in_grace) => {
                let renewal = Update {
                    record,
                    version: old,
                    changes: &changes[made..],
                    owner,
                    before: None,
                    adopts: in_grace,
                    unanswered,
                };
                return self.give_way(&version, renewal).await;
            }
            Attempt::MovedTo(first, _) => self.fork(first, record, version, changes).await?,
            Attempt::Ended => CommitOutcome::Ended,
            Attempt::Unknown { newer, lost } => CommitOutcome::Unknown {
                newer: Some(*newer),
                lost,
            },
        };
        if !matches!(outcome, CommitOutcome::Committed { .. }) {
            // The copy must not outlive the session.
            self.delete(&version.id).await?;
        }
        unanswered.clear();
        Ok(outcome)
    }

    /// Notes in `unanswered` that `record`, of the session `old`, is about to be saved under `id`.
    /// `before` is the old record, if it is known. Returns the copy that an earlier attempt of this
    /// request may have left under the id.
    async fn note_unconfirmed(
        &self,
        id: SessionId,
        old: &Version,
        record: &Record,
        before: Option<Record>,
        unanswered: &mut Unanswered,
    ) -> Result<Option<Record>> {
        let tried = unanswered
            .unconfirmed
            .take()
            .filter(|unconfirmed| unconfirmed.id == id);
        let (earlier, known) = match tried {
            Some(unconfirmed) => (Some(unconfirmed.own), unconfirmed.before),
            None => (None, None),
        };
        let before = match known.or(before) {
            Some(before) => Some(before),
            None => self.read_unchanged(old).await?,
        };
        unanswered.unconfirmed = Some(Box::new(Unconfirmed {
            from: Some(old.id),
            id,
            own: record.clone(),
            before,
        }));
        Ok(earlier)
    }

    /// Replaces the old record with a tombstone that leads to the copy, whoever saves the old record
    /// meanwhile.
    async fn move_copied(&self, copied: &mut Copied<'_>, started: Instant) -> Result<Attempt> {
        loop {
            self.check_patience(started)?;
            match self.try_to_move(copied).await? {
                Attempt::Merged => {}
                attempt => return Ok(attempt),
            }
        }
    }

    /// Replaces the old record with a tombstone that leads to the copy, unless another request saved
    /// the old record meanwhile.
    async fn try_to_move(&self, copied: &mut Copied<'_>) -> Result<Attempt> {
        let (old, next) = (copied.old, copied.version.id);
        let tombstone = self.moved_tombstone(next, &copied.record, copied.kind);
        let moved = self.put_moved_tombstone(&old, tombstone).await?;
        match moved {
            Saved::Saved(_) => return Ok(Attempt::Moved),
            Saved::Gone => return Ok(Attempt::Ended),
            Saved::Changed => {}
        }
        Ok(match self.reload(&old.id).await? {
            Lookup::Live(newer, there) if is_same_session(copied.old_tag, newer.tag) => {
                return self.merge_into_copy(copied, newer, there).await;
            }
            // An earlier attempt succeeded, but its response was lost.
            Lookup::Tombstone(Tombstone::Moved(to), _) if to == next => Attempt::Moved,
            Lookup::Tombstone(Tombstone::Moved(first), grace) => {
                Attempt::MovedTo(first, grace.is_some_and(|grace| self.goes_on(&grace)))
            }
            Lookup::Live(..) | Lookup::Tombstone(Tombstone::Ended, _) | Lookup::Missing => {
                Attempt::Ended
            }
        })
    }

    /// Makes the copy anew from `newer`, which another request saved as `there` at the old id.
    async fn merge_into_copy(
        &self,
        copied: &mut Copied<'_>,
        newer: Record,
        there: Version,
    ) -> Result<Attempt> {
        match copied.unanswered.arrived(newer.rev) {
            Some(arrived) => copied.made = arrived,
            None if copied.unanswered.is_empty() => {}
            None => {
                let lost = copied.unanswered.changes();
                let newer = Box::new((newer, there));
                return Ok(Attempt::Unknown { newer, lost });
            }
        }
        let (tag, user, listed) = (
            copied.record.tag,
            copied.record.user.clone(),
            copied.record.listed,
        );
        let own = copied
            .unanswered
            .unconfirmed
            .take()
            .map_or_else(|| copied.record.clone(), |unconfirmed| unconfirmed.own);
        copied.unanswered.clear();
        copied.unanswered.unconfirmed = Some(Box::new(Unconfirmed {
            from: Some(there.id),
            id: copied.id,
            own,
            before: Some(newer.clone()),
        }));
        copied.old = there;
        copied.revived = !newer.has_info();
        copied.record = newer;
        copied.record.tag = copied.record.tag.or(tag);
        self.note_renewal(&mut copied.record);
        for change in &copied.changes[copied.made..] {
            change.apply(&mut copied.record, &self.limits)?;
        }
        // The copy is in the index of that user only.
        copied.record.listed = match copied.record.user == user {
            true => listed,
            false => 0,
        };
        let listing = self.listing(&mut copied.record, copied.version.id, None);
        self.enter(listing).await?;
        if let Some(unconfirmed) = &mut copied.unanswered.unconfirmed {
            unconfirmed.own = copied.record.clone();
        }
        match self.replace(&copied.version, &mut copied.record).await? {
            Saved::Saved(revision) => {
                copied.version.revision = revision;
                Ok(Attempt::Merged)
            }
            Saved::Changed | Saved::Gone => Ok(Attempt::Ended),
        }
    }

    /// Returns the record of `version`, unless the session was saved since.
    async fn read_unchanged(&self, version: &Version) -> Result<Option<Record>> {
        let there = self.read(&version.id).await?;
        let unchanged = there.filter(|(_, there)| there.revision == version.revision);
        Ok(unchanged.map(|(record, _)| record))
    }

    /// Replaces the record of `version` with `record`.
    pub(super) async fn replace(&self, version: &Version, record: &mut Record) -> Result<Saved> {
        let ttl = self.lifetime(record);
        self.put(
            &version.id,
            record,
            ttl,
            Precondition::Revision(version.revision),
        )
        .await
    }

    /// Replaces the record of `version` with `tombstone`, which leads to its new id. A repeated
    /// attempt that finds this tombstone changes nothing.
    async fn put_moved_tombstone(&self, version: &Version, mut tombstone: Record) -> Result<Saved> {
        for _ in 1..TRIES {
            if let Ok(saved) = self.replace(version, &mut tombstone).await {
                return Ok(saved);
            }
        }
        self.replace(version, &mut tombstone).await
    }

    /// Replaces the record of `version` with a tombstone. `tag` is the tag of the session, for
    /// requests that follow the tombstone.
    pub(super) async fn put_tombstone(
        &self,
        version: &Version,
        tombstone: Tombstone,
        tag: Option<u64>,
    ) -> Result<Saved> {
        let mut record = Record::tombstone(self.clock.seconds(), tombstone);
        record.tag = tag;
        self.replace(version, &mut record).await
    }
}
