//! Sessions in Redis.

use std::sync::{Arc, LazyLock};

use redis::Cmd;
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::scan;
use super::script::Script;
use super::shared_connection::Retry;
use super::version::check_version;
use super::{CONCURRENCY, RedisStore, ttl_millis};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::store::listing;
use crate::store::sweep::sweep;
use crate::store::{
    KeyValue, Precondition, RecordHeader, Revision, Save, Saved, SessionStore, Stored, Swept,
};

/// Its arguments are the expected revision or nothing, the session, and its lifetime in
/// milliseconds. If the session has the new revision already, the save was sent twice.
static SAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(format!(
        "local there = redis.call('GETRANGE', KEYS[1], {start}, {end})
         if there == string.sub(ARGV[2], {start} + 1, {end} + 1) then return 'saved' end
         if ARGV[1] == '' then
           if redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3], 'NX') then return 'saved' end
           return 'changed'
         end
         if there == ARGV[1] then
           redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
           return 'saved'
         end
         if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
         return 'changed'",
        start = RecordHeader::REVISION.start,
        end = RecordHeader::REVISION.end - 1,
    ))
});

/// Its argument is the expected revision.
static DELETE_IF: LazyLock<Script> = LazyLock::new(|| {
    Script::new(format!(
        "if redis.call('GETRANGE', KEYS[1], {start}, {end}) ~= ARGV[1] then return 0 end
         return redis.call('UNLINK', KEYS[1])",
        start = RecordHeader::REVISION.start,
        end = RecordHeader::REVISION.end - 1,
    ))
});

impl RedisStore {
    fn command(&self, name: &str, id: &SessionId) -> Cmd {
        let key = self.prefix.session(id);
        // With room for both, so that it is allocated once.
        let mut command = Cmd::with_capacity(2, name.len() + key.len());
        command.arg(name).arg(key);
        command
    }

    async fn load(&self, act: &'static str, id: &SessionId) -> Result<Option<Stored>> {
        let get = self.command("GET", id);
        match self.sessions.send(&get, Retry::Yes).await {
            Ok(response) => {
                let bytes: Option<Vec<u8>> = self.sessions.parse(act, response.value)?;
                Ok(bytes.map(Stored::new))
            }
            // A value of another type is not a session, and not the store's to remove.
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(Some(Stored::new(Vec::new()))),
            Err(error) => Err(self.sessions.failure(act, &error)),
        }
    }

    async fn delete_if(
        &self,
        act: &'static str,
        id: &SessionId,
        revision: Revision,
    ) -> Result<bool> {
        let (key, revision) = (self.prefix.session(id), hex(revision));
        let arguments = [revision.as_bytes()];
        let deleted = self
            .sessions
            .run(act, &DELETE_IF, &key, &arguments, Retry::Yes);
        self.sessions.parse(act, deleted.await?.value)
    }

    /// Returns all values under keys that have the form of a session's key.
    fn list(&self, act: &'static str) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let keys = scan::keys(&self.sessions, act, self.prefix.as_str().to_owned());
        listing::load_each(listing::ids(keys), CONCURRENCY, move |id| async move {
            let stored = self.load(act, &id).await?;
            Ok(stored.map(|stored| (id, stored)))
        })
    }
}

#[rocket::async_trait]
impl SessionStore for RedisStore {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    fn expires_by_itself(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        check_version(&self.sessions).await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        self.load("load a session", id).await
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let act = "save a session";
        let header = save.header()?;
        let expected = match save.precondition {
            Precondition::Absent => String::new(),
            Precondition::Revision(revision) => hex(revision),
        };
        let ttl = ttl_millis(save.ttl).to_string();
        let arguments = [expected.as_bytes(), save.bytes, ttl.as_bytes()];
        let key = self.prefix.session(id);
        let response = self
            .sessions
            .run(act, &SAVE, &key, &arguments, Retry::Yes)
            .await?;
        let outcome: String = self.sessions.parse(act, response.value)?;
        match outcome.as_str() {
            "saved" => Ok(Saved::Saved(header.revision)),
            "gone" => Ok(Saved::Gone),
            // The first attempt may have succeeded, before another save followed.
            _ if response.was_resent => Err(Error::new(ErrorKind::Unavailable, act)
                .at(&self.settings().servers)
                .because("the connection broke, and the outcome of the save is unknown")),
            _ => Ok(Saved::Changed),
        }
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let command = self.command("UNLINK", id);
        self.sessions
            .query("delete a session", &command, Retry::Yes)
            .await
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        self.delete_if("delete a session", id, revision).await
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let act = "delete old sessions";
        let sessions = self.list(act).map_ok(|(id, stored)| (id, stored, ()));
        let now = self.clock.seconds();
        sweep(sessions, now, minutes, move |id, revision, ()| async move {
            self.delete_if(act, &id, revision).await
        })
        .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        self.list("list the sessions").boxed()
    }
}

/// Returns a revision as the header of a record contains it.
fn hex(revision: Revision) -> String {
    format!("{:016x}", revision.0)
}
