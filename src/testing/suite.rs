//! The contract of [`SessionStore`](crate::store::SessionStore), one function a clause.
//!
//! Each takes a fresh [`Subject`], and panics where the store breaks its word.
//! [`store_suite!`](crate::store_suite) makes a test of each.

mod contention;
mod listing;

use std::collections::HashMap;
use std::time::Duration;

use rocket::futures::future::{join, join_all};
use rocket::futures::{FutureExt, TryStreamExt};
use rocket::tokio;
use serde_json::value::RawValue;

use super::Subject;
use crate::id::SessionId;
use crate::record::{Record, Tombstone, write_value};
use crate::store::{Precondition, Revision, Save, Saved, Stored};

pub use contention::*;
pub use listing::*;

const HOUR: Duration = Duration::from_secs(3600);

impl Subject {
    fn record(&self, count: u64) -> Record {
        let mut record = Record::new(self.clock.seconds(), None);
        record
            .values
            .insert("count", write_value(&count).expect("a number is JSON"));
        record
    }

    async fn save(
        &self,
        id: &SessionId,
        record: &mut Record,
        ttl: Duration,
        precondition: Precondition,
    ) -> Saved {
        let bytes = record.encode(id, self.clock.seconds() + ttl.as_secs());
        self.store
            .save_session(
                id,
                Save {
                    bytes: &bytes,
                    ttl,
                    precondition,
                },
            )
            .await
            .expect("the store saves")
    }

    async fn create(&self, id: &SessionId, ttl: Duration) -> Revision {
        saved(
            self.save(id, &mut self.record(0), ttl, Precondition::Absent)
                .await,
        )
    }

    async fn load(&self, id: &SessionId) -> Option<Stored> {
        self.store.load_session(id).await.expect("the store loads")
    }

    async fn count(&self, id: &SessionId) -> Option<u64> {
        self.load(id).await.map(|stored| count(id, &stored))
    }

    async fn has(&self, id: &SessionId) -> bool {
        self.store.has_session(id).await.expect("the store tells")
    }

    async fn delete(&self, id: &SessionId) -> bool {
        self.store
            .delete_session(id)
            .await
            .expect("the store deletes")
    }

    async fn list(&self) -> Vec<(SessionId, Stored)> {
        self.store
            .iter_sessions()
            .try_collect()
            .await
            .expect("the store lists")
    }

    /// Creates a session that was last saved `ago`.
    async fn create_long_ago(&self, id: &SessionId, ago: Duration) {
        let mut record = self.record(0);
        if self.clock.is_manual() {
            saved(
                self.save(id, &mut record, 10 * ago, Precondition::Absent)
                    .await,
            );
            self.clock.advance(ago);
        } else {
            // A server's time cannot be turned: its store goes by what the session says.
            record.accessed -= ago.as_secs();
            saved(
                self.save(id, &mut record, 10 * ago, Precondition::Absent)
                    .await,
            );
        }
    }

    /// Loads, adds one, saves, until nobody came between.
    async fn increment(&self, id: &SessionId) {
        loop {
            let stored = self.load(id).await.expect("the session is there");
            let mut record = self.record(count(id, &stored) + 1);
            match self
                .save(
                    id,
                    &mut record,
                    HOUR,
                    Precondition::Revision(stored.revision),
                )
                .await
            {
                Saved::Saved(_) => return,
                Saved::Changed => tokio::task::yield_now().await,
                Saved::Gone => panic!("the session is there"),
            }
        }
    }
}

fn saved(saved: Saved) -> Revision {
    match saved {
        Saved::Saved(revision) => revision,
        other => panic!("it should have been saved, and was {other:?}"),
    }
}

fn count(id: &SessionId, stored: &Stored) -> u64 {
    let record = Record::decode(&stored.bytes, id).expect("what was saved was a record");
    record
        .get("count")
        .expect("it is a number")
        .expect("it is there")
}

/// `setup` may be called again, and loses nothing.
pub async fn setting_up_twice_keeps_what_is_there(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    subject
        .store
        .setup()
        .await
        .expect("the store is set up again");
    assert_eq!(subject.count(&id).await, Some(0));
    assert!(subject.store.is_thread_safe(), "Rocket has several threads");
}

/// An id under which nothing was saved is no error.
pub async fn what_is_not_there_loads_as_none(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    assert_eq!(subject.load(&id).await, None);
    assert!(!subject.has(&id).await);
    assert!(!subject.delete(&id).await);
    assert!(subject.list().await.is_empty());
}

/// What is loaded is what was saved.
pub async fn what_was_created_loads_to_the_byte(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let bytes = subject
        .record(7)
        .encode(&id, subject.clock.seconds() + 3600);
    let save = Save {
        bytes: &bytes,
        ttl: HOUR,
        precondition: Precondition::Absent,
    };
    saved(
        subject
            .store
            .save_session(&id, save)
            .await
            .expect("the store saves"),
    );
    assert_eq!(subject.load(&id).await.expect("it is there").bytes, bytes);
    assert!(subject.has(&id).await);
}

/// Neither size nor characters trouble the store.
pub async fn large_sessions_and_every_character_come_back(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let mut record = subject.record(0);
    let every: String = (0..0x800)
        .filter_map(char::from_u32)
        .chain(['\u{2028}', '\u{fffd}', '\u{10ffff}'])
        .collect();
    for name in ["", "a", "c", "rev", "\0", "é", &"k".repeat(300), &every] {
        record
            .values
            .insert(name, write_value(&every).expect("a text is JSON"));
    }
    let large = "x".repeat(200_000);
    record
        .values
        .insert("large", write_value(&large).expect("a text is JSON"));
    let number =
        RawValue::from_string("123456789012345678901234567890.10".into()).expect("it is JSON");
    record.values.insert("number", number);
    let bytes = record.encode(&id, subject.clock.seconds() + 3600);
    let save = Save {
        bytes: &bytes,
        ttl: HOUR,
        precondition: Precondition::Absent,
    };
    saved(
        subject
            .store
            .save_session(&id, save)
            .await
            .expect("the store saves"),
    );

    let stored = subject.load(&id).await.expect("it is there");
    assert!(
        stored.bytes == bytes,
        "what came back is not what was saved"
    );
    let record = Record::decode(&stored.bytes, &id).expect("it is a record");
    assert_eq!(
        record.get::<String>(&every).expect("it is a text"),
        Some(every)
    );
}

/// Whoever loaded may save, once.
pub async fn the_revision_of_a_load_lets_one_save(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    let revision = subject.load(&id).await.expect("it is there").revision;
    saved(
        subject
            .save(
                &id,
                &mut subject.record(1),
                HOUR,
                Precondition::Revision(revision),
            )
            .await,
    );
    let again = subject
        .save(
            &id,
            &mut subject.record(2),
            HOUR,
            Precondition::Revision(revision),
        )
        .await;
    assert_eq!((again, subject.count(&id).await), (Saved::Changed, Some(1)));
}

/// Whoever saved may save again without a load.
pub async fn the_revision_of_a_save_lets_save_again(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let mut revision = subject.create(&id, HOUR).await;
    for count in 1..=5 {
        let next = saved(
            subject
                .save(
                    &id,
                    &mut subject.record(count),
                    HOUR,
                    Precondition::Revision(revision),
                )
                .await,
        );
        assert_ne!(next, revision, "every save has a revision of its own");
        assert_eq!(subject.load(&id).await.expect("it is there").revision, next);
        revision = next;
    }
    assert_eq!(subject.count(&id).await, Some(5));
}

/// Who comes late is told so, and overwrites nothing.
pub async fn a_save_over_a_newer_one_changes_nothing(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let first = subject.create(&id, HOUR).await;
    let second = saved(
        subject
            .save(
                &id,
                &mut subject.record(1),
                HOUR,
                Precondition::Revision(first),
            )
            .await,
    );
    let late = subject
        .save(
            &id,
            &mut subject.record(2),
            HOUR,
            Precondition::Revision(first),
        )
        .await;
    assert_eq!(late, Saved::Changed);
    let stored = subject.load(&id).await.expect("it is there");
    assert_eq!((count(&id, &stored), stored.revision), (1, second));
}

/// An id is never given to two sessions.
pub async fn creating_what_exists_changes_nothing(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    let again = subject
        .save(&id, &mut subject.record(1), HOUR, Precondition::Absent)
        .await;
    assert_eq!((again, subject.count(&id).await), (Saved::Changed, Some(0)));
}

/// A save makes no session.
pub async fn saving_what_is_not_there_creates_nothing(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let answer = subject
        .save(
            &id,
            &mut subject.record(1),
            HOUR,
            Precondition::Revision(Revision(1)),
        )
        .await;
    assert_eq!((answer, subject.load(&id).await), (Saved::Gone, None));
    assert!(subject.list().await.is_empty());
}

/// Deleted stays deleted, whatever comes late.
pub async fn deleted_is_gone_and_stays_gone(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let revision = subject.create(&id, HOUR).await;
    assert!(subject.delete(&id).await);
    assert!(
        !subject.delete(&id).await,
        "there is nothing to delete any more"
    );
    let late = subject
        .save(
            &id,
            &mut subject.record(1),
            HOUR,
            Precondition::Revision(revision),
        )
        .await;
    assert_eq!(late, Saved::Gone);
    assert_eq!(subject.load(&id).await, None);
    assert!(!subject.has(&id).await);
    assert!(subject.list().await.is_empty());
}

/// A session is deleted only while it is still the save that was seen.
pub async fn a_deletion_of_a_revision_spares_every_other(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let old = subject.create(&id, HOUR).await;
    let mut next = subject.record(1);
    let new = saved(
        subject
            .save(&id, &mut next, HOUR, Precondition::Revision(old))
            .await,
    );
    let delete = async |revision| {
        let deleted = subject.store.delete_session_if(&id, revision).await;
        deleted.expect("the store deletes")
    };
    assert!(!delete(old).await, "another save is there");
    assert_eq!(subject.count(&id).await, Some(1));
    assert!(delete(new).await);
    assert!(!subject.has(&id).await);
    assert!(!delete(new).await, "there is nothing to delete any more");
}

/// What happens to one session does not happen to another.
pub async fn sessions_do_not_touch_each_other(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let (one, other) = (SessionId::random(), SessionId::random());
    let revision = subject.create(&one, HOUR).await;
    let revision_of_other = subject.create(&other, HOUR).await;
    saved(
        subject
            .save(
                &one,
                &mut subject.record(1),
                HOUR,
                Precondition::Revision(revision),
            )
            .await,
    );
    assert_eq!(subject.count(&other).await, Some(0));
    assert!(subject.delete(&one).await);
    assert!(subject.has(&other).await);
    saved(
        subject
            .save(
                &other,
                &mut subject.record(2),
                HOUR,
                Precondition::Revision(revision_of_other),
            )
            .await,
    );
    assert_eq!(
        (subject.count(&one).await, subject.count(&other).await),
        (None, Some(2))
    );
}

/// Time ends a session whether or not anybody sweeps.
pub async fn expired_loads_as_none(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let (short, long) = (SessionId::random(), SessionId::random());
    subject.create(&short, Duration::from_secs(2)).await;
    subject.create(&long, HOUR).await;
    assert!(subject.has(&short).await);
    subject.clock.pass(Duration::from_millis(3100)).await;
    assert_eq!(subject.load(&short).await, None);
    assert!(!subject.has(&short).await);
    assert!(!subject.delete(&short).await);
    assert_eq!(subject.list().await.len(), 1);
    assert!(subject.has(&long).await);
}

/// An expired session cannot be saved, and its id is free.
pub async fn expired_stays_gone_until_it_is_created_anew(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let revision = subject.create(&id, Duration::from_secs(2)).await;
    subject.clock.pass(Duration::from_millis(3100)).await;
    let late = subject
        .save(
            &id,
            &mut subject.record(1),
            HOUR,
            Precondition::Revision(revision),
        )
        .await;
    assert_eq!((late, subject.load(&id).await), (Saved::Gone, None));
    saved(
        subject
            .save(&id, &mut subject.record(2), HOUR, Precondition::Absent)
            .await,
    );
    assert_eq!(subject.count(&id).await, Some(2));
}

/// A save counts its lifetime from itself.
pub async fn a_save_prolongs_the_life(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let revision = subject.create(&id, Duration::from_secs(2)).await;
    saved(
        subject
            .save(
                &id,
                &mut subject.record(1),
                HOUR,
                Precondition::Revision(revision),
            )
            .await,
    );
    subject.clock.pass(Duration::from_millis(3100)).await;
    assert_eq!(subject.count(&id).await, Some(1));
}

/// 31 days, ten years, a century: none is taken for a moment.
pub async fn long_lives_do_not_overflow(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    const DAY: u64 = 86_400;
    for days in [30, 31, 3650, 36_500] {
        let id = SessionId::random();
        subject.create(&id, Duration::from_secs(days * DAY)).await;
        assert!(subject.has(&id).await, "{days} days are over at once");
    }
}
