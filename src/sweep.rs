//! The background sweep, which removes expired sessions.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocket::tokio;

use crate::store::SessionStore;

/// Removes expired sessions from `store` about once in `every`, until the rocket shuts down.
pub(crate) async fn sweep(
    store: Arc<dyn SessionStore>,
    every: Duration,
    mut shutdown: rocket::Shutdown,
) {
    loop {
        // Processes that were started together do not sweep together.
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
            // Another application may keep its sessions here, and for longer: only what has expired
            // goes.
            swept = store.delete_old_sessions(u64::MAX) => match swept {
                Ok(swept) => log::debug!("swept {} sessions, {} remain", swept.deleted, swept.remaining),
                Err(error) => log::warn!("{error}"),
            }
        }
    }
}
