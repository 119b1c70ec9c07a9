//! The clauses about a session that is created and loaded.

use super::*;

/// `setup` may be called again, and keeps all sessions.
pub async fn setting_up_again_keeps_sessions(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    subject.setup().await;
    assert_eq!(subject.count(&id).await, Some(0));
    assert!(subject.store.is_thread_safe(), "Rocket has several threads");
}

/// A missing session is not an error.
pub async fn a_missing_session_loads_as_none(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    assert_eq!(subject.load(&id).await, None);
    assert!(!subject.has(&id).await);
    assert!(!subject.delete(&id).await);
    assert!(subject.list().await.is_empty());
}

/// The loaded bytes are the saved bytes.
pub async fn a_created_session_loads_byte_for_byte(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let end = subject.clock.seconds() + HOUR.as_secs();
    let mut record = subject.record(7);
    record.revise();
    let bytes = record.encode(&id, end);
    let saved = subject.save_bytes(&id, &bytes, HOUR, Precondition::Absent);
    revision(saved.await);
    assert_eq!(subject.load_existing(&id).await.bytes, bytes);
    assert!(subject.has(&id).await);
}

/// Neither the size nor the characters of a session matter.
pub async fn large_sessions_with_every_character_load_unchanged(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let mut record = subject.record(0);
    let every: String = (0..0x800)
        .filter_map(char::from_u32)
        .chain(['\u{2028}', '\u{fffd}', '\u{10ffff}'])
        .collect();
    for name in ["", "a", "c", "rev", "\0", "é", &"k".repeat(300), &every] {
        let value = write_value(&every).expect("text is JSON");
        record.put(name, value.get());
    }
    let large = write_value(&"x".repeat(200_000)).expect("text is JSON");
    record.put("large", large.get());
    record.put("number", "123456789012345678901234567890.10");
    record.revise();
    let bytes = record.encode(&id, subject.clock.seconds() + HOUR.as_secs());
    let saved = subject.save_bytes(&id, &bytes, HOUR, Precondition::Absent);
    revision(saved.await);

    let stored = subject.load_existing(&id).await;
    assert!(
        stored.bytes == bytes,
        "the loaded bytes are not the saved bytes"
    );
    let record = Record::decode(stored.bytes, &id).expect("the bytes are a record");
    let value = record.get::<String>(&every).expect("the value is text");
    assert_eq!(value, Some(every));
}

/// A change of one session does not change another.
pub async fn sessions_do_not_affect_each_other(subject: Subject) {
    subject.setup().await;
    let (one, other) = (SessionId::random(), SessionId::random());
    let revision_of_one = subject.create(&one, HOUR).await;
    let revision_of_other = subject.create(&other, HOUR).await;
    revision(subject.update(&one, 1, revision_of_one).await);
    assert_eq!(subject.count(&other).await, Some(0));
    assert!(subject.delete(&one).await);
    assert!(subject.has(&other).await);
    revision(subject.update(&other, 2, revision_of_other).await);
    let counts = (subject.count(&one).await, subject.count(&other).await);
    assert_eq!(counts, (None, Some(2)));
}
