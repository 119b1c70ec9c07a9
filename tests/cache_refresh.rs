//! Stale values of the cache: shown at once, while one request computes the next value in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rocket::futures::future::join_all;
use rocket::{async_test, tokio};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{Cache, Error, ErrorKind, Keep, Result};

use crate::cache::{App, body, cache, number, probed, two_processes};
use crate::support::process::wait_until;
use crate::support::{Backend, log, on_every_shared_store, on_every_store};

const MINUTE: Duration = Duration::from_secs(60);

/// A minute fresh, and an hour stale.
fn keep() -> Keep {
    Keep::from(MINUTE).stale_for(60 * MINUTE)
}

/// The computations of a value: their number, and a gate at which each waits.
#[derive(Clone, Default)]
struct Computations {
    begun: Arc<AtomicUsize>,
    gate: Gate,
}

impl Computations {
    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    /// Requests the value under `a`; if it has to be computed, it is `value`.
    async fn ask(&self, cache: &Cache, value: Result<u64>) -> Result<u64> {
        let own = self.clone();
        let compute = move || async move {
            own.begun.fetch_add(1, Ordering::SeqCst);
            own.gate.pass().await;
            value
        };
        cache.get_or_refresh("a", keep(), compute).await
    }
}

/// Returns a computed value that is never needed.
async fn stored(cache: &Cache) -> u64 {
    let never = || async { Err::<u64, _>(Error::new(ErrorKind::Invalid, "compute")) };
    cache.get_or_refresh("a", keep(), never).await.unwrap()
}

/// Waits until `done` holds.
async fn until<F: Future<Output = bool>>(done: impl Fn() -> F) {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::task::yield_now().await;
    }
}

on_every_store! {
    a_stale_value_is_shown_at_once_while_one_request_computes_the_next
    a_failed_refresh_keeps_the_stale_value
    a_refresh_is_discarded_after_a_removal_a_set_or_a_clear
    a_stale_value_with_an_invalid_tag_is_not_shown
    a_stale_value_is_missing_for_all_other_calls
}

async fn a_stale_value_is_shown_at_once_while_one_request_computes_the_next(backend: Backend) {
    let app = App::launch(backend, "").await;
    let (cache, computations) = (app.cache(), Computations::default());
    computations.gate.open();
    assert_eq!(computations.ask(cache, Ok(1)).await.unwrap(), 1);
    app.clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(computations.ask(cache, Ok(2)).await.unwrap(), 1);
    assert_eq!(computations.begun(), 1, "it is fresh");
    app.clock.advance(Duration::from_millis(1));
    for _ in 0..3 {
        // All of them return, although the computation waits.
        let all = join_all((0..10).map(|_| computations.ask(cache, Ok(2)))).await;
        assert!(all.into_iter().all(|value| value.unwrap() == 1));
    }
    until(async || computations.begun() == 2).await;
    computations.gate.open();
    until(async || number(cache, "a").await == Some(2)).await;
    assert_eq!(computations.ask(cache, Ok(3)).await.unwrap(), 2);
    assert_eq!(computations.begun(), 2);
    // Its time begins when it is stored.
    app.clock.advance(MINUTE);
    computations.gate.open();
    assert_eq!(computations.ask(cache, Ok(4)).await.unwrap(), 2);
    until(async || number(cache, "a").await == Some(4)).await;
}

async fn a_failed_refresh_keeps_the_stale_value(backend: Backend) {
    let app = App::launch(backend, "").await;
    let (cache, computations) = (app.cache(), Computations::default());
    computations.gate.open_for_all();
    computations.ask(cache, Ok(1)).await.unwrap();
    app.clock.advance(MINUTE);
    for tries in 2..5 {
        let failure = Error::new(ErrorKind::Invalid, "compute");
        until(async || {
            let value = computations.ask(cache, Err(failure.clone())).await;
            assert_eq!(value.unwrap(), 1);
            computations.begun() >= tries
        })
        .await;
    }
    let panics = || async { panic!("a test makes the computation panic") };
    let value: Result<u64> = cache.get_or_refresh("a", keep(), panics).await;
    assert_eq!(value.unwrap(), 1);
    until(async || {
        let value = computations.ask(cache, Ok(9)).await.unwrap();
        assert!(matches!(value, 1 | 9), "{value}");
        number(cache, "a").await == Some(9)
    })
    .await;
    let text = "cannot refresh a value of the cache: the computation failed";
    assert!(!log::lines_with(text).is_empty());
}

async fn a_refresh_is_discarded_after_a_removal_a_set_or_a_clear(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    for (act, left) in [
        ("remove", None),
        ("clear", None),
        ("set", Some(5)),
        // The same value, which is stale at the same time.
        ("set the same", None),
    ] {
        cache.set_for("a", &1, keep()).await.unwrap();
        app.clock.advance(MINUTE);
        let computations = Computations::default();
        assert_eq!(computations.ask(cache, Ok(2)).await.unwrap(), 1);
        computations.gate.arrived().await;
        match act {
            "remove" => assert!(cache.remove("a").await.unwrap()),
            "clear" => cache.clear().await.unwrap(),
            "set" => cache.set("a", &5).await.unwrap(),
            _ => {
                app.clock.set_back(MINUTE);
                cache.set_for("a", &1, keep()).await.unwrap();
                app.clock.advance(MINUTE);
            }
        }
        computations.gate.open();
        until(async || Arc::strong_count(&computations.begun) == 1).await;
        // The computation has ended, and its value would be stored now.
        for _ in 0..50 {
            assert_eq!(number(cache, "a").await, left, "{act}");
            tokio::task::yield_now().await;
        }
        cache.remove("a").await.unwrap();
    }
}

async fn a_stale_value_with_an_invalid_tag_is_not_shown(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    let ask = |value: u64| {
        let compute = move || async move { Ok::<_, Error>(value) };
        cache.get_or_refresh("a", keep().tag("t"), compute)
    };
    assert_eq!(ask(1).await.unwrap(), 1);
    app.clock.advance(MINUTE);
    cache.invalidate_tag("t").await.unwrap();
    assert_eq!(ask(2).await.unwrap(), 2);
    // A refresh under way is invalid too.
    app.clock.advance(MINUTE);
    let (gate, own) = (Gate::new(), Gate::new());
    let (waits, done) = (gate.clone(), own.clone());
    let compute = move || async move {
        waits.pass().await;
        done.open();
        Ok::<_, Error>(3)
    };
    let value = cache.get_or_refresh("a", keep().tag("t"), compute).await;
    assert_eq!(value.unwrap(), 2);
    gate.arrived().await;
    cache.invalidate_tag("t").await.unwrap();
    gate.open();
    own.pass().await;
    assert_eq!(number(cache, "a").await, None);
    assert_eq!(ask(4).await.unwrap(), 4);
}

async fn a_stale_value_is_missing_for_all_other_calls(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    cache.set_for("a", &1, keep()).await.unwrap();
    assert_eq!(number(cache, "a").await, Some(1));
    app.clock.advance(MINUTE);
    assert_eq!(number(cache, "a").await, None);
    assert!(!cache.contains("a").await.unwrap());
    assert_eq!(stored(cache).await, 1);
    let computed = cache.get_or_compute("a", keep(), || async { Ok::<u64, Error>(2) });
    assert_eq!(computed.await.unwrap(), 2);
    assert_eq!(stored(cache).await, 2);
    app.clock.advance(MINUTE);
    assert_eq!(cache.take::<u64>("a").await.unwrap(), None);
    assert!(!cache.remove("a").await.unwrap(), "it is taken");
}

#[async_test]
async fn after_its_stale_time_a_value_is_computed_while_requests_wait() {
    for backend in [Backend::memory(), Backend::directory()] {
        let app = App::launch(backend, "").await;
        let (cache, computations) = (app.cache(), Computations::default());
        computations.gate.open_for_all();
        computations.ask(cache, Ok(1)).await.unwrap();
        app.clock.advance(61 * MINUTE - Duration::from_millis(1));
        assert_eq!(stored(cache).await, 1);
        app.clock.advance(Duration::from_millis(1));
        let failure = Error::new(ErrorKind::Invalid, "compute");
        let error = computations.ask(cache, Err(failure)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(computations.ask(cache, Ok(2)).await.unwrap(), 2);
    }
}

#[async_test]
async fn a_refresh_continues_after_its_request() {
    let app = App::launch(Backend::memory(), "").await;
    let (cache, computations) = (app.cache(), Computations::default());
    cache.set_for("a", &1, keep()).await.unwrap();
    app.clock.advance(MINUTE);
    drop(computations.ask(cache, Ok(2)).await);
    computations.gate.arrived().await;
    computations.gate.open();
    until(async || number(cache, "a").await == Some(2)).await;
}

#[async_test]
async fn a_request_that_read_the_stale_value_before_a_refresh_begins_no_other() {
    let (client, probe) = probed().await;
    let (cache, computations) = (cache(&client), Computations::default());
    let keep = || Keep::from(Duration::ZERO).stale_for(MINUTE).tag("t");
    let ask = |keep| {
        let own = computations.clone();
        let compute = move || async move {
            own.begun.fetch_add(1, Ordering::SeqCst);
            own.gate.pass().await;
            Ok::<u64, Error>(2)
        };
        cache.get_or_refresh("a", keep, compute)
    };
    cache.set_for("a", &1, keep()).await.unwrap();
    // The first value is stale, and the second is not.
    assert_eq!(ask(Keep::from(MINUTE)).await.unwrap(), 1);
    computations.gate.arrived().await;
    // This request reads the value, and waits before it reads the version of the tag.
    let gate = probe.gate(Act::GetEntry);
    let slow = ask(Keep::from(MINUTE));
    let meanwhile = async {
        gate.arrived().await;
        gate.open();
        gate.arrived().await;
        probe.gate(Act::GetEntry).open_for_all();
        computations.gate.open();
        until(async || number(cache, "a").await == Some(2)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        gate.open();
    };
    let (value, ()) = rocket::futures::future::join(slow, meanwhile).await;
    assert_eq!(value.unwrap(), 1);
    for _ in 0..50 {
        tokio::task::yield_now().await;
        assert_eq!(number(cache, "a").await, Some(2));
    }
    assert_eq!(computations.begun(), 1);
}

#[async_test]
async fn a_fresh_value_costs_one_call_and_the_store_may_be_down() {
    let (client, probe) = probed().await;
    let cache = cache(&client);
    let ask = |value: u64| {
        let compute = move || async move { Ok::<_, Error>(value) };
        cache.get_or_refresh("a", keep(), compute)
    };
    assert_eq!(ask(1).await.unwrap(), 1);
    assert_eq!(probe.calls().entries, 3);
    assert_eq!(ask(2).await.unwrap(), 1);
    assert_eq!(probe.calls().entries, 1);
    probe.fail(Act::GetEntry);
    assert_eq!(ask(3).await.unwrap(), 3);
    probe.heal();
    assert_eq!(ask(4).await.unwrap(), 1);
}

on_every_shared_store! {
    two_processes_refresh_and_the_first_value_is_kept
}

async fn two_processes_refresh_and_the_first_value_is_kept(backend: Backend) {
    let [(one, there), (other, elsewhere)] = two_processes(&backend);
    let go = |there: &tempfile::TempDir| std::fs::write(there.path().join("go"), "").unwrap();
    let computing = |there: &tempfile::TempDir| {
        let file = there.path().join("computing");
        wait_until("it computes", || file.exists());
    };
    go(&there);
    assert_eq!(body(&one, "/refresh/a/1"), "1");
    for file in ["go", "computing"] {
        std::fs::remove_file(there.path().join(file)).unwrap();
    }
    // Both return at once, and compute.
    assert_eq!(body(&one, "/refresh/a/2"), "1");
    computing(&there);
    assert_eq!(body(&other, "/refresh/a/3"), "1");
    computing(&elsewhere);
    go(&elsewhere);
    // The value is stale from the start, so each request begins a refresh.
    wait_until("the other process is done", || {
        body(&other, "/refresh/a/3") == "3"
    });
    go(&there);
    for server in [&one, &other] {
        assert_eq!(body(server, "/refresh/a/3"), "3");
    }
    // After a removal, a computation that began before is not stored.
    std::fs::remove_file(there.path().join("go")).unwrap();
    std::fs::remove_file(there.path().join("computing")).unwrap();
    wait_until("a new refresh begins", || {
        body(&one, "/refresh/a/3");
        there.path().join("computing").exists()
    });
    assert_eq!(body(&other, "/remove/a"), "true");
    go(&there);
    assert_eq!(body(&other, "/refresh/a/4"), "4");
    assert_eq!(body(&one, "/refresh/a/5"), "4");
}
