//! Undoes an unconfirmed creation or renewal, so that the old cookie keeps working.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rocket::tokio;

use super::{GRACE, SessionManager, Unconfirmed};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Saved};

/// The pause before the second attempt to undo a renewal.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// Whether the copy of an unconfirmed renewal accepts no more saves.
enum Retired {
    Yes,
    NotYet,
    /// A browser got its cookie, by the grace of the renewal. The renewal stays.
    Adopted,
}

impl SessionManager {
    /// Undoes, in the background, a creation or a renewal that the store did not confirm in time.
    /// No browser has the new cookie; the visitor still has the old one.
    pub(crate) fn undo(self: &Arc<Self>, mut unconfirmed: Unconfirmed) {
        let manager = Arc::clone(self);
        tokio::spawn(async move {
            let (started, mut pause) = (Instant::now(), PAUSE);
            // After that the tombstone has expired.
            while started.elapsed() < GRACE {
                if let Ok(true) = manager.try_to_undo(&mut unconfirmed).await {
                    return;
                }
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(LONGEST_PAUSE);
            }
        });
    }

    /// Returns whether the session is back under its old id, or gone for good.
    async fn try_to_undo(&self, unconfirmed: &mut Unconfirmed) -> Result<bool> {
        if let Some(old) = unconfirmed.from
            && let Some((there, version)) = self.read(&old).await?
        {
            let back = match there.tombstone {
                // The tombstone may still arrive. A save now makes its precondition fail.
                None => Some(there),
                Some(Tombstone::Moved(next)) if next == unconfirmed.id => {
                    match self.retire_copy(old, unconfirmed).await? {
                        Retired::Yes => unconfirmed.before.clone(),
                        Retired::NotYet => return Ok(false),
                        Retired::Adopted => return Ok(true),
                    }
                }
                // The session ended, or another request renewed it.
                Some(_) => None,
            };
            if let Some(mut record) = back
                && !matches!(self.replace(&version, &mut record).await?, Saved::Saved(_))
            {
                return Ok(false);
            }
        }
        match self.read(&unconfirmed.id).await? {
            Some((copy, version))
                if copy.tombstone.is_none()
                    && copy.tag == unconfirmed.own.tag
                    && !copy.is_adopted() =>
            {
                let deleting = self
                    .store()
                    .delete_session_if(&version.id, version.revision);
                self.bounds.call("delete a session", deleting).await
            }
            Some(_) => Ok(true),
            // The copy may still arrive. This tombstone makes its precondition fail.
            None => self.put_end_tombstone(&unconfirmed.id, None).await,
        }
    }

    /// Stops further saves to the copy, and merges into `unconfirmed` the changes that other
    /// requests have saved there: they were told that their changes are saved.
    ///
    /// After this, a tombstone at the copy leads back to `old`.
    async fn retire_copy(&self, old: SessionId, unconfirmed: &mut Unconfirmed) -> Result<Retired> {
        let (copy, version) = match self.read(&unconfirmed.id).await? {
            // An earlier attempt did this.
            Some((copy, _)) if copy.tombstone == Some(Tombstone::Moved(old)) => {
                return Ok(Retired::Yes);
            }
            Some((copy, _)) if copy.is_adopted() => return Ok(Retired::Adopted),
            Some((copy, version)) if copy.tombstone.is_none() => (copy, version),
            // The copy ended, and the session with it.
            _ => {
                unconfirmed.before = None;
                return Ok(Retired::Yes);
            }
        };
        // This comes before the tombstone: if its response is lost, the next attempt finds only the
        // tombstone.
        if let Some(before) = &mut unconfirmed.before {
            before.bring_over(&unconfirmed.own, &copy);
            (before.tag, before.forked) = (copy.tag, copy.forked);
            unconfirmed.own = copy;
        }
        let left = self
            .put_tombstone(&version, Tombstone::Moved(old), unconfirmed.own.tag)
            .await?;
        Ok(match left {
            Saved::Saved(_) => Retired::Yes,
            Saved::Changed | Saved::Gone => Retired::NotYet,
        })
    }

    /// Puts an end tombstone under an unused id, and returns whether the id was unused. `tag` is the
    /// tag of the session that must not begin there.
    pub(super) async fn put_end_tombstone(&self, id: &SessionId, tag: Option<u64>) -> Result<bool> {
        let mut tombstone = Record::tombstone(self.clock.seconds(), Tombstone::Ended);
        tombstone.tag = tag;
        let put = self
            .put(id, &mut tombstone, GRACE, Precondition::Absent)
            .await?;
        Ok(matches!(put, Saved::Saved(_)))
    }
}
