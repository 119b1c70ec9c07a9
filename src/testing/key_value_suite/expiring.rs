//! The clauses about the lifetime of an entry.

use super::*;

/// After its lifetime, no call finds an entry.
pub async fn an_expired_entry_is_gone_for_every_call(subject: Entries) {
    let brief = Some(Duration::from_secs(1));
    let names = ["get", "take", "remove", "add", "swap", "increment"];
    let [get, take, remove, add, swap, increment] = names.map(key);
    for name in names {
        subject.set(&key(name), b"1", brief).await;
    }
    let expired = async || subject.names(&namespace()).await.is_empty();
    let clock = &subject.clock;
    clock.pass_until(Duration::from_millis(2100), expired).await;
    assert!(subject.names(&namespace()).await.is_empty());
    assert_eq!(subject.get(&get).await, None);
    assert_eq!(subject.take(&take).await, None);
    let removed = subject.store.remove(&remove).await;
    assert!(!removed.expect("the store removes"));
    assert!(!subject.swap(&swap, Some(b"1"), b"2").await);
    assert!(subject.swap(&swap, None, b"2").await);
    assert!(subject.add(&add, b"2", HOUR).await);
    assert_eq!(subject.increment(&increment, 7, HOUR).await, 7);
}

/// A lifetime is rounded up, even the shortest.
pub async fn lifetimes_are_never_rounded_down(subject: Entries) {
    for nanos in [1, 1_000_000, 400_000_000, 999_999_999] {
        let key = key(format!("{nanos}"));
        subject
            .set(&key, b"x", Some(Duration::from_nanos(nanos)))
            .await;
    }
    let value = subject.get(&key("999999999")).await;
    assert!(value.is_some(), "a second has not passed");
    let expired = async || subject.names(&namespace()).await.is_empty();
    let clock = &subject.clock;
    clock.pass_until(Duration::from_millis(2100), expired).await;
    for nanos in [1, 1_000_000, 400_000_000, 999_999_999] {
        assert_eq!(subject.get(&key(format!("{nanos}"))).await, None);
    }
}

/// Lifetimes of a month, ten years and a thousand years do not end at once.
pub async fn long_lifetimes_do_not_overflow(subject: Entries) {
    const DAY: u64 = 86_400;
    for days in [29, 30, 31, 3650, 365_000] {
        let (key, ttl) = (key(format!("{days} days")), Duration::from_secs(days * DAY));
        subject.set(&key, b"set", Some(ttl)).await;
        assert_eq!(subject.get(&key).await.as_deref(), Some(&b"set"[..]));
        let counter = self::key(format!("{days} counted"));
        assert_eq!(subject.increment(&counter, 1, Some(ttl)).await, 1);
        assert_eq!(subject.increment(&counter, 1, Some(ttl)).await, 2);
    }
    subject.set(&key("ever"), b"set", Some(Duration::MAX)).await;
    assert_eq!(
        subject.get(&key("ever")).await.as_deref(),
        Some(&b"set"[..])
    );
}

/// A lifetime of `None` never ends.
pub async fn an_entry_without_a_lifetime_stays(subject: Entries) {
    let (set, counted) = (key("set"), key("counted"));
    subject.set(&set, b"x", Some(Duration::from_secs(1))).await;
    subject.set(&set, b"y", None).await;
    subject.increment(&counted, 1, None).await;
    subject.clock.pass(Duration::from_millis(2100)).await;
    assert_eq!(subject.get(&set).await.as_deref(), Some(&b"y"[..]));
    assert_eq!(subject.increment(&counted, 1, None).await, 2);
}
