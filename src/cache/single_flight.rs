//! SingleFlight: computations under way in this process, and those who wait for their values.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rocket::tokio::sync::watch;

/// The JSON of a value, once it is there.
type Outcome = Option<Arc<[u8]>>;

type Waiting = HashMap<Vec<u8>, watch::Receiver<Outcome>>;

/// All computations under way, each by its lease.
#[derive(Default)]
pub(super) struct SingleFlight(Arc<Mutex<Waiting>>);

/// A place in a computation.
pub(super) enum Role {
    Leader(Leader),
    Follower(Follower),
}

/// Whoever has this computes. Dropping it ends the wait of all others, whatever became of it.
pub(super) struct Leader {
    outcome: watch::Sender<Outcome>,
    listed: Option<(Arc<Mutex<Waiting>>, Vec<u8>)>,
}

/// A computation that somebody else does.
pub(super) struct Follower(watch::Receiver<Outcome>);

impl SingleFlight {
    /// Returns a role in the computation that goes by `lease`; the leader, where there is none.
    pub(super) fn join(&self, lease: &[u8]) -> Role {
        let mut waiting = self.0.lock();
        if let Some(follower) = waiting.get(lease) {
            return Role::Follower(Follower(follower.clone()));
        }
        let (outcome, follower) = watch::channel(None);
        waiting.insert(lease.to_vec(), follower);
        let listed = Some((Arc::clone(&self.0), lease.to_vec()));
        Role::Leader(Leader { outcome, listed })
    }
}

impl Leader {
    /// Returns the leader of a computation that nobody else knows of.
    pub(super) fn alone() -> Self {
        Self {
            outcome: watch::Sender::default(),
            listed: None,
        }
    }

    /// Gives the value to all who wait. Who comes later gets it too, until this is dropped.
    pub(super) fn finish(&self, value: Arc<[u8]>) {
        self.outcome.send_replace(Some(value));
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if let Some((waiting, lease)) = &self.listed {
            waiting.lock().remove(lease);
        }
    }
}

impl Follower {
    /// Returns the value; `None` when the computation ended without one.
    pub(super) async fn outcome(mut self) -> Outcome {
        let arrived = self.0.wait_for(Option::is_some).await;
        arrived.ok().and_then(|value| value.clone())
    }
}
