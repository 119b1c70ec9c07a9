//! Events in the lives of sessions, and the listeners that the application attaches.

mod event;
#[cfg(feature = "metrics")]
mod metrics;
mod store_call;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use self::event::{CookieFault, EventKind, SessionEvent};
#[cfg(feature = "metrics")]
pub use self::metrics::SessionMetrics;
pub use self::store_call::StoreCall;

/// A listener for events in the lives of sessions, such as an audit log or an exporter of figures.
///
/// [`SessionsFairing::events()`](crate::SessionsFairing::events) attaches it. A function that takes an
/// event is a listener too.
///
/// A listener is called at the act, in the middle of the request, so it must return quickly: it sends
/// the event to a task or a thread if it has to wait. If it panics, the log says so, and the request
/// goes on.
///
/// An event holds nothing that opens a session. It holds the name of the user, which an audit log
/// needs; the application decides where that is written.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::{EventKind, SessionEvent, SessionEvents, Sessions};
///
/// struct AuditLog;
///
/// impl SessionEvents for AuditLog {
///     fn on_event(&self, event: &SessionEvent<'_>) {
///         if let EventKind::LoggedIn | EventKind::Ended(_) = event.kind {
///             let reason = event.kind.reason().unwrap_or_default();
///             println!("{} {reason} {:?} {:?}", event.kind.name(), event.user, event.address);
///         }
///     }
/// }
///
/// let rocket = rocket::build().attach(Sessions::fairing().events(AuditLog));
/// ```
pub trait SessionEvents: Send + Sync + 'static {
    /// Takes note of an event.
    fn on_event(&self, event: &SessionEvent<'_>);

    /// Takes note of a call to a store, after it. By default it does nothing.
    ///
    /// A request makes about two of them. A call that failed is an
    /// [event](EventKind::StoreFailed) as well.
    fn on_store_call(&self, call: &StoreCall) {
        let _ = call;
    }
}

impl<F: Fn(&SessionEvent<'_>) + Send + Sync + 'static> SessionEvents for F {
    fn on_event(&self, event: &SessionEvent<'_>) {
        self(event);
    }
}

/// The listeners of an application. Usually there is none.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Arc<dyn SessionEvents>>);

impl Listeners {
    /// Adds a listener.
    pub(crate) fn add(&mut self, listener: impl SessionEvents) {
        self.0.push(Arc::new(listener));
    }

    /// Returns whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells every listener of `event`.
    pub(crate) fn tell(&self, event: SessionEvent<'_>) {
        if !self.is_empty() {
            self.each(|listener| listener.on_event(&event));
        }
    }

    /// As [`tell`](Self::tell), for an event of no particular session.
    pub(crate) fn note(&self, kind: EventKind<'_>) {
        self.tell(SessionEvent::new(kind));
    }

    /// Tells every listener of a call to a store.
    pub(crate) fn tell_of_call(&self, call: &StoreCall) {
        self.each(|listener| listener.on_store_call(call));
    }

    #[cold]
    fn each(&self, tell: impl Fn(&dyn SessionEvents)) {
        for listener in &self.0 {
            if catch_unwind(AssertUnwindSafe(|| tell(&**listener))).is_err() {
                log::error!("a listener for the events of sessions panicked; the request goes on");
            }
        }
    }
}
