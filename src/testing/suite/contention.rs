//! The clauses of the contract about many calls at once: each is done or not, and none is lost.

use super::*;

/// Of many who loaded the same, one may save.
pub async fn of_many_saves_at_once_one_wins(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let revision = subject.create(&id, HOUR).await;
    let saves = (1..=20).map(|count| {
        let subject = &subject;
        async move {
            subject
                .save(
                    &id,
                    &mut subject.record(count),
                    HOUR,
                    Precondition::Revision(revision),
                )
                .await
        }
    });
    let answers = join_all(saves).await;
    let winners: Vec<_> = (1..)
        .zip(&answers)
        .filter(|(_, answer)| matches!(answer, Saved::Saved(_)))
        .collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == Saved::Changed)
            .count(),
        19,
        "{answers:?}"
    );
    assert_eq!(subject.count(&id).await, Some(winners[0].0));
}

/// Of many who create under one id, one does.
pub async fn of_many_creations_at_once_one_wins(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    let creations = (1..=20).map(|count| {
        let subject = &subject;
        async move {
            subject
                .save(&id, &mut subject.record(count), HOUR, Precondition::Absent)
                .await
        }
    });
    let answers = join_all(creations).await;
    let winners: Vec<_> = (1..)
        .zip(&answers)
        .filter(|(_, answer)| matches!(answer, Saved::Saved(_)))
        .collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    assert_eq!(subject.count(&id).await, Some(winners[0].0));
}

/// Compare-and-set adds up.
pub async fn no_increment_is_lost_among_many_tasks(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
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

/// Whichever way a delete and saves meet, nothing is left.
pub async fn a_delete_among_saves_is_final(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    for _ in 0..50 {
        let id = SessionId::random();
        let mut revision = subject.create(&id, HOUR).await;
        let saves = async {
            for count in 1.. {
                tokio::task::yield_now().await;
                match subject
                    .save(
                        &id,
                        &mut subject.record(count),
                        HOUR,
                        Precondition::Revision(revision),
                    )
                    .await
                {
                    Saved::Saved(next) => revision = next,
                    Saved::Gone => break,
                    Saved::Changed => panic!("nobody else saves"),
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

/// A caller may give up at any moment.
pub async fn a_save_that_is_dropped_has_happened_or_not(subject: Subject) {
    subject.store.setup().await.expect("the store is set up");
    let id = SessionId::random();
    subject.create(&id, HOUR).await;
    for polls in 0..40 {
        let before = subject.load(&id).await.expect("it is there");
        let mut next = subject.record(count(&id, &before) + 1);
        let mut save = Box::pin(subject.save(
            &id,
            &mut next,
            HOUR,
            Precondition::Revision(before.revision),
        ));
        for _ in 0..polls % 5 {
            if (&mut save).now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
        // It may have finished; polled again it must not be.
        drop(save);
        let after = subject.count(&id).await.expect("it is there");
        assert!(after == count(&id, &before) || after == count(&id, &before) + 1);
    }
    // And the session can be used as ever.
    subject.increment(&id).await;
}
