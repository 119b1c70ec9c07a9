//! The contract of [`SessionStore`](crate::store::SessionStore), with one function for each clause.
//!
//! Each function takes a fresh [`Subject`], and panics if the store breaks the clause.
//! [`store_suite!`](crate::store_suite) makes a test of each.

mod contention;
mod deleting;
mod expiring;
mod listing;
mod loading;
mod saving;

use std::time::Duration;

use rocket::futures::TryStreamExt;
use rocket::tokio;

use super::Subject;
use crate::id::SessionId;
use crate::record::{Record, write_value};
use crate::store::{Precondition, Revision, Save, Saved, Stored};

pub use contention::*;
pub use deleting::*;
pub use expiring::*;
pub use listing::*;
pub use loading::*;
pub use saving::*;

const HOUR: Duration = Duration::from_secs(3600);

impl Subject {
    async fn setup(&self) {
        self.store.setup().await.expect("the store is set up");
    }

    /// Returns a record with a counter.
    fn record(&self, count: u64) -> Record {
        let mut record = Record::new(self.clock.seconds(), None);
        record.put("count", &count.to_string());
        record
    }

    async fn save(
        &self,
        id: &SessionId,
        record: &mut Record,
        ttl: Duration,
        precondition: Precondition,
    ) -> Saved {
        record.revise();
        let bytes = record.encode(id, self.clock.seconds() + ttl.as_secs());
        self.save_bytes(id, &bytes, ttl, precondition).await
    }

    async fn save_bytes(
        &self,
        id: &SessionId,
        bytes: &[u8],
        ttl: Duration,
        precondition: Precondition,
    ) -> Saved {
        let save = Save {
            bytes,
            ttl,
            precondition,
        };
        let saved = self.store.save_session(id, save).await;
        saved.expect("the store saves")
    }

    /// Creates a session with the count 0.
    async fn create(&self, id: &SessionId, ttl: Duration) -> Revision {
        let mut record = self.record(0);
        revision(self.save(id, &mut record, ttl, Precondition::Absent).await)
    }

    /// Saves a session with another count for an hour, if it still has `expected`.
    async fn update(&self, id: &SessionId, count: u64, expected: Revision) -> Saved {
        let mut record = self.record(count);
        self.save(id, &mut record, HOUR, Precondition::Revision(expected))
            .await
    }

    async fn load(&self, id: &SessionId) -> Option<Stored> {
        self.store.load_session(id).await.expect("the store loads")
    }

    async fn load_existing(&self, id: &SessionId) -> Stored {
        self.load(id).await.expect("the session exists")
    }

    async fn count(&self, id: &SessionId) -> Option<u64> {
        self.load(id).await.map(|stored| count(id, &stored))
    }

    async fn has(&self, id: &SessionId) -> bool {
        self.store.has_session(id).await.expect("the store loads")
    }

    /// Lets the session under `id` expire, which was kept for two seconds.
    async fn let_expire(&self, id: &SessionId) {
        // It is looked for in the list: a load would prepare the store for the call that is tested.
        let expired = async || self.list().await.iter().all(|(listed, _)| listed != id);
        let two = Duration::from_millis(3100);
        self.clock.pass_until(two, expired).await;
    }

    async fn delete(&self, id: &SessionId) -> bool {
        let deleted = self.store.delete_session(id).await;
        deleted.expect("the store deletes")
    }

    async fn list(&self) -> Vec<(SessionId, Stored)> {
        let sessions = self.store.iter_sessions().try_collect().await;
        sessions.expect("the store lists")
    }

    /// Creates a session that was last saved some time `ago`.
    async fn create_long_ago(&self, id: &SessionId, ago: Duration) {
        let mut record = self.record(0);
        if !self.clock.is_manual() {
            // The clock of a server cannot be advanced. Its store reads the time from the record.
            record.accessed -= ago.as_secs();
        }
        let saved = self
            .save(id, &mut record, 10 * ago, Precondition::Absent)
            .await;
        revision(saved);
        if self.clock.is_manual() {
            self.clock.advance(ago);
        }
    }

    /// Loads the session, adds one, and saves it, again and again until no other task interferes.
    async fn increment(&self, id: &SessionId) {
        loop {
            let stored = self.load_existing(id).await;
            match self
                .update(id, count(id, &stored) + 1, stored.revision)
                .await
            {
                Saved::Saved(_) => return,
                Saved::Changed => tokio::task::yield_now().await,
                Saved::Gone => panic!("the session exists"),
            }
        }
    }
}

/// Returns the revision of a save that must have succeeded.
fn revision(saved: Saved) -> Revision {
    match saved {
        Saved::Saved(revision) => revision,
        other => panic!("the save must succeed, and was {other:?}"),
    }
}

fn count(id: &SessionId, stored: &Stored) -> u64 {
    let record = Record::decode(stored.bytes.clone(), id).expect("the bytes are a record");
    let count = record.get("count").expect("the count is a number");
    count.expect("the record has a count")
}
