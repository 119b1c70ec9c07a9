//! The copy of one session: compared with the target by its revision, and saved there by compare-and-set.

use std::time::Instant;

use super::mark::{Mark, ReadMark};
use super::{Fate, Route};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::manager::Copied;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Revision, Saved, Stored};

/// What to do with a session.
enum Decision {
    Done(Fate),
    Save(Precondition),
}

impl Route<'_> {
    /// Copies the session under `id`, which the source has as `stored`.
    pub(super) async fn transfer(&self, id: SessionId, mut stored: Stored) -> Result<Fate> {
        let started = Instant::now();
        loop {
            let Some(mut record) = Record::decode(stored.bytes.clone(), &id) else {
                return Ok(Fate::Unreadable);
            };
            let Some(ttl) = self.to.manager.left_of_copy(&record) else {
                return Ok(Fate::Expired);
            };
            if record.user().is_some() && record.tag.is_none() {
                // The index of its user needs one.
                record.tag();
                stored.bytes = record.encode(&id, record.expires);
            }
            let copied = Copied {
                id,
                record,
                // Some stores count saves in another way.
                stored: Stored::new(stored.bytes),
                ttl,
            };
            if let Some(fate) = self.try_transfer(&copied).await? {
                return Ok(fate);
            }
            // Another copy, or the application, was faster.
            if started.elapsed() > self.to.bounds.patience() {
                let why = "another copy or the application changes the session at the same time";
                let error = Error::new(ErrorKind::Unavailable, "copy a session");
                return Err(error.because(why));
            }
            let store = self.from.store();
            let loading = self
                .from
                .bounds
                .call("load a session", store.load_session(&id));
            match loading.await? {
                Some(newer) => stored = newer,
                // It has ended, or expired. The marks lead to its copy.
                None => return Ok(Fate::Expired),
            }
        }
    }

    /// Tries once. Returns `None` if the mark or the target has changed meanwhile.
    async fn try_transfer(&self, copied: &Copied) -> Result<Option<Fate>> {
        let (id, now) = (&copied.id, self.to.manager.clock.seconds());
        let read = self.marks.read(id).await?;
        let store = self.to.store();
        let loading = self
            .to
            .bounds
            .call("load a session", store.load_session(id));
        let there = loading.await?;
        let there = there.map(|there| (Stored::new(there.bytes).revision, there.revision));
        let precondition = match decide(copied, &read.mark, there, now) {
            Decision::Save(precondition) => precondition,
            Decision::Done(Fate::Unchanged) => return self.confirm(copied, &read, now).await,
            Decision::Done(fate) => return Ok(Some(fate)),
        };
        // The mark comes first: a copy without a mark would look like a session of the target.
        let (revision, expires) = (copied.stored.revision, copied.record.expires);
        let mut mark = read.mark.clone();
        mark.announce(revision, expires);
        let Some(read) = self.marks.replace(id, &read, mark, now).await? else {
            return Ok(None);
        };
        let saved = match self.to.manager.keep_copy(copied, precondition).await {
            Err(error) if error.kind() == ErrorKind::Limit => return Ok(Some(Fate::TooLarge)),
            saved => saved?,
        };
        if !matches!(saved, Saved::Saved(_)) {
            return Ok(None);
        }
        self.confirm(copied, &read, now).await?;
        Ok(Some(match (precondition, copied.record.tombstone) {
            (Precondition::Revision(_), Some(Tombstone::Ended)) => Fate::Ended,
            (_, Some(_)) => Fate::Tombstone,
            (Precondition::Revision(_), None) => Fate::Updated,
            (Precondition::Absent, None) => Fate::Copied,
        }))
    }

    /// Notes that the target has the session.
    async fn confirm(&self, copied: &Copied, read: &ReadMark, now: u64) -> Result<Option<Fate>> {
        let (revision, expires) = (copied.stored.revision, copied.record.expires);
        if !read.mark.is_confirmed(revision) {
            let mut mark = read.mark.clone();
            mark.confirm(revision, expires);
            // Another copy that is faster notes as much.
            self.marks.replace(&copied.id, read, mark, now).await?;
        }
        Ok(Some(Fate::Unchanged))
    }
}

/// Decides about a session. `there` is what the target has: the revision in its record, and the one by
/// which the target compares.
fn decide(copied: &Copied, mark: &Mark, there: Option<(Revision, Revision)>, now: u64) -> Decision {
    let revision = copied.stored.revision;
    let has_ended = copied.record.tombstone == Some(Tombstone::Ended);
    match there {
        Some((there, _)) if there == revision => Decision::Done(Fate::Unchanged),
        // It is as an earlier copy left it.
        Some((there, current)) if mark.has(there) => {
            Decision::Save(Precondition::Revision(current))
        }
        // An end counts, whatever the target has. The id of a token is used again after an end.
        Some((_, current)) if has_ended && !copied.id.is_of_token() => {
            Decision::Save(Precondition::Revision(current))
        }
        Some(_) if mark.has(revision) => Decision::Done(Fate::Newer),
        Some(_) => Decision::Done(Fate::Conflict),
        // A copy arrived, and did not expire.
        None if mark.arrived && !mark.has_expired(now) => Decision::Done(Fate::EndedThere),
        None => Decision::Save(Precondition::Absent),
    }
}
