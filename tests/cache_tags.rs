//! Tags of the cache: an invalid tag makes all of its values misses at once, in every process, for good.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rocket::async_test;
use rocket::futures::future::{join, join_all, join3};
use rocket_session_kit::store::{KeyValue, Namespace};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{Cache, Clock, Error, ErrorKind, Keep, Result};

use crate::cache::{App, body, cache, launch, number, probed, two_processes};
use crate::support::process::wait_until;
use crate::support::{Backend, on_every_shared_store, on_every_store};

fn tagged(tags: &[&str]) -> Keep {
    tags.iter().fold(Keep::new(), |keep, tag| keep.tag(*tag))
}

/// Returns the value under `name`, computed as `value` if there is none.
async fn compute(cache: &Cache, name: &str, tags: &[&str], value: u64) -> u64 {
    let computed = cache.get_or_compute(name, tagged(tags), || async { Ok::<_, Error>(value) });
    computed.await.unwrap()
}

on_every_store! {
    an_invalid_tag_makes_all_of_its_values_misses_and_no_others
    a_value_computed_before_an_invalidation_is_invalid_afterwards
    a_request_after_an_invalidation_gets_no_value_computed_before_it
    no_request_gets_a_value_older_than_the_last_invalidation
    a_tag_of_another_prefix_is_another_tag
}

async fn an_invalid_tag_makes_all_of_its_values_misses_and_no_others(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    let odd = "a/b:*\r\n";
    cache.set("untagged", &0).await.unwrap();
    cache.set_for("one", &1, tagged(&["a"])).await.unwrap();
    cache.set_for("two", &2, tagged(&["b", "a"])).await.unwrap();
    cache.set_for("three", &3, tagged(&["b"])).await.unwrap();
    cache.set_for("odd", &4, tagged(&[odd])).await.unwrap();
    assert_eq!(compute(cache, "computed", &["a", odd], 5).await, 5);
    assert_eq!(
        compute(cache, "computed", &["a", odd], 6).await,
        5,
        "there is one"
    );
    for (name, value) in [
        ("one", 1),
        ("two", 2),
        ("three", 3),
        ("odd", 4),
        ("computed", 5),
    ] {
        assert_eq!(number(cache, name).await, Some(value));
    }
    cache.invalidate_tag("no value has it").await.unwrap();
    cache.invalidate_tag("a").await.unwrap();
    for name in ["one", "two", "computed"] {
        assert_eq!(number(cache, name).await, None, "{name}");
        assert!(!cache.contains(name).await.unwrap(), "{name}");
    }
    assert_eq!(cache.take::<u64>("one").await.unwrap(), None);
    for (name, value) in [("untagged", 0), ("three", 3), ("odd", 4)] {
        assert_eq!(number(cache, name).await, Some(value));
    }
    // New values of the tag are valid, and old ones stay invalid.
    assert_eq!(compute(cache, "computed", &["a"], 7).await, 7);
    assert_eq!(number(cache, "computed").await, Some(7));
    assert_eq!(number(cache, "two").await, None);
    // The last `set` decides about the tags.
    cache.set("computed", &8).await.unwrap();
    cache.invalidate_tag("a").await.unwrap();
    assert_eq!(number(cache, "computed").await, Some(8));
    cache.invalidate_tag(odd).await.unwrap();
    assert_eq!(number(cache, "odd").await, None);
    // The versions of tags are no values.
    let mut names = cache.keys("*").await.unwrap();
    names.sort();
    assert_eq!(names, ["computed", "odd", "three", "two", "untagged"]);
}

async fn a_value_computed_before_an_invalidation_is_invalid_afterwards(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    // The tag has no version before the first value, and an old one before the second.
    for round in 0..2 {
        let gate = Gate::new();
        let computing = cache.get_or_compute("a", tagged(&["t"]), || async {
            gate.pass().await;
            Ok::<u64, Error>(1)
        });
        let meddling = async {
            gate.arrived().await;
            cache.invalidate_tag("t").await.unwrap();
            gate.open();
        };
        let (value, ()) = join(computing, meddling).await;
        assert_eq!(value.unwrap(), 1, "the request began before");
        assert_eq!(number(cache, "a").await, None, "{round}");
        assert_eq!(compute(cache, "a", &["t"], 2).await, 2);
        assert_eq!(number(cache, "a").await, Some(2));
        cache.remove("a").await.unwrap();
    }
}

async fn a_request_after_an_invalidation_gets_no_value_computed_before_it(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    let (gate, began) = (Gate::new(), Gate::new());
    let old = cache.get_or_compute("a", tagged(&["t"]), || async {
        gate.pass().await;
        Ok::<u64, Error>(1)
    });
    let new = async {
        gate.arrived().await;
        cache.invalidate_tag("t").await.unwrap();
        began.open();
        // It follows the old computation, and does not take over its value.
        compute(cache, "a", &["t"], 2).await
    };
    let open = async {
        began.pass().await;
        for _ in 0..3 {
            rocket::tokio::task::yield_now().await;
        }
        gate.open();
    };
    let (old, new, ()) = join3(old, new, open).await;
    assert_eq!((old.unwrap(), new), (1, 2));
    let there = number(cache, "a").await;
    assert!(there.is_none_or(|value| value == 2), "{there:?}");
}

async fn no_request_gets_a_value_older_than_the_last_invalidation(backend: Backend) {
    let app = App::launch(backend, "").await;
    invalidate_beside_reads(&[app.cache()]).await;
}

async fn two_applications_get_no_value_older_than_the_last_invalidation(backend: Backend) {
    let clock = Clock::manual();
    let one = launch(&backend, "", &clock).await;
    let other = launch(&backend, "", &clock).await;
    invalidate_beside_reads(&[cache(&one), cache(&other)]).await;
}

/// Changes data and invalidates its tag, while other tasks read the data, through one of `caches` each.
async fn invalidate_beside_reads(caches: &[&Cache]) {
    // The data, and the last data whose invalidation is complete.
    let (data, invalidated) = (AtomicU64::new(0), AtomicU64::new(0));
    let of = |n: usize| caches[n % caches.len()];
    let writes = (0..4).map(async |n| {
        for _ in 0..15 {
            let now = data.fetch_add(1, Ordering::SeqCst) + 1;
            of(n).invalidate_tag("t").await.unwrap();
            invalidated.fetch_max(now, Ordering::SeqCst);
        }
    });
    let reads = (0..12).map(async |n| {
        for _ in 0..15 {
            let least = invalidated.load(Ordering::SeqCst);
            let read = || async {
                let now = data.load(Ordering::SeqCst);
                rocket::tokio::task::yield_now().await;
                Ok::<_, Error>(now)
            };
            let value = match n % 3 {
                0 => number(of(n), "a").await,
                _ => {
                    let computed = of(n).get_or_compute("a", tagged(&["t"]), read);
                    Some(computed.await.unwrap())
                }
            };
            assert!(
                value.is_none_or(|value| value >= least),
                "{value:?} {least}"
            );
        }
    });
    join(join_all(writes), join_all(reads)).await;
    assert_eq!(compute(of(0), "last", &["t"], 1).await, 1);
    assert_eq!(number(of(1), "last").await, Some(1));
}

async fn a_tag_of_another_prefix_is_another_tag(backend: Backend) {
    let clock = Clock::manual();
    let ours = launch(&backend, "cache={prefix=\"a\"}", &clock).await;
    let others = launch(&backend, "cache={prefix=\"a-b\"}", &clock).await;
    for (client, value) in [(&ours, 1), (&others, 2)] {
        assert_eq!(compute(cache(client), "x", &["t"], value).await, value);
    }
    cache(&others).invalidate_tag("t").await.unwrap();
    assert_eq!(number(cache(&ours), "x").await, Some(1));
    assert_eq!(number(cache(&others), "x").await, None);
    // A clear removes the values of tags too.
    cache(&ours).clear().await.unwrap();
    assert_eq!(number(cache(&ours), "x").await, None);
}

#[async_test]
async fn a_tag_lasts_as_long_as_its_values() {
    for backend in [Backend::memory(), Backend::directory()] {
        let app = App::launch(backend, "").await;
        let cache = app.cache();
        let keep = |seconds| Keep::from(Duration::from_secs(seconds)).tag("t");
        cache.set_for("short", &1, keep(10)).await.unwrap();
        app.clock.advance(Duration::from_secs(9));
        cache.set_for("next", &2, keep(20)).await.unwrap();
        app.clock.advance(Duration::from_secs(2));
        assert_eq!(number(cache, "short").await, None);
        app.clock.advance(Duration::from_secs(17));
        assert_eq!(number(cache, "next").await, Some(2));
        cache.set_for("long", &3, keep(86_400)).await.unwrap();
        app.clock.advance(Duration::from_secs(86_399));
        assert_eq!(number(cache, "long").await, Some(3));
        // A value that is kept for ever needs a version that is.
        let app = App::launch(Backend::memory(), "cache={ttl=0}").await;
        let cache = app.cache();
        cache.set_for("short", &1, keep(10)).await.unwrap();
        cache.set_for("for ever", &4, tagged(&["t"])).await.unwrap();
        cache.set_for("shorter", &1, keep(10)).await.unwrap();
        app.clock.advance(Duration::from_secs(10 * 365 * 86_400));
        assert_eq!(number(cache, "for ever").await, Some(4));
        cache.invalidate_tag("t").await.unwrap();
        assert_eq!(number(cache, "for ever").await, None);
    }
}

#[async_test]
async fn a_value_whose_tag_the_store_has_lost_is_invalid() {
    let (client, probe) = probed().await;
    let cache = cache(&client);
    assert_eq!(compute(cache, "a", &["t", "u"], 1).await, 1);
    let key = Namespace::new("tags").unwrap().key("t");
    assert!(probe.remove(&key).await.unwrap());
    assert_eq!(number(cache, "a").await, None);
    assert_eq!(compute(cache, "a", &["t", "u"], 2).await, 2);
    // Bytes in another format are no version.
    probe.set(&key, b"\xff", None).await.unwrap();
    assert_eq!(number(cache, "a").await, None);
    assert_eq!(compute(cache, "a", &["t", "u"], 3).await, 3);
    assert_eq!(number(cache, "a").await, Some(3));
}

#[async_test]
async fn a_tagged_value_costs_one_more_call_for_each_tag() {
    let (client, probe) = probed().await;
    let cache = cache(&client);
    probe.calls();
    // The value, and for each of two new tags a read and a write.
    compute(cache, "a", &["t", "u"], 1).await;
    assert_eq!(probe.calls().entries, 3 + 4);
    compute(cache, "a", &["t", "u"], 1).await;
    assert_eq!(probe.calls().entries, 3);
    number(cache, "a").await;
    assert_eq!(probe.calls().entries, 3);
    cache.set_for("b", &1, tagged(&["t"])).await.unwrap();
    assert_eq!(probe.calls().entries, 2);
    cache.invalidate_tag("t").await.unwrap();
    assert_eq!(probe.calls().entries, 1);
    cache.set_for("b", &1, Keep::new()).await.unwrap();
    number(cache, "b").await;
    assert_eq!(probe.calls().entries, 2);
}

#[async_test]
async fn a_tagged_value_is_computed_once_while_the_store_is_down() {
    let (client, probe) = probed().await;
    let cache = cache(&client);
    compute(cache, "a", &["t"], 1).await;
    for act in [Act::GetEntry, Act::KeepEntry, Act::RemoveEntry] {
        probe.fail(act);
    }
    let down = |error: Error| assert_eq!(error.kind(), ErrorKind::Unavailable);
    down(cache.get::<u64>("a").await.unwrap_err());
    down(cache.set_for("a", &2, tagged(&["t"])).await.unwrap_err());
    down(cache.invalidate_tag("t").await.unwrap_err());
    let (computed, gate) = (AtomicUsize::new(0), Gate::new());
    let ask = || {
        cache.get_or_compute("a", tagged(&["t"]), || async {
            computed.fetch_add(1, Ordering::SeqCst);
            gate.pass().await;
            Ok::<u64, Error>(7)
        })
    };
    let open = async {
        gate.arrived().await;
        gate.open_for_all();
    };
    let (values, ()) = join(join_all((0..10).map(|_| ask())), open).await;
    assert!(values.into_iter().all(|value| value.unwrap() == 7));
    assert_eq!(computed.into_inner(), 1);
    probe.heal();
    assert_eq!(number(cache, "a").await, Some(1), "the invalidation failed");
}

#[async_test]
async fn a_value_is_not_stored_without_the_versions_of_its_tags() {
    let (client, probe) = probed().await;
    let cache = cache(&client);
    // The lease is stored, and then the store fails.
    let gate = probe.gate(Act::GetEntry);
    gate.open();
    let computing = async { compute(cache, "a", &["t"], 1).await };
    let meddling = async {
        gate.arrived().await;
        gate.arrived().await;
        probe.fail(Act::GetEntry);
        gate.open_for_all();
    };
    assert_eq!(join(computing, meddling).await.0, 1);
    probe.heal();
    assert_eq!(number(cache, "a").await, None);
    assert_eq!(compute(cache, "a", &["t"], 2).await, 2);
    assert_eq!(number(cache, "a").await, Some(2));
}

#[async_test]
async fn a_damaged_header_is_an_error_and_no_miss() {
    let (client, probe) = probed().await;
    let key = Namespace::new("cache").unwrap().key("a");
    for damaged in ["!", "!\n1", "!{}\n1", "!{\"id\":1}\n1", "!{\"id\":\"x\"}"] {
        probe.set(&key, damaged.as_bytes(), None).await.unwrap();
        let got: Result<Option<String>> = cache(&client).get("a").await;
        assert_eq!(got.unwrap_err().kind(), ErrorKind::Value, "{damaged}");
    }
    let text = format!("{:?}", Keep::new().tag("s3cr3t"));
    assert!(!text.contains("s3cr3t"), "{text}");
}

on_every_shared_store! {
    an_invalidation_by_another_process_counts_at_once
    two_applications_get_no_value_older_than_the_last_invalidation
}

async fn an_invalidation_by_another_process_counts_at_once(backend: Backend) {
    let [(one, there), (other, elsewhere)] = two_processes(&backend);
    std::fs::write(elsewhere.path().join("go"), "").unwrap();
    // A computation that begins before the invalidation, and ends after it.
    std::thread::scope(|scope| {
        let computing = scope.spawn(|| body(&one, "/compute_tagged/a/old/t"));
        wait_until("it computes", || there.path().join("computing").exists());
        body(&other, "/invalidate/t");
        std::fs::write(there.path().join("go"), "").unwrap();
        assert_eq!(computing.join().unwrap(), "old");
    });
    for server in [&one, &other] {
        assert_eq!(body(server, "/get/a"), "none");
    }
    assert_eq!(body(&one, "/compute_tagged/a/new/t"), "new");
    assert_eq!(body(&other, "/compute_tagged/b/new/t"), "new");
    for (server, name) in [(&one, "b"), (&other, "a")] {
        assert_eq!(body(server, &format!("/get/{name}")), "new");
    }
    body(&one, "/invalidate/t");
    for server in [&one, &other] {
        for name in ["a", "b"] {
            assert_eq!(body(server, &format!("/get/{name}")), "none");
        }
    }
}
