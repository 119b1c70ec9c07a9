//! The contract of [`KeyValue`], one function a clause.
//!
//! Each takes a fresh [`Subject`], and panics where the store breaks its word.
//! [`key_value_suite!`](crate::key_value_suite) makes a test of each.

use std::time::Duration;

use rocket::futures::TryStreamExt;
use rocket::futures::future::join_all;

use super::Subject;
use crate::error::ErrorKind;
use crate::store::{Key, KeyValue, Namespace};

type Entries = Subject<dyn KeyValue>;

const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

fn namespace() -> Namespace {
    Namespace::new("suite").expect("this is a name")
}

fn key(name: impl AsRef<[u8]>) -> Key {
    namespace().key(name)
}

impl Entries {
    async fn get(&self, key: &Key) -> Option<Vec<u8>> {
        self.store.get(key).await.expect("the store gets")
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) {
        let set = self.store.set(key, value, ttl).await;
        set.expect("the store sets");
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> bool {
        let added = self.store.add(key, value, ttl).await;
        added.expect("the store adds")
    }

    async fn swap(&self, key: &Key, expected: Option<&[u8]>, value: &[u8]) -> bool {
        let swapped = self.store.swap(key, expected, value, HOUR).await;
        swapped.expect("the store swaps")
    }

    async fn take(&self, key: &Key) -> Option<Vec<u8>> {
        self.store.take(key).await.expect("the store takes")
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> u64 {
        let sum = self.store.increment(key, by, ttl).await;
        sum.expect("the store increments")
    }

    async fn names(&self, namespace: &Namespace) -> Vec<Vec<u8>> {
        let names = self.store.keys(namespace).try_collect().await;
        let mut names: Vec<Vec<u8>> = names.expect("the store lists");
        names.sort();
        names
    }
}

/// What was never set is nowhere, and removing or taking it does nothing.
pub async fn what_is_not_there_is_none(subject: Entries) {
    let key = key("nothing");
    assert_eq!(subject.get(&key).await, None);
    assert_eq!(subject.take(&key).await, None);
    assert!(!subject.store.remove(&key).await.expect("the store removes"));
    assert!(!subject.swap(&key, Some(b""), b"x").await);
    assert_eq!(subject.get(&key).await, None);
}

/// A value is bytes: none, all 256 of them, 100 KB of them.
pub async fn any_bytes_come_back(subject: Entries) {
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

/// A name is any bytes of any length, and no two share an entry.
pub async fn any_name_has_its_own_entry(subject: Entries) {
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

/// The second `set` counts, with its lifetime.
pub async fn setting_again_replaces_value_and_lifetime(subject: Entries) {
    let key = key("twice");
    subject
        .set(&key, b"one", Some(Duration::from_secs(1)))
        .await;
    subject.set(&key, b"two", HOUR).await;
    subject.clock.pass(Duration::from_secs(2)).await;
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"two"[..]));
}

/// `add` is for what is not there.
pub async fn adding_keeps_what_is_there(subject: Entries) {
    let key = key("once");
    assert!(subject.add(&key, b"first", HOUR).await);
    assert!(!subject.add(&key, b"second", HOUR).await);
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"first"[..]));
}

/// Fifty add, one wins, and its value is there.
pub async fn of_many_adds_at_once_one_wins(subject: Entries) {
    let key = key("race");
    let values: Vec<Vec<u8>> = (0..50).map(|at: u8| vec![at]).collect();
    let adds = values.iter().map(|value| subject.add(&key, value, HOUR));
    let won: Vec<bool> = join_all(adds).await;
    assert_eq!(won.iter().filter(|won| **won).count(), 1);
    let winner = won.iter().position(|won| *won).expect("one won");
    assert_eq!(subject.get(&key).await.as_ref(), Some(&values[winner]));
}

/// `swap` compares bytes, and nothing with nothing.
pub async fn swapping_needs_what_was_expected(subject: Entries) {
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

/// Eight tasks append a byte ten times each, by `get` and `swap`: none is lost.
pub async fn no_swap_is_lost_among_many_tasks(subject: Entries) {
    let key = key("appended");
    let append = async |byte: u8| {
        for _ in 0..10 {
            loop {
                let there = subject.get(&key).await;
                let mut longer = there.clone().unwrap_or_default();
                longer.push(byte);
                if subject.swap(&key, there.as_deref(), &longer).await {
                    break;
                }
            }
        }
    };
    join_all((b'a'..=b'h').map(append)).await;
    let value = subject.get(&key).await.expect("it is there");
    for byte in b'a'..=b'h' {
        assert_eq!(value.iter().filter(|there| **there == byte).count(), 10);
    }
}

/// `remove` tells whether there was anything.
pub async fn removed_is_gone(subject: Entries) {
    let key = key("removed");
    subject.set(&key, b"x", HOUR).await;
    assert!(subject.store.remove(&key).await.expect("the store removes"));
    assert!(!subject.store.remove(&key).await.expect("the store removes"));
    assert_eq!(subject.get(&key).await, None);
    assert!(subject.add(&key, b"y", HOUR).await);
}

/// Fifty take, one gets it.
pub async fn of_many_takers_one_gets_it(subject: Entries) {
    for round in 0..5 {
        let key = key(format!("taken {round}"));
        subject.set(&key, b"treasure", HOUR).await;
        let taken = join_all((0..50).map(|_| subject.take(&key))).await;
        let got: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(got, [b"treasure"]);
    }
}

/// An increment begins at nothing, and is seen by `get` as digits.
pub async fn increments_add_up(subject: Entries) {
    let key = key("count");
    assert_eq!(subject.increment(&key, 5, HOUR).await, 5);
    assert_eq!(subject.increment(&key, 0, HOUR).await, 5);
    assert_eq!(subject.increment(&key, 95, HOUR).await, 100);
    assert_eq!(subject.get(&key).await.as_deref(), Some(&b"100"[..]));
    subject.set(&key, b"7", HOUR).await;
    assert_eq!(subject.increment(&key, 1, HOUR).await, 8);
}

/// Eight tasks count to 25 each: every sum is told to one, and 200 is the last.
pub async fn no_increment_is_lost_among_many_tasks(subject: Entries) {
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

/// A count ends when its first increment said.
pub async fn an_increment_keeps_the_lifetime(subject: Entries) {
    let key = key("window");
    subject
        .increment(&key, 1, Some(Duration::from_secs(3)))
        .await;
    subject.clock.pass(Duration::from_millis(1000)).await;
    assert_eq!(subject.increment(&key, 1, HOUR).await, 2);
    subject.clock.pass(Duration::from_millis(3500)).await;
    assert_eq!(subject.get(&key).await, None);
    assert_eq!(subject.increment(&key, 1, HOUR).await, 1);
}

/// What is no number stays as it is.
pub async fn an_increment_of_no_number_changes_nothing(subject: Entries) {
    for value in ["", "x", "-1", "1.5", " 1", "1x", "99999999999999999999999"] {
        let key = key("no number");
        subject.set(&key, value.as_bytes(), HOUR).await;
        let error = subject.store.increment(&key, 1, HOUR).await;
        let error = error.expect_err("this cannot be counted on");
        assert_eq!(error.kind(), ErrorKind::Value, "{value:?}: {error}");
        assert_eq!(subject.get(&key).await.as_deref(), Some(value.as_bytes()));
    }
}

/// A sum that would not fit is refused.
pub async fn an_increment_beyond_63_bits_changes_nothing(subject: Entries) {
    let key = key("full");
    let most = i64::MAX.cast_unsigned();
    assert_eq!(subject.increment(&key, most - 1, HOUR).await, most - 1);
    assert_eq!(subject.increment(&key, 1, HOUR).await, most);
    for by in [1, most, u64::MAX] {
        let error = subject.store.increment(&key, by, HOUR).await;
        let error = error.expect_err("this does not fit");
        assert_eq!(error.kind(), ErrorKind::Value, "{error}");
    }
    let still = subject.get(&key).await;
    assert_eq!(still, Some(most.to_string().into_bytes()));
}

/// For no call is there anything after the lifetime.
pub async fn expired_is_gone_for_every_call(subject: Entries) {
    let brief = Some(Duration::from_secs(1));
    let names = ["get", "take", "remove", "add", "swap", "increment"];
    let [get, take, remove, add, swap, increment] = names.map(key);
    for name in names {
        subject.set(&key(name), b"1", brief).await;
    }
    subject.clock.pass(Duration::from_millis(2100)).await;
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

/// A lifetime is rounded up, never down to nothing.
pub async fn lifetimes_are_never_shorter_than_asked_for(subject: Entries) {
    for nanos in [1, 1_000_000, 400_000_000, 999_999_999] {
        let key = key(format!("{nanos}"));
        subject
            .set(&key, b"x", Some(Duration::from_nanos(nanos)))
            .await;
    }
    let there = subject.get(&key("999999999")).await;
    assert!(there.is_some(), "a second has not passed");
    subject.clock.pass(Duration::from_millis(2100)).await;
    for nanos in [1, 1_000_000, 400_000_000, 999_999_999] {
        assert_eq!(subject.get(&key(format!("{nanos}"))).await, None);
    }
}

/// A month, ten years and a thousand are long, not past.
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

/// `None` is for ever.
pub async fn without_a_lifetime_it_stays(subject: Entries) {
    let (set, counted) = (key("set"), key("counted"));
    subject.set(&set, b"x", Some(Duration::from_secs(1))).await;
    subject.set(&set, b"y", None).await;
    subject.increment(&counted, 1, None).await;
    subject.clock.pass(Duration::from_millis(2100)).await;
    assert_eq!(subject.get(&set).await.as_deref(), Some(&b"y"[..]));
    assert_eq!(subject.increment(&counted, 1, None).await, 2);
}

/// A thousand names come back, each once and whole.
pub async fn every_name_is_listed_once(subject: Entries) {
    let mut names: Vec<Vec<u8>> = (0..1000_u32)
        .map(|at| [&b"n\xff/"[..], at.to_string().as_bytes()].concat())
        .collect();
    for some in names.chunks(100) {
        let keys: Vec<Key> = some.iter().map(key).collect();
        join_all(keys.iter().map(|key| subject.set(key, b"x", HOUR))).await;
    }
    names.push(Vec::new());
    subject.set(&key(""), b"x", None).await;
    names.sort();
    assert_eq!(subject.names(&namespace()).await, names);
}

/// Other namespaces, also one whose name begins alike, stay.
pub async fn clearing_leaves_other_namespaces_alone(subject: Entries) {
    let others = ["suit", "suite-2", "s"].map(|name| Namespace::new(name).expect("a name"));
    for namespace in others.iter().chain([&namespace()]) {
        for name in ["one", "two", "three"] {
            subject.set(&namespace.key(name), b"x", HOUR).await;
        }
    }
    subject.set(&key("x".repeat(900)), b"hashed", HOUR).await;
    let cleared = subject.store.clear(&namespace()).await;
    assert_eq!(cleared.expect("the store clears"), 4);
    assert_eq!(subject.get(&key("x".repeat(900))).await, None);
    assert!(subject.names(&namespace()).await.is_empty());
    for other in &others {
        assert_eq!(subject.names(other).await.len(), 3);
    }
    let again = subject.store.clear(&namespace()).await;
    assert_eq!(again.expect("the store clears"), 0);
}
