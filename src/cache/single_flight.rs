//! Single flight: the first request that needs a value computes it, and the others wait.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rocket::tokio::sync::watch;

/// The JSON of a value, after it is computed.
type Outcome = Option<Arc<[u8]>>;

type Waiting = HashMap<Vec<u8>, watch::Receiver<Outcome>>;

/// All current computations, by their leases.
#[derive(Clone, Default)]
pub(super) struct SingleFlight(Arc<Mutex<Waiting>>);

/// The role of a request in a computation.
pub(super) enum Role {
    Leader(Leader),
    Follower(Follower),
}

/// The request that computes. When it is dropped, no follower waits any longer.
pub(super) struct Leader {
    outcome: watch::Sender<Outcome>,
    listed: Option<(Arc<Mutex<Waiting>>, Vec<u8>)>,
}

/// A request that waits for the leader.
pub(super) struct Follower(watch::Receiver<Outcome>);

impl SingleFlight {
    /// Joins the computation under `lease`: as its leader if there is none, otherwise as a follower.
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
    /// Returns the leader of a computation without followers.
    pub(super) fn alone() -> Self {
        Self {
            outcome: watch::Sender::default(),
            listed: None,
        }
    }

    /// Gives the value to all followers, also to those that join before the leader is dropped.
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
    /// Waits for the value. `None` if the computation ended without one.
    pub(super) async fn outcome(mut self) -> Outcome {
        let arrived = self.0.wait_for(Option::is_some).await;
        arrived.ok().and_then(|value| value.clone())
    }
}
