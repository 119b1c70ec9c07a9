//! Merges a request's changes into a session that others change at the same time.

use super::commit::{Edit, Repeated};
use super::grace::Moved;
use super::{CommitOutcome, SessionManager, Unanswered, Version};
use crate::change::{Change, warn_of_lost_updates};
use crate::config::Limits;
use crate::error::Result;
use crate::record::Record;

/// A session to save, with a request's changes in it.
pub(crate) struct Update<'a> {
    /// The record of `version`, with `changes` made to it.
    pub(crate) record: Record,
    pub(crate) version: Version,
    pub(crate) changes: &'a [Change],
    /// The user who was logged in when the request loaded the session.
    pub(crate) owner: Option<String>,
    /// The record of `version` without the changes, if it is known.
    pub(crate) before: Option<Record>,
    /// Whether the request's browser gets the id at which a renewal with a grace has put the session.
    pub(crate) adopts: bool,
    pub(crate) unanswered: &'a mut Unanswered,
}

impl SessionManager {
    /// Saves a session. After a conflict, the changes are made to the newer record, and that is
    /// saved.
    pub(crate) async fn update(&self, update: Update<'_>) -> Result<CommitOutcome> {
        let Update {
            mut record,
            version,
            changes,
            owner,
            adopts,
            unanswered,
            ..
        } = update;
        if self.lineage_has_ended(&record).await? {
            return Ok(CommitOutcome::Ended);
        }
        if adopts {
            record.adopt();
        }
        if let Some(listing) = self.listing(&mut record, version.id, None) {
            Box::pin(self.enter(Some(listing))).await?;
        }
        let mut merge = Merge {
            changes,
            made: 0,
            owner,
            adopts,
            unanswered,
        };
        self.compare_and_set(record, version, &mut merge).await
    }

    /// Takes values out of a session, so that no other request can take them too. `take_out`
    /// removes them from the record and returns them. After a conflict it runs again on the newer
    /// record.
    ///
    /// This is a separate save without the request's other changes. After an error the outcome is
    /// unknown, and nothing is returned.
    pub(crate) async fn take<T>(
        &self,
        mut record: Record,
        version: Version,
        mut take_out: impl FnMut(&mut Record) -> Result<Vec<T>>,
    ) -> Result<(Vec<T>, CommitOutcome)> {
        if self.lineage_has_ended(&record).await? {
            return Ok((Vec::new(), CommitOutcome::Ended));
        }
        let taken = take_out(&mut record)?;
        if taken.is_empty() {
            return Ok((taken, CommitOutcome::committed(record, version)));
        }
        let mut removal = Removal {
            taken,
            take_out,
            unanswered: Unanswered::default(),
        };
        let outcome = self.compare_and_set(record, version, &mut removal).await?;
        let taken = match &outcome {
            CommitOutcome::Committed { .. } => removal.taken,
            _ => Vec::new(),
        };
        Ok((taken, outcome))
    }
}

/// The edit of a request that changed the session.
struct Merge<'a> {
    changes: &'a [Change],
    /// How many of the changes are in the newer record already.
    made: usize,
    /// The user who was logged in when the request loaded the session.
    owner: Option<String>,
    adopts: bool,
    unanswered: &'a mut Unanswered,
}

impl Edit for Merge<'_> {
    fn attempts(&mut self) -> (&mut Unanswered, usize) {
        (self.unanswered, self.changes.len())
    }

    fn adopts(&self) -> bool {
        self.adopts
    }

    fn repeat(&mut self, newer: &mut Record, moved: Moved, limits: &Limits) -> Result<Repeated> {
        match self.unanswered.arrived(newer.rev) {
            Some(arrived) => {
                self.made = arrived;
                self.unanswered.clear();
                if arrived == self.changes.len() && !self.adopts {
                    return Ok(Repeated::Arrived);
                }
            }
            None if !self.unanswered.is_empty() => {
                let lost = self.unanswered.changes();
                self.unanswered.clear();
                return Ok(Repeated::Unknown { lost });
            }
            None => {}
        }
        let has_user = self.owner.is_some() && newer.user.is_some();
        if moved != Moved::No && has_user && newer.user != self.owner {
            // A different user is logged in. Nothing of the previous user may be shown to them.
            return Ok(Repeated::StaysBehind);
        }
        let missing = &self.changes[self.made..];
        warn_of_lost_updates(missing, newer);
        for change in missing {
            if moved != Moved::Yes || !change.stays_behind() {
                change.apply(newer, limits)?;
            }
        }
        if self.adopts && moved != Moved::Yes {
            newer.adopt();
        }
        Ok(Repeated::Edited)
    }
}

/// The edit of a request that takes values out of the session.
struct Removal<T, F> {
    taken: Vec<T>,
    take_out: F,
    unanswered: Unanswered,
}

impl<T, F: FnMut(&mut Record) -> Result<Vec<T>>> Edit for Removal<T, F> {
    fn attempts(&mut self) -> (&mut Unanswered, usize) {
        (&mut self.unanswered, 0)
    }

    fn repeat(&mut self, newer: &mut Record, moved: Moved, _: &Limits) -> Result<Repeated> {
        if moved != Moved::No {
            // The values moved to the new id, which may be in another visitor's hands.
            return Ok(Repeated::StaysBehind);
        }
        self.taken = (self.take_out)(newer)?;
        Ok(match self.taken.is_empty() {
            true => Repeated::Unchanged,
            false => Repeated::Edited,
        })
    }
}
