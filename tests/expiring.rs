//! The server ends a session in time, independent of browser and sweep.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocket::async_test;
use rocket::figment::Figment;
use rocket::futures::TryStreamExt;
use rocket_session_kit::store::{Precondition, Save, SessionStore};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Clock, DirectoryStore};

use crate::support::{App, Visitor};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn is_alive(visitor: &Visitor<'_>) -> bool {
    visitor.copy().get("/keys").await.body == "n"
}

#[async_test]
async fn an_idle_session_ends() {
    let app = App::configured(|f| f.merge(("sessions.idle_timeout", 600))).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(10 * MINUTE - Duration::from_secs(1));
    assert!(app.list().await.len() == 1);
    app.clock.advance(Duration::from_secs(1));
    let response = visitor.get("/keys").await;
    assert_eq!(response.body, "");
    assert!(response.session_cookie().is_none());
}

#[async_test]
async fn a_session_in_use_does_not_expire() {
    let app = App::configured(|f| f.merge(("sessions.idle_timeout", 600))).await;
    let visitor = app.known_visitor().await;
    for _ in 0..10 {
        app.clock.advance(9 * MINUTE);
        assert!(is_alive(&visitor).await);
    }
    app.clock.advance(10 * MINUTE);
    assert!(!is_alive(&visitor).await);
}

#[async_test]
async fn no_request_extends_a_session_beyond_its_absolute_timeout() {
    let app = App::configured(|f| f.merge(("sessions.absolute_timeout", 3600))).await;
    let visitor = app.known_visitor().await;
    for minute in 1..60 {
        app.clock.advance(MINUTE);
        // Whatever the browser does, and after a restart too.
        let app = app
            .again(|f| f.merge(("sessions.absolute_timeout", 3600)))
            .await;
        let path = [
            "/set/n/1",
            "/set/n/2",
            "/touch",
            "/renew",
            "/set_user/alice",
        ][minute % 5];
        let again = Visitor::new(&app.client);
        again.set_cookie("id", &visitor.cookie("id").unwrap());
        assert_eq!(again.get("/keys").await.body, "n", "in minute {minute}");
        again.get(path).await;
        visitor.set_cookie("id", &again.cookie("id").unwrap());
    }
    app.clock.advance(MINUTE);
    assert!(!is_alive(&visitor).await);
    assert!(
        app.list().await.is_empty(),
        "the store knows when it expires"
    );
}

#[async_test]
async fn a_shorter_timeout_applies_to_existing_sessions() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let strict = app.again(|f| f.merge(("sessions.idle_timeout", 60))).await;
    let again = Visitor::new(&strict.client);
    again.set_cookie("id", &visitor.cookie("id").unwrap());
    app.clock.advance(MINUTE);
    assert!(!is_alive(&again).await);
    assert!(is_alive(&visitor).await);
}

#[async_test]
async fn the_access_time_is_saved_at_intervals() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    app.clock.advance(59 * MINUTE / 60);
    visitor.get("/touch").await;
    assert_eq!(
        app.probe.calls().tuple(),
        (1, 0, 0, 0),
        "59 seconds are not worth a save"
    );
    app.clock.advance(Duration::from_secs(1));
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
}

#[async_test]
async fn a_short_idle_timeout_is_touched_more_often() {
    let app = App::configured(|f| {
        f.merge(("sessions.idle_timeout", 100))
            .merge(("sessions.touch_every", 1_000_000))
    })
    .await;
    let visitor = app.known_visitor().await;
    app.clock.advance(Duration::from_secs(10));
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
}

#[async_test]
async fn a_session_returns_its_age_and_idle_time() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    assert_eq!(visitor.get("/age").await.body, "0 0");
    app.clock.advance(2 * MINUTE);
    assert_eq!(visitor.get("/age").await.body, "120 120");
    app.clock.advance(MINUTE);
    assert_eq!(visitor.get("/age").await.body, "180 60");
}

#[async_test]
async fn a_cookie_with_an_age_is_sent_again_while_its_session_goes_on() {
    let app = App::configured(|f| f.merge(("sessions.cookie.max_age", 86_400))).await;
    let visitor = app.known_visitor().await;
    let response = visitor.get("/touch").await;
    assert!(response.session_cookie().is_none());
    app.clock.advance(MINUTE);
    let response = visitor.get("/touch").await;
    let cookie = response
        .session_cookie()
        .expect("the cookie is sent with the touch");
    assert_eq!(cookie.max_age().unwrap().whole_seconds(), 86_400);
    app.clock.advance(MINUTE);
    let response = visitor.get("/set/n/1").await;
    assert!(response.sets_session(), "a save is a touch too");
    assert!(visitor.get("/touch").await.session_cookie().is_none());
}

#[async_test]
async fn a_cookie_without_an_age_is_sent_once() {
    let app = App::launch().await;
    let visitor = app.visitor();
    let response = visitor.get("/set/n/1").await;
    assert!(response.session_cookie().unwrap().max_age().is_none());
    app.clock.advance(2 * MINUTE);
    assert!(visitor.get("/touch").await.session_cookie().is_none());
}

#[async_test]
async fn a_clock_set_back_ends_no_session() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    app.clock.advance(600 * MINUTE);
    visitor.get("/set/n/1").await;
    app.clock.set_back(600 * MINUTE);
    assert!(is_alive(&visitor).await);
    assert_eq!(visitor.get("/age").await.body, "0 0");
    app.sessions().delete_old_sessions(1).await.unwrap();
    assert!(is_alive(&visitor).await);
}

#[async_test]
async fn a_session_in_use_is_touched_also_after_the_clock_was_set_back() {
    // A server has its own clock: without a touch it would expire the session.
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    app.clock.set_back(60 * MINUTE);
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0), "once is enough");
}

#[async_test]
async fn a_session_does_not_expire_under_the_request_that_uses_it() {
    for (path, kept) in [("/set/a/1", "n,a"), ("/touch", "n"), ("/renew", "n")] {
        let app = App::configured(|f| f.merge(("sessions.idle_timeout", 600))).await;
        let visitor = app.known_visitor().await;
        app.clock.advance(10 * MINUTE - Duration::from_secs(1));
        let gate = app.gate("slow");
        let meanwhile = async {
            gate.arrived().await;
            app.clock.advance(4 * MINUTE);
            gate.open();
        };
        let path = format!("{path}?gate=slow");
        rocket::futures::future::join(visitor.get(&path), meanwhile).await;
        app.clock.advance(5 * MINUTE);
        assert_eq!(visitor.get("/keys").await.body, kept, "{path}");
    }
}

#[async_test]
async fn a_touched_session_returns_the_idle_time_before_the_touch() {
    let app = App::configured(|f| f.merge(("sessions.idle_timeout", 600))).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(9 * MINUTE);
    assert_eq!(visitor.get("/age").await.body, "540 540");
    assert_eq!(
        app.probe.calls().tuple(),
        (1, 1, 0, 0),
        "one touch, not two"
    );
    assert_eq!(visitor.get("/age").await.body, "540 0");
}

#[async_test]
async fn a_session_near_its_idle_timeout_can_be_read_while_saves_fail() {
    let app = App::configured(|f| f.merge(("sessions.idle_timeout", 600))).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(9 * MINUTE);
    app.probe.fail(Act::Save);
    let response = visitor.get("/keys").await;
    assert_eq!((response.status.code, &*response.body), (200, "n"));
}

/// Replaces the record of the only session by one with these times, which stays
/// in the store.
async fn replace(app: &App, created: SystemTime, accessed: SystemTime) {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (created, accessed) = (seconds(created), seconds(accessed));
    let bytes = format!(
        r#"{{"rev":"9f86d081884c7d65","expires":99999999999,"v":1,"created":{created},"accessed":{accessed},"values":{{"n":0}}}}"#
    );
    let (id, _) = app.list().await.remove(0);
    let there = app.probe.load_session(&id).await.unwrap().unwrap();
    let save = Save {
        bytes: bytes.as_bytes(),
        ttl: 100 * HOUR,
        precondition: Precondition::Revision(there.revision),
    };
    app.probe.save_session(&id, save).await.unwrap();
}

#[async_test]
async fn a_session_created_in_the_future_has_an_age_of_zero() {
    let app = App::configured(|f| f.merge(("sessions.absolute_timeout", 3600))).await;
    let visitor = app.known_visitor().await;
    // A host whose clock is two hours ahead made it.
    let ahead = app.clock.now() + 2 * HOUR;
    replace(&app, ahead, ahead).await;
    assert_eq!(visitor.get("/age").await.body, "0 0");
    visitor.get("/set/n/1").await;
    app.clock.advance(59 * MINUTE);
    assert!(is_alive(&visitor).await);
    app.clock.advance(MINUTE);
    assert!(!is_alive(&visitor).await);
}

#[async_test]
async fn the_absolute_timeout_holds_regardless_of_the_expiry_in_the_store() {
    let app = App::configured(|f| f.merge(("sessions.absolute_timeout", 3600))).await;
    let visitor = app.known_visitor().await;
    replace(
        &app,
        app.clock.now() - HOUR + Duration::from_secs(1),
        app.clock.now(),
    )
    .await;
    assert!(is_alive(&visitor).await);
    app.clock.advance(Duration::from_secs(1));
    assert!(!is_alive(&visitor).await);
    let all: Vec<_> = app.probe.iter_sessions().try_collect().await.unwrap();
    assert_eq!(all.len(), 1, "the store has it still");
    assert!(app.list().await.is_empty(), "it is no session any more");
}

#[async_test]
async fn long_unused_sessions_are_deleted_on_demand() {
    let app = App::launch().await;
    let [gone, _quiet, used] = [
        app.known_visitor().await,
        app.known_visitor().await,
        app.known_visitor().await,
    ];
    assert!(gone.get("/logout").await.removes_session());
    app.clock.advance(HOUR);
    assert!(is_alive(&used).await);
    let swept = app.sessions().delete_old_sessions(60).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (1, 1));
    assert!(is_alive(&used).await);
}

#[async_test]
async fn a_directory_keeps_no_expired_session() {
    let there = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let store = DirectoryStore::open(there.path().join("sessions")).unwrap();
    let settings = |f: Figment| f.merge(("sessions.idle_timeout", 600));
    let app = App::on(store.clock(clock.clone()), settings).await;
    let visitor = app.known_visitor().await;
    for (later, deleted) in [(10 * MINUTE - Duration::from_secs(1), 0), (MINUTE, 1)] {
        clock.advance(later);
        let swept = app.sessions().delete_old_sessions(u64::MAX).await.unwrap();
        assert_eq!((swept.deleted, swept.remaining), (deleted, 1 - deleted));
    }
    assert!(!is_alive(&visitor).await);
}

#[async_test]
async fn a_disabled_sweep_deletes_nothing() {
    let app = App::configured(|f| f.merge(("sessions.sweep_every", 0))).await;
    let _visitor = app.known_visitor().await;
    // With a sweep every zero seconds, it would happen at once.
    rocket::tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(app.probe.calls().other, 0);
}
