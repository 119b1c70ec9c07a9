//! Notifications on their way out of the session: each to one reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Over, Session, State};
use crate::change::Change;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::manager::{CommitOutcome, Version};
use crate::message::StoredMessage;
use crate::record::Record;

/// Whether anybody looked at a notification.
#[derive(Default)]
pub(crate) struct Shown(AtomicBool);

impl Shown {
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A notification that a guard took and a handler has.
pub(super) struct Handed {
    message: StoredMessage,
    shown: Arc<Shown>,
}

impl Session {
    /// Calls `f` with what waits.
    pub(crate) fn with_messages<T>(&self, f: impl FnOnce(&[StoredMessage]) -> T) -> T {
        let state = &mut *self.state.lock();
        state.put_back_unseen();
        f(&state.record.notifications)
    }

    /// Lets `message` wait for the next page.
    pub(crate) fn notify(&self, message: StoredMessage) -> Result<()> {
        let state = &mut *self.state.lock();
        self.change(state, Change::Notify(message))?;
        state.forget_those_that_made_room();
        Ok(())
    }

    /// The same, unless one that says the same waits already. Returns whether none did.
    pub(crate) fn notify_once(&self, message: StoredMessage) -> Result<bool> {
        let state = &mut *self.state.lock();
        let mut waiting = state.record.notifications.iter();
        if waiting.any(|other| other.is_duplicate_of(&message)) {
            return Ok(false);
        }
        self.change(state, Change::NotifyOnce(message))?;
        state.forget_those_that_made_room();
        Ok(true)
    }

    /// Lets the request fail for `error`, where it cannot be returned.
    pub(crate) fn refuse(&self, error: Error) {
        self.state.lock().refused = Some(error);
    }

    /// Says that a guard took `message`. It waits on if whoever has the returned note drops it and
    /// did not write on it that the notification was shown.
    pub(crate) fn hand_out(&self, message: StoredMessage) -> Arc<Shown> {
        let shown = Arc::new(Shown::default());
        self.state.lock().handed.push(Handed {
            message,
            shown: Arc::clone(&shown),
        });
        shown
    }

    /// Takes the notifications that `pick` chooses (by their ids) of those that wait, and returns
    /// them in the order in which they came. Nobody else ever gets them.
    ///
    /// What the store has is taken out of it before this returns, by a save that holds nothing else
    /// of what the request did; what this request itself brought, it just does not save.
    pub(crate) async fn take_messages(
        &self,
        pick: impl Fn(&[StoredMessage]) -> Result<Vec<u64>>,
    ) -> Result<Vec<StoredMessage>> {
        if self.with_messages(&pick)?.is_empty() {
            return Ok(Vec::new());
        }
        self.send_if_unanswered().await?;
        let _one_at_a_time = self.saving.lock().await;

        let stored = {
            let state = &*self.state.lock();
            if state.over == Some(Over::Gone) {
                return Ok(Vec::new());
            }
            state.stored()
        };
        let (mut taken, wanted) = match stored {
            None => (Vec::new(), pick(&self.state.lock().record.notifications)?),
            Some((version, record)) => {
                let mut wanted = Vec::new();
                let take_out = |record: &mut Record| {
                    wanted = self.pick_in(record, &pick)?;
                    let (taken, left) = std::mem::take(&mut record.notifications)
                        .into_iter()
                        .partition(|message| wanted.contains(&message.id));
                    record.notifications = left;
                    Ok(taken)
                };
                let (taken, kept) = self.manager.take(record, version, take_out).await?;
                let here = matches!(kept, CommitOutcome::Committed { .. });
                self.state.lock().settle_taken(kept, &self.manager.limits);
                if !here {
                    return Ok(Vec::new());
                }
                (taken, wanted)
            }
        };
        let state = &mut *self.state.lock();
        let (brought, rest) = std::mem::take(&mut state.changes)
            .into_iter()
            .partition(|change| change.message().is_some_and(|own| wanted.contains(&own.id)));
        state.changes = rest;
        let brought: Vec<Change> = brought;
        taken.extend(brought.iter().filter_map(Change::message).cloned());
        let waiting = &mut state.record.notifications;
        waiting.retain(|message| !wanted.contains(&message.id));
        taken.sort_by_key(|message| wanted.iter().position(|id| *id == message.id));
        Ok(taken)
    }

    /// Returns what `pick` chooses in `record` as the handler would see it.
    fn pick_in(
        &self,
        record: &Record,
        pick: impl Fn(&[StoredMessage]) -> Result<Vec<u64>>,
    ) -> Result<Vec<u64>> {
        let state = &*self.state.lock();
        if state.changes.is_empty() {
            return pick(&record.notifications);
        }
        let mut view = record.clone();
        for change in &state.changes {
            // Where one no longer fits, the save says so.
            let _ = change.apply(&mut view, &self.manager.limits);
        }
        pick(&view.notifications)
    }
}

impl State {
    /// Returns what the store has, if anything in it may be taken out.
    pub(super) fn stored(&self) -> Option<(Version, Record)> {
        let record = match &self.base {
            Some(base) => Some(base.clone()),
            None if self.changes.is_empty() => Some(self.record.clone()),
            None => None,
        };
        self.version.zip(record)
    }

    /// Remembers what the store has, before the handler's view departs from it, if that may be
    /// asked for.
    pub(super) fn keep_base(&mut self) {
        let same = self.base.is_none() && self.changes.is_empty() && self.version.is_some();
        if same && self.needs_base() {
            self.base = Some(self.record.clone());
        }
    }

    /// Leaves out of this request's changes what it pushed and is there no more, for it made room
    /// for what came later: it would come back where others take that.
    fn forget_those_that_made_room(&mut self) {
        if !self.unanswered.is_empty() {
            // The store may have some of them, and is told how many.
            return;
        }
        let waiting = &self.record.notifications;
        self.changes.retain(|change| {
            let waits =
                |message: &StoredMessage| waiting.iter().any(|other| other.id == message.id);
            change.message().is_none_or(waits)
        });
    }

    /// Returns whether this request pushed a message that the store does not have yet.
    pub(super) fn brings_a_message(&self) -> bool {
        self.changes.iter().any(|change| change.message().is_some())
    }

    pub(super) fn needs_base(&self) -> bool {
        let record = &self.record;
        !record.notifications.is_empty() || !record.tokens.is_empty() || !self.handed.is_empty()
    }

    /// Lets those wait on that a guard took and nobody looked at.
    pub(super) fn put_back_unseen(&mut self) {
        // The latest first, so that the oldest is in front again.
        for handed in std::mem::take(&mut self.handed).into_iter().rev() {
            if handed.shown.0.load(Ordering::Relaxed) {
                continue;
            }
            if Arc::strong_count(&handed.shown) > 1 {
                self.handed.insert(0, handed);
                continue;
            }
            if self.over.is_none() {
                self.keep_base();
                let message = handed.message;
                self.record.notifications.insert(0, message.clone());
                self.changes.push(Change::PutBack(message));
            }
        }
    }

    /// Takes note of what the store has after something was taken out of it.
    pub(super) fn settle_taken(&mut self, kept: CommitOutcome, limits: &Limits) {
        let base = match &kept {
            CommitOutcome::Committed { record, .. } => Some(record.clone()),
            _ => None,
        };
        self.settle(kept, limits);
        if base.is_some() {
            self.base = base;
        }
    }
}
