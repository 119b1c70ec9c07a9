//! The clauses of the contract about lists of sessions, and about sweeps.

use super::*;

/// A list leaves nothing out, and tells what is there.
pub async fn every_session_is_listed_once_and_to_the_byte(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let mut created = HashMap::new();
    for count in 0..300_u64 {
        let id = SessionId::random();
        let revision = saved(
            subject
                .save(&id, &mut subject.record(count), HOUR, Precondition::Absent)
                .await,
        );
        created.insert(id, (count, revision));
    }
    let listed = subject.list().await;
    assert_eq!(listed.len(), created.len());
    for (id, stored) in listed {
        let created = created
            .remove(&id)
            .expect("it was created, and not listed before");
        assert_eq!((count(&id, &stored), stored.revision), created);
        assert!(
            subject.load(&id).await == Some(stored),
            "what is listed is what is loaded"
        );
    }
}

/// What the bytes mean is not the store's affair: it lists those too that are no session any more.
pub async fn whatever_is_kept_is_listed(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let (id, now) = (SessionId::random(), subject.clock.seconds());
    let mut ended = Record::tombstone(now, Tombstone::Ended);
    saved(
        subject
            .save(&id, &mut ended, HOUR, Precondition::Absent)
            .await,
    );
    let garbage = SessionId::random();
    let bytes = format!(r#"{{"rev":"00000000000000ff","expires":{},"#, now + 3600);
    let save = Save {
        bytes: bytes.as_bytes(),
        ttl: HOUR,
        precondition: Precondition::Absent,
    };
    let answer = subject.store.save_session(&garbage, save).await;
    saved(answer.expect("the store saves"));
    let mut listed = subject.list().await;
    listed.sort_by_key(|(listed, _)| *listed == garbage);
    let ids: Vec<_> = listed.iter().map(|(id, _)| *id).collect();
    assert!(ids == [id, garbage], "{} are listed", ids.len());
    assert!(listed[1].1.bytes == bytes.as_bytes());
}

/// A sweep takes the old ones, and counts.
pub async fn old_sessions_are_deleted_and_counted(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let ids: Vec<_> = (0..3).map(|_| SessionId::random()).collect();
    subject.create_long_ago(&ids[0], HOUR).await;
    subject.create_long_ago(&ids[1], HOUR).await;
    subject.create(&ids[2], 10 * HOUR).await;
    let swept = subject
        .store
        .delete_old_sessions(600)
        .await
        .expect("the store sweeps");
    assert_eq!(
        (swept.deleted, swept.remaining),
        (0, 3),
        "none is ten hours old"
    );
    let swept = subject
        .store
        .delete_old_sessions(30)
        .await
        .expect("the store sweeps");
    assert_eq!((swept.deleted, swept.remaining), (2, 1));
    assert!(subject.has(&ids[2]).await && !subject.has(&ids[0]).await);
    let swept = subject
        .store
        .delete_old_sessions(0)
        .await
        .expect("the store sweeps");
    assert_eq!((swept.deleted, swept.remaining), (1, 0));
}

/// A sweep for what expired takes nothing else, however long ago that was saved.
pub async fn a_sweep_for_what_expired_takes_nothing_else(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let (old, short, fresh) = (
        SessionId::random(),
        SessionId::random(),
        SessionId::random(),
    );
    subject.create_long_ago(&old, HOUR).await;
    let mut long = subject.record(0);
    let text = write_value(&"x".repeat(5000)).expect("a text is JSON");
    long.values.insert("text", text);
    let two = Duration::from_secs(2);
    saved(
        subject
            .save(&short, &mut long, two, Precondition::Absent)
            .await,
    );
    subject.create(&fresh, HOUR).await;
    subject.clock.pass(Duration::from_millis(3100)).await;
    let sweep = subject.store.delete_old_sessions(u64::MAX);
    let swept = sweep.await.expect("the store sweeps");
    assert_eq!(swept.remaining, 2);
    if !subject.store.expires_by_itself() {
        assert_eq!(swept.deleted, 1, "what expired is removed");
    }
    assert!(subject.has(&old).await && subject.has(&fresh).await);
    assert!(!subject.has(&short).await);
}

/// A sweep does not take what came back to life under its hands.
pub async fn a_session_saved_during_a_sweep_survives(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    for _ in 0..20 {
        let id = SessionId::random();
        subject.create_long_ago(&id, HOUR).await;
        let revision = subject.load(&id).await.expect("it is there").revision;
        let mut record = subject.record(1);
        let save = subject.save(
            &id,
            &mut record,
            10 * HOUR,
            Precondition::Revision(revision),
        );
        let (answer, swept) = join(save, subject.store.delete_old_sessions(30)).await;
        swept.expect("the store sweeps");
        match answer {
            Saved::Saved(_) => assert!(subject.has(&id).await, "it was saved, and a sweep took it"),
            Saved::Gone => assert!(!subject.has(&id).await, "it was swept, and is back"),
            Saved::Changed => panic!("nobody else saves"),
        }
    }
}
