//! A store between the application and the real one: it counts calls, and fails, hangs or waits on
//! demand.

mod forward;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::gate::Gate;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{KeyValue, Saved, SessionStore};

/// A kind of call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Act {
    /// [`SessionStore::load_session`]
    Load,
    /// [`SessionStore::save_session`]
    Save,
    /// [`SessionStore::delete_session`] and [`SessionStore::delete_session_if`]
    Delete,
    /// [`SessionStore::has_session`]
    Has,
    /// [`SessionStore::quarantine`]
    Quarantine,
    /// [`SessionStore::delete_old_sessions`]
    Sweep,
    /// [`KeyValue::get`]
    GetEntry,
    /// [`KeyValue::set`], [`KeyValue::add`], [`KeyValue::swap`] and [`KeyValue::increment`]
    KeepEntry,
    /// [`KeyValue::remove`], [`KeyValue::take`] and [`KeyValue::clear`]
    RemoveEntry,
}

/// The number of calls to a store, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// Loads.
    pub load: usize,
    /// Saves.
    pub save: usize,
    /// Deletions.
    pub delete: usize,
    /// All other calls about sessions.
    pub other: usize,
    /// Calls about entries, except lists.
    pub entries: usize,
}

impl Calls {
    /// Returns `(load, save, delete, other)`: the calls about sessions.
    pub fn tuple(self) -> (usize, usize, usize, usize) {
        (self.load, self.save, self.delete, self.other)
    }
}

/// A [`SessionStore`] that forwards all calls to another store, counts them, and fails on demand.
///
/// Clones share their state: give one to [`Sessions::with()`](crate::Sessions::with) and keep
/// another.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::testing::{Act, Probe, run};
/// use rocket_session_kit::{MemoryStore, SessionId};
/// use rocket_session_kit::store::SessionStore;
///
/// let probe = Probe::new(MemoryStore::new());
/// run(async {
///     probe.load_session(&SessionId::random()).await.unwrap();
///     probe.fail(Act::Load);
///     probe.load_session(&SessionId::random()).await.unwrap_err();
/// });
/// assert_eq!(probe.calls().load, 2);
/// ```
#[derive(Clone)]
pub struct Probe {
    store: Arc<dyn SessionStore>,
    entries: Option<Arc<dyn KeyValue>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: Calls,
    faults: HashMap<Act, Fault>,
    gates: HashMap<Act, Gate>,
    /// The outcomes of the next saves.
    stubs: Vec<Saved>,
    repeat_next_save: bool,
}

#[derive(Clone, Copy)]
enum Fault {
    Fails,
    FailsAfterwards,
    Hangs,
    Panics,
}

impl Probe {
    /// Returns a probe in front of `store`.
    pub fn new(store: impl SessionStore) -> Self {
        let store: Arc<dyn SessionStore> = Arc::new(store);
        Self {
            entries: Arc::clone(&store).key_value(),
            store,
            state: Arc::default(),
        }
    }

    /// Returns the number of calls since the last call of this method.
    pub fn calls(&self) -> Calls {
        std::mem::take(&mut self.state.lock().calls)
    }

    /// Makes all calls of the kind `act` fail before they reach the store, until
    /// [`heal`](Self::heal).
    pub fn fail(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::Fails);
    }

    /// Makes all calls of the kind `act` reach the store and then fail, as if the response were
    /// lost, until [`heal`](Self::heal).
    pub fn fail_afterwards(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::FailsAfterwards);
    }

    /// Makes all calls of the kind `act` hang, until [`heal`](Self::heal).
    pub fn hang(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::Hangs);
    }

    /// Makes all calls of the kind `act` panic, until [`heal`](Self::heal).
    pub fn panic(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::Panics);
    }

    /// Ends all failures.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Makes the next save return `saved` without reaching the store. Several calls affect the next
    /// saves, in this order.
    pub fn stub_next_save(&self, saved: Saved) {
        self.state.lock().stubs.push(saved);
    }

    /// Sends the next save twice, and returns the second outcome, as if a connection broke before
    /// the response and the driver sent the save again.
    pub fn repeat_next_save(&self) {
        self.state.lock().repeat_next_save = true;
    }

    /// Puts a gate in front of all calls of the kind `act`. Each call waits there until the test
    /// opens the gate.
    pub fn gate(&self, act: Act) -> Gate {
        let gate = Gate::new();
        self.state.lock().gates.insert(act, gate.clone());
        gate
    }

    async fn call<T>(&self, act: Act, call: impl Future<Output = Result<T>>) -> Result<T> {
        let gate = {
            let mut state = self.state.lock();
            match act {
                Act::Load => state.calls.load += 1,
                Act::Save => state.calls.save += 1,
                Act::Delete => state.calls.delete += 1,
                Act::Has | Act::Quarantine | Act::Sweep => state.calls.other += 1,
                Act::GetEntry | Act::KeepEntry | Act::RemoveEntry => state.calls.entries += 1,
            }
            state.gates.get(&act).cloned()
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        // The test may change the fault while the call waits at the gate.
        let fault = self.state.lock().faults.get(&act).copied();
        let failure = || {
            Err(Error::new(ErrorKind::Unavailable, "reach the store")
                .because("the test demands it"))
        };
        match fault {
            None => call.await,
            Some(Fault::Fails) => failure(),
            Some(Fault::FailsAfterwards) => call.await.and_then(|_| failure()),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Panics) => panic!("the test demands a panic of the store"),
        }
    }
}
