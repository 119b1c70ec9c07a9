//! Responses overtake each other on the way to a browser, which has one cookie for all its tabs. No
//! response removes or replaces a cookie that is newer than the response.

use std::time::Duration;

use rocket::figment::Figment;
use rocket::futures::future::{join, join3};
use rocket::{Build, Rocket, State, async_test, get, routes};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Notifications, Result, Session, SessionId, Sessions};

use crate::support::{App, Gates, Visitor, take};

const MINUTE: Duration = Duration::from_secs(60);

fn with_max_age(figment: Figment) -> Figment {
    figment.merge(("sessions.cookie.max_age", 600))
}

/// Logs in, and returns the id of the session.
#[get("/id_at_login/<user>")]
fn id_at_login(user: &str, session: &Session) -> String {
    session.log_in(user);
    session.id().expect("a user is logged in").to_hex()
}

/// Saves a log-in, renews the session once more, and returns its id.
#[get("/id_at_second_renewal")]
async fn id_at_second_renewal(session: &Session) -> Result<String> {
    session.log_in("alice");
    session.save().await?;
    session.renew();
    Ok(session.id().expect("a user is logged in").to_hex())
}

#[get("/id")]
fn id(session: &Session) -> String {
    session.id().map_or("none".into(), |id| id.to_hex())
}

/// Saves, and continues for a while.
#[get("/save_and_wait")]
async fn save_and_wait(session: &Session, gates: &State<Gates>) -> Result<()> {
    session.insert("saved", true)?;
    session.save().await?;
    gates.wait(Some("saved")).await;
    Ok(())
}

/// Waits, calls `save()`, and returns its error.
#[get("/wait_and_save?<gate>")]
async fn wait_and_save(
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    session.insert("saved", true)?;
    let error = session.save().await.err();
    Ok(error.map_or("saved".into(), |error| format!("{:?}", error.kind())))
}

#[get("/push")]
fn push(notes: Notifications<'_>) -> Result<()> {
    notes.info("hello")
}

#[get("/end/<id>")]
async fn end(id: &str, sessions: &Sessions) -> Result<String> {
    Ok(sessions.end(&id.parse::<SessionId>()?).await?.to_string())
}

/// Logs in and saves that, waits, and then makes a change.
#[get("/login_save_and_wait/<user>")]
async fn log_in_save_and_wait(user: &str, session: &Session, gates: &State<Gates>) -> Result<()> {
    session.log_in(user);
    session.save().await?;
    gates.wait(Some("saved")).await;
    session.insert("late", 1)
}

/// Inserts a value and saves it, waits before and after that, and may make more changes.
#[get("/revive?<more>")]
async fn revive(more: bool, session: &Session, gates: &State<Gates>) -> Result<()> {
    gates.wait(Some("loaded")).await;
    session.insert("a", 1)?;
    session.save().await?;
    gates.wait(Some("saved")).await;
    if more {
        session.insert("b", 2)?;
    }
    Ok(())
}

/// Inserts a value, returns the id of the session, and removes the value.
#[get("/id_with")]
fn id_with(session: &Session) -> Result<String> {
    session.insert("a", 1)?;
    let id = session.id();
    session.remove("a");
    Ok(id.map_or("none".into(), |id| id.to_hex()))
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount(
        "/",
        routes![
            log_in_save_and_wait,
            revive,
            id_with,
            id_at_login,
            id_at_second_renewal,
            id,
            save_and_wait,
            wait_and_save,
            push,
            take,
            end
        ],
    )
}

/// Runs `test` on each store, with and without a `max_age` of the cookie.
async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(App) -> F) {
    App::on_every_store(build, test).await;
}

/// A visitor whose browser has the cookie of a session that ended.
async fn visitor_with_a_stale_cookie(app: &App) -> Visitor<'_> {
    let visitor = app.known_visitor().await;
    visitor.copy().get("/logout").await;
    visitor
}

#[async_test]
async fn a_session_that_begins_beside_a_stale_cookie_is_never_lost() {
    on_every_store(async |app| {
        let ended = visitor_with_a_stale_cookie(&app).await;
        let foreign = app.visitor();
        foreign.set_cookie("id", "bm90IHNlYWxlZCBieSB1cw");
        for (round, visitor) in [ended, foreign].iter().enumerate() {
            let (one, other) = (format!("one{round}"), format!("other{round}"));
            let gates = [app.gate(&one), app.gate(&other)];
            let slow = join(
                visitor.get(format!("/touch?gate={one}").leak()),
                visitor.get(format!("/get/a?gate={other}").leak()),
            );
            let begin = async {
                gates[0].arrived().await;
                gates[1].arrived().await;
                assert!(visitor.get("/set/a/1").await.sets_session());
                gates[0].open();
                gates[1].open();
            };
            let (responses, ()) = join(slow, begin).await;
            for response in [responses.0, responses.1] {
                assert!(response.session_cookie().is_none(), "{response:?}");
            }
            assert_eq!(visitor.get("/keys").await.body, "a");
        }
    })
    .await;
}

/// In one browser, the visitor logs out and in again while another request is in flight.
async fn new_log_in_survives(app: &App, path: &str, wait: Duration) {
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let path = format!("{path}?gate=slow");
    let response = app
        .held_at("slow", visitor.get(&path), async {
            assert!(visitor.get("/logout").await.removes_session());
            visitor.get("/login/bob").await;
            app.clock.advance(wait);
        })
        .await;
    assert!(response.session_cookie().is_none(), "{path}: {response:?}");
    assert_eq!(visitor.get("/who").await.body, "bob", "{path}");
}

#[async_test]
async fn a_long_poll_does_not_disturb_the_next_log_in() {
    on_every_store(async |app| {
        for path in [
            "/touch",
            "/get/n",
            "/set/a/1",
            "/add/a/1",
            "/remove/n",
            "/clear",
            "/renew",
            "/logout",
        ] {
            for wait in [0, 66] {
                new_log_in_survives(&app, path, Duration::from_secs(wait)).await;
            }
        }
    })
    .await;
}

#[async_test]
async fn only_the_request_that_emptied_a_session_removes_its_cookie() {
    on_every_store(async |app| {
        for path in ["/renew", "/remove/n", "/clear", "/touch"] {
            let visitor = app.known_visitor().await;
            let slow = format!("{path}?gate=slow");
            let response = app
                .held_at("slow", visitor.get(&slow), async {
                    assert!(visitor.get("/clear").await.removes_session());
                    // The browser has the next session's cookie before the slow response arrives.
                    assert!(visitor.get("/set/a/1").await.sets_session());
                })
                .await;
            assert!(response.session_cookie().is_none(), "{path}: {response:?}");
            assert_eq!(visitor.get("/keys").await.body, "a", "{path}");
        }
    })
    .await;
}

#[async_test]
async fn a_request_of_an_expired_session_does_not_disturb_a_log_in() {
    let app = App::configured(|f| f.merge(("sessions.idle_timeout", 600))).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(11 * MINUTE);
    let response = app
        .held_at("slow", visitor.get("/touch?gate=slow"), async {
            visitor.get("/login/alice").await;
        })
        .await;
    assert!(response.session_cookie().is_none(), "{response:?}");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn an_old_cookie_never_overwrites_a_new_one() {
    for path in ["/touch?gate=slow", "/set/a/1?gate=slow"] {
        for change in ["/login/alice", "/renew"] {
            let app = App::configured(with_max_age).await;
            let visitor = app.known_visitor().await;
            app.clock.advance(2 * MINUTE);
            let response = app
                .held_at("slow", visitor.get(path), async {
                    assert!(visitor.get(change).await.sets_session());
                })
                .await;
            assert!(response.session_cookie().is_none(), "{path}: {response:?}");
            assert_eq!(visitor.get("/get/n").await.body, "\"0\"", "{path} {change}");
        }
    }
}

#[async_test]
async fn a_touch_at_the_start_of_a_request_does_not_resend_the_cookie() {
    let settings = |f| with_max_age(f).merge(("sessions.idle_timeout", 600));
    let app = App::configured(settings).await;
    let visitor = app.known_visitor().await;
    // Past half of its idle timeout, the session is saved when it is loaded.
    app.clock.advance(6 * MINUTE);
    let response = app
        .held_at("slow", visitor.get("/touch?gate=slow"), async {
            assert!(visitor.get("/login/alice").await.sets_session());
        })
        .await;
    assert!(response.session_cookie().is_none(), "{response:?}");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn a_save_before_the_response_does_not_resend_a_stale_cookie() {
    let app = App::built(with_max_age, build).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(2 * MINUTE);
    let response = app
        .held_at("saved", visitor.get("/save_and_wait"), async {
            assert!(visitor.get("/login/alice").await.sets_session());
        })
        .await;
    assert!(response.session_cookie().is_none(), "{response:?}");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn a_cookie_of_a_previous_key_never_overwrites_a_new_one() {
    let before = App::configured(|f| f.merge(("secret_key", vec![1_u8; 64]))).await;
    let known = before.known_visitor().await;
    let app = before
        .again(|f| f.merge(("sessions.previous_secret_keys", [vec![1_u8; 64]])))
        .await;
    let visitor = known.copy_to(&app);
    let response = app
        .held_at("slow", visitor.get("/touch?gate=slow"), async {
            visitor.get("/login/alice").await;
        })
        .await;
    assert!(response.session_cookie().is_none(), "{response:?}");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn a_cookie_is_resent_only_with_a_page_after_the_store_confirmed_it() {
    for previous_key in [false, true] {
        let first = match previous_key {
            true => App::configured(|f| f.merge(("secret_key", vec![1_u8; 64]))).await,
            false => App::configured(with_max_age).await,
        };
        let known = first.known_visitor().await;
        let app = match previous_key {
            true => {
                let keys = [vec![1_u8; 64]];
                first
                    .again(|f| f.merge(("sessions.previous_secret_keys", keys)))
                    .await
            }
            false => first.again(with_max_age).await,
        };
        app.clock.advance(2 * MINUTE);
        let visitor = |mode: Option<&str>| {
            let visitor = known.copy_to(&app);
            match mode {
                Some(mode) => visitor.with("Sec-Fetch-Mode", mode),
                None => visitor,
            }
        };
        app.probe.fail(Act::Save);
        let response = visitor(Some("navigate")).get("/touch").await;
        assert_eq!(response.status.code, 200, "a touch that fails harms nobody");
        assert!(
            response.session_cookie().is_none(),
            "the store did not respond"
        );
        app.probe.heal();
        for mode in ["cors", "no-cors", "websocket"] {
            app.clock.advance(2 * MINUTE);
            let response = visitor(Some(mode)).get("/touch").await;
            assert!(response.session_cookie().is_none(), "{mode}: {response:?}");
        }
        for mode in [Some("navigate"), None] {
            app.clock.advance(2 * MINUTE);
            let response = visitor(mode).get("/touch").await;
            assert!(response.sets_session(), "{mode:?}: {response:?}");
        }
    }
}

#[async_test]
async fn a_save_by_another_request_does_not_stop_a_resent_cookie() {
    let app = App::configured(with_max_age).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(2 * MINUTE);
    let response = app
        .held_at("slow", visitor.get("/touch?gate=slow"), async {
            let other = visitor.copy().with("Sec-Fetch-Mode", "cors");
            assert!(other.get("/add/a/1").await.session_cookie().is_none());
        })
        .await;
    assert!(response.sets_session(), "{response:?}");
    assert_eq!(visitor.get("/get/a").await.body, "1");
}

#[async_test]
async fn a_log_out_with_the_cookie_from_before_a_renewal_ends_the_session() {
    on_every_store(async |app| {
        for renewal in ["/renew", "/login/bob"] {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            // Sent before the browser has the response to the renewal.
            let straggler = visitor.copy();
            visitor.get(renewal).await;
            let response = straggler.get("/logout").await;
            assert_eq!(response.status.code, 200);
            assert!(response.removes_session(), "{response:?}");
            assert_eq!(visitor.get("/who").await.body, "nobody", "{renewal}");
            assert!(app.list().await.is_empty(), "{renewal}");
        }
    })
    .await;
}

#[async_test]
async fn a_log_out_ends_every_copy_of_concurrent_renewals() {
    on_every_store(async |app| {
        // The same store, used by another host.
        let elsewhere = app.again(|figment| figment).await;
        for renewal in ["/renew", "/login/alice"] {
            for logs_out in 0..3 {
                let visitor = app.known_visitor().await;
                visitor.get("/login/alice").await;
                let elsewhere_too = visitor.copy_to(&elsewhere);
                let copies = [visitor.copy(), visitor.copy(), elsewhere_too];
                let gates = [app.gate("slow"), app.gate("slow"), elsewhere.gate("slow")];
                let path = format!("{renewal}?gate=slow");
                let renewals = join3(
                    copies[0].get(&path),
                    copies[1].get(&path),
                    copies[2].get(&path),
                );
                let all_at_once = async {
                    for gate in &gates {
                        gate.arrived().await;
                    }
                    for gate in &gates {
                        gate.open();
                    }
                };
                let (responses, ()) = join(renewals, all_at_once).await;
                for response in [responses.0, responses.1, responses.2] {
                    assert!(response.sets_session(), "{response:?}");
                }
                for copy in &copies {
                    assert_eq!(copy.get("/who").await.body, "alice");
                }
                // A renewed copy is still a copy.
                copies[(logs_out + 1) % 3].get("/renew").await;
                app.clock.advance(2 * MINUTE);
                let response = copies[logs_out].get("/logout").await;
                assert!(response.removes_session(), "{response:?}");
                for copy in &copies {
                    assert_eq!(copy.get("/who").await.body, "nobody", "{renewal}");
                }
                assert!(app.list().await.is_empty(), "{renewal}");
            }
        }
    })
    .await;
}

/// Two copies of one session, made by two concurrent log-ins.
async fn two_copies(app: &App) -> [Visitor<'_>; 2] {
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let (one, other) = (visitor.copy(), visitor.copy());
    let gate = app.gate("log_in");
    let both = async {
        gate.arrived().await;
        gate.arrived().await;
        gate.open();
        gate.open();
    };
    join3(
        one.get("/login/alice?gate=log_in"),
        other.get("/login/alice?gate=log_in"),
        both,
    )
    .await;
    [one, other]
}

#[async_test]
async fn a_copy_that_is_in_use_does_not_outlive_the_log_out() {
    // With a `max_age`, so that a touch sends the cookie again if the store confirms the session.
    let app = App::built(with_max_age, build).await;
    for (path, body) in [
        ("/wait_and_save", Some("Closed")),
        ("/take", Some("0")),
        ("/add/a/1", None),
        ("/renew", None),
        ("/touch", None),
    ] {
        let [one, other] = two_copies(&app).await;
        assert_eq!(other.get("/push").await.status.code, 200);
        app.clock.advance(2 * MINUTE);
        let slow = format!("{path}?gate={path}");
        let response = app
            .held_at(path, other.get(&slow), async {
                assert!(one.get("/logout").await.removes_session());
            })
            .await;
        assert!(response.session_cookie().is_none(), "{path}: {response:?}");
        assert!(
            body.is_none_or(|body| body == response.body),
            "{path}: {response:?}"
        );
        assert_eq!(other.get("/who").await.body, "nobody", "{path}");
    }
}

#[async_test]
async fn the_id_returned_by_a_log_in_ends_the_session() {
    on_every_store(async |app| {
        for known in [false, true] {
            let visitor = match known {
                true => app.known_visitor().await,
                false => app.visitor(),
            };
            let returned = visitor.get("/id_at_login/alice").await.body;
            assert_eq!(visitor.get("/id").await.body, returned);
            app.clock.advance(2 * MINUTE);
            let administrator = app.visitor();
            let ended = administrator.get(&format!("/end/{returned}")).await;
            assert_eq!((ended.status.code, &*ended.body), (200, "true"));
            assert_eq!(visitor.get("/who").await.body, "nobody");
        }
        assert_eq!(app.visitor().get("/id").await.body, "none");
    })
    .await;
}

#[async_test]
async fn the_id_returned_by_a_second_renewal_is_the_new_session_id() {
    on_every_store(async |app| {
        for visitor in [app.visitor(), app.known_visitor().await] {
            let returned = visitor.get("/id_at_second_renewal").await.body;
            assert_eq!(visitor.get("/id").await.body, returned);
        }
    })
    .await;
}

#[async_test]
async fn a_log_in_whose_session_is_ended_before_the_response_gives_no_cookie() {
    on_every_store(async |app| {
        for known in [false, true] {
            let visitor = match known {
                true => app.known_visitor().await,
                false => app.visitor(),
            };
            let response = app
                .held_at("saved", visitor.get("/login_save_and_wait/alice"), async {
                    let ended = app.sessions().end_all_of("alice", None).await;
                    assert_eq!(ended.unwrap(), 1);
                })
                .await;
            assert!(!response.sets_session(), "{response:?}");
            assert_eq!(visitor.get("/who").await.body, "nobody");
            assert!(app.list().await.is_empty());
        }
    })
    .await;
}

#[async_test]
async fn a_revived_session_sends_its_cookie_only_when_confirmed() {
    for more in [false, true] {
        for fails in [false, true] {
            let app = App::built(|figment| figment, build).await;
            let visitor = app.known_visitor().await;
            let slow = visitor.copy();
            let others = async {
                app.gate("loaded").arrived().await;
                assert!(visitor.get("/remove/n").await.removes_session());
                app.gate("loaded").open();
                app.gate("saved").arrived().await;
                if fails {
                    app.probe.fail(Act::Save);
                }
                app.gate("saved").open();
            };
            let path = format!("/revive?more={more}");
            let (response, ()) = join(slow.get(&path), others).await;
            app.probe.heal();
            let status = if more && fails { 503 } else { 200 };
            assert_eq!(response.status.code, status, "{more} {fails}");
            assert_eq!(
                response.sets_session(),
                !fails,
                "{more} {fails}: {response:?}"
            );
            let keys = if more && !fails { "a,b" } else { "a" };
            assert_eq!(slow.get("/keys").await.body, keys, "{more} {fails}");
        }
    }
}

#[async_test]
async fn no_id_is_returned_for_a_session_that_cannot_be_kept() {
    let app = App::built(|figment| figment, build).await;
    let visitor = app.known_visitor().await;
    let straggler = visitor.copy();
    visitor.get("/login/alice").await;
    // For a minute, its cookie leads to the new session, and opens nothing. Nothing can be inserted either.
    assert_eq!(straggler.get("/id_with").await.body, "none");
    assert_eq!(straggler.get("/set/a/1").await.status.code, 503);
    assert_eq!(visitor.get("/id_with").await.body.len(), 32);
}

#[async_test]
async fn a_renewal_after_a_renewal_and_a_log_out_leaves_no_session() {
    on_every_store(async |app| {
        for path in ["/renew?gate=slow", "/login/alice?gate=slow"] {
            let visitor = app.known_visitor().await;
            let slow = visitor.copy();
            let response = app
                .held_at("slow", slow.get(path), async {
                    assert!(visitor.get("/login/alice").await.sets_session());
                    assert!(visitor.get("/logout").await.removes_session());
                })
                .await;
            assert!(response.session_cookie().is_none(), "{path}: {response:?}");
            assert_eq!(slow.get("/who").await.body, "nobody", "{path}");
            assert!(app.list().await.is_empty(), "{path}");
        }
    })
    .await;
}

#[async_test]
async fn a_change_that_follows_several_renewals_brings_no_cookie() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let slow = visitor.copy();
        let renewals = async {
            app.gate("slow").arrived().await;
            visitor.get("/renew").await;
            let of_the_slow = app.probe.gate(Act::Save);
            app.gate("slow").open();
            of_the_slow.arrived().await;
            of_the_slow.open();
            // It found the first tombstone, and finds a second one at the id that the first one names.
            of_the_slow.arrived().await;
            app.probe.gate(Act::Save).open_for_all();
            visitor.get("/renew").await;
            of_the_slow.open();
        };
        let (response, ()) = join(slow.get("/add/count/5?gate=slow"), renewals).await;
        assert_eq!(response.status.code, 200);
        assert!(response.session_cookie().is_none(), "{response:?}");
        assert_eq!(visitor.get("/get/count").await.body, "5");
    })
    .await;
}

#[async_test]
async fn a_reader_keeps_the_cookie_of_a_session_emptied_by_another() {
    let app = App::configured(with_max_age).await;
    let visitor = app.known_visitor().await;
    let slow = visitor.copy();
    app.clock.advance(2 * MINUTE);
    let response = app
        .held_at("slow", slow.get("/touch?gate=slow"), async {
            assert!(visitor.get("/remove/n").await.removes_session());
        })
        .await;
    assert!(response.session_cookie().is_none(), "{response:?}");
}

#[async_test]
async fn a_notification_taken_beside_another_change_sends_no_cookie() {
    let app = App::built(|figment| figment, build).await;
    let visitor = app.known_visitor().await;
    visitor.get("/push").await;
    let response = app
        .held_at("slow", visitor.get("/take?gate=slow"), async {
            visitor.get("/add/a/1").await;
        })
        .await;
    assert_eq!(response.body, "1");
    assert!(response.session_cookie().is_none(), "{response:?}");
}
