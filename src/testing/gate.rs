//! A gate for tests of races: a task waits there until the test opens it.

use std::sync::Arc;

use rocket::tokio::sync::Semaphore;

/// A gate for tests of races: a handler or a store waits there until the test opens it.
///
/// Clones are the same gate.
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
///     // The other task has reached the gate, and waits until:
///     gate.open();
/// }));
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    arrivals: Arc<Semaphore>,
    permits: Arc<Semaphore>,
}

impl Gate {
    /// Returns a closed gate.
    pub fn new() -> Self {
        Self {
            arrivals: Arc::new(Semaphore::new(0)),
            permits: Arc::new(Semaphore::new(0)),
        }
    }

    /// Arrives at the gate, and waits until it opens.
    pub async fn pass(&self) {
        self.arrivals.add_permits(1);
        take(&self.permits).await;
    }

    /// Waits for the next arrival.
    pub async fn arrived(&self) {
        take(&self.arrivals).await;
    }

    /// Lets one task through: a waiting one, or the next.
    pub fn open(&self) {
        self.permits.add_permits(1);
    }

    /// Lets all tasks through, from now on.
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
