//! The clauses about concurrent calls: each happens or not, and none is lost.

use rocket::futures::FutureExt;
use rocket::futures::future::{join, join_all};

use super::*;

/// Of many saves with the same revision, one succeeds.
pub async fn one_of_many_concurrent_saves_wins(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let created = subject.create(&id, HOUR).await;
    let saves = (1..=20).map(|count| subject.update(&id, count, created));
    let outcomes = join_all(saves).await;
    let winner = the_winner(&outcomes);
    let changed = outcomes.iter().filter(|saved| **saved == Saved::Changed);
    assert_eq!(changed.count(), 19, "{outcomes:?}");
    assert_eq!(subject.count(&id).await, Some(winner));
}

/// Of many creations under one id, one succeeds.
pub async fn one_of_many_concurrent_creations_wins(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    let creations = (1..=20).map(|count| {
        let mut record = subject.record(count);
        let subject = &subject;
        async move {
            subject
                .save(&id, &mut record, HOUR, Precondition::Absent)
                .await
        }
    });
    let outcomes = join_all(creations).await;
    assert_eq!(subject.count(&id).await, Some(the_winner(&outcomes)));
}

/// Returns the number, from one on, of the only save that succeeded.
fn the_winner(outcomes: &[Saved]) -> u64 {
    let winners: Vec<u64> = (1..)
        .zip(outcomes)
        .filter(|(_, saved)| matches!(saved, Saved::Saved(_)))
        .map(|(count, _)| count)
        .collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    winners[0]
}

/// Increments by a load and a save add up.
pub async fn concurrent_increments_all_count(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    let tasks = (0..8).map(|_| async {
        for _ in 0..25 {
            subject.increment(&id).await;
        }
    });
    join_all(tasks).await;
    assert_eq!(subject.count(&id).await, Some(200));
}

/// After a deletion among saves, no session is left.
pub async fn a_deletion_among_saves_is_final(subject: Subject) {
    subject.setup().await;
    for _ in 0..50 {
        let id = SessionId::random();
        let mut current = subject.create(&id, HOUR).await;
        let saves = async {
            for count in 1.. {
                tokio::task::yield_now().await;
                match subject.update(&id, count, current).await {
                    Saved::Saved(next) => current = next,
                    Saved::Gone => break,
                    Saved::Changed => panic!("there is no other save"),
                }
            }
        };
        let deletion = async {
            tokio::task::yield_now().await;
            subject.delete(&id).await
        };
        let ((), deleted) = join(saves, deletion).await;
        assert!(
            deleted && !subject.has(&id).await,
            "a deleted session is back"
        );
    }
}

/// A save may be dropped at any moment.
pub async fn a_dropped_save_has_happened_or_not(subject: Subject) {
    subject.setup().await;
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    for polls in 0..40 {
        let before = subject.load_existing(&id).await;
        let before_count = count(&id, &before);
        let mut save = Box::pin(subject.update(&id, before_count + 1, before.revision));
        for _ in 0..polls % 5 {
            // A finished future must not be polled again.
            if (&mut save).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(save);
        let after = subject.count(&id).await.expect("the session exists");
        assert!(after == before_count || after == before_count + 1);
    }
    // The session still works.
    subject.increment(&id).await;
}
