//! Sessions in a directory.

use std::sync::Arc;

use rocket::futures::stream::BoxStream;

use super::DirectoryStore;
use super::cached_read::CachedRead;
use super::session_file::Content;
use crate::error::Result;
use crate::id::SessionId;
use crate::store::listing;
use crate::store::{KeyValue, Revision, Save, Saved, SessionStore, Stored, Swept};

#[rocket::async_trait]
impl SessionStore for DirectoryStore {
    fn name(&self) -> &'static str {
        "directory"
    }

    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        self.dir.prepare()
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let (act, name) = ("load a session", id.to_hex());
        match self.dir.load_cached(&name) {
            CachedRead::Done(read) => read.map_err(|error| self.unavailable(act, error)),
            CachedRead::WouldBlock => self.blocking(act, move |dir, _| dir.load(&name)).await,
        }
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let (name, precondition) = (id.to_hex(), save.precondition);
        let content = Content {
            header: save.header()?,
            bytes: save.bytes.to_vec(),
        };
        self.retry_while_locked("save a session", move |dir, cancel| {
            dir.save(&name, &content, precondition, cancel)
        })
        .await
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let name = id.to_hex();
        self.retry_while_locked("delete a session", move |dir, cancel| {
            dir.delete(&name, cancel)
        })
        .await
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let name = id.to_hex();
        self.retry_while_locked("delete a session", move |dir, cancel| {
            dir.delete_if(&name, revision, cancel)
        })
        .await
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        self.blocking("delete old sessions", move |dir, cancel| {
            dir.sweep(minutes, cancel)
        })
        .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let ids = listing::items(self.blocking("list the sessions", |dir, _| dir.ids()));
        listing::load_each(ids, 1, move |id| async move {
            let stored = self.load_session(&id).await?;
            Ok(stored.map(|stored| (id, stored)))
        })
    }

    async fn quarantine(&self, id: &SessionId) -> Result<()> {
        let name = id.to_hex();
        self.retry_while_locked("quarantine a damaged session", move |dir, cancel| {
            dir.quarantine(&name, cancel)
        })
        .await
    }
}
