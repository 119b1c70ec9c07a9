//! The clauses about one entry: set, added, swapped, taken and removed.

use rocket::futures::future::join_all;

use super::*;

/// A missing entry can be neither read, taken, removed nor swapped.
pub async fn a_missing_entry_is_none(subject: Entries) {
    let key = key("nothing");
    assert_eq!(subject.get(&key).await, None);
    assert_eq!(subject.take(&key).await, None);
    assert!(!subject.store.remove(&key).await.expect("the store removes"));
    assert!(!subject.swap(&key, Some(b""), b"x").await);
    assert_eq!(subject.get(&key).await, None);
}

/// A value may be empty, contain every byte, or have 100 KB.
pub async fn every_value_is_returned_unchanged(subject: Entries) {
    let all: Vec<u8> = (0..=255).collect();
    for value in [
        &b""[..],
        b"x\r\nset evil 0 0 1\r\ny",
        &all,
        &all.repeat(400),
    ] {
        let key = key("value");
        subject.set(&key, value, HOUR).await;
        assert_eq!(subject.get(&key).await.as_deref(), Some(value));
        assert_eq!(subject.take(&key).await.as_deref(), Some(value));
    }
}

/// A name consists of any bytes, in any number, and no two names share an entry.
pub async fn every_name_has_its_own_entry(subject: Entries) {
    let long = "n".repeat(5000);
    let names: [&[u8]; 12] = [
        b"",
        b".",
        b"..",
        b"../x",
        b"a b",
        b"a\r\nb",
        b"a:b",
        b"\0\xff",
        "\u{e4}".as_bytes(),
        b"A",
        b"a",
        long.as_bytes(),
    ];
    for (at, name) in names.iter().enumerate() {
        subject
            .set(&key(name), at.to_string().as_bytes(), HOUR)
            .await;
    }
    for (at, name) in names.iter().enumerate() {
        let value = subject.get(&key(name)).await;
        assert_eq!(value, Some(at.to_string().into_bytes()));
    }
}

/// The second `set` replaces the first, with its lifetime.
pub async fn setting_again_replaces_value_and_lifetime(subject: Entries) {
    let key = key("twice");
    subject
        .set(&key, b"one", Some(Duration::from_secs(1)))
        .await;
    subject.set(&key, b"two", HOUR).await;
    subject.clock.pass(Duration::from_secs(2)).await;
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"two"[..]));
}

/// `add` never replaces an entry.
pub async fn adding_keeps_an_existing_entry(subject: Entries) {
    let key = key("once");
    assert!(subject.add(&key, b"first", HOUR).await);
    assert!(!subject.add(&key, b"second", HOUR).await);
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"first"[..]));
}

/// Of fifty calls of `add`, one succeeds, and its value is kept.
pub async fn one_of_many_concurrent_adds_wins(subject: Entries) {
    let key = key("race");
    let values: Vec<Vec<u8>> = (0..50).map(|at: u8| vec![at]).collect();
    let adds = values.iter().map(|value| subject.add(&key, value, HOUR));
    let won: Vec<bool> = join_all(adds).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = won.iter().position(|won| *won).expect("one add succeeds");
    assert_eq!(subject.get(&key).await.as_ref(), Some(&values[winner]));
}

/// `swap` compares all bytes, and expects no entry for `None`.
pub async fn swapping_needs_the_expected_value(subject: Entries) {
    let key = key("swap");
    assert!(!subject.swap(&key, Some(b"one"), b"two").await);
    assert!(subject.swap(&key, None, b"one").await);
    assert!(!subject.swap(&key, None, b"two").await);
    assert!(!subject.swap(&key, Some(b"on"), b"two").await);
    assert!(!subject.swap(&key, Some(b"one\0"), b"two").await);
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"one"[..]));
    assert!(subject.swap(&key, Some(b"one"), b"").await);
    assert!(subject.swap(&key, Some(b""), b"three").await);
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"three"[..]));
}

/// Eight tasks append a byte ten times each, by `get` and `swap`, and no byte is lost.
pub async fn concurrent_swaps_all_count(subject: Entries) {
    let key = key("appended");
    let append = async |byte: u8| {
        for _ in 0..10 {
            loop {
                let current = subject.get(&key).await;
                let mut longer = current.clone().unwrap_or_default();
                longer.push(byte);
                if subject.swap(&key, current.as_deref(), &longer).await {
                    break;
                }
            }
        }
    };
    join_all((b'a'..=b'h').map(append)).await;
    let value = subject.get(&key).await.expect("the entry exists");
    for byte in b'a'..=b'h' {
        assert_eq!(value.iter().filter(|found| **found == byte).count(), 10);
    }
}

/// `remove` returns whether there was an entry.
pub async fn a_removed_entry_is_gone(subject: Entries) {
    let key = key("removed");
    subject.set(&key, b"x", HOUR).await;
    assert!(subject.store.remove(&key).await.expect("the store removes"));
    assert!(!subject.store.remove(&key).await.expect("the store removes"));
    assert_eq!(subject.get(&key).await, None);
    assert!(subject.add(&key, b"y", HOUR).await);
}

/// Of fifty calls of `take`, one returns the value.
pub async fn one_of_many_concurrent_takes_gets_the_value(subject: Entries) {
    for round in 0..5 {
        let key = key(format!("taken {round}"));
        subject.set(&key, b"treasure", HOUR).await;
        let taken = join_all((0..50).map(|_| subject.take(&key))).await;
        let got: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(got, [b"treasure"]);
    }
}
