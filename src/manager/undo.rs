//! Undoing a creation or a renewal that the store did not confirm in time, so that the visitor's old
//! cookie goes on to open the session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;

use super::{GRACE, SessionManager, Unconfirmed};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

/// How long to wait before the next try to undo a renewal.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest that this grows.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

impl SessionManager {
    /// Undoes, in the background, what the store did not confirm in time: a session that began, or
    /// was renewed. Nobody has the cookie of the new one; the visitor has the old one.
    pub(crate) fn undo(self: &Arc<Self>, mut unconfirmed: Unconfirmed) {
        let manager = Arc::clone(self);
        tokio::spawn(async move {
            let (started, mut pause) = (Instant::now(), PAUSE);
            // Later the mark has gone by itself, and what it replaced with it.
            while started.elapsed() < GRACE {
                if let Ok(true) = manager.try_to_undo(&mut unconfirmed).await {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        });
    }

    /// Returns whether the session is under its old id again, or gone, for good.
    async fn try_to_undo(&self, unconfirmed: &mut Unconfirmed) -> Result<bool> {
        if let Some(old) = unconfirmed.from
            && let Some((there, version)) = self.look(&old).await?
        {
            let back = match there.tombstone {
                // The mark may be on its way still. Once this is saved, it comes too late.
                None => Some(there),
                Some(Tombstone::Moved(next)) if next == unconfirmed.id => {
                    if !self.call_back(old, unconfirmed).await? {
                        return Ok(false);
                    }
                    unconfirmed.before.clone()
                }
                // It ended, or another request renewed it.
                Some(_) => None,
            };
            if let Some(mut record) = back
                && !matches!(self.replace(&version, &mut record).await?, Saved::Saved(_))
            {
                return Ok(false);
            }
        }
        match self.look(&unconfirmed.id).await? {
            Some((copy, version))
                if copy.tombstone.is_none() && copy.tag == unconfirmed.own.tag =>
            {
                let deleting = self
                    .store()
                    .delete_session_if(&version.id, version.revision);
                self.bounds.call("delete a session", deleting).await
            }
            Some(_) => Ok(true),
            // Should it be on its way still, this is in its place.
            None => self.put_a_mark(&unconfirmed.id).await,
        }
    }

    /// Makes sure that nobody saves to the copy any more, and notes in `unconfirmed` what those saved there
    /// who followed the mark: they were told that it is kept. Returns whether that worked.
    ///
    /// From here on, a mark at the copy leads them back to `old`.
    async fn call_back(&self, old: SessionId, unconfirmed: &mut Unconfirmed) -> Result<bool> {
        let (copy, version) = match self.look(&unconfirmed.id).await? {
            // This was done by an earlier try.
            Some((copy, _)) if copy.tombstone == Some(Tombstone::Moved(old)) => return Ok(true),
            Some((copy, version)) if copy.tombstone.is_none() => (copy, version),
            // It ended, and so did the session.
            _ => {
                unconfirmed.before = None;
                return Ok(true);
            }
        };
        // Before the mark: should the response to that get lost, the next try finds the mark only.
        if let Some(before) = &mut unconfirmed.before {
            before.bring_over(&unconfirmed.own, &copy);
            (before.tag, before.forked) = (copy.tag, copy.forked);
            unconfirmed.own = copy;
        }
        let left = self
            .leave(&version, Tombstone::Moved(old), unconfirmed.own.tag)
            .await?;
        Ok(matches!(left, Saved::Saved(_)))
    }

    /// Puts the mark of an end where nothing is, and returns whether nothing was.
    async fn put_a_mark(&self, id: &SessionId) -> Result<bool> {
        let mut mark = Record::tombstone(self.clock.seconds(), Tombstone::Ended);
        let put = self.put(id, &mut mark, GRACE, Precondition::Absent).await?;
        Ok(matches!(put, Saved::Saved(_)))
    }
}
