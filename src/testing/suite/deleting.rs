//! The clauses about the deletion of a session.

use super::*;

/// A deleted session stays deleted, even if a late save follows.
pub async fn a_deleted_session_stays_deleted(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let created = subject.create(&id, HOUR).await;
    assert!(subject.delete(&id).await);
    assert!(!subject.delete(&id).await, "the session is already deleted");
    assert_eq!(subject.update(&id, 1, created).await, Saved::Gone);
    assert_eq!(subject.load(&id).await, None);
    assert!(!subject.has(&id).await);
    assert!(subject.list().await.is_empty());
}

/// The deletion of one revision spares a session that was saved since.
pub async fn deleting_an_old_revision_changes_nothing(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let old = subject.create(&id, HOUR).await;
    let new = revision(subject.update(&id, 1, old).await);
    let delete = async |revision| {
        let deleted = subject.store.delete_session_if(&id, revision).await;
        deleted.expect("the store deletes")
    };
    assert!(!delete(old).await, "the session has a newer revision");
    assert_eq!(subject.count(&id).await, Some(1));
    assert!(delete(new).await);
    assert!(!subject.has(&id).await);
    assert!(!delete(new).await, "the session is already deleted");
}
