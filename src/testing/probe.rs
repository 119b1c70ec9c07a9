//! A store between the application and the real one: it counts calls, and fails, hangs or waits on
//! demand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocket::futures::stream::BoxStream;

use super::gate::Gate;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::store::{Key, KeyValue, Namespace, Revision, Save, Saved, SessionStore, Stored, Swept};

/// A call that a store may get.
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
    SetAside,
    /// [`SessionStore::delete_old_sessions`]
    Sweep,
    /// [`KeyValue::get`]
    GetEntry,
    /// [`KeyValue::set`], [`KeyValue::add`], [`KeyValue::swap`] and [`KeyValue::increment`]
    KeepEntry,
    /// [`KeyValue::remove`], [`KeyValue::take`] and [`KeyValue::clear`]
    RemoveEntry,
}

/// How often a store was called.
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
    /// Calls about entries, but for lists of them.
    pub entries: usize,
}

impl Calls {
    /// Returns `(load, save, delete, other)`: the calls about sessions.
    pub fn tuple(self) -> (usize, usize, usize, usize) {
        (self.load, self.save, self.delete, self.other)
    }
}

/// A [`SessionStore`] that passes calls on to another, counts them, and misbehaves when a test says
/// so.
///
/// Copies are the same probe: give one to [`Sessions::with()`](crate::Sessions::with) and keep
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
    answers: Vec<Saved>,
    repeat: bool,
}

#[derive(Clone, Copy)]
enum Fault {
    Fails,
    FailsAfterwards,
    Hangs,
    Panics,
}

impl Probe {
    /// Returns a probe before `store`.
    pub fn new(store: impl SessionStore) -> Self {
        let store: Arc<dyn SessionStore> = Arc::new(store);
        Self {
            entries: Arc::clone(&store).key_value(),
            store,
            state: Arc::default(),
        }
    }

    /// Returns how often the store was called since the last time this was asked.
    pub fn calls(&self) -> Calls {
        std::mem::take(&mut self.state.lock().calls)
    }

    /// Makes every such call fail, without reaching the store, until [`heal`](Self::heal).
    pub fn fail(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::Fails);
    }

    /// Makes every such call reach the store and fail afterwards, as when an answer gets lost,
    /// until [`heal`](Self::heal).
    pub fn fail_afterwards(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::FailsAfterwards);
    }

    /// Makes every such call never answer, until [`heal`](Self::heal).
    pub fn hang(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::Hangs);
    }

    /// Makes every such call panic, until [`heal`](Self::heal).
    pub fn panic(&self, act: Act) {
        self.state.lock().faults.insert(act, Fault::Panics);
    }

    /// Makes every call behave again.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Makes the next save answer `saved`, without reaching the store. Several such answers are
    /// given one after the other.
    pub fn answer(&self, saved: Saved) {
        self.state.lock().answers.push(saved);
    }

    /// Makes the next save happen twice, and answer what the second time was answered: as when a
    /// connection breaks before the answer, and the driver asks again.
    pub fn repeat_next_save(&self) {
        self.state.lock().repeat = true;
    }

    /// Puts a gate before every such call: it waits there until the test lets it through.
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
                Act::Has | Act::SetAside | Act::Sweep => state.calls.other += 1,
                Act::GetEntry | Act::KeepEntry | Act::RemoveEntry => state.calls.entries += 1,
            }
            state.gates.get(&act).cloned()
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        // A test may decide while the call waits at the gate.
        let fault = self.state.lock().faults.get(&act).copied();
        let failure =
            || Err(Error::new(ErrorKind::Unavailable, "reach the store").because("a test says so"));
        match fault {
            None => call.await,
            Some(Fault::Fails) => failure(),
            Some(Fault::FailsAfterwards) => call.await.and_then(|_| failure()),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Panics) => panic!("a test makes the store panic"),
        }
    }
}

impl Probe {
    /// Returns the store as what keeps entries.
    fn entries(&self) -> &dyn KeyValue {
        let entries = self.entries.as_deref();
        entries.expect("the probe's store keeps entries: `key_value` tells who asks")
    }
}

#[rocket::async_trait]
impl SessionStore for Probe {
    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        match self.entries {
            Some(_) => Some(self),
            None => None,
        }
    }

    fn is_multiprocess_safe(&self) -> bool {
        self.store.is_multiprocess_safe()
    }

    fn is_thread_safe(&self) -> bool {
        self.store.is_thread_safe()
    }

    fn expires_by_itself(&self) -> bool {
        self.store.expires_by_itself()
    }

    async fn setup(&self) -> Result<()> {
        self.store.setup().await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        self.call(Act::Load, self.store.load_session(id)).await
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        self.call(Act::Save, async {
            let (said, repeat) = {
                let state = &mut *self.state.lock();
                let said = (!state.answers.is_empty()).then(|| state.answers.remove(0));
                (said, std::mem::take(&mut state.repeat))
            };
            match said {
                Some(saved) => Ok(saved),
                None if repeat => {
                    self.store.save_session(id, save).await?;
                    self.store.save_session(id, save).await
                }
                None => self.store.save_session(id, save).await,
            }
        })
        .await
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        self.call(Act::Delete, self.store.delete_session(id)).await
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        self.call(Act::Delete, self.store.delete_session_if(id, revision))
            .await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        self.call(Act::Has, self.store.has_session(id)).await
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        self.call(Act::Sweep, self.store.delete_old_sessions(minutes))
            .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        self.store.iter_sessions()
    }

    async fn quarantine(&self, id: &SessionId) -> Result<()> {
        self.call(Act::SetAside, self.store.quarantine(id)).await
    }
}

#[rocket::async_trait]
impl KeyValue for Probe {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.call(Act::GetEntry, self.entries().get(key)).await
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let keeping = self.entries().set(key, value, ttl);
        self.call(Act::KeepEntry, keeping).await
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let keeping = self.entries().add(key, value, ttl);
        self.call(Act::KeepEntry, keeping).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let keeping = self.entries().swap(key, expected, value, ttl);
        self.call(Act::KeepEntry, keeping).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        self.call(Act::RemoveEntry, self.entries().remove(key))
            .await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.call(Act::RemoveEntry, self.entries().take(key)).await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        let keeping = self.entries().increment(key, by, ttl);
        self.call(Act::KeepEntry, keeping).await
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        self.entries().keys(namespace)
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        self.call(Act::RemoveEntry, self.entries().clear(namespace))
            .await
    }
}
