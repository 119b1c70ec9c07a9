//! A gate: somebody waits at it until a test lets them go.

use std::sync::Arc;

use rocket::tokio::sync::Semaphore;

/// A gate, for tests of races: a handler or a store waits at it, and the test decides when to open
/// it.
///
/// Copies are the same gate.
///
/// # Example
///
/// ```rust
/// use rocket::futures::future::join;
/// use rocket_session_kit::testing::{Gate, run};
///
/// let gate = Gate::new();
/// run(join(gate.pass(), async {
///     gate.arrived().await;
///     // Whoever passes stands at the gate now, and stays there until:
///     gate.open();
/// }));
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    arrivals: Arc<Semaphore>,
    permits: Arc<Semaphore>,
}

impl Gate {
    /// Returns a gate that is shut.
    pub fn new() -> Self {
        Self {
            arrivals: Arc::new(Semaphore::new(0)),
            permits: Arc::new(Semaphore::new(0)),
        }
    }

    /// Announces an arrival, and waits until one is let through.
    pub async fn pass(&self) {
        self.arrivals.add_permits(1);
        take(&self.permits).await;
    }

    /// Waits until one more has arrived.
    pub async fn arrived(&self) {
        take(&self.arrivals).await;
    }

    /// Lets one through: who waits, or the next who comes.
    pub fn open(&self) {
        self.permits.add_permits(1);
    }

    /// Lets everybody through, from now on.
    pub fn open_for_all(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

async fn take(permits: &Semaphore) {
    permits
        .acquire()
        .await
        .expect("a gate's semaphore is never closed")
        .forget();
}
