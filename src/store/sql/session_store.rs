//! Sessions in a table.

use std::sync::Arc;

use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::SqlStore;
use super::database::Retry;
use super::dialect::Dialect;
use super::pool::Value::{Bytes, Number};
use crate::error::Result;
use crate::id::SessionId;
use crate::store::{KeyValue, Precondition, Revision, Save, Saved, SessionStore, Stored, Swept};

/// How many sessions a list reads at once.
const PAGE: i64 = 200;

/// How many rows one statement of a sweep deletes at most. No request waits long for them.
const BATCH: u64 = 1000;

/// The same for SQLite, where every save waits for the statement.
const BATCH_OF_FILE: u64 = 100;

/// How often a session is created while others delete it.
const ATTEMPTS: u32 = 3;

impl SqlStore {
    /// Saves a session that must not be there.
    async fn create(
        &self,
        act: &'static str,
        id: &SessionId,
        save: Save<'_>,
        row: Row,
    ) -> Result<Saved> {
        let (id, new) = (
            Bytes(id.as_bytes()),
            Saved::Saved(Revision(row.revision.cast_unsigned())),
        );
        let [revision, saved, expires] = row.numbers();
        let values = [id, revision, saved, expires, Bytes(save.bytes)];
        let (database, statements) = (&self.database, &self.sessions);
        let mut was_resent = false;
        for _ in 0..ATTEMPTS {
            let inserted = database.insert(act, &statements.insert, &values, Retry::Yes);
            let inserted = inserted.await?;
            was_resent |= inserted.was_resent;
            if inserted.value {
                return Ok(new);
            }
            if !self.dialect().replaces_on_conflict() {
                let values = [revision, saved, expires, Bytes(save.bytes), id, saved];
                let replaced =
                    database.execute(act, &statements.replace_expired, &values, Retry::Yes);
                let replaced = replaced.await?;
                was_resent |= replaced.was_resent;
                if replaced.value > 0 {
                    return Ok(new);
                }
            }
            let there = database
                .number(act, &statements.revision, &[id, saved])
                .await?;
            match there {
                Some(there) if there == row.revision => return Ok(new),
                // The first attempt may have succeeded, before another save followed.
                _ if was_resent => return Err(database.unknown(act)),
                Some(_) => break,
                // It had expired, or ended, and was deleted in between.
                None => {}
            }
        }
        Ok(Saved::Changed)
    }

    /// Saves a session that must have the revision `expected`.
    async fn replace(
        &self,
        act: &'static str,
        id: &SessionId,
        save: Save<'_>,
        row: Row,
        expected: Revision,
    ) -> Result<Saved> {
        let (id, new) = (
            Bytes(id.as_bytes()),
            Saved::Saved(Revision(row.revision.cast_unsigned())),
        );
        let [revision, saved, expires] = row.numbers();
        let expected = Number(expected.0.cast_signed());
        let values = [
            revision,
            saved,
            expires,
            Bytes(save.bytes),
            id,
            expected,
            saved,
        ];
        let (database, statements) = (&self.database, &self.sessions);
        let updated = database
            .execute(act, &statements.update, &values, Retry::Yes)
            .await?;
        if updated.value > 0 {
            return Ok(new);
        }
        match database
            .number(act, &statements.revision, &[id, saved])
            .await?
        {
            None => Ok(Saved::Gone),
            Some(there) if there == row.revision => Ok(new),
            // The first attempt may have succeeded, before another save followed.
            Some(_) if updated.was_resent => Err(database.unknown(act)),
            Some(_) => Ok(Saved::Changed),
        }
    }

    fn batch(&self) -> u64 {
        match self.dialect() {
            Dialect::Sqlite => BATCH_OF_FILE,
            Dialect::Postgres | Dialect::MySql => BATCH,
        }
    }

    /// Executes a statement that deletes a batch of what has expired, until it finds less.
    async fn delete_expired(&self, act: &'static str, sql: &str, now: i64) -> Result<u64> {
        let (mut deleted, limit) = (0, self.batch());
        loop {
            let values = [Number(now), Number(limit.cast_signed())];
            let batch = self.database.execute(act, sql, &values, Retry::Yes).await?;
            deleted += batch.value;
            if batch.value < limit {
                return Ok(deleted);
            }
        }
    }

    /// Deletes the sessions that were last saved at `until` or before. It goes through the table in the order of
    /// the ids: an index of the times would make each save slower, for a sweep that few applications ask for.
    async fn delete_saved_before(&self, act: &'static str, until: i64) -> Result<u64> {
        let (database, statements) = (&self.database, &self.sessions);
        let (mut deleted, mut after) = (0, Vec::new());
        loop {
            let next = [Bytes(&after), Number(self.batch().cast_signed() - 1)];
            let next = database.bytes(act, &statements.next, &next).await?;
            let end = next.as_deref().unwrap_or(&[0xff; 16]);
            let values = [Bytes(&after), Bytes(end), Number(until)];
            let batch = database.execute(act, &statements.delete_old, &values, Retry::Yes);
            deleted += batch.await?.value;
            let Some(next) = next else {
                return Ok(deleted);
            };
            after = next;
        }
    }
}

/// The numbers of a row.
#[derive(Clone, Copy)]
struct Row {
    revision: i64,
    saved: i64,
    expires: i64,
}

impl Row {
    fn numbers(self) -> [super::pool::Value<'static>; 3] {
        [
            Number(self.revision),
            Number(self.saved),
            Number(self.expires),
        ]
    }
}

#[rocket::async_trait]
impl SessionStore for SqlStore {
    fn name(&self) -> &'static str {
        match self.dialect() {
            Dialect::Postgres => "postgres",
            Dialect::MySql => "mysql",
            Dialect::Sqlite => "sqlite",
        }
    }

    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        self.set_up().await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let values = [Bytes(id.as_bytes()), Number(self.now())];
        let bytes = self
            .database
            .bytes("load a session", &self.sessions.load, &values);
        Ok(bytes.await?.map(Stored::new))
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let act = "save a session";
        let saved = self.now();
        let row = Row {
            revision: save.header()?.revision.0.cast_signed(),
            saved,
            expires: Self::expires(saved, save.ttl),
        };
        match save.precondition {
            Precondition::Absent => self.create(act, id, save, row).await,
            Precondition::Revision(expected) => self.replace(act, id, save, row, expected).await,
        }
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let values = [Bytes(id.as_bytes()), Number(self.now())];
        let (act, statements) = ("delete a session", &self.sessions);
        let deleted = self
            .database
            .execute(act, &statements.delete, &values, Retry::Yes);
        let deleted = deleted.await?;
        if deleted.value > 0 {
            return Ok(true);
        }
        // One that has expired would be there again if the clock were set back.
        let expired = &statements.delete_expired;
        self.database
            .execute(act, expired, &values, Retry::Yes)
            .await?;
        // If it was sent twice, the first may have deleted it.
        Ok(deleted.was_resent)
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let revision = Number(revision.0.cast_signed());
        let values = [Bytes(id.as_bytes()), revision, Number(self.now())];
        let (act, sql) = ("delete a session", &self.sessions.delete_if);
        let deleted = self.database.execute(act, sql, &values, Retry::Yes).await?;
        Ok(deleted.value > 0)
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let (act, now) = ("delete old sessions", self.now());
        let expired = &self.sessions.sweep;
        let mut deleted = self.delete_expired(act, expired, now).await?;
        self.delete_expired(act, &self.entries.sweep, now).await?;
        if minutes < u64::MAX {
            let age = i64::try_from(minutes.saturating_mul(60_000)).unwrap_or(i64::MAX);
            deleted += self
                .delete_saved_before(act, now.saturating_sub(age))
                .await?;
        }
        let now = [Number(now)];
        let remaining = self
            .database
            .number(act, &self.sessions.count, &now)
            .await?;
        Ok(Swept {
            deleted,
            remaining: remaining.unwrap_or_default().cast_unsigned(),
        })
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        // Each page begins after the last id of the one before: rows come and go meanwhile.
        let pages = stream::try_unfold(Some(Vec::new()), async |after: Option<Vec<u8>>| {
            let Some(after) = after else { return Ok(None) };
            let values = [Bytes(&after), Number(self.now()), Number(PAGE)];
            let rows = self
                .database
                .rows("list the sessions", &self.sessions.page, &values);
            let rows = rows.await?;
            let is_last = rows.len() < PAGE as usize;
            let last = rows.last().and_then(|row| row.first().cloned());
            Ok(Some((rows, last.filter(|_| !is_last))))
        });
        let session = |row: Vec<Vec<u8>>| {
            let [id, bytes]: [Vec<u8>; 2] = row.try_into().ok()?;
            Some((SessionId::from_bytes(&id)?, Stored::new(bytes)))
        };
        pages
            .map_ok(move |rows| stream::iter(rows.into_iter().filter_map(session).map(Ok)))
            .try_flatten()
            .boxed()
    }
}
