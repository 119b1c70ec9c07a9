//! The store executed a call and its response was lost, or it did nothing. In both cases every change
//! counts once, and the visitor keeps a session.

use std::future::pending;
use std::pin::pin;
use std::time::{Duration, Instant};

use rocket::figment::Figment;
use rocket::futures::channel::oneshot;
use rocket::futures::future::{Either, join, select};
use rocket::http::Status;
use rocket::{Build, Rocket, State, async_test, get, routes};
use rocket_session_kit::store::{Precondition, Save, Saved, SessionStore};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{Notifications, Result, Session};

use crate::support::{App, Gates, Response, Visitor, push};

/// Longer than any session lives unused.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Calls `save()`, and waits at two gates: before it saves, and before it responds.
#[get("/add_and_save/<key>?<more>")]
async fn add_and_save(
    key: &str,
    more: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String, Status> {
    session.increment(key, 2).expect("it is a number");
    gates.wait(Some("save")).await;
    let saved = session.save().await;
    gates.wait(Some("respond")).await;
    if let Some(more) = more {
        session.increment(more, 1).expect("it is a number");
    }
    saved
        .map(|()| "saved".into())
        .map_err(|_| Status::ServiceUnavailable)
}

/// Calls `save()`, and then renews the session, whatever the outcome.
#[get("/add_save_and_renew/<key>")]
async fn add_save_and_renew(key: &str, session: &Session, gates: &State<Gates>) -> Result<()> {
    session.increment(key, 2)?;
    gates.wait(Some("save")).await;
    // It fails, and the changes are sent again with the renewal.
    let _ = session.save().await;
    gates.wait(Some("respond")).await;
    session.renew();
    Ok(())
}

#[get("/login_and_save/<user>?<more>")]
async fn log_in_and_save(
    user: &str,
    more: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String, Status> {
    session.log_in(user);
    gates.wait(Some("save")).await;
    let saved = session.save().await;
    gates.wait(Some("respond")).await;
    if let Some(more) = more {
        session.increment(more, 1).expect("it is a number");
    }
    saved
        .map(|()| "saved".into())
        .map_err(|_| Status::ServiceUnavailable)
}

/// Makes a change before the log-in.
#[get("/insert_and_login/<user>")]
fn insert_and_log_in(user: &str, session: &Session) -> Result<()> {
    session.insert("before", 1)?;
    session.log_in(user);
    Ok(())
}

/// Counts, and logs in.
#[get("/count_and_login/<user>")]
fn count_and_log_in(user: &str, session: &Session) -> Result<()> {
    session.increment("count", 1)?;
    session.log_in(user);
    Ok(())
}

/// Changes the session before it logs in and saves, and responds with `status` whatever the outcome.
#[get("/add_and_login/<key>/<user>?<status>&<end>")]
async fn add_and_log_in(
    key: &str,
    user: &str,
    status: u16,
    end: bool,
    session: &Session,
) -> Result<Status> {
    session.increment(key, 1)?;
    session.log_in(user);
    let _ = session.save().await;
    if end {
        session.end();
    }
    Ok(Status::new(status))
}

/// Sets a value, saves it, and sets it again.
#[get("/set_save_and_set/<key>")]
async fn set_save_and_set(key: &str, session: &Session, gates: &State<Gates>) -> Result<()> {
    session.insert(key, 1)?;
    gates.wait(Some("save")).await;
    // It fails, and the final save sends the later value.
    let _ = session.save().await;
    gates.wait(Some("respond")).await;
    session.insert(key, 2)
}

/// Changes two values and saves them; with `again`, changes one more and saves that too. It returns the
/// values that it then sees, and leaves a last change to the final save.
#[get("/add_two_and_save?<again>")]
async fn add_two_and_save(again: bool, session: &Session, gates: &State<Gates>) -> Result<String> {
    session.increment("one", 1)?;
    session.increment("two", 1)?;
    gates.wait(Some("save")).await;
    let _ = session.save().await;
    if again {
        session.increment("three", 1)?;
        gates.wait(Some("again")).await;
        let _ = session.save().await;
    }
    gates.wait(Some("respond")).await;
    let seen = ["one", "two", "three"].map(|name| session.get(name));
    let seen: Vec<i64> = seen
        .into_iter()
        .map(|n| Ok(n?.unwrap_or(0)))
        .collect::<Result<_>>()?;
    session.increment("last", 1)?;
    Ok(format!("{seen:?}"))
}

/// Pushes a message and saves it, changes a value during that save, and then renews the
/// session.
#[get("/push_save_and_renew")]
async fn push_save_and_renew(
    session: &Session,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<()> {
    notes.info("unheard")?;
    let during = async {
        gates.wait(Some("saving")).await;
        let changed = session.increment("count", 1);
        gates.wait(Some("changed")).await;
        changed
    };
    let (_, changed) = join(session.save(), during).await;
    changed?;
    gates.wait(Some("respond")).await;
    session.renew();
    Ok(())
}

/// Pushes a message, saves it, and pushes two more.
#[get("/push_save_and_push_two")]
async fn push_save_and_push_two(
    session: &Session,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<()> {
    notes.info("a")?;
    gates.wait(Some("save")).await;
    let _ = session.save().await;
    gates.wait(Some("respond")).await;
    notes.info("b")?;
    notes.info("c")
}

/// Counts and calls `save()`, and then takes all messages.
#[get("/add_save_and_take")]
async fn add_save_and_take(
    session: &Session,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    session.increment("count", 1)?;
    gates.wait(Some("save")).await;
    let _ = session.save().await;
    gates.wait(Some("respond")).await;
    let taken = notes.take_all().await?;
    let count: Option<i64> = session.get("count")?;
    Ok(format!("{} {count:?}", taken.len()))
}

/// Logs out and calls `save()`.
#[get("/logout_and_save")]
async fn log_out_and_save(session: &Session, gates: &State<Gates>) {
    session.log_out();
    gates.wait(Some("save")).await;
    // It fails, and the final save tries again.
    let _ = session.save().await;
    gates.wait(Some("respond")).await;
}

/// Returns the waiting messages.
#[get("/messages")]
fn messages(notes: Notifications<'_>) -> String {
    let waiting: Vec<_> = notes.peek().iter().map(ToString::to_string).collect();
    waiting.join(",")
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount(
        "/",
        routes![
            add_and_save,
            set_save_and_set,
            add_two_and_save,
            push_save_and_renew,
            push_save_and_push_two,
            push,
            add_save_and_take,
            log_out_and_save,
            messages,
            add_save_and_renew,
            log_in_and_save,
            count_and_log_in,
            insert_and_log_in,
            add_and_log_in
        ],
    )
}

async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(App) -> F) {
    App::on_every_store(build, test).await;
}

/// The fate of the handler's own save.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Arrives,
    Fails,
}

impl Fate {
    fn befalls(self, app: &App) {
        match self {
            Self::Arrives => app.probe.fail_afterwards(Act::Save),
            Self::Fails => app.probe.fail(Act::Save),
        }
    }
}

/// Returns the response to `request`, whose handler calls `save()`, which meets its fate. The store
/// works again when the handler is about to respond.
async fn with_a_save_in_doubt(
    app: &App,
    fate: Fate,
    request: impl Future<Output = Response>,
) -> Response {
    with_a_save_in_doubt_and(app, fate, request, async {}).await
}

/// The same. When the handler is about to respond, `meanwhile` happens.
async fn with_a_save_in_doubt_and(
    app: &App,
    fate: Fate,
    request: impl Future<Output = Response>,
    meanwhile: impl Future<Output = ()>,
) -> Response {
    let faults = async {
        app.gate("save").arrived().await;
        fate.befalls(app);
        app.gate("save").open();
        app.gate("respond").arrived().await;
        app.probe.heal();
        meanwhile.await;
        app.gate("respond").open();
    };
    join(request, faults).await.0
}

#[async_test]
async fn a_resent_save_counts_once() {
    on_every_store(async |app| {
        for fate in [Fate::Arrives, Fate::Fails] {
            for more in ["", "?more=more"] {
                for known in [true, false] {
                    let visitor = match known {
                        true => app.known_visitor().await,
                        false => app.visitor(),
                    };
                    let path = format!("/add_and_save/count{more}");
                    let request = visitor.get(&path);
                    let response = with_a_save_in_doubt(&app, fate, request).await;
                    let what = format!("{fate:?} {more} {known}");
                    assert_eq!(response.status.code, 503, "{what}");
                    assert_eq!(visitor.get("/get/count").await.body, "2", "{what}");
                    let expected = if more.is_empty() { "none" } else { "1" };
                    assert_eq!(visitor.get("/get/more").await.body, expected, "{what}");
                }
            }
        }
    })
    .await;
}

#[async_test]
async fn a_resent_save_never_counts_twice_after_other_saves() {
    on_every_store(async |app| {
        for fate in [Fate::Arrives, Fate::Fails] {
            let visitor = app.known_visitor().await;
            let request = visitor.get("/add_and_save/count?more=more");
            let response = with_a_save_in_doubt_and(&app, fate, request, async {
                assert_eq!(visitor.get("/add/count/10").await.status.code, 200);
            })
            .await;
            // The revision of the others does not show whether it contains the first save.
            assert_eq!(response.status.code, 503, "{fate:?}");
            let count = visitor.get("/get/count").await.body;
            let once = match fate {
                Fate::Arrives => "12",
                Fate::Fails => "10",
            };
            assert_eq!(count, once, "{fate:?}");
        }
    })
    .await;
}

#[async_test]
async fn a_resent_save_with_a_renewal_never_counts_twice() {
    on_every_store(async |app| {
        for fate in [Fate::Arrives, Fate::Fails] {
            let others = app.list().await.len();
            let visitor = app.known_visitor().await;
            let request = visitor.get("/add_save_and_renew/count");
            let response = with_a_save_in_doubt_and(&app, fate, request, async {
                assert_eq!(visitor.get("/add/count/10").await.status.code, 200);
            })
            .await;
            // The revision of the others does not show whether it contains the first save.
            assert_eq!(response.status.code, 503, "{fate:?}");
            let once = match fate {
                Fate::Arrives => "12",
                Fate::Fails => "10",
            };
            assert_eq!(visitor.get("/get/count").await.body, once, "{fate:?}");
            // No copy remains.
            assert_eq!(app.list().await.len(), others + 1, "{fate:?}");
        }
    })
    .await;
}

#[async_test]
async fn a_renewal_whose_response_is_lost_leaves_the_visitor_a_session() {
    // The first save makes the copy, and the second the tombstone: either response may be lost.
    let rounds = [1, 2].map(|lost| [(lost, Fate::Arrives), (lost, Fate::Fails)]);
    App::in_rounds(rounds.as_flattened(), build, async |app, (lost, fate)| {
        let visitor = app.known_visitor().await;
        let saves = app.probe.gate(Act::Save);
        let fault = async {
            for number in 1..=lost {
                saves.arrived().await;
                if number == lost {
                    fate.befalls(&app);
                }
                saves.open();
            }
            if lost == 2 {
                // The tombstone is sent again, and that response arrives.
                saves.arrived().await;
                app.probe.heal();
            }
            saves.open_for_all();
        };
        let (response, ()) = join(visitor.get("/login/alice"), fault).await;
        app.probe.heal();
        let what = format!("{lost} {fate:?}");
        let user = if lost == 2 { "alice" } else { "nobody" };
        let status = if lost == 2 { 200 } else { 503 };
        assert_eq!(response.status.code, status, "{what}");
        assert_eq!(visitor.get("/who").await.body, user, "{what}");
        assert_eq!(visitor.get("/get/n").await.body, "\"0\"", "{what}");
    })
    .await;
}

/// Checks whether the log-out of one of two copies ends both.
async fn end_together(copies: [&Visitor<'_>; 2], logs_out: usize) {
    for copy in copies {
        assert_eq!(copy.get("/who").await.body, "alice", "{logs_out}");
    }
    assert!(copies[logs_out].get("/logout").await.removes_session());
    for copy in copies {
        assert_eq!(copy.get("/who").await.body, "nobody", "{logs_out}");
    }
}

/// Waits until the old cookie opens the session with `n` again.
async fn comes_back(visitor: &Visitor<'_>) {
    wait_for_body(visitor, "/get/n", "\"0\"").await;
}

/// Waits until the response to `path` is `body`.
async fn wait_for_body(visitor: &Visitor<'_>, path: &str, body: &str) {
    let started = Instant::now();
    while visitor.get(path).await.body != body {
        assert!(started.elapsed().as_secs() < 20, "the session is lost");
        rocket::tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets a renewal, whose saves wait at this gate, make its copy. Its tombstone is saved after that, but
/// the response is lost.
async fn lose_the_response_to_a_tombstone(app: &App, saves: &Gate) {
    saves.arrived().await;
    saves.open();
    saves.arrived().await;
    app.probe.fail_afterwards(Act::Save);
    saves.open_for_all();
}

#[async_test]
async fn a_renewal_that_the_store_never_confirms_is_undone() {
    on_every_store(async |app| {
        for path in ["/login/alice", "/insert_and_login/alice", "/renew"] {
            let before = app.list().await.len();
            let visitor = app.known_visitor().await;
            let saves = app.probe.gate(Act::Save);
            let fault = lose_the_response_to_a_tombstone(&app, &saves);
            let (response, ()) = join(visitor.get(path), fault).await;
            assert_eq!(response.status.code, 503, "{path}");
            assert!(response.session_cookie().is_none(), "{path}");
            app.probe.heal();
            comes_back(&visitor).await;
            assert_eq!(visitor.get("/who").await.body, "nobody", "{path}");
            assert_eq!(visitor.get("/keys").await.body, "n", "{path}");
            assert_eq!(visitor.get("/add/a/1").await.status.code, 200, "{path}");
            // No copy remains.
            app.holds(before + 1).await;
        }
    })
    .await;
}

/// Lets a log-in save its tombstone without a response from the store. Meanwhile a request on
/// another host follows the tombstone and completes.
async fn meets_a_renewal_in_doubt(app: &App, visitor: &Visitor<'_>, path: &str) {
    let elsewhere = app.again(|figment| figment).await;
    let other = visitor.copy_to(&elsewhere);
    let (saves, slow) = (app.probe.gate(Act::Save), elsewhere.gate("slow"));
    let (kept, is_kept) = oneshot::channel();
    let log_in = async {
        slow.arrived().await;
        visitor.get("/login/alice").await
    };
    let path = format!("{path}?gate=slow");
    let other = async {
        let response = other.get(&path).await;
        let _ = kept.send(());
        response
    };
    let faults = async {
        // The log-in makes its copy, and is about to save the tombstone.
        saves.arrived().await;
        saves.open();
        saves.arrived().await;
        // The other request is about to save. The tombstone comes first, but its response is lost.
        slow.open();
        saves.arrived().await;
        app.probe.fail_afterwards(Act::Save);
        saves.open();
        saves.arrived().await;
        // The other request finds the tombstone, and follows it to the copy.
        app.probe.heal();
        saves.open();
        saves.arrived().await;
        // The log-in sends its tombstone again, in vain.
        app.probe.fail_afterwards(Act::Save);
        saves.open();
        saves.arrived().await;
        app.probe.heal();
        saves.open();
        is_kept.await.expect("the other request gets a response");
        app.probe.fail_afterwards(Act::Save);
        saves.open_for_all();
    };
    let ((log_in, other), ()) = join(join(log_in, other), faults).await;
    app.probe.heal();
    assert_eq!(
        (log_in.status.code, other.status.code),
        (503, 200),
        "{other:?}"
    );
}

#[async_test]
async fn an_undone_renewal_keeps_changes_of_others_in_the_copy() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        meets_a_renewal_in_doubt(&app, &visitor, "/add/count/7").await;
        comes_back(&visitor).await;
        assert_eq!(visitor.get("/get/count").await.body, "7");
        assert_eq!(visitor.get("/who").await.body, "nobody");
        app.holds(1).await;
    })
    .await;
}

#[async_test]
async fn an_undone_renewal_revives_no_session_that_ended_meanwhile() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        meets_a_renewal_in_doubt(&app, &visitor, "/logout").await;
        // The undo tries at once, and again after a moment.
        for _ in 0..25 {
            assert_eq!(visitor.get("/get/n").await.body, "none");
            assert!(app.list().await.is_empty());
            rocket::tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[async_test]
async fn a_renewal_is_undone_beside_any_other_change() {
    on_every_store(async |app| {
        for (more, status) in [("status=200&end=false", 503), ("status=500&end=false", 500)] {
            let visitor = app.known_visitor().await;
            let others = app.list().await.len() - 1;
            let saves = app.probe.gate(Act::Save);
            let fault = lose_the_response_to_a_tombstone(&app, &saves);
            let path = format!("/add_and_login/count/alice?{more}");
            let (response, ()) = join(visitor.get(&path), fault).await;
            assert_eq!(response.status.code, status, "{more}");
            app.probe.heal();
            comes_back(&visitor).await;
            assert_eq!(visitor.get("/who").await.body, "nobody", "{more}");
            // No copy remains.
            app.holds(others + 1).await;
        }
    })
    .await;
}

#[async_test]
async fn a_retried_renewal_keeps_changes_of_others_in_the_copy() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let elsewhere = app.again(|figment| figment).await;
        let other = visitor.copy_to(&elsewhere);
        let slow = elsewhere.gate("slow");
        let log_in = async {
            slow.arrived().await;
            visitor.get("/login_and_save/alice").await
        };
        let faults = async {
            app.gate("save").arrived().await;
            let saves = app.probe.gate(Act::Save);
            app.gate("save").open();
            lose_the_response_to_a_tombstone(&app, &saves).await;
            app.gate("respond").arrived().await;
            app.probe.heal();
            // The other request follows the tombstone, and then the fairing tries again.
            slow.open();
        };
        let add = async {
            let response = other.get("/add/count/7?gate=slow").await;
            app.gate("respond").open();
            response
        };
        let ((log_in, add), ()) = join(join(log_in, add), faults).await;
        assert_eq!((log_in.status.code, add.status.code), (503, 200));
        assert!(log_in.sets_session(), "the final save succeeded");
        assert_eq!(visitor.get("/get/count").await.body, "7");
        assert_eq!(visitor.get("/who").await.body, "alice");
    })
    .await;
}

#[async_test]
async fn a_tombstone_that_arrives_after_an_undone_renewal_has_no_effect() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let [(id, _)] = app.list().await[..] else {
            panic!("there is one session");
        };
        let before = app.probe.load_session(&id).await.unwrap().unwrap();
        let saves = app.probe.gate(Act::Save);
        let fault = async {
            saves.arrived().await;
            saves.open();
            saves.arrived().await;
            // The copy is made, and the tombstone is abandoned before it is saved.
            app.probe.fail(Act::Save);
            saves.open_for_all();
        };
        let (response, ()) = join(visitor.get("/login/alice"), fault).await;
        assert_eq!(response.status.code, 503);
        app.probe.heal();
        app.holds(1).await;
        let late = Save {
            bytes: &before.bytes,
            ttl: Duration::from_secs(60),
            precondition: Precondition::Revision(before.revision),
        };
        let late = app.probe.save_session(&id, late).await.unwrap();
        assert!(matches!(late, Saved::Changed), "{late:?}");
        assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
        assert_eq!(visitor.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn an_undone_renewal_keeps_concurrent_saves() {
    on_every_store(async |app| {
        for (path, sessions) in [("/login/alice", 1), ("/count_and_login/alice", 2)] {
            let visitor = app.known_visitor().await;
            let saves = app.probe.gate(Act::Save);
            let others = async {
                // The renewal is about to make its copy. Another request saves right after that.
                saves.arrived().await;
                let add = visitor.copy();
                let add = async {
                    let response = add.get("/add/count/5").await;
                    assert_eq!(response.status.code, 200);
                };
                let let_it_save = async {
                    saves.arrived().await;
                    // The copy comes first, because it was made first.
                    saves.open();
                    saves.arrived().await;
                    saves.open();
                };
                join(add, let_it_save).await;
                // The first tombstone finds another revision, and the copy is made again.
                saves.open();
                saves.arrived().await;
                saves.open();
                saves.arrived().await;
                // The second tombstone is saved, but its response is lost.
                app.probe.fail_afterwards(Act::Save);
                saves.open_for_all();
            };
            let (response, ()) = join(visitor.get(path), others).await;
            assert_eq!(response.status.code, 503, "{path}");
            app.probe.heal();
            comes_back(&visitor).await;
            assert_eq!(visitor.get("/get/count").await.body, "5", "{path}");
            app.holds(sessions).await;
        }
    })
    .await;
}

#[async_test]
async fn a_session_with_an_unconfirmed_creation_does_not_stay() {
    on_every_store(async |app| {
        app.probe.fail_afterwards(Act::Save);
        let visitor = app.visitor();
        assert_eq!(visitor.get("/login/alice").await.status.code, 503);
        app.probe.heal();
        app.holds(0).await;
    })
    .await;
}

#[async_test]
async fn a_creation_repeated_after_its_first_attempt_expired_leaves_one_session() {
    on_every_store(async |app| {
        let visitor = app.visitor();
        let request = visitor.get("/add_and_save/count");
        let response = with_a_save_in_doubt_and(&app, Fate::Arrives, request, async {
            app.clock.advance(MONTH);
        })
        .await;
        assert!(
            response.sets_session(),
            "the final save creates the session"
        );
        app.clock.set_back(MONTH);
        app.holds(1).await;
        assert_eq!(visitor.get("/get/count").await.body, "2");
    })
    .await;
}

#[async_test]
async fn a_saved_renewal_sends_its_cookie_even_with_an_error_response() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let fault = async {
            app.gate("save").arrived().await;
            app.gate("save").open();
            app.gate("respond").arrived().await;
            app.probe.fail(Act::Save);
            app.gate("respond").open();
        };
        let path = "/login_and_save/alice?more=more";
        let (response, ()) = join(visitor.get(path), fault).await;
        app.probe.heal();
        assert_eq!(response.status.code, 503);
        assert!(response.sets_session(), "the old cookie opens nothing");
        assert_eq!(visitor.get("/who").await.body, "alice");
    })
    .await;
}

#[async_test]
async fn a_log_in_saved_twice_renews_once() {
    on_every_store(async |app| {
        for fate in [Fate::Arrives, Fate::Fails] {
            let visitor = app.known_visitor().await;
            let before = app.list().await.len();
            let request = visitor.get("/login_and_save/alice");
            let response = with_a_save_in_doubt(&app, fate, request).await;
            assert_eq!(response.status.code, 503, "{fate:?}");
            // The final save tried again, and succeeded.
            assert!(response.sets_session(), "{fate:?}");
            assert_eq!(visitor.get("/who").await.body, "alice", "{fate:?}");
            assert_eq!(app.list().await.len(), before, "{fate:?}");
        }
    })
    .await;
}

#[async_test]
async fn a_log_out_whose_response_is_lost_is_a_log_out() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        app.probe.fail_afterwards(Act::Save);
        let response = visitor.get("/logout").await;
        app.probe.heal();
        assert_eq!(response.status.code, 200);
        assert!(response.removes_session());
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_value_set_after_an_unconfirmed_save_wins() {
    on_every_store(async |app| {
        for fate in [Fate::Arrives, Fate::Fails] {
            let visitor = app.known_visitor().await;
            let request = visitor.get("/set_save_and_set/a");
            let response = with_a_save_in_doubt(&app, fate, request).await;
            assert_eq!(response.status.code, 200, "{fate:?}");
            assert_eq!(visitor.get("/get/a").await.body, "2", "{fate:?}");
        }
    })
    .await;
}

/// An application whose sessions are found by tokens, and a client with one.
async fn with_tokens() -> App {
    App::built(|f| f.merge(("sessions.transport", "header")), build).await
}

fn client(app: &App) -> Visitor<'_> {
    app.visitor()
        .with("X-Auth-Token", "0123456789abcdef0123456789abcdef")
}

#[async_test]
async fn a_token_session_with_an_unconfirmed_creation_counts_changes_once() {
    for others in [false, true] {
        let app = with_tokens().await;
        let visitor = client(&app);
        let request = visitor.get("/add_two_and_save?again=false");
        let response = with_a_save_in_doubt_and(&app, Fate::Arrives, request, async {
            if others {
                // It finds the session of the same token, and replaces its revision.
                assert_eq!(visitor.get("/add/one/10").await.status.code, 200);
            }
        })
        .await;
        assert_eq!(response.status.code, 200, "{others}");
        let one = if others { "11" } else { "1" };
        for (name, count) in [("one", one), ("two", "1"), ("last", "1")] {
            let there = visitor.get(&format!("/get/{name}")).await.body;
            assert_eq!(there, count, "{name} {others}");
        }
    }
}

#[async_test]
async fn a_token_session_counts_no_change_twice_after_unconfirmed_saves() {
    for fates in [[Fate::Arrives, Fate::Fails], [Fate::Fails, Fate::Arrives]] {
        let app = with_tokens().await;
        let visitor = client(&app);
        let fault = async {
            for (gate, fate) in ["save", "again"].into_iter().zip(fates) {
                app.gate(gate).arrived().await;
                app.probe.heal();
                fate.befalls(&app);
                app.gate(gate).open();
            }
            app.gate("respond").arrived().await;
            app.probe.heal();
            assert_eq!(visitor.get("/add/one/10").await.status.code, 200);
            app.gate("respond").open();
        };
        let (response, ()) = join(visitor.get("/add_two_and_save?again=true"), fault).await;
        // Nothing shows whether the others saved on top of the third change.
        assert_eq!(response.status.code, 503, "{fates:?}");
        let third = match fates {
            [_, Fate::Arrives] => "1",
            _ => "none",
        };
        for (name, count) in [("one", "11"), ("two", "1"), ("three", third)] {
            let there = visitor.get(&format!("/get/{name}")).await.body;
            assert_eq!(there, count, "{name} {fates:?}");
        }
    }
}

#[async_test]
async fn a_retried_renewal_ends_together_with_its_copies() {
    on_every_store(async |app| {
        for logs_out in [0, 1] {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            let elsewhere = app.again(|figment| figment).await;
            let other = visitor.copy_to(&elsewhere);
            let slow = elsewhere.gate("slow");
            let first = async {
                slow.arrived().await;
                visitor.get("/login_and_save/alice").await
            };
            let second = async {
                let response = other.get("/renew?gate=slow").await;
                app.gate("respond").open();
                response
            };
            let faults = async {
                app.gate("save").arrived().await;
                let saves = app.probe.gate(Act::Save);
                app.gate("save").open();
                lose_the_response_to_a_tombstone(&app, &saves).await;
                app.gate("respond").arrived().await;
                app.probe.heal();
                // The other renewal makes a second copy, and then the final save tries again.
                slow.open();
            };
            let ((first, second), ()) = join(join(first, second), faults).await;
            assert!(first.sets_session() && second.sets_session());
            end_together([&visitor, &other], logs_out).await;
        }
    })
    .await;
}

#[async_test]
async fn an_undone_renewal_brings_no_change_of_a_save_that_failed() {
    // With a grace, the visitor could reach the renewed session before the undo, and keep it.
    let settings = |f: Figment| f.merge(("sessions.renewal_grace", 0));
    App::on_every_store_with(settings, build, async |app| {
        let visitor = app.known_visitor().await;
        let saves = app.probe.gate(Act::Save);
        let faults = async {
            // The message is being saved while the handler changes a value, and the save fails.
            saves.arrived().await;
            app.gate("saving").arrived().await;
            app.gate("saving").open();
            app.gate("changed").arrived().await;
            app.probe.fail(Act::Save);
            saves.open();
            app.gate("changed").open();
            app.gate("respond").arrived().await;
            app.probe.heal();
            app.gate("respond").open();
            // The renewal makes its copy, and the response to its tombstone is lost.
            lose_the_response_to_a_tombstone(&app, &saves).await;
        };
        let (response, ()) = join(visitor.get("/push_save_and_renew"), faults).await;
        assert_eq!(response.status.code, 503);
        app.probe.heal();
        comes_back(&visitor).await;
        assert_eq!(visitor.get("/messages").await.body, "");
        assert_eq!(visitor.get("/get/count").await.body, "none");
    })
    .await;
}

#[async_test]
async fn notifications_pushed_after_an_unconfirmed_save_are_all_kept() {
    for fate in [Fate::Arrives, Fate::Fails] {
        let app = App::built(|f| f.merge(("sessions.limits.notifications", 2)), build).await;
        let visitor = app.known_visitor().await;
        let request = visitor.get("/push_save_and_push_two");
        let response = with_a_save_in_doubt(&app, fate, request).await;
        assert_eq!(response.status.code, 200, "{fate:?}");
        // The third message replaced the oldest, and no other.
        assert_eq!(visitor.get("/messages").await.body, "b,c", "{fate:?}");
    }
}

/// Runs `meanwhile` after a log-in has saved its tombstone without a response, and before it gives
/// up. The saves of `meanwhile` get their responses.
async fn during_a_renewal_in_doubt<T>(
    app: &App,
    visitor: &Visitor<'_>,
    meanwhile: impl Future<Output = T>,
) -> T {
    let (done, loads) = until_it_is_undone(app, visitor, meanwhile).await;
    loads.open_for_all();
    done
}

/// The same. The undo waits at the returned gate, which is that of all loads: it has not loaded
/// anything yet, and the store works again.
async fn until_it_is_undone<T>(
    app: &App,
    visitor: &Visitor<'_>,
    meanwhile: impl Future<Output = T>,
) -> (T, Gate) {
    let of_the_log_in = app.probe.gate(Act::Save);
    let faults = async {
        of_the_log_in.arrived().await;
        of_the_log_in.open();
        of_the_log_in.arrived().await;
        app.probe.fail_afterwards(Act::Save);
        of_the_log_in.open();
        // The tombstone is sent again, and that call waits while others save.
        of_the_log_in.arrived().await;
        app.probe.heal();
        app.probe.gate(Act::Save).open_for_all();
        let done = meanwhile.await;
        let loads = app.probe.gate(Act::Load);
        app.probe.gate(Act::Save).open_for_all();
        app.probe.fail_afterwards(Act::Save);
        of_the_log_in.open();
        (done, loads)
    };
    let (log_in, (done, loads)) = join(visitor.get("/login/alice"), faults).await;
    assert_eq!(log_in.status.code, 503);
    loads.arrived().await;
    app.probe.heal();
    (done, loads)
}

#[async_test]
async fn copies_end_together_after_the_first_renewal_is_undone() {
    App::in_rounds(&[0, 1], build, async |app, logs_out| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let elsewhere = app.again(|figment| figment).await;
        let other = visitor.copy_to(&elsewhere);
        let slow = elsewhere.gate("slow");
        let (respond, responded) = oneshot::channel();
        let renewal = async {
            let response = other.get("/renew?gate=slow").await;
            let _ = respond.send(());
            response
        };
        let log_in = async {
            slow.arrived().await;
            let meanwhile = async {
                slow.open();
                responded.await.expect("the renewal gets a response");
            };
            during_a_renewal_in_doubt(&app, &visitor, meanwhile).await;
        };
        let (renewed, ()) = join(renewal, log_in).await;
        assert!(renewed.sets_session(), "{renewed:?}");
        comes_back(&visitor).await;
        end_together([&visitor, &other], logs_out).await;
    })
    .await;
}

#[async_test]
async fn a_save_that_followed_an_undone_renewal_returns_to_the_old_id() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let elsewhere = app.again(|figment| figment).await;
        let other = visitor.copy_to(&elsewhere);
        let slow = elsewhere.gate("slow");
        let undoing = async {
            slow.arrived().await;
            let meanwhile = async {
                let of_the_other = app.probe.gate(Act::Save);
                slow.open();
                of_the_other.arrived().await;
                of_the_other.open();
                // It found the tombstone, and is about to save to the copy.
                of_the_other.arrived().await;
                of_the_other
            };
            let of_the_other = during_a_renewal_in_doubt(&app, &visitor, meanwhile).await;
            comes_back(&visitor).await;
            of_the_other.open();
        };
        let (response, ()) = join(other.get("/add/count/7?gate=slow"), undoing).await;
        assert_eq!(response.status.code, 200);
        assert_eq!(visitor.get("/get/count").await.body, "7");
        app.holds(1).await;
    })
    .await;
}

#[async_test]
async fn an_undone_renewal_leaves_the_next_one_alone() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let elsewhere = app.again(|figment| figment).await;
        let other = visitor.copy_to(&elsewhere);
        let slow = elsewhere.gate("slow");
        let (respond, responded) = oneshot::channel();
        let second = async {
            let response = other.get("/login/bob?gate=slow").await;
            let _ = respond.send(());
            response
        };
        let first = async {
            slow.arrived().await;
            visitor.get("/login/alice").await
        };
        let faults = async {
            let saves = app.probe.gate(Act::Save);
            saves.arrived().await;
            saves.open();
            saves.arrived().await;
            // The copy is made, and its tombstone is never saved.
            let loads = app.probe.gate(Act::Load);
            app.probe.fail(Act::Save);
            saves.open_for_all();
            // The undo loads the old id, after another renewal has left its tombstone there.
            loads.arrived().await;
            app.probe.heal();
            slow.open();
            responded.await.expect("the second renewal gets a response");
            loads.open_for_all();
        };
        let ((first, second), ()) = join(join(first, second), faults).await;
        assert_eq!((first.status.code, second.status.code), (503, 200));
        assert!(second.sets_session());
        app.holds(1).await;
        assert_eq!(other.get("/get/n").await.body, "\"0\"");
        assert_eq!(visitor.get("/get/n").await.body, "none");
    })
    .await;
}

#[async_test]
async fn an_unconfirmed_save_to_a_renewed_session_sends_no_cookie() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let slow = visitor.copy();
        let others = async {
            app.gate("save").arrived().await;
            assert!(visitor.get("/renew").await.sets_session());
            let saves = app.probe.gate(Act::Save);
            app.gate("save").open();
            saves.arrived().await;
            saves.open();
            // It found the tombstone, and saves under the id that the tombstone names.
            saves.arrived().await;
            app.probe.fail_afterwards(Act::Save);
            saves.open();
            app.gate("respond").arrived().await;
            app.probe.heal();
            saves.open_for_all();
            app.gate("respond").open();
        };
        let (response, ()) = join(slow.get("/add_and_save/count"), others).await;
        assert_eq!(response.status.code, 503);
        assert!(response.session_cookie().is_none(), "{response:?}");
        assert_eq!(visitor.get("/get/count").await.body, "2");
    })
    .await;
}

#[async_test]
async fn an_unconfirmed_save_before_a_renewal_elsewhere_sends_no_cookie() {
    on_every_store(async |app| {
        for fate in [Fate::Arrives, Fate::Fails] {
            let visitor = app.known_visitor().await;
            let slow = visitor.copy();
            let others = async {
                app.gate("save").arrived().await;
                fate.befalls(&app);
                app.gate("save").open();
                app.gate("again").arrived().await;
                app.probe.heal();
                assert!(visitor.get("/renew").await.sets_session());
                app.gate("again").open();
                app.gate("respond").arrived().await;
                app.gate("respond").open();
            };
            let (response, ()) = join(slow.get("/add_two_and_save?again=true"), others).await;
            assert_eq!(response.status.code, 200, "{fate:?}");
            assert!(
                response.session_cookie().is_none(),
                "{fate:?}: {response:?}"
            );
            // Changes with an unknown outcome are not sent again, and all others are.
            let once = match fate {
                Fate::Arrives => "1",
                Fate::Fails => "none",
            };
            for (name, count) in [("one", once), ("two", once), ("three", "1"), ("last", "1")] {
                let there = visitor.get(&format!("/get/{name}")).await.body;
                assert_eq!(there, count, "{name} {fate:?}");
            }
        }
    })
    .await;
}

#[async_test]
async fn a_handler_continues_from_saves_over_its_unconfirmed_save() {
    on_every_store(async |app| {
        for (fate, seen) in [(Fate::Arrives, "[11, 1, 1]"), (Fate::Fails, "[10, 0, 1]")] {
            let visitor = app.known_visitor().await;
            let others = async {
                app.gate("save").arrived().await;
                fate.befalls(&app);
                app.gate("save").open();
                app.gate("again").arrived().await;
                app.probe.heal();
                assert_eq!(visitor.get("/add/one/10").await.status.code, 200);
                app.gate("again").open();
                app.gate("respond").arrived().await;
                app.gate("respond").open();
            };
            let (response, ()) = join(visitor.get("/add_two_and_save?again=true"), others).await;
            assert_eq!(
                (response.status.code, &*response.body),
                (200, seen),
                "{fate:?}"
            );
            let once = match fate {
                Fate::Arrives => ("11", "1"),
                Fate::Fails => ("10", "none"),
            };
            for (name, count) in [
                ("one", once.0),
                ("two", once.1),
                ("three", "1"),
                ("last", "1"),
            ] {
                let there = visitor.get(&format!("/get/{name}")).await.body;
                assert_eq!(there, count, "{name} {fate:?}");
            }
        }
    })
    .await;
}

#[async_test]
async fn an_undone_renewal_keeps_every_kind_of_change_in_the_copy() {
    let rounds = [
        ("/remove/n", "alice", "", "first"),
        ("/set/n/1", "alice", "n", "first"),
        ("/set_user/nobody", "nobody", "n", "first"),
        ("/push/second", "alice", "n", "first,second"),
    ];
    App::in_rounds(&rounds, build, async |app, (path, user, keys, messages)| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        visitor.get("/push/first").await;
        let other = visitor.copy();
        let (respond, responded) = oneshot::channel();
        let change = async {
            let response = other.get(&format!("{path}?gate=slow")).await;
            let _ = respond.send(());
            response
        };
        let undoing = async {
            app.gate("slow").arrived().await;
            let meanwhile = async {
                app.gate("slow").open();
                responded.await.expect("the change gets a response");
            };
            during_a_renewal_in_doubt(&app, &visitor, meanwhile).await;
        };
        let (changed, ()) = join(change, undoing).await;
        assert_eq!(changed.status.code, 200, "{path}");
        let started = Instant::now();
        while visitor.get("/messages").await.body.is_empty() {
            assert!(started.elapsed().as_secs() < 20, "the session is lost");
            rocket::tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(visitor.get("/who").await.body, user, "{path}");
        assert_eq!(visitor.get("/keys").await.body, keys, "{path}");
        assert_eq!(visitor.get("/messages").await.body, messages, "{path}");
        let n = match path {
            "/remove/n" => "none",
            "/set/n/1" => "\"1\"",
            _ => "\"0\"",
        };
        assert_eq!(visitor.get("/get/n").await.body, n, "{path}");
    })
    .await;
}

#[async_test]
async fn a_repeated_log_out_removes_the_cookie() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let fault = async {
            app.gate("save").arrived().await;
            // The tombstone is saved, but its response is lost.
            app.probe.fail_afterwards(Act::Save);
            app.probe.fail(Act::Delete);
            app.gate("save").open();
            app.gate("respond").arrived().await;
            app.probe.heal();
            app.gate("respond").open();
        };
        let (response, ()) = join(visitor.get("/logout_and_save"), fault).await;
        assert_eq!(response.status.code, 200);
        assert!(response.removes_session(), "{response:?}");
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_log_out_from_the_copy_of_a_renewal_is_not_undone_with_the_renewal() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let other = visitor.copy();
        let meanwhile = async {
            // The tombstone of the end cannot be deleted.
            app.probe.fail(Act::Delete);
            assert_eq!(other.get("/logout").await.status.code, 200);
            app.probe.heal();
        };
        let ((), loads) = until_it_is_undone(&app, &visitor, meanwhile).await;
        // The undo loads the old id, then the new one, and the old one again when it is done.
        for _ in 0..2 {
            loads.open();
            loads.arrived().await;
        }
        loads.open_for_all();
        assert_eq!(visitor.get("/who").await.body, "nobody");
        assert!(app.list().await.is_empty());
        // The old id cannot be saved either.
        assert_eq!(visitor.get("/set/a/1").await.status.code, 503);
    })
    .await;
}

#[async_test]
async fn the_last_of_two_changes_to_an_undone_copy_wins() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let elsewhere = app.again(|figment| figment).await;
        let other = visitor.copy_to(&elsewhere);
        let (first, second) = (elsewhere.gate("first"), elsewhere.gate("second"));
        let (respond, responded) = oneshot::channel();
        let change = async {
            let response = other.get("/set/a/1?gate=first").await;
            let _ = respond.send(());
            response
        };
        let undoing = async {
            first.arrived().await;
            second.arrived().await;
            let meanwhile = async {
                first.open();
                responded.await.expect("the change gets a response");
            };
            let ((), loads) = until_it_is_undone(&app, &visitor, meanwhile).await;
            let saves = app.probe.gate(Act::Save);
            loads.open_for_all();
            // The undo has seen the first change in the copy, and is about to retire the copy.
            saves.arrived().await;
            app.probe.gate(Act::Save).open_for_all();
            second.open();
            saves
        };
        let back = async {
            let (saves, response) = join(undoing, other.get("/clear?gate=second")).await;
            saves.open();
            response
        };
        let (changed, cleared) = join(change, back).await;
        assert_eq!((changed.status.code, cleared.status.code), (200, 200));
        wait_for_body(&visitor, "/who", "alice").await;
        assert_eq!(visitor.get("/keys").await.body, "");
        app.holds(1).await;
    })
    .await;
}

#[async_test]
async fn all_sessions_of_a_user_end_also_while_a_renewal_is_undone() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let ((), loads) = until_it_is_undone(&app, &visitor, async {}).await;
        let saves = app.probe.gate(Act::Save);
        loads.open_for_all();
        saves.arrived().await;
        saves.open();
        // Each of the two ids now leads to the other, and the session is about to be restored.
        saves.arrived().await;
        app.probe.gate(Act::Save).open_for_all();
        let loads = app.probe.gate(Act::Load);
        let end = app.sessions().end_all_of("alice", None);
        let put_back = async {
            loads.arrived().await;
            loads.open_for_all();
            saves.open();
            pending::<()>().await;
        };
        let Either::Left((ended, _)) = select(pin!(end), pin!(put_back)).await else {
            unreachable!("it is pending forever");
        };
        loads.open_for_all();
        saves.open();
        assert_eq!(ended.unwrap(), 1);
        app.holds(0).await;
        assert_eq!(visitor.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn copies_end_together_after_a_retried_renewal_of_a_copy() {
    on_every_store(async |app| {
        for logs_out in [0, 1] {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            let other = visitor.copy();
            let renewed = app
                .held_at("slow", other.get("/login/alice?gate=slow"), async {
                    assert!(visitor.get("/login/alice").await.sets_session());
                })
                .await;
            assert!(renewed.sets_session(), "{renewed:?}");
            // There are two copies now. One of them is renewed, and the response about its next copy is lost.
            let request = visitor.get("/login_and_save/alice");
            let response = with_a_save_in_doubt(&app, Fate::Arrives, request).await;
            assert!(response.sets_session(), "{response:?}");
            end_together([&visitor, &other], logs_out).await;
            app.holds(0).await;
        }
    })
    .await;
}

/// Lets the handler's own save succeed without a response, and another host save before the `nth`
/// save after the handler.
async fn while_others_come_first(app: &App, visitor: &Visitor<'_>, path: &str, nth: usize) {
    let elsewhere = app
        .again(|figment| figment.merge(("sessions.transport", "both")))
        .await;
    let others = async {
        app.gate("save").arrived().await;
        app.probe.fail_afterwards(Act::Save);
        app.gate("save").open();
        app.gate("respond").arrived().await;
        app.probe.heal();
        let saves = app.probe.gate(Act::Save);
        app.gate("respond").open();
        for _ in 1..nth {
            saves.arrived().await;
            saves.open();
        }
        // It has found its first save, and is about to send the later changes.
        saves.arrived().await;
        app.probe.gate(Act::Save).open_for_all();
        let other = visitor.copy_to(&elsewhere);
        assert_eq!(other.get("/add/one/10").await.status.code, 200);
        saves.open_for_all();
    };
    let (response, ()) = join(visitor.get(path), others).await;
    assert_eq!(response.status.code, 200, "{path}");
}

#[async_test]
async fn changes_after_an_unconfirmed_save_survive_repeated_conflicts() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        while_others_come_first(&app, &visitor, "/add_two_and_save", 2).await;
        for (name, count) in [("one", "11"), ("two", "1"), ("last", "1")] {
            let there = visitor.get(&format!("/get/{name}")).await.body;
            assert_eq!(there, count, "{name}");
        }
        let visitor = app.known_visitor().await;
        while_others_come_first(&app, &visitor, "/add_save_and_renew/one", 4).await;
        assert_eq!(visitor.get("/get/one").await.body, "12");
    })
    .await;
    let app = with_tokens().await;
    let visitor = client(&app);
    while_others_come_first(&app, &visitor, "/add_two_and_save", 2).await;
    for (name, count) in [("one", "11"), ("two", "1"), ("last", "1")] {
        let there = visitor.get(&format!("/get/{name}")).await.body;
        assert_eq!(there, count, "{name}");
    }
}

#[async_test]
async fn notifications_can_be_taken_after_an_unconfirmed_save() {
    on_every_store(async |app| {
        for fate in [Fate::Arrives, Fate::Fails] {
            let visitor = app.known_visitor().await;
            visitor.get("/push/one").await;
            let request = visitor.get("/add_save_and_take");
            let response = with_a_save_in_doubt(&app, fate, request).await;
            let outcome = (response.status.code, &*response.body);
            assert_eq!(outcome, (200, "1 Some(1)"), "{fate:?}");
            assert_eq!(visitor.get("/get/count").await.body, "1", "{fate:?}");
            assert_eq!(visitor.get("/messages").await.body, "", "{fate:?}");
        }
    })
    .await;
}
