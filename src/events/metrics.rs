//! The listener that counts events and times calls to stores, with the crate `metrics`.

use super::{EventKind, SessionEvent, SessionEvents, StoreCall};

/// A listener that counts events and times the calls to stores, with the crate
/// [`metrics`](https://docs.rs/metrics). The recorder that the application installs publishes the
/// figures, for example to Prometheus.
///
/// | figure | kind | labels |
/// |---|---|---|
/// | `rocket_session_events_total` | counter | `event`, `reason` |
/// | `rocket_session_store_failures_total` | counter | `store`, `act` |
/// | `rocket_session_store_call_seconds` | histogram | `store`, `act` |
///
/// `event` and `reason` are those of [`EventKind::name()`] and [`EventKind::reason()`]; `reason` is
/// empty if there is none. No label holds data of a visitor.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::{SessionMetrics, Sessions};
///
/// let rocket = rocket::build().attach(Sessions::fairing().events(SessionMetrics));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SessionMetrics;

impl SessionEvents for SessionMetrics {
    fn on_event(&self, event: &SessionEvent<'_>) {
        match event.kind {
            EventKind::StoreFailed { store, act } => {
                let labels = [("store", store), ("act", act)];
                metrics::counter!("rocket_session_store_failures_total", &labels).increment(1);
            }
            kind => {
                let reason = kind.reason().unwrap_or_default().to_owned();
                metrics::counter!(
                    "rocket_session_events_total",
                    "event" => kind.name(),
                    "reason" => reason
                )
                .increment(1);
            }
        }
    }

    fn on_store_call(&self, call: &StoreCall) {
        let labels = [("store", call.store), ("act", call.act)];
        metrics::histogram!("rocket_session_store_call_seconds", &labels).record(call.took);
    }
}
