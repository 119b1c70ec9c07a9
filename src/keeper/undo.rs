//! Undoing a creation or a renewal that the store did not confirm in time, so that the visitor's old
//! cookie goes on to open the session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;

use super::{Begun, GRACE, Keeper};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Parting, Record};
use crate::store::{Expect, Saved};

/// How long to wait before the next try to undo a renewal.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest that this grows.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

impl Keeper {
    /// Undoes, in the background, what the store did not confirm in time: a session that began, or
    /// was renewed. Nobody has the cookie of the new one; the visitor has the old one.
    pub(crate) fn undo(self: &Arc<Self>, mut begun: Begun) {
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            let (started, mut pause) = (Instant::now(), PAUSE);
            // Later the mark has gone by itself, and what it replaced with it.
            while started.elapsed() < GRACE {
                if let Ok(true) = keeper.try_to_undo(&mut begun).await {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        });
    }

    /// Returns whether the session is under its old id again, or gone, for good.
    async fn try_to_undo(&self, begun: &mut Begun) -> Result<bool> {
        if let Some(old) = begun.from
            && let Some((there, held)) = self.look(&old).await?
        {
            let back = match there.parting {
                // The mark may be on its way still. Once this is saved, it comes too late.
                None => Some(there),
                Some(Parting::Moved(next)) if next == begun.id => {
                    if !self.call_back(old, begun).await? {
                        return Ok(false);
                    }
                    begun.before.clone()
                }
                // It ended, or another request renewed it.
                Some(_) => None,
            };
            if let Some(mut record) = back
                && !matches!(self.replace(&held, &mut record).await?, Saved::Saved(_))
            {
                return Ok(false);
            }
        }
        match self.look(&begun.id).await? {
            Some((copy, held)) if copy.parting.is_none() && copy.tag == begun.own.tag => {
                let deleting = self.store().delete_session_if(&held.id, held.revision);
                self.ask("delete a session", deleting).await
            }
            Some(_) => Ok(true),
            // Should it be on its way still, this is in its place.
            None => self.put_a_mark(&begun.id).await,
        }
    }

    /// Makes sure that nobody saves to the copy any more, and notes in `begun` what those saved there
    /// who followed the mark: they were told that it is kept. Returns whether that worked.
    ///
    /// From here on, a mark at the copy leads them back to `old`.
    async fn call_back(&self, old: SessionId, begun: &mut Begun) -> Result<bool> {
        let (copy, held) = match self.look(&begun.id).await? {
            // This was done by an earlier try.
            Some((copy, _)) if copy.parting == Some(Parting::Moved(old)) => return Ok(true),
            Some((copy, held)) if copy.parting.is_none() => (copy, held),
            // It ended, and so did the session.
            _ => {
                begun.before = None;
                return Ok(true);
            }
        };
        // Before the mark: should the response to that get lost, the next try finds the mark only.
        if let Some(before) = &mut begun.before {
            before.bring_over(&begun.own, &copy);
            (before.tag, before.forked) = (copy.tag, copy.forked);
            begun.own = copy;
        }
        let left = self
            .leave(&held, Parting::Moved(old), begun.own.tag)
            .await?;
        Ok(matches!(left, Saved::Saved(_)))
    }

    /// Puts the mark of an end where nothing is, and returns whether nothing was.
    async fn put_a_mark(&self, id: &SessionId) -> Result<bool> {
        let mut mark = Record::parting(self.clock.seconds(), Parting::Ended);
        let put = self.put(id, &mut mark, GRACE, Expect::Absent).await?;
        Ok(matches!(put, Saved::Saved(_)))
    }
}
