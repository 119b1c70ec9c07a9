//! The background sweep, which deletes expired sessions.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocket::tokio;

use crate::events::{EventKind, Listeners};
use crate::store::SessionStore;

/// Deletes expired sessions from `store` about once in `every`, until Rocket shuts down.
pub(crate) async fn sweep(
    store: Arc<dyn SessionStore>,
    every: Duration,
    listeners: Listeners,
    mut shutdown: rocket::Shutdown,
) {
    loop {
        // Processes that start at the same time must not sweep at the same time.
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH);
        let jitter = nanos.map_or(0, |now| now.subsec_nanos());
        let jitter = every.mul_f64(f64::from(jitter) / 1e9 / 10.0);
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = tokio::time::sleep(every.mul_f64(0.9) + jitter) => {}
        }
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            // Another application may keep its sessions in this store, with a longer lifetime. So only
            // expired sessions are deleted.
            swept = store.delete_old_sessions(u64::MAX) => match swept {
                Ok(swept) => log::debug!("swept {} sessions, {} remain", swept.deleted, swept.remaining),
                Err(error) => {
                    let (store, act) = (store.name(), "delete old sessions");
                    listeners.note(EventKind::StoreFailed { store, act });
                    log::warn!("{error}");
                }
            }
        }
    }
}
