//! Saves happen one at a time, in the order of the changes, completely, and within a time limit.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rocket::fairing::AdHoc;
use rocket::futures::FutureExt;
use rocket::futures::future::join;
use rocket::tokio::select;
use rocket::{State, async_test, get, routes};
use rocket_session_kit::store::Saved;
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Result, Session};

use crate::support::{App, Gates};

/// Saves twice at once.
#[get("/two_saves")]
async fn two_saves(session: &Session) -> Result<()> {
    session.insert("first", 1)?;
    let second = async {
        session.insert("second", 2)?;
        session.save().await
    };
    let (one, two) = join(session.save(), second).await;
    one.and(two)
}

/// Changes a value during its own save, which fails.
#[get("/change_under_way")]
async fn change_under_way(session: &Session, gates: &State<Gates>) -> Result<String> {
    gates.wait(Some("loaded")).await;
    session.insert("n", "older")?;
    let later = async { session.insert("n", "newer") };
    let (save, later) = join(session.save(), later).await;
    later?;
    gates.wait(Some("failed")).await;
    Ok(save.expect_err("the store hangs").to_string())
}

/// The error of a save. If the final save fails too, its error replaces the response of this one.
#[derive(Default)]
struct Why(Mutex<String>);

#[get("/why/<value>")]
async fn why(value: &str, session: &Session, why: &State<Why>) -> Result<()> {
    session.insert("n", value)?;
    session
        .save()
        .await
        .inspect_err(|error| *why.0.lock().unwrap() = error.to_string())
}

#[async_test]
async fn two_saves_of_one_handler_run_in_sequence() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![two_saves])).await;
    let visitor = app.visitor();
    let gate = app.probe.gate(Act::Save);
    let one_by_one = async {
        gate.arrived().await;
        // Nothing else of this request is at the store.
        for _ in 0..100 {
            rocket::tokio::task::yield_now().await;
        }
        let another = gate.arrived().now_or_never();
        gate.open_for_all();
        another.is_none()
    };
    let (response, alone) = join(visitor.get("/two_saves"), one_by_one).await;
    assert_eq!(response.status.code, 200);
    assert!(alone, "the second waits for the first");
    assert_eq!(app.list().await.len(), 1, "one visitor has one session");
    assert_eq!(visitor.get("/get/first").await.body, "1");
    assert_eq!(visitor.get("/get/second").await.body, "2");
}

#[async_test]
async fn a_change_after_a_failed_save_wins() {
    let build =
        |rocket: rocket::Rocket<rocket::Build>| rocket.mount("/", routes![change_under_way]);
    let app = App::built(|f| f.merge(("sessions.store_timeout", 100)), build).await;
    let visitor = app.known_visitor().await;
    let (loaded, failed) = (app.gate("loaded"), app.gate("failed"));
    let heal = async {
        loaded.arrived().await;
        // The save meets another one, and cannot load its result.
        app.probe.stub_next_save(Saved::Changed);
        app.probe.hang(Act::Load);
        loaded.open();
        failed.arrived().await;
        app.probe.heal();
        // The changes are made again, to the result of this save.
        assert_eq!(visitor.get("/set/other/1").await.status.code, 200);
        failed.open();
    };
    let (response, ()) = join(visitor.get("/change_under_way"), heal).await;
    assert_eq!(response.status.code, 200);
    assert_eq!(visitor.get("/get/n").await.body, "\"newer\"");
}

#[async_test]
async fn a_change_reported_as_unsaved_is_not_saved_later() {
    let later = AdHoc::on_response("saves once more", |request, response| {
        Box::pin(async move {
            if response.status().code != 503 {
                return;
            }
            let gates: &Gates = request.rocket().state().expect("it is managed");
            gates.wait(Some("told")).await;
            let session = request.guard::<&Session>().await.unwrap();
            session.save().await.unwrap();
        })
    });
    let app = App::built(|f| f, |rocket| rocket.attach(later)).await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Save);
    let told = app.gate("told");
    let heal = async {
        told.arrived().await;
        app.probe.heal();
        told.open();
    };
    let (response, ()) = join(visitor.get("/set/n/5"), heal).await;
    assert_eq!(response.status.code, 503);
    assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
}

#[async_test]
async fn a_save_with_endless_conflicts_gives_up_in_time() {
    let build = |rocket: rocket::Rocket<rocket::Build>| {
        rocket.manage(Why::default()).mount("/", routes![why])
    };
    let app = App::built(|f| f.merge(("sessions.store_timeout", 100)), build).await;
    let visitor = app.known_visitor().await;
    let gate = app.probe.gate(Act::Save);
    let others = async {
        let started = Instant::now();
        // Three times as long as the handler's save and the final save may take.
        while started.elapsed() < Duration::from_secs(6) {
            gate.arrived().await;
            app.probe.stub_next_save(Saved::Changed);
            gate.open();
        }
        panic!("it does not end");
    };
    select! {
        () = others => unreachable!("it panics"),
        response = visitor.get("/why/1") => {
            assert_eq!(response.status.code, 503);
            let why: &Why = app.client.rocket().state().expect("it is managed");
            let why = why.0.lock().unwrap();
            assert!(why.contains("too many requests change this session at once"), "{why}");
        }
    }
}

#[async_test]
async fn a_touch_that_conflicts_with_a_save_loses_no_change() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    app.clock.advance(Duration::from_secs(120));
    let (touched, saves) = (app.gate("touched"), app.probe.gate(Act::Save));
    let order = async {
        // The reading request has loaded the session, and touches it, when the other one saves.
        touched.arrived().await;
        let save = visitor.get("/set/n/1");
        let through = async {
            saves.arrived().await;
            saves.open_for_all();
        };
        assert_eq!(join(save, through).await.0.status.code, 200);
        touched.open();
    };
    app.probe.calls();
    let (response, ()) = join(visitor.get("/touch?gate=touched"), order).await;
    assert_eq!(response.status.code, 200);
    assert_eq!(app.probe.calls().save, 2, "both were at the store");
    assert!(!response.removes_session(), "{response:?}");
    assert_eq!(visitor.get("/get/n").await.body, "\"1\"");
}

/// Begins a session, saves it, and ends it.
#[get("/begin_and_end")]
async fn begin_and_end(session: &Session) -> Result<()> {
    session.insert("n", 1)?;
    session.save().await?;
    session.end();
    Ok(())
}

#[async_test]
async fn a_session_that_its_first_request_saves_and_ends_gets_no_cookie() {
    let build = |rocket: rocket::Rocket<rocket::Build>| rocket.mount("/", routes![begin_and_end]);
    App::on_every_store(build, async |app| {
        let visitor = app.visitor();
        let response = visitor.get("/begin_and_end").await;
        assert_eq!(response.header("Set-Cookie"), None);
        app.holds(0).await;
    })
    .await;
}
