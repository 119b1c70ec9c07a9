//! The cache: every request finds a value that one request stored, until it is removed, and never after.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rocket::futures::FutureExt;
use rocket::futures::future::{join, join_all};
use rocket::local::asynchronous::Client;
use rocket::{async_test, get, routes};
use rocket_session_kit::store::Namespace;
use rocket_session_kit::testing::{Act, Gate, Probe};
use rocket_session_kit::{
    Cache, Clock, Error, ErrorKind, MemoryStore, Result, SessionId, Sessions,
};
use serde::{Deserialize, Serialize};

use crate::support::process::{Server, wait_until};
use crate::support::{Backend, figment, on_every_shared_store, on_every_store};

/// An application on a back end, with a manual clock.
pub(crate) struct App {
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    _backend: Backend,
}

impl App {
    pub(crate) async fn launch(backend: Backend, settings: &str) -> Self {
        let clock = Clock::manual();
        let client = launch(&backend, settings, &clock).await;
        Self {
            client,
            clock,
            _backend: backend,
        }
    }

    pub(crate) fn cache(&self) -> &Cache {
        cache(&self.client)
    }
}

pub(crate) async fn launch(backend: &Backend, settings: &str, clock: &Clock) -> Client {
    let rocket = rocket::custom(backend.figment(settings))
        .manage(clock.clone())
        .mount("/", routes![keep, find])
        .attach(Sessions::fairing());
    let client = Client::untracked(rocket).await;
    client.expect("the application launches")
}

pub(crate) fn cache(client: &Client) -> &Cache {
    let cache = client.rocket().state();
    cache.expect("the fairing manages it")
}

/// A cache whose store fails on demand.
pub(crate) async fn probed() -> (Client, Probe) {
    let probe = Probe::new(MemoryStore::new());
    let figment = figment().merge(("sessions.store_timeout", 100));
    let rocket = rocket::custom(figment)
        .mount("/", routes![keep, find])
        .attach(Sessions::with(probe.clone()));
    let client = Client::untracked(rocket).await;
    (client.expect("the application launches"), probe)
}

#[get("/keep/<name>/<value>")]
async fn keep(name: &str, value: &str, cache: &Cache) -> Result<()> {
    cache.set(name, value).await
}

#[get("/find/<name>")]
async fn find(name: &str, cache: &Cache) -> Result<String> {
    Ok(cache.get(name).await?.unwrap_or_else(|| "none".into()))
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Article {
    title: String,
    ratings: Vec<u64>,
}

async fn get(client: &Client, path: &str) -> (u16, String) {
    let response = client.get(path.to_owned()).dispatch().await;
    let status = response.status().code;
    (status, response.into_string().await.unwrap_or_default())
}

/// Returns the number under `name`.
pub(crate) async fn number(cache: &Cache, name: &str) -> Option<u64> {
    cache.get(name).await.unwrap()
}

on_every_store! {
    cached_values_are_visible_to_every_request
    every_cache_method_has_its_documented_effect
    every_text_is_a_distinct_key
    a_value_of_another_type_is_an_error_and_no_miss
    a_pattern_lists_only_matching_keys
    clearing_touches_neither_another_prefix_nor_a_session
    a_value_is_kept_for_its_time
    a_hundred_misses_at_once_compute_once
    a_failed_computation_blocks_no_request_and_stores_nothing
    a_panicked_or_dropped_computation_blocks_no_request
    a_value_computed_before_a_removal_is_not_stored
    a_request_after_a_removal_gets_no_value_computed_before_it
}

async fn cached_values_are_visible_to_every_request(backend: Backend) {
    let app = App::launch(backend, "").await;
    assert_eq!(get(&app.client, "/find/a").await, (200, "none".into()));
    assert_eq!(get(&app.client, "/keep/a/x%2Fy").await.0, 200);
    assert_eq!(get(&app.client, "/find/a").await, (200, "x/y".into()));
}

async fn every_cache_method_has_its_documented_effect(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    let article = Article {
        title: "?\"\u{0}é".into(),
        ratings: vec![u64::MAX, 0],
    };
    assert!(!cache.contains("a").await.unwrap());
    assert!(!cache.remove("a").await.unwrap());
    assert_eq!(cache.take::<Article>("a").await.unwrap(), None);
    cache.set("a", &article).await.unwrap();
    assert!(cache.contains("a").await.unwrap());
    assert_eq!(cache.get("a").await.unwrap().as_ref(), Some(&article));
    cache.set("a", &1).await.unwrap();
    assert_eq!(cache.get("a").await.unwrap(), Some(1));
    assert_eq!(cache.take("a").await.unwrap(), Some(1));
    assert!(!cache.contains("a").await.unwrap());
    // `None` is a value too, and not a miss.
    cache.set("a", &None::<u8>).await.unwrap();
    assert_eq!(cache.get::<Option<u8>>("a").await.unwrap(), Some(None));
    assert!(cache.remove("a").await.unwrap());
    assert!(!cache.contains("a").await.unwrap());
    // Of many concurrent takes, one gets the value.
    cache.set("a", &1).await.unwrap();
    let takers = join_all((0..20).map(|_| cache.take::<u8>("a"))).await;
    assert_eq!(
        takers
            .iter()
            .filter(|taken| matches!(taken, Ok(Some(1))))
            .count(),
        1
    );
}

async fn every_text_is_a_distinct_key(backend: Backend) {
    let app = App::launch(backend, "").await;
    let long = "x".repeat(10_000);
    let names = [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "/",
        "a/b",
        "a:b",
        "%",
        "%41",
        "A",
        "a",
        "*",
        "?",
        "[a-z]",
        "\0",
        "a\r\nFLUSHALL\r\n",
        "é",
        "#",
        " ",
        "rate",
        &long,
        &long[1..],
    ];
    for (n, name) in names.iter().enumerate() {
        app.cache().set(name, &n).await.unwrap();
    }
    for (n, name) in names.iter().enumerate() {
        assert_eq!(app.cache().get(name).await.unwrap(), Some(n), "{name:.20?}");
    }
    let mut listed = app.cache().keys("*").await.unwrap();
    listed.sort();
    let mut short = names[..names.len() - 2].to_vec();
    short.sort();
    assert_eq!(listed, short);
}

async fn a_value_of_another_type_is_an_error_and_no_miss(backend: Backend) {
    let app = App::launch(backend, "").await;
    app.cache().set("a", "hunter2").await.unwrap();
    let computed = app.cache().get_or_compute("a", None, || async {
        panic!("an existing value is not a miss");
        #[expect(unreachable_code, reason = "it gives the type")]
        Ok::<u64, Error>(0)
    });
    let errors = [
        app.cache().get::<u64>("a").await.unwrap_err(),
        computed.await.unwrap_err(),
        app.cache().take::<u64>("a").await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Value);
        let text = error.to_string();
        assert!(
            text.contains("`remove`") && !text.contains("hunter2"),
            "{text}"
        );
    }
    // The client sees an error of the server.
    app.cache().set("a", &5).await.unwrap();
    assert_eq!(get(&app.client, "/find/a").await.0, 500);
    app.cache().remove("a").await.unwrap();
    assert_eq!(get(&app.client, "/find/a").await, (200, "none".into()));
    // A value without a form in JSON is an error too.
    let map = std::collections::HashMap::from([((1, 2), 3)]);
    assert_eq!(
        app.cache().set("b", &map).await.unwrap_err().kind(),
        ErrorKind::Value
    );
}

async fn a_pattern_lists_only_matching_keys(backend: Backend) {
    let app = App::launch(backend, "").await;
    for name in ["user:1", "user:12", "user:1:x", "news", "*", "u[s]er"] {
        app.cache().set(name, &1).await.unwrap();
    }
    for (pattern, matching) in [
        ("*", "*,news,u[s]er,user:1,user:12,user:1:x"),
        ("user:?", "user:1"),
        ("user:*", "user:1,user:12,user:1:x"),
        ("*:1*", "user:1,user:12,user:1:x"),
        ("u[s]er", "u[s]er"),
        ("u[s]er:*", ""),
        ("", ""),
        ("cache:*", ""),
    ] {
        let mut listed = app.cache().keys(pattern).await.unwrap();
        listed.sort();
        assert_eq!(listed.join(","), matching, "{pattern}");
    }
}

async fn clearing_touches_neither_another_prefix_nor_a_session(backend: Backend) {
    // The directory and the server are shared. Memory is not, but the sessions are in the same store.
    let clock = Clock::manual();
    let ours = launch(&backend, "cache={prefix=\"a\"}", &clock).await;
    let others = launch(&backend, "cache={prefix=\"a-b\"}", &clock).await;
    let sessions: &Sessions = ours.rocket().state().unwrap();
    let id = SessionId::random();
    let session = format!(
        r#"{{"rev":"9f86d081884c7d65","expires":99999999999,"v":1,"created":1,"accessed":1,"user":"{}"}}"#,
        id.to_hex()
    );
    let save = rocket_session_kit::store::Save {
        bytes: session.as_bytes(),
        ttl: Duration::from_secs(60),
        precondition: rocket_session_kit::store::Precondition::Absent,
    };
    sessions.store().save_session(&id, save).await.unwrap();
    cache(&others).set("theirs", &1).await.unwrap();
    cache(&ours).set("ours", &1).await.unwrap();
    // Even under the name of a session.
    cache(&ours).set(&id.to_hex(), &1).await.unwrap();

    assert_eq!(cache(&ours).keys("*").await.unwrap().len(), 2);
    cache(&ours).clear().await.unwrap();
    assert_eq!(cache(&ours).keys("*").await.unwrap(), [""; 0]);
    assert_eq!(cache(&others).keys("*").await.unwrap(), ["theirs"]);
    assert!(sessions.store().has_session(&id).await.unwrap());
}

async fn a_value_is_kept_for_its_time(backend: Backend) {
    // A server uses its own clock, so the test waits.
    let app = App::launch(backend, "cache={ttl=1}").await;
    let cache = app.cache();
    cache.set("default", &1).await.unwrap();
    cache
        .set_for("short", &1, Duration::from_millis(1))
        .await
        .unwrap();
    cache
        .set_for("long", &1, Duration::from_secs(3600))
        .await
        .unwrap();
    // A lifetime of zero, which some servers read as forever.
    let none = Duration::ZERO;
    cache.set_for("none", &1, none).await.unwrap();
    let one = || async { Ok::<_, Error>(1) };
    let computed = cache.get_or_compute("computed for none", none, one).await;
    assert_eq!(computed.unwrap(), 1);
    cache.get_or_compute("computed", None, one).await.unwrap();
    let hour = Duration::from_secs(3600);
    cache
        .get_or_compute("computed for long", hour, one)
        .await
        .unwrap();
    app.clock.advance(Duration::from_secs(1));
    let started = Instant::now();
    loop {
        let mut left = cache.keys("*").await.unwrap();
        left.sort();
        if left == ["computed for long", "long"] {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{left:?}");
        rocket::tokio::task::yield_now().await;
    }
    assert_eq!(number(cache, "default").await, None);
    assert_eq!(number(cache, "long").await, Some(1));
}

#[async_test]
async fn a_time_to_live_of_zero_keeps_values_for_ever() {
    for backend in [Backend::memory(), Backend::directory()] {
        let app = App::launch(backend, "cache={ttl=0}").await;
        app.cache().set("a", &1).await.unwrap();
        app.clock.advance(Duration::from_secs(10 * 365 * 86_400));
        assert_eq!(number(app.cache(), "a").await, Some(1));
    }
}

async fn a_hundred_misses_at_once_compute_once(backend: Backend) {
    let app = App::launch(backend, "").await;
    let (computed, gate) = (AtomicUsize::new(0), Gate::new());
    let ask = || {
        app.cache().get_or_compute("a", None, || async {
            computed.fetch_add(1, Ordering::SeqCst);
            gate.pass().await;
            Ok::<_, Error>(7)
        })
    };
    let all = join_all((0..100).map(|_| ask()));
    let ((), values) = join(
        async {
            gate.arrived().await;
            gate.open();
        },
        all,
    )
    .await;
    assert!(values.into_iter().all(|value| value.unwrap() == 7));
    assert_eq!(ask().await.unwrap(), 7);
    assert_eq!(computed.into_inner(), 1);
    assert_eq!(number(app.cache(), "a").await, Some(7));
}

/// Requests a value ten times at once. Its first computation fails, and the others wait for it.
/// Returns their results, and the number of computations.
async fn ten_after_a_failure<F, Fut>(app: &App, go_wrong: F) -> (Vec<Result<u64, ()>>, usize)
where
    F: Fn(Gate) -> Fut,
    Fut: Future<Output = Result<u64>>,
{
    let (computations, gate) = (AtomicUsize::new(0), Gate::new());
    let ask = || async {
        let asked = app.cache().get_or_compute("a", None, || async {
            match computations.fetch_add(1, Ordering::SeqCst) {
                0 => go_wrong(gate.clone()).await,
                n => Ok(n as u64),
            }
        });
        match std::panic::AssertUnwindSafe(asked).catch_unwind().await {
            Ok(Ok(value)) => Ok(value),
            _ => Err(()),
        }
    };
    let first = ask();
    let others = async {
        gate.arrived().await;
        let all = join_all((0..9).map(|_| ask()));
        // By then, each request has read the cache, or comes later and finds the failure over.
        let open = async {
            rocket::tokio::task::yield_now().await;
            gate.open();
        };
        join(all, open).await.0
    };
    let (first, mut responses) = join(first, others).await;
    responses.insert(0, first);
    (responses, computations.into_inner())
}

async fn a_failed_computation_blocks_no_request_and_stores_nothing(backend: Backend) {
    let app = App::launch(backend, "").await;
    let fail = || async { Err::<u64, _>(Error::new(ErrorKind::Invalid, "compute")) };
    let error = app.cache().get_or_compute("b", None, fail).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
    assert!(!app.cache().contains("b").await.unwrap());
    assert_eq!(number(app.cache(), "b").await, None);

    let responses = ten_after_a_failure(&app, |gate| async move {
        gate.pass().await;
        Err(Error::new(ErrorKind::Invalid, "compute"))
    });
    let (responses, computations) = responses.await;
    assert!(
        responses[0].is_err() && responses[1..].iter().all(Result::is_ok),
        "{responses:?}"
    );
    assert_eq!(computations, 2, "one of the others does it for all of them");
    assert!(app.cache().contains("a").await.unwrap());
}

async fn a_panicked_or_dropped_computation_blocks_no_request(backend: Backend) {
    let app = App::launch(backend, "").await;
    let responses = ten_after_a_failure(&app, |gate| async move {
        gate.pass().await;
        panic!("a test makes the computation panic")
    });
    let (responses, computations) = responses.await;
    assert!(
        responses[0].is_err() && responses[1..].iter().all(Result::is_ok),
        "{responses:?}"
    );
    assert_eq!(computations, 2, "one of the others does it for all of them");

    app.cache().remove("a").await.unwrap();
    let gate = Gate::new();
    let never = app.cache().get_or_compute("a", None, || async {
        gate.pass().await;
        Ok::<u64, Error>(0)
    });
    let mut never = Box::pin(never);
    rocket::tokio::select! {
        _ = &mut never => unreachable!("its gate stays closed"),
        () = gate.arrived() => {}
    }
    let waits = app
        .cache()
        .get_or_compute("a", None, || async { Ok::<u64, Error>(1) });
    let (value, ()) = join(waits, async { drop(never) }).await;
    assert_eq!(value.unwrap(), 1);
    assert_eq!(number(app.cache(), "a").await, Some(1));
}

async fn a_value_computed_before_a_removal_is_not_stored(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    for (act, left) in [
        ("remove", None),
        ("take", None),
        ("clear", None),
        ("set", Some(2)),
    ] {
        let gate = Gate::new();
        let computing = cache.get_or_compute("a", None, || async {
            gate.pass().await;
            Ok::<u64, Error>(1)
        });
        let meddling = async {
            gate.arrived().await;
            match act {
                "remove" => assert!(cache.remove("a").await.unwrap()),
                "take" => assert_eq!(cache.take::<u64>("a").await.unwrap(), None),
                "clear" => cache.clear().await.unwrap(),
                _ => cache.set("a", &2).await.unwrap(),
            }
            gate.open();
        };
        let (value, ()) = join(computing, meddling).await;
        assert_eq!(
            value.unwrap(),
            1,
            "{act}: each waiting request gets the computed value"
        );
        assert_eq!(number(cache, "a").await, left, "{act}");
        assert!(!cache.contains("b").await.unwrap());
        cache.remove("a").await.unwrap();
    }
}

async fn a_request_after_a_removal_gets_no_value_computed_before_it(backend: Backend) {
    let app = App::launch(backend, "").await;
    let cache = app.cache();
    let gate = Gate::new();
    let old = cache.get_or_compute("a", None, || async {
        gate.pass().await;
        Ok::<u64, Error>(1)
    });
    let new = async {
        gate.arrived().await;
        cache.remove("a").await.unwrap();
        let new = cache.get_or_compute("a", None, || async { Ok::<u64, Error>(2) });
        let new = new.await.unwrap();
        gate.open();
        new
    };
    let (old, new) = join(old, new).await;
    assert_eq!((old.unwrap(), new), (1, 2));
    assert_eq!(number(cache, "a").await, Some(2));
}

#[async_test]
async fn requests_for_a_failing_computation_do_not_queue_up() {
    let app = App::launch(Backend::memory(), "").await;
    let (at_once, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let ask = || {
        app.cache().get_or_compute("a", None, || async {
            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            for _ in 0..50 {
                rocket::tokio::task::yield_now().await;
            }
            at_once.fetch_sub(1, Ordering::SeqCst);
            Err::<u64, _>(Error::new(ErrorKind::Invalid, "compute"))
        })
    };
    let responses = join_all((0..10).map(|_| ask())).await;
    assert!(responses.iter().all(Result::is_err));
    // After the second failure, each request computes for itself.
    assert_eq!(most.into_inner(), 8);
}

on_every_shared_store! {
    a_removal_by_another_process_discards_earlier_computations
    the_first_value_of_two_computing_processes_is_kept
    a_computation_of_a_dead_process_is_taken_over_at_once
}

/// Two processes on one back end, in directories of their own.
pub(crate) fn two_processes(backend: &Backend) -> [(Server, tempfile::TempDir); 2] {
    let settings = backend.environment("multiprocess=true");
    [(); 2].map(|()| {
        let there = tempfile::tempdir().unwrap();
        let server = Server::start("shared", there.path(), &[("ROCKET_SESSIONS", &settings)]);
        (server, there)
    })
}

pub(crate) fn body(server: &Server, path: &str) -> String {
    let (status, _, body) = server.get(path, None);
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn a_removal_by_another_process_discards_earlier_computations(backend: Backend) {
    let [(one, there), (other, _kept)] = two_processes(&backend);
    std::thread::scope(|scope| {
        let computing = scope.spawn(|| body(&one, "/compute/a/old"));
        wait_until("it computes", || there.path().join("computing").exists());
        assert_eq!(body(&other, "/remove/a"), "true");
        std::fs::write(there.path().join("go"), "").unwrap();
        assert_eq!(computing.join().unwrap(), "old");
    });
    assert_eq!(body(&one, "/get/a"), "none");
    assert_eq!(body(&other, "/get/a"), "none");
    // Without a removal, the value is stored.
    assert_eq!(body(&one, "/compute/a/new"), "new");
    assert_eq!(body(&other, "/get/a"), "new");
}

async fn a_computation_of_a_dead_process_is_taken_over_at_once(backend: Backend) {
    let [(one, there), (other, elsewhere)] = two_processes(&backend);
    std::fs::write(elsewhere.path().join("go"), "").unwrap();
    let url = one.url("/compute/a/never");
    let computing = std::thread::spawn(move || ureq::get(url).call().is_err());
    wait_until("it computes", || there.path().join("computing").exists());
    one.kill();
    assert!(computing.join().unwrap());
    assert_eq!(body(&other, "/get/a"), "none");
    assert_eq!(body(&other, "/compute/a/new"), "new");
    assert_eq!(body(&other, "/get/a"), "new");
}

async fn the_first_value_of_two_computing_processes_is_kept(backend: Backend) {
    let [(one, there), (other, elsewhere)] = two_processes(&backend);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| body(&one, "/compute/a/first"));
        wait_until("it computes", || there.path().join("computing").exists());
        let second = scope.spawn(|| body(&other, "/compute/a/second"));
        wait_until("so does the other", || {
            elsewhere.path().join("computing").exists()
        });
        std::fs::write(elsewhere.path().join("go"), "").unwrap();
        assert_eq!(second.join().unwrap(), "second");
        assert_eq!(body(&one, "/get/a"), "second");
        std::fs::write(there.path().join("go"), "").unwrap();
        assert_eq!(first.join().unwrap(), "first");
    });
    assert_eq!(body(&other, "/get/a"), "second");
}

#[async_test]
async fn a_get_is_one_round_trip_and_a_computation_two_more() {
    let (client, probe) = probed().await;
    let cache = cache(&client);
    let compute = || cache.get_or_compute("a", None, || async { Ok::<u64, Error>(1) });
    compute().await.unwrap();
    assert_eq!(probe.calls().entries, 3);
    compute().await.unwrap();
    assert_eq!(probe.calls().entries, 1);
    number(cache, "a").await;
    assert_eq!(probe.calls().entries, 1);
    cache.set("a", &1).await.unwrap();
    assert_eq!(probe.calls().entries, 1);
    cache.remove("a").await.unwrap();
    assert_eq!(probe.calls().entries, 1);
    cache.take::<u64>("a").await.unwrap();
    assert_eq!(probe.calls().entries, 1);
    cache.contains("a").await.unwrap();
    assert_eq!(probe.calls().entries, 1);
}

#[async_test]
async fn a_store_failure_is_an_error_but_does_not_stop_computations() {
    type Fault = fn(&Probe, Act);
    let faults: [(&str, Fault); 3] = [
        ("fails", Probe::fail),
        ("hangs", Probe::hang),
        ("panics", Probe::panic),
    ];
    for (how, fault) in faults {
        let (client, probe) = probed().await;
        let cache = cache(&client);
        cache.set("a", &1).await.unwrap();
        for act in [Act::GetEntry, Act::KeepEntry, Act::RemoveEntry] {
            fault(&probe, act);
        }
        let started = Instant::now();
        for (path, status) in [("/find/a", 503), ("/keep/a/1", 503)] {
            let response = client.get(path).dispatch().await;
            assert_eq!(response.status().code, status, "{path} {how}");
            assert_eq!(
                response.headers().get_one("Retry-After"),
                Some("5"),
                "{path} {how}"
            );
        }
        let down = |error: Error| assert_eq!(error.kind(), ErrorKind::Unavailable, "{how}");
        down(cache.remove("a").await.unwrap_err());
        down(cache.contains("a").await.unwrap_err());
        down(cache.take::<u8>("a").await.unwrap_err());

        // Concurrent requests still share one computation.
        let (computed, gate) = (AtomicUsize::new(0), Gate::new());
        let ask = || {
            cache.get_or_compute("b", None, || async {
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
        assert!(values.into_iter().all(|value| value.unwrap() == 7), "{how}");
        // Requests that wait for a hanging store need not give up at the same moment.
        assert!(
            how == "hangs" || computed.load(Ordering::SeqCst) == 1,
            "{how}"
        );
        // A later request computes again: the process keeps nothing.
        let before = computed.load(Ordering::SeqCst);
        assert_eq!(ask().await.unwrap(), 7, "{how}");
        assert_eq!(computed.load(Ordering::SeqCst), before + 1, "{how}");
        assert!(started.elapsed() < Duration::from_secs(5), "{how}");
        probe.heal();
        assert_eq!(number(cache, "a").await, Some(1), "{how}");
        assert_eq!(number(cache, "b").await, None, "{how}");
    }
}

#[async_test]
async fn a_computed_value_is_returned_even_when_storing_fails() {
    let (client, probe) = probed().await;
    let gate = probe.gate(Act::KeepEntry);
    gate.open();
    let asked = cache(&client).get_or_compute("a", None, || async {
        probe.fail(Act::KeepEntry);
        gate.open();
        Ok::<u64, Error>(1)
    });
    assert_eq!(asked.await.unwrap(), 1);
    probe.heal();
    assert_eq!(number(cache(&client), "a").await, None);
}

#[async_test]
async fn listing_and_clearing_time_out_on_a_hanging_store() {
    let (client, probe) = probed().await;
    probe.hang(Act::RemoveEntry);
    let started = Instant::now();
    let error = cache(&client).clear().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[async_test]
async fn the_cache_can_have_a_store_of_its_own() {
    let there = tempfile::tempdir().unwrap();
    let probe = Probe::new(MemoryStore::new());
    let figment = figment()
        .merge(("sessions.cache.store", "directory"))
        .merge(("sessions.cache.prefix", "shop"))
        .merge(("sessions.directory.path", there.path().join("kept")));
    let rocket = rocket::custom(figment).attach(Sessions::with(probe.clone()));
    let client = Client::untracked(rocket).await.unwrap();
    cache(&client).set("a", "x").await.unwrap();
    assert_eq!(probe.calls().entries, 0);
    let file = there.path().join("kept/cache-shop/a");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.ends_with("\n\"x\""), "{text}");
}

#[async_test]
async fn one_store_object_serves_sessions_and_cache() {
    let probe = Arc::new(Probe::new(MemoryStore::new()));
    let rocket = rocket::custom(figment()).attach(Sessions::with((*probe).clone()));
    let client = Client::untracked(rocket).await.unwrap();
    cache(&client).set("a", &1).await.unwrap();
    let entries = rocket_session_kit::store::SessionStore::key_value(probe).unwrap();
    let key = Namespace::new("cache").unwrap().key("a");
    assert_eq!(entries.get(&key).await.unwrap().as_deref(), Some(&b"1"[..]));
}
