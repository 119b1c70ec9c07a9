//! The clauses about increments.

use rocket::futures::future::join_all;

use super::*;
use crate::error::ErrorKind;

/// An increment begins at zero, and `get` returns the sum as digits.
pub async fn increments_add_up(subject: Entries) {
    let key = key("count");
    assert_eq!(subject.increment(&key, 5, HOUR).await, 5);
    assert_eq!(subject.increment(&key, 0, HOUR).await, 5);
    assert_eq!(subject.increment(&key, 95, HOUR).await, 100);
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"100"[..]));
    subject.set(&key, b"7", HOUR).await;
    assert_eq!(subject.increment(&key, 1, HOUR).await, 8);
}

/// Eight tasks increment 25 times each: every sum up to 200 is returned once.
pub async fn concurrent_increments_all_count(subject: Entries) {
    let key = key("counted");
    let count = async || {
        let mut sums = Vec::new();
        for _ in 0..25 {
            sums.push(subject.increment(&key, 1, HOUR).await);
        }
        sums
    };
    let mut sums = join_all((0..8).map(|_| count())).await.concat();
    sums.sort_unstable();
    assert_eq!(sums, (1..=200).collect::<Vec<u64>>());
}

/// The first increment sets the lifetime of a count.
pub async fn an_increment_keeps_the_lifetime(subject: Entries) {
    let key = key("window");
    subject
        .increment(&key, 1, Some(Duration::from_secs(3)))
        .await;
    subject.clock.pass(Duration::from_millis(1000)).await;
    assert_eq!(subject.increment(&key, 1, HOUR).await, 2);
    let expired = async || subject.get(&key).await.is_none();
    let clock = &subject.clock;
    clock.pass_until(Duration::from_millis(3500), expired).await;
    assert_eq!(subject.get(&key).await, None);
    assert_eq!(subject.increment(&key, 1, HOUR).await, 1);
}

/// A value that is not a number stays unchanged.
pub async fn incrementing_a_text_changes_nothing(subject: Entries) {
    for value in ["", "x", "-1", "1.5", " 1", "1x", "99999999999999999999999"] {
        let key = key("text");
        subject.set(&key, value.as_bytes(), HOUR).await;
        let error = subject.store.increment(&key, 1, HOUR).await;
        let error = error.expect_err("the value is not a number");
        assert_eq!(error.kind(), ErrorKind::Value, "{value:?}: {error}");
        assert_eq!(subject.get(&key).await.as_deref(), Some(value.as_bytes()));
    }
}

/// A sum that does not fit into 63 bits is refused.
pub async fn an_increment_beyond_63_bits_changes_nothing(subject: Entries) {
    let key = key("full");
    let most = i64::MAX.cast_unsigned();
    assert_eq!(subject.increment(&key, most - 1, HOUR).await, most - 1);
    assert_eq!(subject.increment(&key, 1, HOUR).await, most);
    for by in [1, most, u64::MAX] {
        let error = subject.store.increment(&key, by, HOUR).await;
        let error = error.expect_err("the sum is too large");
        assert_eq!(error.kind(), ErrorKind::Value, "{error}");
    }
    let value = subject.get(&key).await;
    assert_eq!(value, Some(most.to_string().into_bytes()));
}
