//! Takes notifications out of the session, each for one reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::send::SaveKind;
use super::{Lifecycle, Session, State};
use crate::change::Change;
use crate::config::Limits;
use crate::error::{Error, Result};
use crate::manager::{CommitOutcome, Version};
use crate::message::StoredMessage;
use crate::record::Record;

/// Whether a notification was read.
#[derive(Default)]
pub(crate) struct Shown(AtomicBool);

impl Shown {
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A notification that a guard took for a handler.
pub(super) struct HandedOut {
    message: StoredMessage,
    shown: Arc<Shown>,
}

impl Session {
    /// Calls `f` with the stored messages.
    pub(crate) fn with_messages<T>(&self, f: impl FnOnce(&[StoredMessage]) -> T) -> T {
        let state = &mut *self.state.lock();
        state.put_back_unseen();
        f(&state.record.notifications)
    }

    /// Stores `message` for the next page.
    pub(crate) fn notify(&self, message: StoredMessage) -> Result<()> {
        let state = &mut *self.state.lock();
        self.change(state, Change::Notify(message))?;
        state.drop_displaced_messages();
        Ok(())
    }

    /// Stores `message`, unless an equal one is stored already. Returns whether it was stored.
    pub(crate) fn notify_once(&self, message: StoredMessage) -> Result<bool> {
        let state = &mut *self.state.lock();
        let mut waiting = state.record.notifications.iter();
        if waiting.any(|other| other.is_duplicate_of(&message)) {
            return Ok(false);
        }
        self.change(state, Change::NotifyOnce(message))?;
        state.drop_displaced_messages();
        Ok(true)
    }

    /// Makes the request fail with `error`, for callers that cannot return it.
    pub(crate) fn refuse(&self, error: Error) {
        self.state.lock().refused = Some(error);
    }

    /// Notes that a guard took `message`. The message is put back if the returned flag is dropped
    /// without being set.
    pub(crate) fn hand_out(&self, message: StoredMessage) -> Arc<Shown> {
        let shown = Arc::new(Shown::default());
        self.state.lock().handed_out.push(HandedOut {
            message,
            shown: Arc::clone(&shown),
        });
        shown
    }

    /// Takes the messages that `pick` chooses by their ids, and returns them in the order in which
    /// they were stored. No other request gets them.
    ///
    /// Messages in the store are removed before this returns, by a separate save without the
    /// request's other changes. Messages of this request are just not saved.
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
            if matches!(state.lifecycle, Lifecycle::Gone) {
                return Ok(Vec::new());
            }
            state.stored()
        };
        let (mut taken, wanted) = match stored {
            None => (Vec::new(), pick(&self.state.lock().record.notifications)?),
            Some((version, record)) => {
                let mut wanted = Vec::new();
                let take_out = |record: &mut Record| {
                    wanted = self.pick_from_view(record, &pick)?;
                    let (taken, left) = std::mem::take(&mut record.notifications)
                        .into_iter()
                        .partition(|message| wanted.contains(&message.id));
                    record.notifications = left;
                    Ok(taken)
                };
                let (taken, outcome) = self.manager.take(record, version, take_out).await?;
                self.report(&SaveKind::Update(version), &outcome, &[]);
                let here = matches!(outcome, CommitOutcome::Committed { .. });
                self.state
                    .lock()
                    .settle_taken(outcome, &self.manager.limits);
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

    /// Returns the choice of `pick` in the handler's view of `record`.
    fn pick_from_view(
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
            // A change that no longer fits is reported by the save.
            let _ = change.apply(&mut view, &self.manager.limits);
        }
        pick(&view.notifications)
    }
}

impl State {
    /// Returns the version and the record in the store, if they are known.
    pub(super) fn stored(&self) -> Option<(Version, Record)> {
        let record = match &self.base {
            Some(base) => Some(base.clone()),
            None if self.changes.is_empty() => Some(self.record.clone()),
            None => None,
        };
        self.lifecycle.version().zip(record)
    }

    /// Keeps the record in the store before the first change to the handler's view, if it may be
    /// needed.
    pub(super) fn keep_base(&mut self) {
        if self.is_as_stored() && self.base.is_none() && self.needs_base() {
            self.base = Some(self.record.clone());
        }
    }

    /// Drops this request's messages that a later one has displaced. They would return if another
    /// request took the later one.
    fn drop_displaced_messages(&mut self) {
        if !self.unanswered.is_empty() {
            // The store may already have some of them, so their number must not change.
            return;
        }
        let waiting = &self.record.notifications;
        self.changes.retain(|change| {
            let waits =
                |message: &StoredMessage| waiting.iter().any(|other| other.id == message.id);
            change.message().is_none_or(waits)
        });
    }

    /// Returns whether this request stored a message that is not saved yet.
    pub(super) fn has_new_message(&self) -> bool {
        self.changes.iter().any(|change| change.message().is_some())
    }

    pub(super) fn needs_base(&self) -> bool {
        let record = &self.record;
        !record.notifications.is_empty() || !record.tokens.is_empty() || !self.handed_out.is_empty()
    }

    /// Puts back the messages that a guard took and that were not read.
    pub(super) fn put_back_unseen(&mut self) {
        // The latest comes first, so that the oldest is in front again.
        for handed_out in std::mem::take(&mut self.handed_out).into_iter().rev() {
            if handed_out.shown.0.load(Ordering::Relaxed) {
                continue;
            }
            if Arc::strong_count(&handed_out.shown) > 1 {
                self.handed_out.insert(0, handed_out);
                continue;
            }
            if self.lifecycle.is_active() {
                self.keep_base();
                let message = handed_out.message;
                self.record.notifications.insert(0, message.clone());
                self.changes.push(Change::PutBack(message));
            }
        }
    }

    /// Takes over the outcome of a take.
    pub(super) fn settle_taken(&mut self, outcome: CommitOutcome, limits: &Limits) {
        let base = match &outcome {
            CommitOutcome::Committed { record, .. } => Some(record.clone()),
            _ => None,
        };
        self.settle(outcome, limits);
        if base.is_some() {
            self.base = base;
        }
    }
}
