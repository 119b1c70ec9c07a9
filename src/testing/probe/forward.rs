//! The calls that a probe forwards to its store.

use std::sync::Arc;
use std::time::Duration;

use rocket::futures::stream::BoxStream;

use super::{Act, Probe};
use crate::error::Result;
use crate::id::SessionId;
use crate::store::{Key, KeyValue, Namespace, Revision, Save, Saved, SessionStore, Stored, Swept};

impl Probe {
    /// Returns the store of the entries.
    fn entries(&self) -> &dyn KeyValue {
        let entries = self.entries.as_deref();
        entries.expect("`key_value` returned this probe, so its store keeps entries")
    }
}

#[rocket::async_trait]
impl SessionStore for Probe {
    fn name(&self) -> &'static str {
        self.store.name()
    }

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
            let (stub, repeat) = {
                let state = &mut *self.state.lock();
                let stub = (!state.stubs.is_empty()).then(|| state.stubs.remove(0));
                (stub, std::mem::take(&mut state.repeat_next_save))
            };
            match stub {
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
        self.call(Act::Quarantine, self.store.quarantine(id)).await
    }
}

#[rocket::async_trait]
impl KeyValue for Probe {
    fn may_evict(&self) -> bool {
        self.entries().may_evict()
    }

    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.call(Act::GetEntry, self.entries().get(key)).await
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let kept = self.entries().set(key, value, ttl);
        self.call(Act::KeepEntry, kept).await
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let kept = self.entries().add(key, value, ttl);
        self.call(Act::KeepEntry, kept).await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let kept = self.entries().swap(key, expected, value, ttl);
        self.call(Act::KeepEntry, kept).await
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        self.call(Act::RemoveEntry, self.entries().remove(key))
            .await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        self.call(Act::RemoveEntry, self.entries().take(key)).await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        let kept = self.entries().increment(key, by, ttl);
        self.call(Act::KeepEntry, kept).await
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        self.entries().keys(namespace)
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        self.call(Act::RemoveEntry, self.entries().clear(namespace))
            .await
    }
}
