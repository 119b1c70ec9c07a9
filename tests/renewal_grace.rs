//! Ids are renewed by age, and for some seconds after a renewal the old id reaches the session, so that
//! one lost response costs nobody the session.

use std::time::Duration;

use rocket::figment::Figment;
use rocket::futures::future::{join, join_all};
use rocket::http::Status;
use rocket::response::stream::TextStream;
use rocket::{Build, Rocket, State, async_test, get, routes};
use rocket_session_kit::testing::{Act, Gate, Probe};
use rocket_session_kit::{Result, Session};

use crate::support::{App, Gates, Response, Visitor};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Renews the session beside a change of the user, which may be saved before.
#[get("/renew_with/<what>?<save>")]
async fn renew_with(what: &str, save: bool, session: &Session) -> Result<()> {
    match what {
        "log_in" => drop(session.log_in("alice")),
        "set_user" => session.set_user(Some("bob")),
        "no_user" => session.set_user(None),
        _ => session.reauthenticate(),
    }
    if save {
        session.save().await?;
    }
    session.renew();
    Ok(())
}

#[get("/renew_and_set/<key>/<value>?<gate>")]
async fn renew_and_set(
    key: &str,
    value: &str,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<()> {
    gates.wait(gate).await;
    session.renew();
    session.insert(key, value)
}

#[get("/token?<gate>")]
async fn token(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.create_form_token()
}

#[get("/wait_and_reload")]
async fn wait_and_reload(session: &Session, gates: &State<Gates>) -> Result<String> {
    gates.wait(Some("slow")).await;
    Ok(session.reload().await?.to_string())
}

#[get("/has_token/<token>")]
fn has_token(token: &str, session: &Session) -> String {
    session.has_form_token(token).to_string()
}

#[get("/id")]
fn id(session: &Session) -> String {
    session.id().map_or("none".into(), |id| id.to_hex())
}

#[get("/fails")]
fn fails(_session: &Session) -> Status {
    Status::InternalServerError
}

/// Counts, saves and counts again, and waits in between.
#[get("/add_save_and_wait")]
async fn add_save_and_wait(session: &Session, gates: &State<Gates>) -> Result<()> {
    session.increment("count", 1)?;
    session.save().await?;
    gates.wait(Some("saved")).await;
    Ok(())
}

#[get("/stream")]
fn stream(session: &Session) -> TextStream![String + '_] {
    TextStream! {
        session.increment("streamed", 1).expect("it is a number");
        let saved = session.save().await;
        yield saved.map_or_else(|error| error.to_string(), |()| "saved".into());
    }
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount(
        "/",
        routes![
            renew_with,
            renew_and_set,
            token,
            has_token,
            id,
            fails,
            add_save_and_wait,
            stream,
            wait_and_reload
        ],
    )
}

async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(App) -> F) {
    App::on_every_store(build, test).await;
}

fn every_ten_minutes(figment: Figment) -> Figment {
    figment.merge(("sessions.renew_every", 600))
}

async fn id_of(visitor: &Visitor<'_>) -> String {
    visitor.get("/id").await.body
}

#[async_test]
async fn a_lost_response_to_a_renewal_costs_nobody_the_session() {
    on_every_store(async |app| {
        for path in ["/touch", "/set/a/1", "/get/n", "/renew", "/login/alice"] {
            for mode in ["navigate", "cors"] {
                let visitor = app.known_visitor().await.with("Sec-Fetch-Mode", mode);
                // The browser never gets the response.
                let lost = visitor.copy();
                assert!(lost.get("/renew").await.sets_session());
                let response = visitor.get(path).await;
                assert_eq!(response.status.code, 200, "{path} {mode}");
                assert!(response.sets_session(), "{path} {mode}: {response:?}");
                app.clock.advance(11 * SECOND);
                assert_eq!(visitor.get("/get/n").await.body, "\"0\"", "{path} {mode}");
                assert!(visitor.get("/logout").await.removes_session());
            }
        }
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn the_old_id_gives_no_access_after_the_grace() {
    App::on_every_store_with(
        |f| f.merge(("sessions.renewal_grace", 30)),
        build,
        async |app| {
            let visitor = app.known_visitor().await;
            let old = visitor.copy();
            visitor.get("/renew").await;
            app.clock.advance(29 * SECOND);
            assert_eq!(old.copy().get("/get/n").await.body, "\"0\"");
            app.clock.advance(SECOND);
            let response = old.get("/get/n").await;
            assert_eq!(response.body, "none");
            assert!(response.session_cookie().is_none(), "{response:?}");
            assert_eq!(old.get("/set/a/1").await.status.code, 503);
            assert_eq!(visitor.get("/keys").await.body, "n");
        },
    )
    .await;
}

#[async_test]
async fn a_clock_that_is_set_back_extends_no_grace_beyond_a_minute() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let old = visitor.copy();
        visitor.get("/renew").await;
        // The clock of another host is a little behind.
        app.clock.set_back(5 * SECOND);
        assert_eq!(old.copy().get("/get/n").await.body, "\"0\"");
        app.clock.set_back(MINUTE);
        assert_eq!(old.copy().get("/get/n").await.body, "none");
        assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
    })
    .await;
}

#[async_test]
async fn without_a_grace_the_old_id_gives_no_access_at_once() {
    let settings = |f: Figment| f.merge(("sessions.renewal_grace", 0));
    App::on_every_store_with(settings, build, async |app| {
        let visitor = app.known_visitor().await;
        let old = visitor.copy();
        visitor.get("/renew").await;
        assert_eq!(old.get("/get/n").await.body, "none");
        // Another process may still have a grace.
        let lenient = app.again(|f| f).await;
        let old = visitor.copy();
        visitor.copy_to(&lenient).get("/renew").await;
        assert_eq!(old.get("/get/n").await.body, "none");
        assert_eq!(old.copy_to(&lenient).get("/get/n").await.body, "\"0\"");
    })
    .await;
}

#[async_test]
async fn no_grace_follows_a_change_of_the_user() {
    on_every_store(async |app| {
        for what in ["log_in", "set_user", "no_user", "reauthenticate"] {
            for save in [false, true] {
                let visitor = app.known_visitor().await;
                visitor.get("/login/alice").await;
                let old = visitor.copy();
                let path = format!("/renew_with/{what}?save={save}");
                assert!(visitor.get(&path).await.sets_session(), "{path}");
                let response = old.get("/get/n").await;
                assert_eq!(response.body, "none", "{path}");
                assert!(response.session_cookie().is_none(), "{path}");
                assert_eq!(visitor.get("/get/n").await.body, "\"0\"", "{path}");
                visitor.get("/logout").await;
            }
        }
        // Nor does it go on when the next request sets a user.
        let visitor = app.known_visitor().await;
        let old = visitor.copy();
        visitor.get("/renew").await;
        visitor.get("/set_user/alice").await;
        assert_eq!(old.copy().get("/get/n").await.body, "none");
        visitor.get("/set_user/nobody").await;
        assert_eq!(old.copy().get("/get/n").await.body, "\"0\"");
    })
    .await;
}

#[async_test]
async fn an_old_id_follows_a_chain_of_renewals_up_to_a_log_in() {
    on_every_store(async |app| {
        let elsewhere = app.again(|f| f).await;
        let visitor = app.known_visitor().await;
        let oldest = visitor.copy();
        for _ in 0..3 {
            let there = visitor.copy_to(&elsewhere);
            there.get("/renew").await;
            visitor.set_cookie("id", &there.cookie("id").unwrap());
        }
        let newer = oldest.copy();
        let response = newer.get("/set/a/1").await;
        assert!(response.sets_session(), "{response:?}");
        assert_eq!(id_of(&newer).await, id_of(&visitor).await);
        assert_eq!(visitor.get("/get/a").await.body, "\"1\"");
        visitor.get("/login/alice").await;
        visitor.get("/renew").await;
        for old in [&oldest, &newer] {
            assert_eq!(old.get("/who").await.body, "nobody");
            assert!(old.get("/keys").await.session_cookie().is_none());
        }
        assert_eq!(visitor.get("/who").await.body, "alice");
        assert_eq!(app.list().await.len(), 1);
    })
    .await;
}

#[async_test]
async fn the_grace_ends_with_the_session() {
    on_every_store(async |app| {
        for end in ["/logout", "/clear"] {
            let visitor = app.known_visitor().await;
            let [old, other] = [visitor.copy(), visitor.copy()];
            visitor.get("/renew").await;
            assert!(visitor.get(end).await.removes_session());
            let response = old.get("/keys").await;
            assert_eq!(response.body, "");
            assert!(response.session_cookie().is_none(), "{end}: {response:?}");
            // A log-out with the old id ends nothing else.
            assert!(!other.get("/logout").await.sets_session());
            assert!(app.list().await.is_empty());
        }
        let visitor = app.known_visitor().await;
        let old = visitor.copy();
        visitor.get("/renew").await;
        assert!(old.get("/logout").await.removes_session());
        assert_eq!(visitor.get("/keys").await.body, "");
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn two_renewals_at_once_leave_one_session_that_both_browsers_have() {
    on_every_store(async |app| {
        let elsewhere = app.again(|f| f).await;
        // The second host has routes of its own, but not this one.
        for second_path in ["/renew?gate=slow", "/set/b/2?gate=slow"] {
            let before = app.list().await.len();
            let visitor = app.known_visitor().await;
            let [one, other] = [visitor.copy(), visitor.copy_to(&elsewhere)];
            let slow = async {
                elsewhere.gate("slow").arrived().await;
                app.gate("slow").arrived().await;
                app.gate("slow").open();
                elsewhere.gate("slow").open();
            };
            let renewals = join(
                one.get("/renew_and_set/a/1?gate=slow"),
                other.get(second_path),
            );
            let ((first, second), ()) = join(renewals, slow).await;
            assert!(first.sets_session(), "{first:?}");
            assert_eq!(second.status.code, 200);
            if second_path.starts_with("/renew") {
                assert!(second.sets_session(), "{second:?}");
                assert_eq!(id_of(&one).await, id_of_at(&app, &other).await);
            }
            assert_eq!(app.list().await.len(), before + 1);
            assert_eq!(one.get("/get/a").await.body, "\"1\"");
            assert_eq!(one.get("/get/n").await.body, "\"0\"");
            // They are no copies, which cost a second load.
            app.probe.calls();
            one.get("/keys").await;
            assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
        }
    })
    .await;
}

/// The id of the session of `visitor`, who sends its requests to another host, asked at `app`.
async fn id_of_at(app: &App, visitor: &Visitor<'_>) -> String {
    id_of(&visitor.copy_to(app)).await
}

#[async_test]
async fn changes_of_both_renewals_are_kept() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let slow = visitor.copy();
        let response = app
            .held_at("slow", slow.get("/renew_and_set/b/2?gate=slow"), async {
                assert!(visitor.get("/renew_and_set/a/1").await.sets_session());
                assert!(visitor.get("/renew_and_set/c/3").await.sets_session());
            })
            .await;
        assert!(response.sets_session(), "{response:?}");
        for browser in [&visitor, &slow] {
            assert_eq!(browser.get("/keys").await.body, "n,a,c,b");
        }
        assert_eq!(id_of(&visitor).await, id_of(&slow).await);
        assert_eq!(app.list().await.len(), 1);
        visitor.get("/logout").await;
        assert_eq!(slow.get("/keys").await.body, "");
    })
    .await;
}

#[async_test]
async fn a_log_in_beside_a_renewal_keeps_its_own_session() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let slow = visitor.copy();
        let response = app
            .held_at("slow", slow.get("/login/alice?gate=slow"), async {
                visitor.get("/renew").await;
            })
            .await;
        assert!(response.sets_session(), "{response:?}");
        assert_eq!(slow.get("/who").await.body, "alice");
        // The browser that renewed may be somebody else's.
        assert_eq!(visitor.get("/who").await.body, "nobody");
        slow.get("/logout").await;
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_form_of_a_page_beside_a_renewal_stays_valid() {
    on_every_store(async |app| {
        for (change, valid) in [("/renew", "true"), ("/login/alice", "false")] {
            let visitor = app.known_visitor().await;
            let slow = visitor.copy();
            let response = app
                .held_at("slow", slow.get("/token?gate=slow"), async {
                    assert!(visitor.get(change).await.sets_session());
                })
                .await;
            // The cookie of the renewal is on its way.
            assert!(response.session_cookie().is_none(), "{response:?}");
            let path = format!("/has_token/{}", response.body);
            assert_eq!(visitor.get(&path).await.body, valid, "{change}");
        }
    })
    .await;
}

#[async_test]
async fn the_new_cookie_is_confirmed_just_before_the_response() {
    on_every_store(async |app| {
        for path in ["/add_save_and_wait", "/touch?gate=saved"] {
            let visitor = app.known_visitor().await;
            let slow = visitor.copy();
            visitor.get("/renew").await;
            let response = app
                .held_at("saved", slow.get(path), async {
                    assert!(visitor.get("/login/alice").await.sets_session());
                })
                .await;
            assert_eq!(response.status.code, 200, "{path}");
            assert!(response.session_cookie().is_none(), "{path}: {response:?}");
            assert_eq!(visitor.get("/who").await.body, "alice", "{path}");
        }
    })
    .await;
}

#[async_test]
async fn a_request_that_fails_leaves_the_grace_to_the_next() {
    let app = App::built(|f| f, build).await;
    let visitor = app.known_visitor().await;
    visitor.copy().get("/renew").await;
    assert!(visitor.get("/fails").await.session_cookie().is_none());
    app.probe.fail(Act::Save);
    let response = visitor.get("/set/a/1").await;
    assert_eq!(response.status.code, 503);
    assert!(response.session_cookie().is_none());
    app.probe.heal();
    assert!(visitor.get("/touch").await.sets_session());
    assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
}

#[async_test]
async fn an_unknown_outcome_of_a_renewal_is_undone_unless_a_browser_has_the_new_id() {
    App::in_rounds(&[false, true], build, async |app, follows| {
        let before = app.list().await.len();
        let visitor = app.known_visitor().await;
        let lost = visitor.copy();
        let saves = app.probe.gate(Act::Save);
        let faults = async {
            saves.arrived().await;
            saves.open();
            saves.arrived().await;
            // The tombstone is saved, and no response to it arrives. The undo waits at its first load.
            app.probe.fail_afterwards(Act::Save);
            let loads = app.probe.gate(Act::Load);
            saves.open_for_all();
            loads
        };
        let (response, loads) = join(lost.get("/renew"), faults).await;
        assert_eq!(response.status.code, 503);
        loads.arrived().await;
        app.probe.heal();
        app.probe.gate(Act::Load).open_for_all();
        if follows {
            assert!(visitor.get("/set/a/1").await.sets_session());
        }
        loads.open_for_all();
        // The grace is over, so that only one of the ids has the session.
        app.clock.advance(MINUTE);
        for _ in 0..20 {
            if !follows {
                break;
            }
            assert_eq!(visitor.get("/keys").await.body, "n,a");
            rocket::tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while visitor.get("/get/n").await.body != "\"0\"" {
            rocket::tokio::time::sleep(Duration::from_millis(5)).await;
        }
        app.holds(before + 1).await;
    })
    .await;
}

#[async_test]
async fn an_id_is_renewed_when_it_is_old() {
    App::on_every_store_with(every_ten_minutes, build, async |app| {
        for path in ["/touch", "/set/a/1", "/keys"] {
            let visitor = app.known_visitor().await;
            let first = id_of(&visitor).await;
            app.clock.advance(10 * MINUTE - SECOND);
            assert!(visitor.get(path).await.session_cookie().is_none(), "{path}");
            app.clock.advance(SECOND);
            assert!(visitor.get(path).await.sets_session(), "{path}");
            let second = id_of(&visitor).await;
            assert_ne!(first, second);
            assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
            // The age of the new id counts.
            app.clock.advance(10 * MINUTE - SECOND);
            visitor.get(path).await;
            assert_eq!(id_of(&visitor).await, second);
            // A log-in has a new id too.
            visitor.get("/login/alice").await;
            app.clock.advance(10 * MINUTE - SECOND);
            assert!(visitor.get(path).await.session_cookie().is_none(), "{path}");
            app.clock.advance(SECOND);
            assert!(visitor.get(path).await.sets_session(), "{path}");
            assert_eq!(visitor.get("/who").await.body, "alice");
            visitor.get("/logout").await;
        }
    })
    .await;
}

#[async_test]
async fn a_page_can_be_read_while_no_id_can_be_renewed() {
    App::in_rounds_with(
        &[Probe::fail, Probe::fail_afterwards],
        every_ten_minutes,
        build,
        async |app, fails| {
            let before = app.list().await.len();
            let visitor = app.known_visitor().await;
            app.clock.advance(10 * MINUTE);
            fails(&app.probe, Act::Save);
            let response = visitor.get("/get/n").await;
            assert_eq!((response.status.code, &*response.body), (200, "\"0\""));
            assert!(response.session_cookie().is_none(), "{response:?}");
            assert_eq!(visitor.get("/set/a/1").await.status.code, 503);
            app.probe.heal();
            while visitor.get("/get/n").await.body != "\"0\"" {
                rocket::tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // The next request renews it.
            app.clock.advance(10 * MINUTE);
            let old = visitor.copy();
            assert!(visitor.get("/touch").await.sets_session());
            app.holds(before + 1).await;

            // The same holds for the old id.
            app.probe.fail(Act::Save);
            let response = old.get("/get/n").await;
            assert_eq!((response.status.code, &*response.body), (200, "\"0\""));
            assert!(response.session_cookie().is_none(), "{response:?}");
            app.probe.heal();
            assert!(old.get("/get/n").await.sets_session());
            assert_eq!(id_of(&old).await, id_of(&visitor).await);
        },
    )
    .await;
}

#[async_test]
async fn a_request_of_a_script_renews_an_id_of_twice_the_age() {
    let app = App::built(every_ten_minutes, build).await;
    let visitor = app.known_visitor().await.with("Sec-Fetch-Mode", "cors");
    app.clock.advance(20 * MINUTE - SECOND);
    assert!(visitor.get("/touch").await.session_cookie().is_none());
    app.clock.advance(SECOND);
    assert!(visitor.get("/touch").await.sets_session());
}

#[async_test]
async fn no_id_is_renewed_by_a_failed_request_a_token_or_an_end() {
    let app = App::built(every_ten_minutes, build).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(10 * MINUTE);
    assert!(visitor.get("/fails").await.session_cookie().is_none());
    assert!(visitor.get("/clear").await.removes_session());
    let visitor = app.known_visitor().await;
    app.clock.advance(10 * MINUTE);
    assert!(visitor.get("/logout").await.removes_session());
    assert!(app.list().await.is_empty());

    let both = |f| every_ten_minutes(f).merge(("sessions.transport", "both"));
    let app = App::built(both, build).await;
    let client = app
        .visitor()
        .with("X-Auth-Token", &"0123456789abcdef".repeat(4));
    client.get("/set/n/0").await;
    let before = id_of(&client).await;
    app.clock.advance(10 * MINUTE);
    assert!(client.get("/set/n/1").await.session_cookie().is_none());
    assert_eq!(id_of(&client).await, before);
}

#[async_test]
async fn a_stream_is_renewed_with_its_head_and_not_later() {
    let app = App::built(every_ten_minutes, build).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(10 * MINUTE);
    let response = visitor.get("/stream").await;
    assert!(response.sets_session(), "{response:?}");
    assert_eq!(response.body, "saved");
    assert_eq!(visitor.get("/get/streamed").await.body, "1");
}

#[async_test]
async fn many_requests_with_an_old_id_leave_one_session() {
    App::on_every_store_with(every_ten_minutes, build, async |app| {
        let elsewhere = app.again(every_ten_minutes).await;
        let visitor = app.known_visitor().await;
        app.clock.advance(10 * MINUTE);
        let browsers: Vec<_> = (0..8)
            .map(|n| match n % 2 {
                0 => visitor.copy(),
                _ => visitor.copy_to(&elsewhere),
            })
            .collect();
        let gates = [app.gate("slow"), elsewhere.gate("slow")];
        let at_once = async {
            for n in 0..browsers.len() {
                gates[n % 2].arrived().await;
            }
            gates.iter().for_each(Gate::open_for_all);
        };
        let requests = browsers
            .iter()
            .map(|browser| browser.get("/add/count/1?gate=slow"));
        let (responses, ()) = join(join_all(requests), at_once).await;
        for response in &responses {
            assert_eq!(response.status.code, 200);
            assert!(response.sets_session(), "{response:?}");
        }
        // Whatever the order in which the responses arrive, the browser has the session.
        let here: Vec<_> = browsers
            .iter()
            .map(|browser| browser.copy_to(&app))
            .collect();
        for browser in &here {
            assert_eq!(browser.get("/get/count").await.body, "8");
        }
        assert_eq!(app.list().await.len(), 1);
    })
    .await;
}

#[async_test]
async fn a_slow_request_with_an_old_id_does_not_disturb_a_log_in() {
    App::on_every_store_with(every_ten_minutes, build, async |app| {
        for path in ["/touch?gate=slow", "/add/count/5?gate=slow"] {
            let before = app.list().await.len();
            let visitor = app.known_visitor().await;
            app.clock.advance(10 * MINUTE);
            let response = app
                .held_at("slow", visitor.get(path), async {
                    assert!(visitor.get("/login/alice").await.sets_session());
                })
                .await;
            assert_eq!(response.status.code, 200, "{path}");
            assert!(response.session_cookie().is_none(), "{path}: {response:?}");
            assert_eq!(visitor.get("/who").await.body, "alice", "{path}");
            assert_eq!(app.list().await.len(), before + 1, "{path}");
        }
    })
    .await;
}

/// Sends `path` with `visitor`, holds it before its `nth` save, and meanwhile sends `other` with the
/// same cookie to another host. Returns the response to `path`, and the other browser.
async fn overtaken_at<'a>(
    [app, elsewhere]: [&'a App; 2],
    visitor: &Visitor<'a>,
    path: &str,
    nth: usize,
    other: &str,
) -> (Response, Visitor<'a>) {
    let overtaking = visitor.copy_to(elsewhere);
    let saves = app.probe.gate(Act::Save);
    let meanwhile = async {
        for _ in 1..nth {
            saves.arrived().await;
            saves.open();
        }
        saves.arrived().await;
        app.probe.gate(Act::Save).open_for_all();
        assert!(overtaking.get(other).await.sets_session(), "{other}");
        saves.open();
    };
    let (response, ()) = join(visitor.get(path), meanwhile).await;
    assert_eq!(response.status.code, 200, "{path} {nth}");
    (response, overtaking.copy_to(app))
}

#[async_test]
async fn a_renewal_by_age_gives_way_to_another_at_any_moment() {
    App::on_every_store_with(every_ten_minutes, build, async |app| {
        let elsewhere = app.again(every_ten_minutes).await;
        let hosts = [&app, &elsewhere];
        for path in ["/touch", "/add/count/5"] {
            // The first save makes the copy, and the second the tombstone.
            for nth in [1, 2] {
                let before = app.list().await.len();
                let visitor = app.known_visitor().await;
                app.clock.advance(10 * MINUTE);
                let (response, other) =
                    overtaken_at(hosts, &visitor, path, nth, "/login/alice").await;
                // Its cookie would replace that of the log-in.
                assert!(response.session_cookie().is_none(), "{path}: {response:?}");
                assert_eq!(other.get("/who").await.body, "alice");
                assert_eq!(app.list().await.len(), before + 1, "{path} {nth}");

                let visitor = app.known_visitor().await;
                app.clock.advance(10 * MINUTE);
                let (response, other) = overtaken_at(hosts, &visitor, path, nth, "/touch").await;
                assert!(response.sets_session(), "{path}: {response:?}");
                assert_eq!(id_of(&visitor).await, id_of(&other).await);
                let count = if path == "/touch" { "none" } else { "5" };
                assert_eq!(other.get("/get/count").await.body, count);
                assert_eq!(app.list().await.len(), before + 2, "{path} {nth}");
            }
        }
    })
    .await;
}

#[async_test]
async fn a_renewal_joins_another_at_any_moment() {
    on_every_store(async |app| {
        let elsewhere = app.again(|f| f).await;
        let hosts = [&app, &elsewhere];
        for nth in [1, 2] {
            let before = app.list().await.len();
            let visitor = app.known_visitor().await;
            let (response, other) =
                overtaken_at(hosts, &visitor, "/renew_and_set/a/1", nth, "/renew").await;
            assert!(response.sets_session(), "{response:?}");
            for browser in [&visitor, &other] {
                assert_eq!(browser.get("/keys").await.body, "n,a");
            }
            assert_eq!(app.list().await.len(), before + 1, "{nth}");
        }
    })
    .await;
}

#[async_test]
async fn renewals_by_age_cost_nothing_until_they_are_due() {
    let app = App::built(every_ten_minutes, build).await;
    let visitor = app.known_visitor().await;
    let old = visitor.copy();
    visitor.get("/get/n").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    app.clock.advance(10 * MINUTE);
    visitor.get("/get/n").await;
    // The load, a look whether another request came first, the copy and the tombstone.
    assert_eq!(app.probe.calls().tuple(), (2, 2, 0, 0));
    // The tombstone, the session, and its confirmation.
    old.get("/get/n").await;
    assert_eq!(app.probe.calls().tuple(), (2, 1, 0, 0));
}

#[async_test]
async fn a_request_that_follows_a_renewal_by_a_reload_gets_the_new_cookie() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let slow = visitor.copy();
        let response = app
            .held_at("slow", slow.get("/wait_and_reload"), async {
                assert!(visitor.get("/renew").await.sets_session());
            })
            .await;
        assert_eq!(response.body, "true");
        app.clock.advance(MINUTE);
        assert_eq!(slow.get("/keys").await.body, "n");
        assert_eq!(visitor.get("/keys").await.body, "n");
    })
    .await;
}
