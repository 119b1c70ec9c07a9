//! Flights: computations under way in this process, and those who wait for their values.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rocket::tokio::sync::watch;

/// The JSON of a value, once it is there.
type Arrival = Option<Arc<[u8]>>;

type Waiting = HashMap<Vec<u8>, watch::Receiver<Arrival>>;

/// All computations under way, each by its lease.
#[derive(Default)]
pub(super) struct Flights(Arc<Mutex<Waiting>>);

/// A place in a computation.
pub(super) enum Seat {
    Lead(Lead),
    Passenger(Flight),
}

/// Whoever has this computes. Dropping it ends the wait of all others, whatever became of it.
pub(super) struct Lead {
    arrival: watch::Sender<Arrival>,
    listed: Option<(Arc<Mutex<Waiting>>, Vec<u8>)>,
}

/// A computation that somebody else does.
pub(super) struct Flight(watch::Receiver<Arrival>);

impl Flights {
    /// Returns a seat in the computation that goes by `lease`; the lead, where there is none.
    pub(super) fn board(&self, lease: &[u8]) -> Seat {
        let mut waiting = self.0.lock();
        if let Some(flight) = waiting.get(lease) {
            return Seat::Passenger(Flight(flight.clone()));
        }
        let (arrival, flight) = watch::channel(None);
        waiting.insert(lease.to_vec(), flight);
        let listed = Some((Arc::clone(&self.0), lease.to_vec()));
        Seat::Lead(Lead { arrival, listed })
    }
}

impl Lead {
    /// Returns the lead of a computation that nobody else knows of.
    pub(super) fn alone() -> Self {
        Self {
            arrival: watch::Sender::default(),
            listed: None,
        }
    }

    /// Gives the value to all who wait. Who comes later gets it too, until this is dropped.
    pub(super) fn land(&self, value: Arc<[u8]>) {
        self.arrival.send_replace(Some(value));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        if let Some((waiting, lease)) = &self.listed {
            waiting.lock().remove(lease);
        }
    }
}

impl Flight {
    /// Returns the value; `None` when the computation ended without one.
    pub(super) async fn arrival(mut self) -> Arrival {
        let arrived = self.0.wait_for(Option::is_some).await;
        arrived.ok().and_then(|value| value.clone())
    }
}
