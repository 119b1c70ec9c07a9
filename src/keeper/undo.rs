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
    /// was renewed from `old`. Nobody has the cookie of the new one; the visitor has the old one.
    pub(crate) fn undo(self: &Arc<Self>, old: Option<SessionId>, mut begun: Box<Begun>) {
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            let (started, mut pause) = (Instant::now(), PAUSE);
            // Later the mark has gone by itself, and what it replaced with it.
            while started.elapsed() < GRACE {
                if let Ok(true) = keeper.try_to_undo(old.as_ref(), &mut begun).await {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        });
    }

    /// Returns whether the session is under its old id again, or gone, for good.
    async fn try_to_undo(&self, old: Option<&SessionId>, begun: &mut Begun) -> Result<bool> {
        let copy = match self.look(&begun.id).await? {
            Some((record, _)) if record.tag != begun.own.tag => return Ok(true),
            copy => copy,
        };
        let there = match old {
            Some(old) => self.look(old).await?,
            None => None,
        };
        let back = match there {
            // The mark may be on its way still. Once this is saved, it comes too late.
            Some((record, held)) if record.parting.is_none() => Some((record, held)),
            Some((mark, held)) if mark.parting == Some(Parting::Moved(begun.id)) => {
                match &begun.before {
                    Some(before) => Some((before.clone(), held)),
                    None => return Ok(true),
                }
            }
            // It ended, or another request renewed it.
            _ => None,
        };
        let Some((mut record, held)) = back else {
            return match copy {
                Some((_, held)) => {
                    let deleting = self.store().delete_session_if(&held.id, held.revision);
                    self.ask("delete a session", deleting).await
                }
                // Should it be on its way still, this is in its place.
                None => self.put_a_mark(&begun.id).await,
            };
        };
        if let Some((now, _)) = &copy {
            record.bring_over(&begun.own, now);
        }
        if !matches!(self.replace(&held, &mut record).await?, Saved::Saved(_)) {
            return Ok(false);
        }
        let Some((now, new)) = copy else {
            return self.put_a_mark(&begun.id).await;
        };
        // What others change in the copy after this is brought over next time; those who come later
        // still follow this mark.
        begun.own = now;
        let left = self.leave(&new, Parting::Moved(held.id)).await?;
        Ok(left != Saved::Changed)
    }

    /// Puts the mark of an end where nothing is, and returns whether nothing was.
    async fn put_a_mark(&self, id: &SessionId) -> Result<bool> {
        let mut mark = Record::parting(self.clock.seconds(), Parting::Ended);
        let put = self.put(id, &mut mark, GRACE, Expect::Absent).await?;
        Ok(matches!(put, Saved::Saved(_)))
    }
}
