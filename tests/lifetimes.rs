//! Each session lives as long as it is given: by the configuration, by the application, or by
//! "remember me".

use std::time::Duration;

use rocket::figment::Figment;
use rocket::futures::future::join;
use rocket::{Build, Rocket, State, async_test, get, routes};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Clock, DirectoryStore, Session};

use crate::support::{App, Gates, Response, Visitor};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

#[get("/idle/<seconds>?<gate>")]
async fn idle(seconds: u64, gate: Option<&str>, session: &Session, gates: &State<Gates>) {
    gates.wait(gate).await;
    session.set_idle_timeout(Duration::from_secs(seconds));
}

#[get("/absolute/<seconds>")]
fn absolute(seconds: u64, session: &Session) {
    session.set_absolute_timeout(Duration::from_secs(seconds));
}

#[get("/remember/<user>/<seconds>?<gate>")]
async fn remember(
    user: &str,
    seconds: u64,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) {
    gates.wait(gate).await;
    session.log_in(user).remember(Duration::from_secs(seconds));
}

/// Remembers a log-in, for a time that begins anew with each visit.
#[get("/remember_anew/<seconds>")]
fn remember_anew(seconds: u64, session: &Session) {
    session
        .log_in("alice")
        .remember(Duration::from_secs(seconds));
    session.set_absolute_timeout(Duration::MAX);
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount("/", routes![idle, absolute, remember, remember_anew])
}

async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(App) -> F) {
    App::on_every_store(build, test).await;
}

async fn app(settings: impl FnOnce(Figment) -> Figment) -> App {
    App::built(settings, build).await
}

async fn is_alive(visitor: &Visitor<'_>) -> bool {
    visitor.copy().get("/get/n").await.body == "\"0\""
}

/// The `Max-Age` of the cookie that the response sets.
fn max_age(response: &Response) -> Option<i64> {
    let cookie = response.session_cookie().expect("a cookie is set");
    assert!(!cookie.value().is_empty(), "it is not removed");
    cookie.max_age().map(|age| age.whole_seconds())
}

#[async_test]
async fn an_idle_timeout_of_its_own_ends_one_session_and_no_other() {
    on_every_store(async |app| {
        let [short, long, usual] = [
            app.known_visitor().await,
            app.known_visitor().await,
            app.known_visitor().await,
        ];
        short.get("/idle/600").await;
        long.get("/idle/604800").await;
        app.clock.advance(10 * MINUTE - Duration::from_secs(1));
        assert!(is_alive(&short).await);
        app.clock.advance(10 * MINUTE);
        assert!(!is_alive(&short).await);
        assert!(is_alive(&usual).await && is_alive(&long).await);
        app.clock.advance(DAY);
        assert!(!is_alive(&usual).await);
        assert_eq!(app.list().await.len(), 1);
        app.clock.advance(6 * DAY - HOUR);
        // A session in use is extended by its own timeout.
        assert!(is_alive(&long).await);
        app.clock.advance(6 * DAY);
        assert!(is_alive(&long).await);
        app.clock.advance(7 * DAY);
        assert!(!is_alive(&long).await);
    })
    .await;
}

#[async_test]
async fn an_absolute_timeout_of_its_own_ends_a_session_in_use() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/absolute/3600").await;
        for _ in 0..59 {
            app.clock.advance(MINUTE);
            assert!(is_alive(&visitor).await);
        }
        assert_eq!(visitor.get("/renew").await.status.code, 200);
        app.clock.advance(MINUTE);
        assert!(!is_alive(&visitor).await);
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_log_in_starts_the_absolute_timeout_anew() {
    let settings = |f: Figment| f.merge(("sessions.absolute_timeout", 3600));
    App::on_every_store_with(settings, build, async |app| {
        let visitor = app.known_visitor().await;
        app.clock.advance(59 * MINUTE);
        visitor.get("/login/alice").await;
        assert_eq!(
            visitor.get("/age").await.body,
            "3540 0",
            "it is the same one"
        );
        app.clock.advance(59 * MINUTE);
        assert!(is_alive(&visitor).await);
        // The same user is no new log-in.
        visitor.get("/set_user/alice").await;
        visitor.get("/renew").await;
        app.clock.advance(MINUTE);
        assert!(!is_alive(&visitor).await);
    })
    .await;
}

#[async_test]
async fn timeouts_survive_renewals_and_other_hosts_until_the_next_log_in() {
    on_every_store(async |app| {
        let elsewhere = app.again(|f| f).await;
        let visitor = app.known_visitor().await;
        visitor.get("/idle/604800").await;
        for path in ["/set/a/1", "/renew", "/add/b/1"] {
            let there = visitor.copy_to(&elsewhere);
            assert_eq!(there.get(path).await.status.code, 200);
            visitor.set_cookie("id", &there.cookie("id").unwrap());
            app.clock.advance(3 * DAY);
            assert!(is_alive(&visitor).await, "{path}");
            assert_eq!(visitor.get("/touch").await.status.code, 200);
        }
        visitor.get("/login/alice").await;
        app.clock.advance(DAY);
        assert!(!is_alive(&visitor).await);
    })
    .await;
}

#[async_test]
async fn a_timeout_and_a_concurrent_change_are_both_kept() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let slow = visitor.copy();
        app.held_at("slow", slow.get("/idle/604800?gate=slow"), async {
            visitor.get("/add/count/5").await;
        })
        .await;
        app.clock.advance(2 * DAY);
        assert_eq!(visitor.get("/get/count").await.body, "5");
    })
    .await;
}

#[async_test]
async fn a_timeout_set_during_a_log_in_does_not_reach_the_new_session() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let slow = visitor.copy();
        app.held_at("slow", slow.get("/idle/604800?gate=slow"), async {
            visitor.get("/login/alice").await;
        })
        .await;
        app.clock.advance(DAY);
        assert!(!is_alive(&visitor).await);
    })
    .await;
}

#[async_test]
async fn a_short_idle_timeout_of_its_own_is_touched_more_often() {
    let app = app(|f| f).await;
    let visitor = app.known_visitor().await;
    visitor.get("/idle/100").await;
    app.probe.calls();
    app.clock.advance(Duration::from_secs(9));
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    app.clock.advance(Duration::from_secs(1));
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    // Past half of it, the session is extended before the request uses it.
    app.clock.advance(Duration::from_secs(90));
    let gate = app.gate("slow");
    let meanwhile = async {
        gate.arrived().await;
        app.clock.advance(Duration::from_secs(90));
        gate.open();
    };
    join(visitor.get("/set/a/1?gate=slow"), meanwhile).await;
    assert_eq!(visitor.get("/get/a").await.body, "\"1\"");
}

#[async_test]
async fn a_directory_sweeps_each_session_at_its_own_time() {
    let there = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let store = DirectoryStore::open(there.path().join("sessions")).unwrap();
    let app = App::built_on(store.clock(clock.clone()), |f| f, build).await;
    let [short, long] = [app.known_visitor().await, app.known_visitor().await];
    app.known_visitor().await;
    short.get("/idle/600").await;
    long.get("/idle/604800").await;
    for (later, deleted) in [(10 * MINUTE, 1), (DAY, 1), (5 * DAY, 0), (2 * DAY, 1)] {
        clock.advance(later);
        let swept = app.sessions().delete_old_sessions(u64::MAX).await.unwrap();
        assert_eq!(swept.deleted, deleted, "{later:?}");
    }
}

#[async_test]
async fn a_store_keeps_each_session_for_its_own_time() {
    // This store expires sessions by the clock of the application.
    let app = app(|f| f).await;
    let [short, long] = [app.known_visitor().await, app.known_visitor().await];
    let ids: Vec<_> = app.list().await.into_iter().map(|(id, _)| id).collect();
    short.get("/idle/600").await;
    long.get("/idle/604800").await;
    for (later, kept) in [(10 * MINUTE, 1), (6 * DAY, 1), (DAY, 0)] {
        app.clock.advance(later);
        let mut there = 0;
        for id in &ids {
            there += usize::from(app.sessions().store().has_session(id).await.unwrap());
        }
        assert_eq!(there, kept, "{later:?}");
    }
}

#[async_test]
async fn a_remembered_log_in_outlives_the_browser_and_the_timeouts_of_others() {
    let settings = |f: Figment| f.merge(("sessions.absolute_timeout", 172_800));
    App::on_every_store_with(settings, build, async |app| {
        let visitor = app.known_visitor().await;
        let response = visitor.get("/remember/alice/2592000").await;
        assert_eq!(max_age(&response), Some(2_592_000));
        app.clock.advance(20 * DAY);
        assert_eq!(visitor.get("/who").await.body, "alice");
        // After its time the user logs in again, however often they came back.
        app.clock.advance(10 * DAY - Duration::from_secs(1));
        assert_eq!(visitor.get("/who").await.body, "alice");
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(visitor.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn a_log_in_that_is_not_remembered_ends_with_the_browser() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/remember/alice/2592000").await;
        let response = visitor.get("/login/alice").await;
        assert_eq!(max_age(&response), None);
        app.clock.advance(DAY);
        assert_eq!(visitor.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn the_cookie_of_a_remembered_log_in_is_sent_again_with_the_time_that_is_left() {
    let app = app(|f| f).await;
    let visitor = app.known_visitor().await;
    visitor.get("/remember/alice/86400").await;
    app.clock.advance(HOUR);
    let script = visitor.copy().with("Sec-Fetch-Mode", "cors");
    assert!(script.get("/touch").await.session_cookie().is_none());
    app.clock.advance(HOUR);
    let response = visitor.get("/touch").await;
    assert_eq!(max_age(&response), Some(86_400 - 7200));
    assert!(visitor.get("/touch").await.session_cookie().is_none());
    // Others have a cookie without a maximum age, which is sent once.
    let other = app.known_visitor().await;
    app.clock.advance(HOUR);
    assert!(other.get("/touch").await.session_cookie().is_none());
}

#[async_test]
async fn a_remembered_log_in_can_last_as_long_as_the_user_comes_back() {
    let app = app(|f| f).await;
    let visitor = app.visitor();
    visitor.get("/remember_anew/604800").await;
    for _ in 0..10 {
        app.clock.advance(6 * DAY);
        let response = visitor.get("/touch").await;
        assert_eq!(max_age(&response), Some(604_800));
    }
    app.clock.advance(7 * DAY);
    assert_eq!(visitor.get("/who").await.body, "nobody");
}

#[async_test]
async fn a_cookie_never_outlives_the_absolute_timeout() {
    let app = app(|f| {
        f.merge(("sessions.cookie.max_age", 86_400))
            .merge(("sessions.absolute_timeout", 7200))
    })
    .await;
    let visitor = app.visitor();
    assert_eq!(max_age(&visitor.get("/set/n/0").await), Some(7200));
    app.clock.advance(HOUR);
    assert_eq!(max_age(&visitor.get("/touch").await), Some(3600));
    // A timeout that becomes shorter is sent at once.
    assert_eq!(max_age(&visitor.get("/absolute/5400").await), Some(1800));
    // One that becomes longer lets the cookie last.
    let response = visitor.get("/absolute/604800").await;
    assert_eq!(max_age(&response), Some(86_400));
    let response = visitor.get("/login/alice").await;
    assert_eq!(max_age(&response), Some(7200));
}

#[async_test]
async fn a_log_out_ends_a_remembered_copy_that_is_not_in_use() {
    on_every_store(log_out_beside_a_copy).await;
    // This store expires the tombstone of a log-out by the clock of the application.
    log_out_beside_a_copy(app(|f| f).await).await;
}

async fn log_out_beside_a_copy(app: App) {
    for logs_out in [0, 1] {
        let visitor = app.known_visitor().await;
        let copies = [visitor.copy(), visitor.copy()];
        let gate = app.gate("twice");
        let twice = async {
            gate.arrived().await;
            gate.arrived().await;
            gate.open();
            gate.open();
        };
        // The form was sent twice.
        let path = "/remember/alice/2592000?gate=twice";
        join(join(copies[0].get(path), copies[1].get(path)), twice).await;
        assert_eq!(app.list().await.len(), 2);
        app.clock.advance(10 * DAY);
        assert!(copies[logs_out].get("/logout").await.removes_session());
        app.clock.advance(5 * DAY);
        for copy in &copies {
            assert_eq!(copy.get("/who").await.body, "nobody", "{logs_out}");
        }
        assert!(app.list().await.is_empty());
    }
}

#[async_test]
async fn a_copy_that_is_remembered_alone_stays_within_the_log_out_of_the_other() {
    // This store expires the tombstone of a log-out by the clock of the application.
    let app = app(|f| f).await;
    let visitor = app.known_visitor().await;
    let other = visitor.copy();
    app.held_at("slow", other.get("/login/alice?gate=slow"), async {
        visitor.get("/login/alice").await;
    })
    .await;
    other.get("/remember/alice/2592000").await;
    app.clock.advance(HOUR);
    assert!(visitor.get("/logout").await.removes_session());
    for _ in 0..30 {
        app.clock.advance(DAY);
        assert_eq!(other.get("/who").await.body, "nobody");
    }
}

#[async_test]
async fn a_policy_limits_what_the_application_sets() {
    let settings = |f: Figment| f.merge(("sessions.policy", "aal3"));
    App::on_every_store_with(settings, build, async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/idle/86400").await;
        app.clock.advance(15 * MINUTE);
        assert!(!is_alive(&visitor).await);

        let visitor = app.known_visitor().await;
        visitor.get("/absolute/86400").await;
        for _ in 0..72 {
            assert!(is_alive(&visitor).await);
            app.clock.advance(10 * MINUTE);
        }
        assert!(!is_alive(&visitor).await);

        let visitor = app.known_visitor().await;
        let response = visitor.get("/remember/alice/2592000").await;
        assert_eq!(max_age(&response), Some(43_200));
        app.clock.advance(15 * MINUTE);
        assert_eq!(visitor.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn a_stricter_policy_applies_to_existing_sessions() {
    let app = app(|f| f).await;
    let visitor = app.known_visitor().await;
    visitor.get("/remember/alice/2592000").await;
    let strict = app.again(|f| f.merge(("sessions.policy", "aal2"))).await;
    app.clock.advance(HOUR);
    assert_eq!(visitor.copy_to(&strict).get("/who").await.body, "nobody");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn a_session_of_a_token_has_timeouts_too() {
    let settings = |f: Figment| f.merge(("sessions.transport", "header"));
    App::on_every_store_with(settings, build, async |app| {
        let client = app
            .visitor()
            .with("X-Auth-Token", &"0123456789abcdef".repeat(4));
        client.get("/set/n/0").await;
        client.get("/idle/604800").await;
        app.clock.advance(2 * DAY);
        assert_eq!(client.get("/get/n").await.body, "\"0\"");
        let response = client.get("/remember/alice/600").await;
        assert!(response.session_cookie().is_none());
        app.clock.advance(10 * MINUTE);
        assert_eq!(client.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn a_timeout_of_nothing_and_of_forever_can_be_set() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/idle/0").await;
        app.clock.advance(Duration::from_secs(1));
        assert!(!is_alive(&visitor).await);
        let visitor = app.known_visitor().await;
        visitor.get(&format!("/idle/{}", u64::MAX)).await;
        visitor.get(&format!("/absolute/{}", u64::MAX)).await;
        app.clock.advance(10_000 * DAY);
        assert!(is_alive(&visitor).await);
    })
    .await;
}

#[async_test]
async fn a_timeout_that_is_not_saved_is_not_in_force() {
    let app = app(|f| f).await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Save);
    assert_eq!(visitor.get("/idle/600").await.status.code, 503);
    app.probe.heal();
    app.clock.advance(HOUR);
    assert!(is_alive(&visitor).await);
    // A timeout alone begins no session.
    let nobody = app.visitor();
    assert!(nobody.get("/idle/600").await.session_cookie().is_none());
}
