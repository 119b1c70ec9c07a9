//! The clauses about the precondition of a save.

use super::*;

/// The revision of a load allows one save, and no second.
pub async fn a_loaded_revision_allows_one_save(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    let loaded = subject.load_existing(&id).await.revision;
    revision(subject.update(&id, 1, loaded).await);
    let again = subject.update(&id, 2, loaded).await;
    assert_eq!((again, subject.count(&id).await), (Saved::Changed, Some(1)));
}

/// After a save, the next one needs no load.
pub async fn a_saved_revision_allows_the_next_save(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let mut current = subject.create(&id, HOUR).await;
    for count in 1..=5 {
        let next = revision(subject.update(&id, count, current).await);
        assert_ne!(next, current, "every save has a revision of its own");
        assert_eq!(subject.load_existing(&id).await.revision, next);
        current = next;
    }
    assert_eq!(subject.count(&id).await, Some(5));
}

/// A save with an old revision returns `Changed`, and overwrites nothing.
pub async fn a_save_with_an_old_revision_changes_nothing(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let first = subject.create(&id, HOUR).await;
    let second = revision(subject.update(&id, 1, first).await);
    assert_eq!(subject.update(&id, 2, first).await, Saved::Changed);
    let stored = subject.load_existing(&id).await;
    assert_eq!((count(&id, &stored), stored.revision), (1, second));
}

/// An id never belongs to two sessions.
pub async fn creating_an_existing_session_changes_nothing(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    let mut other = subject.record(1);
    let again = subject.save(&id, &mut other, HOUR, Precondition::Absent);
    assert_eq!(again.await, Saved::Changed);
    assert_eq!(subject.count(&id).await, Some(0));
}

/// A save with a revision creates no session.
pub async fn saving_a_missing_session_creates_nothing(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    assert_eq!(subject.update(&id, 1, Revision(1)).await, Saved::Gone);
    assert_eq!(subject.load(&id).await, None);
    assert!(subject.list().await.is_empty());
}
