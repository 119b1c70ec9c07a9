//! The clauses about the lifetime of a session.

use super::*;

/// A session expires without a sweep.
pub async fn an_expired_session_loads_as_none(subject: Subject) {
    subject.setup().await;
    let (short, long) = (SessionId::random(), SessionId::random());
    subject.create(&short, Duration::from_secs(2)).await;
    subject.create(&long, HOUR).await;
    assert!(subject.has(&short).await);
    subject.let_expire(&short).await;
    assert_eq!(subject.load(&short).await, None);
    assert!(!subject.has(&short).await);
    assert!(!subject.delete(&short).await);
    assert_eq!(subject.list().await.len(), 1);
    assert!(subject.has(&long).await);
}

/// An expired session cannot be saved, but created again.
pub async fn an_expired_session_stays_gone_until_it_is_created_again(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let created = subject.create(&id, Duration::from_secs(2)).await;
    subject.let_expire(&id).await;
    assert_eq!(subject.update(&id, 1, created).await, Saved::Gone);
    assert_eq!(subject.load(&id).await, None);
    let mut again = subject.record(2);
    let saved = subject.save(&id, &mut again, HOUR, Precondition::Absent);
    revision(saved.await);
    assert_eq!(subject.count(&id).await, Some(2));
}

/// The lifetime begins again with each save.
pub async fn a_save_extends_the_lifetime(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let created = subject.create(&id, Duration::from_secs(2)).await;
    revision(subject.update(&id, 1, created).await);
    subject.clock.pass(Duration::from_millis(3100)).await;
    assert_eq!(subject.count(&id).await, Some(1));
}

/// Lifetimes of 31 days, ten years and a century do not end at once.
pub async fn long_lifetimes_do_not_overflow(subject: Subject) {
    subject.setup().await;
    const DAY: u64 = 86_400;
    for days in [30, 31, 3650, 36_500] {
        let id = SessionId::random();
        subject.create(&id, Duration::from_secs(days * DAY)).await;
        assert!(subject.has(&id).await, "{days} days ended at once");
    }
}
