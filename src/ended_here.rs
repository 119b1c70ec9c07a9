//! The sessions that a request has ended by `Sessions`: if its own is among them, its cookie goes.

use std::sync::Arc;

use parking_lot::Mutex;
use rocket::Request;

use crate::dispatch;
use crate::id::SessionId;
use crate::session::CookieAction;

/// The ids of the sessions that a request has ended by [`Sessions`](crate::Sessions).
#[derive(Clone, Default)]
pub(crate) struct EndedHere(Arc<Mutex<Vec<SessionId>>>);

impl EndedHere {
    /// Returns the sessions that `request` has ended, and will end.
    pub(crate) fn of(request: &Request<'_>) -> Self {
        dispatch::state::<Self>(request).clone()
    }

    /// Returns the sessions that `request` has ended, if it used [`Sessions`](crate::Sessions).
    pub(crate) fn existing<'r>(request: &'r Request<'_>) -> Option<&'r Self> {
        dispatch::existing(request)
    }

    pub(crate) fn note(&self, ids: impl IntoIterator<Item = SessionId>) {
        self.0.lock().extend(ids);
    }

    pub(crate) fn contains(&self, id: SessionId) -> bool {
        self.0.lock().contains(&id)
    }

    /// Returns the cookie action of a response that would be `action`, for a request that presented
    /// the session under `presented`.
    pub(crate) fn action(
        &self,
        action: CookieAction,
        presented: Option<SessionId>,
    ) -> CookieAction {
        match (action, presented) {
            (CookieAction::Set(id), _) if self.contains(id) => CookieAction::Remove,
            (CookieAction::None, Some(id)) if self.contains(id) => CookieAction::Remove,
            (action, _) => action,
        }
    }
}
