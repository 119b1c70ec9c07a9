//! The clauses about lists of sessions, and about sweeps.

use std::collections::HashMap;

use rocket::futures::future::join;

use super::*;
use crate::record::Tombstone;

/// A list is complete, and contains the stored bytes.
pub async fn every_session_is_listed_once_byte_for_byte(subject: Subject) {
    subject.setup().await;
    let mut created = HashMap::new();
    for count in 0..300_u64 {
        let id = SessionId::random();
        let mut record = subject.record(count);
        let saved = subject.save(&id, &mut record, HOUR, Precondition::Absent);
        created.insert(id, (count, revision(saved.await)));
    }
    let listed = subject.list().await;
    assert_eq!(listed.len(), created.len());
    for (id, stored) in listed {
        let created = created.remove(&id);
        let created = created.expect("it was created, and is listed once");
        assert_eq!((count(&id, &stored), stored.revision), created);
        assert!(
            subject.load(&id).await == Some(stored),
            "the listed bytes are not the loaded bytes"
        );
    }
}

/// A store does not interpret the bytes, and so lists tombstones and damaged records too.
pub async fn tombstones_and_damaged_records_are_listed(subject: Subject) {
    subject.setup().await;
    let (ended, now) = (SessionId::random(), subject.clock.seconds());
    let mut tombstone = Record::tombstone(now, Tombstone::Ended);
    let saved = subject.save(&ended, &mut tombstone, HOUR, Precondition::Absent);
    revision(saved.await);
    let damaged = SessionId::random();
    let bytes = format!(r#"{{"rev":"00000000000000ff","expires":{},"#, now + 3600);
    let bytes = bytes.as_bytes();
    let saved = subject.save_bytes(&damaged, bytes, HOUR, Precondition::Absent);
    revision(saved.await);
    let mut listed = subject.list().await;
    listed.sort_by_key(|(id, _)| *id == damaged);
    let ids: Vec<_> = listed.iter().map(|(id, _)| *id).collect();
    assert!(ids == [ended, damaged], "{} are listed", ids.len());
    assert!(listed[1].1.bytes == bytes);
}

/// A sweep deletes old sessions, and counts.
pub async fn old_sessions_are_deleted_and_counted(subject: Subject) {
    subject.setup().await;
    let ids: Vec<_> = (0..3).map(|_| SessionId::random()).collect();
    subject.create_long_ago(&ids[0], HOUR).await;
    subject.create_long_ago(&ids[1], HOUR).await;
    subject.create(&ids[2], 10 * HOUR).await;
    let sweep = async |minutes| {
        let swept = subject.store.delete_old_sessions(minutes).await;
        let swept = swept.expect("the store sweeps");
        (swept.deleted, swept.remaining)
    };
    assert_eq!(sweep(600).await, (0, 3), "no session is ten hours old");
    assert_eq!(sweep(30).await, (2, 1));
    assert!(subject.has(&ids[2]).await && !subject.has(&ids[0]).await);
    assert_eq!(sweep(0).await, (1, 0));
}

/// A sweep for expired sessions deletes no other, however old it is.
pub async fn a_sweep_for_expired_sessions_spares_all_others(subject: Subject) {
    subject.setup().await;
    let [old, short, fresh] = [(); 3].map(|()| SessionId::random());
    subject.create_long_ago(&old, HOUR).await;
    let mut large = subject.record(0);
    let text = write_value(&"x".repeat(5000)).expect("text is JSON");
    large.put("text", text.get());
    let two = Duration::from_secs(2);
    let saved = subject.save(&short, &mut large, two, Precondition::Absent);
    revision(saved.await);
    subject.create(&fresh, HOUR).await;
    subject.let_expire(&short).await;
    let sweep = subject.store.delete_old_sessions(u64::MAX);
    let swept = sweep.await.expect("the store sweeps");
    assert_eq!(swept.remaining, 2);
    if !subject.store.expires_by_itself() {
        assert_eq!(swept.deleted, 1, "the expired session is deleted");
    }
    assert!(subject.has(&old).await && subject.has(&fresh).await);
    assert!(!subject.has(&short).await);
}

/// A sweep spares an old session that is saved meanwhile.
pub async fn a_session_saved_during_a_sweep_survives(subject: Subject) {
    subject.setup().await;
    for _ in 0..20 {
        let id = SessionId::random();
        subject.create_long_ago(&id, HOUR).await;
        let mut record = subject.record(1);
        let loaded = Precondition::Revision(subject.load_existing(&id).await.revision);
        let save = subject.save(&id, &mut record, 10 * HOUR, loaded);
        let (saved, swept) = join(save, subject.store.delete_old_sessions(30)).await;
        swept.expect("the store sweeps");
        match saved {
            Saved::Saved(_) => assert!(subject.has(&id).await, "a saved session was deleted"),
            Saved::Gone => assert!(!subject.has(&id).await, "a deleted session is back"),
            Saved::Changed => panic!("there is no other save"),
        }
    }
}
