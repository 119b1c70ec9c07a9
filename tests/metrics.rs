//! The figures for Prometheus: events are counted, and calls to stores are timed.

use metrics_exporter_prometheus::PrometheusBuilder;
use rocket::local::asynchronous::Client;
use rocket_session_kit::testing::{Act, Probe};
use rocket_session_kit::{MemoryStore, SessionMetrics, Sessions};

use crate::support::process::wait_until;
use crate::support::served::Served;
use crate::support::{Backend, Gates, Visitor, figment, on_every_store, routes};

#[allow(dead_code, reason = "a test needs no `main`")]
#[path = "../examples/metrics.rs"]
mod example;

on_every_store! {
    events_are_counted_and_calls_are_timed
}

async fn events_are_counted_and_calls_are_timed(backend: Backend) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    // The requests of this client stay in this thread.
    let _recorded = ::metrics::set_default_local_recorder(&recorder);
    let rocket = rocket::custom(backend.figment("rate_limit={limit=9}"))
        .manage(Gates::default())
        .mount("/", routes())
        .attach(Sessions::fairing().events(SessionMetrics));
    let client = Client::untracked(rocket).await.expect("it launches");
    let sessions: &Sessions = client.rocket().state().expect("it is managed");
    let store = sessions.store().name();
    let visitor = Visitor::new(&client);
    for path in ["/set/n/1", "/login/s3cr3t", "/who", "/who", "/logout"] {
        visitor.get(path).await;
    }
    visitor.set_cookie("id", "invented");
    for _ in 0..5 {
        visitor.get("/touch").await;
    }
    let text = figures.render();
    let line = |line: &str| {
        let is_there = text.lines().any(|other| other == line);
        assert!(is_there, "{line} is not in {text}");
    };
    for (event, reason, count) in [
        ("created", "", 1),
        ("renewed", "", 1),
        ("logged_in", "", 1),
        ("ended", "logged_out", 1),
        ("cookie_rejected", "undecryptable", 5),
        ("rate_limited", "app", 1),
    ] {
        line(&format!(
            r#"rocket_session_events_total{{event="{event}",reason="{reason}"}} {count}"#
        ));
    }
    for (act, count) in [
        ("load a session", 4),
        ("save a session", 4),
        ("delete a session", 1),
        ("count a request", 19),
    ] {
        line(&format!(
            r#"rocket_session_store_call_seconds_count{{store="{store}",act="{act}"}} {count}"#
        ));
    }
    let cookie = visitor.cookie("id").expect("it was invented");
    assert!(
        !text.contains("s3cr3t") && !text.contains(&cookie),
        "{text}"
    );
    assert!(!text.contains("failures"), "{text}");
}

#[rocket::async_test]
async fn failures_of_a_store_are_counted_by_their_act() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recorded = ::metrics::set_default_local_recorder(&recorder);
    let probe = Probe::new(MemoryStore::new());
    let rocket = rocket::custom(figment())
        .manage(Gates::default())
        .mount("/", routes())
        .attach(Sessions::with(probe.clone()).events(SessionMetrics));
    let client = Client::untracked(rocket).await.expect("it launches");
    let visitor = Visitor::new(&client);
    visitor.get("/set/n/1").await;
    probe.fail(Act::Load);
    for _ in 0..2 {
        assert_eq!(visitor.get("/who").await.status.code, 503);
    }
    let text = recorder.handle().render();
    let line = r#"rocket_session_store_failures_total{store="memory",act="load a session"} 2"#;
    assert!(text.lines().any(|other| other == line), "{text}");
}

#[test]
fn the_example_serves_its_figures_to_prometheus() {
    let figment = figment().merge(("sessions.store", "memory"));
    // This installs the recorder of this process, so no other test can.
    let site = Served::of(example::rocket().configure(figment));
    let get = |path: &str| {
        let mut response = ureq::get(site.url(path)).call().expect("it responds");
        response.body_mut().read_to_string().expect("it is text")
    };
    assert_eq!(get("/"), "visits: 1\n");
    let created = r#"rocket_session_events_total{event="created",reason=""} 1"#;
    let saves =
        r#"rocket_session_store_call_seconds_bucket{store="memory",act="save a session",le="1"} 1"#;
    wait_until("the figures are there", || {
        let figures = get("/metrics");
        [created, saves]
            .iter()
            .all(|line| figures.lines().any(|other| other == *line))
    });
}
