//! Tells the listeners of events what a save did to the session.

use super::send::SaveKind;
use super::{Lifecycle, Session};
use crate::change::Change;
use crate::end_reason::EndReason;
use crate::events::{EventKind, SessionEvent};
use crate::manager::CommitOutcome;

impl Session {
    /// Tells the listeners of the events in a save of `changes` with this `outcome`, before the session
    /// takes the outcome over.
    pub(super) fn report(&self, kind: &SaveKind, outcome: &CommitOutcome, changes: &[Change]) {
        if !self.manager.listeners().is_empty() {
            self.report_to_listeners(kind, outcome, changes);
        }
    }

    #[cold]
    fn report_to_listeners(&self, kind: &SaveKind, outcome: &CommitOutcome, changes: &[Change]) {
        let CommitOutcome::Committed {
            record, revived, ..
        } = outcome
        else {
            return;
        };
        let (own_tag, owner, had_contents, was_empty) = {
            let state = self.state.lock();
            let was_stored = matches!(state.lifecycle, Lifecycle::Stored { .. });
            let had_contents = state.lifecycle.has_contents();
            let owner = state.owner.clone().flatten();
            (
                state.record.tag,
                owner,
                had_contents,
                was_stored && !had_contents,
            )
        };
        let has_contents = record.has_info();
        let change = match kind {
            SaveKind::Create(_) => Some(EventKind::Created),
            // Otherwise another request of the token began the session.
            SaveKind::Begin(_) if record.tag == own_tag => Some(EventKind::Created),
            _ if has_contents && (*revived || was_empty) => Some(EventKind::Created),
            _ if had_contents && !has_contents && !revived => {
                Some(EventKind::Ended(EndReason::Emptied))
            }
            SaveKind::Renew(..) => Some(EventKind::Renewed),
            SaveKind::Begin(_) | SaveKind::Update(_) => None,
        };
        let is_log_in =
            |change: &Change| matches!(change, Change::LogIn { .. } | Change::SetUser(Some(_)));
        let is_log_in = record.user.is_some() && changes.iter().any(is_log_in);
        let log_in = is_log_in.then_some(EventKind::LoggedIn);
        for kind in change.into_iter().chain(log_in) {
            self.manager.listeners().tell(SessionEvent {
                kind,
                // An emptied session has lost its user.
                user: record.user().or(owner.as_deref()),
                address: self.client,
            });
        }
    }
}
