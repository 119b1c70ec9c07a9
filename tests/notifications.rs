//! A notification is shown once, by one page, whatever happens around it.

use std::time::Duration;

use rocket::fs::{FileServer, NamedFile};
use rocket::futures::future::{join, join_all};
use rocket::http::{Method, Status};
use rocket::response::Redirect;
use rocket::{Build, Rocket, State, async_test, get, routes};
use rocket_session_kit::store::{Saved, SessionStore};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{
    Error, ErrorKind, Notification, Notifications, Notify, Result, Session, Sessions,
};

use crate::support::{App, Gates, Visitor, log};

#[get("/push/<queue>/<message>?<gate>")]
async fn push(
    queue: &str,
    message: &str,
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<()> {
    gates.wait(gate).await;
    notes.push(queue, message)
}

#[get("/once/<message>?<gate>")]
async fn once(
    message: &str,
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    Ok(notes.push_once("info", message)?.to_string())
}

fn list(notes: &[Notification]) -> String {
    let shown = notes.iter().map(|note| format!("{}:{note}", note.queue()));
    shown.collect::<Vec<_>>().join(",")
}

#[get("/take?<gate>")]
async fn take_all(
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    Ok(list(&notes.take_all().await?))
}

#[get("/take/<queue>")]
async fn take_queue(queue: &str, notes: Notifications<'_>) -> Result<String> {
    Ok(list(&notes.take_queue(queue).await?))
}

#[get("/peek")]
fn peek(notes: Notifications<'_>) -> String {
    list(&notes.peek())
}

#[get("/set_note/<name>/<value>?<gate>")]
async fn set_note(
    name: &str,
    value: i64,
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<()> {
    gates.wait(gate).await;
    notes.set(name, value)
}

#[get("/get_note/<name>?<gate>")]
async fn get_note(
    name: &str,
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    let value: Option<i64> = notes.take(name).await?;
    Ok(value.map_or("none".into(), |value| value.to_string()))
}

#[get("/get_note_as_text/<name>")]
async fn get_note_as_text(name: &str, notes: Notifications<'_>) -> String {
    let error = notes.take::<String>(name).await.expect_err("a number");
    assert_eq!(error.kind(), ErrorKind::Value);
    "no text".into()
}

#[get("/oldest")]
fn oldest(note: Option<Notification>) -> String {
    note.map_or("none".into(), |note| note.to_string())
}

#[get("/must")]
fn must(note: Notification) -> String {
    note.message().to_owned()
}

#[get("/must", rank = 2)]
fn must_not() -> &'static str {
    "nothing"
}

#[get("/take_or_report")]
fn take_or_report(note: Result<Notification, Error>) -> Result<String, Error> {
    note.map(|note| note.to_string())
}

/// Takes a message, and reads none.
#[get("/blind?<status>&<gate>")]
async fn blind(
    status: u16,
    gate: Option<&str>,
    note: Option<Notification>,
    session: &Session,
    gates: &State<Gates>,
) -> (Status, &'static str) {
    gates.wait(gate).await;
    let kept = session.insert("seen", status);
    // A panic would be a 500 too, and some callers expect one.
    let was_there = note.is_some() && kept.is_ok();
    let body = if was_there {
        "one was there"
    } else {
        "none was there"
    };
    (Status::new(status), body)
}

/// Takes a message, peeks at the other waiting messages, and does not read its own.
#[get("/peek_beside")]
fn peek_beside(note: Notification, notes: Notifications<'_>) -> String {
    let beside = list(&notes.peek());
    drop(note);
    beside
}

/// Takes a message, saves another change, drops the message unread, and then takes all that wait.
#[get("/drop_and_take")]
async fn drop_and_take(
    note: Notification,
    session: &Session,
    notes: Notifications<'_>,
) -> Result<String> {
    session.insert("a", 1)?;
    session.save().await?;
    drop(note);
    Ok(list(&notes.take_all().await?))
}

/// Makes a change, loads the session again, and takes all waiting messages.
#[get("/reload_and_take")]
async fn reload_and_take(session: &Session, notes: Notifications<'_>) -> Result<String> {
    session.insert("a", 1)?;
    session.reload().await?;
    Ok(list(&notes.take_all().await?))
}

/// Takes a message, does not read it, and logs in.
#[get("/blind_login/<user>")]
fn blind_log_in(user: &str, note: Notification, session: &Session) -> String {
    session.log_in(user);
    format!("{note:?}")
}

/// Pushes a message of each kind.
#[get("/push_each")]
fn push_each(notes: Notifications<'_>) -> Result<Notify<&'static str>> {
    notes.success("a")?;
    notes.info("b")?;
    notes.warning("c")?;
    notes.error("d")?;
    Ok(Notify::error("done", "e"))
}

/// Makes a change, perhaps of the user, and takes all waiting messages.
#[get("/become/<user>?<gate>")]
async fn become_and_take(
    user: &str,
    gate: Option<&str>,
    session: &Session,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    session.insert("a", 1)?;
    session.set_user(Some(user));
    let taken = list(&notes.take_all().await?);
    gates.wait(gate).await;
    Ok(taken)
}

/// Pushes a message between two other changes, and takes it again.
#[get("/count_push_and_take")]
async fn count_push_and_take(session: &Session, notes: Notifications<'_>) -> Result<String> {
    session.increment("count", 1)?;
    notes.info("own")?;
    session.increment("count", 1)?;
    Ok(list(&notes.take_all().await?))
}

/// Counts, and pushes a message that is too large.
#[get("/count_and_notify_too_much")]
fn count_and_notify_too_much(session: &Session) -> Result<Notify<&'static str>> {
    session.increment("count", 1)?;
    Ok(Notify::info("done", "x".repeat(65_536)))
}

struct Never;

#[rocket::async_trait]
impl<'r> rocket::request::FromRequest<'r> for Never {
    type Error = ();

    async fn from_request(
        _: &'r rocket::Request<'_>,
    ) -> rocket::request::Outcome<Self, Self::Error> {
        rocket::request::Outcome::Forward(Status::NotFound)
    }
}

#[get("/passed_over")]
fn passed_over(_note: Notification, _never: Never) {}

#[get("/passed_over", rank = 2)]
fn passed_over_too(note: Notification) -> String {
    note.to_string()
}

#[get("/fails?<take>")]
async fn fails(take: bool, notes: Notifications<'_>) -> (Status, String) {
    let mut done = String::from("nothing done");
    if take {
        let taken = notes.take_all().await.map(|taken| taken.len()).ok();
        done = format!(
            "{taken:?} taken, another pushed: {}",
            notes.info("never").is_ok()
        );
    }
    (Status::InternalServerError, done)
}

#[get("/both/<message>")]
async fn both(message: &str, notes: Notifications<'_>, session: &Session) -> Result<String> {
    notes.push("info", message)?;
    session.insert("before", 1)?;
    let taken = list(&notes.take_all().await?);
    session.increment("after", 1)?;
    notes.push("info", "later")?;
    Ok(taken)
}

#[get("/redirect")]
fn redirect(_notes: Notifications<'_>) -> Redirect {
    Redirect::to("/peek")
}

#[get("/not_modified")]
fn not_modified(_notes: Notifications<'_>, _session: &Session) -> (Status, ()) {
    (Status::NotModified, ())
}

#[get("/notify/<message>?<status>&<end>")]
fn notify(
    message: &str,
    status: Option<u16>,
    end: bool,
    session: &Session,
) -> Notify<std::result::Result<Redirect, Status>> {
    if end {
        session.log_out();
    }
    let response = status.map_or(Ok(Redirect::to("/peek")), |code| Err(Status::new(code)));
    Notify::success(response, message)
}

#[get("/notify_twice")]
fn notify_twice() -> Notify<Notify<&'static str>> {
    Notify::info(Notify::warning("text", "first"), "second")
}

#[get("/broken")]
fn broken() -> Notify<(Status, &'static str)> {
    Notify::error((Status::InternalServerError, "half-way"), "never")
}

#[get("/push_many/<count>/<size>")]
fn push_many(count: usize, size: usize, notes: Notifications<'_>) -> Result<()> {
    (0..count).try_for_each(|n| notes.info(format!("{n}{}", "x".repeat(size))))
}

#[get("/push_too_much/<size>")]
fn push_too_much(size: usize, notes: Notifications<'_>) -> String {
    let error = notes.info("x".repeat(size)).expect_err("it is too much");
    assert_eq!(error.kind(), ErrorKind::Limit);
    error.to_string()
}

#[get("/push_three_take_rest?<gate>")]
async fn push_three_take_rest(
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    for text in ["a", "b", "c"] {
        notes.info(text)?;
    }
    gates.wait(gate).await;
    Ok(list(&notes.take_all().await?))
}

#[get("/everywhere?<log_out>")]
async fn everywhere(
    log_out: bool,
    session: &Session,
    sessions: &Sessions,
    notes: Notifications<'_>,
) -> Result<()> {
    let user = session.user().expect("a user is logged in");
    if log_out {
        session.log_out();
    }
    sessions.end_all_of(&user, None).await?;
    notes.success("Logged out")
}

#[get("/file")]
async fn file() -> Option<NamedFile> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    NamedFile::open(file).await.ok()
}

#[get("/pushes_and_logs_in/<user>")]
fn pushes_and_logs_in(user: &str, session: &Session, notes: Notifications<'_>) -> Result<()> {
    session.log_in(user);
    notes.info("hello")
}

#[get("/takes_as_other/<user>")]
async fn takes_as_other(user: &str, session: &Session, notes: Notifications<'_>) -> Result<String> {
    session.log_in(user);
    notes.info("own")?;
    Ok(list(&notes.take_all().await?))
}

#[get("/debug_notes")]
fn debug_notes(note: Notification, notes: Notifications<'_>, session: &Session) -> String {
    notes.set("s3cr3tname", "s3cr3tvalue").expect("it is small");
    let notify = Notify::info((), "s3cr3tnotify");
    format!("{note:?} {notes:?} {session:?} {notify:?}")
}

fn with_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    let static_files = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
    rocket
        .mount("/static", FileServer::from(static_files))
        .mount(
            "/",
            routes![
                push,
                once,
                take_all,
                take_queue,
                peek,
                peek_beside,
                push_each,
                become_and_take,
                count_push_and_take,
                count_and_notify_too_much,
                drop_and_take,
                reload_and_take,
                blind_log_in,
                set_note,
                get_note,
                get_note_as_text,
                oldest,
                must,
                must_not,
                take_or_report,
                blind,
                passed_over,
                passed_over_too,
                fails,
                both,
                redirect,
                not_modified,
                notify,
                notify_twice,
                broken,
                push_many,
                push_too_much,
                file,
                pushes_and_logs_in,
                takes_as_other,
                debug_notes,
                push_three_take_rest,
                everywhere
            ],
        )
}

async fn app() -> App {
    App::built(|f| f, with_routes).await
}

/// A visitor with a session, for whom `messages` wait in the queue `info`.
async fn visitor_with<'a>(app: &'a App, messages: &[&str]) -> Visitor<'a> {
    let visitor = app.known_visitor().await;
    for message in messages {
        let response = visitor.get(&format!("/push/info/{message}")).await;
        assert_eq!(response.status.code, 200);
    }
    app.probe.calls();
    visitor
}

async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(App) -> F) {
    App::on_every_store(with_routes, test).await;
}

/// Lets `count` requests for `path` load the session, and then continue together.
async fn at_once(app: &App, visitor: &Visitor<'_>, path: &str, count: usize) -> Vec<String> {
    let gate = app.gate(path);
    let path = format!("{path}?gate={path}");
    let requests = (0..count).map(|_| async {
        let response = visitor.copy().get(&path).await;
        assert_eq!(response.status.code, 200);
        response.body
    });
    let all_loaded = async {
        for _ in 0..count {
            gate.arrived().await;
        }
        gate.open_for_all();
    };
    join(join_all(requests), all_loaded).await.0
}

#[async_test]
async fn a_notification_is_shown_once() {
    on_every_store(|app| async move {
        let visitor = app.visitor();
        assert!(visitor.get("/push/success/one").await.sets_session());
        visitor.get("/push/error/two").await;
        assert_eq!(visitor.get("/peek").await.body, "success:one,error:two");
        assert_eq!(visitor.get("/take").await.body, "success:one,error:two");
        assert_eq!(visitor.get("/take").await.body, "");
        assert!(!visitor.has_session(), "nothing is left in the session");
    })
    .await;
}

#[async_test]
async fn a_notification_is_delivered_to_exactly_one_of_many_requests() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one", "two"]).await;
        let mut shown = at_once(&app, &visitor, "/take", 20).await;
        shown.retain(|body| !body.is_empty());
        assert_eq!(shown, ["info:one,info:two"]);

        visitor.get("/set_note/order/7").await;
        let mut got = at_once(&app, &visitor, "/get_note/order", 20).await;
        got.retain(|body| body != "none");
        assert_eq!(got, ["7"]);
    })
    .await;
}

#[async_test]
async fn a_take_that_loses_a_race_returns_the_remaining_notifications() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one"]).await;
        let gate = app.gate("slow");
        let slow = visitor.get("/take?gate=slow");
        let quick = async {
            gate.arrived().await;
            let visitor = visitor.copy();
            assert_eq!(visitor.get("/take").await.body, "info:one");
            visitor.get("/push/info/two").await;
            gate.open();
        };
        let (response, ()) = join(slow, quick).await;
        assert_eq!(response.body, "info:two");
        assert_eq!(visitor.get("/take").await.body, "");
    })
    .await;
}

#[async_test]
async fn a_concurrent_push_and_take_lose_no_notification() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one"]).await;
        for path in ["/push/info/two", "/set/a/1"] {
            let gate = app.gate(path);
            let (slow, quick) = (visitor.copy(), visitor.copy());
            let path_gated = format!("{path}?gate={path}");
            let slow = slow.get(&path_gated);
            let quick = async {
                gate.arrived().await;
                let taken = quick.get("/take").await.body;
                gate.open();
                taken
            };
            let (response, taken) = join(slow, quick).await;
            assert_eq!(response.status.code, 200);
            let expected = if path == "/set/a/1" {
                "info:two"
            } else {
                "info:one"
            };
            assert_eq!(taken, expected, "a save brings back nothing that was taken");
        }
        assert_eq!(visitor.get("/take").await.body, "");
        assert_eq!(visitor.get("/keys").await.body, "n,a");
    })
    .await;
}

#[async_test]
async fn unread_notifications_wait_and_other_pages_write_nothing() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    app.clock.advance(std::time::Duration::from_secs(30));
    for path in ["/peek", "/keys", "/take/success", "/get_note/order"] {
        visitor.get(path).await;
        assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0), "{path}");
    }
    assert_eq!(visitor.get("/take").await.body, "info:one");
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    for path in ["/peek", "/take", "/oldest", "/must", "/get_note/order"] {
        visitor.get(path).await;
        assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0), "{path}");
    }
}

#[async_test]
async fn a_request_for_notifications_begins_no_session() {
    let app = app().await;
    for path in ["/peek", "/take", "/oldest", "/must", "/get_note/order"] {
        let response = app.visitor().get(path).await;
        assert!(response.session_cookie().is_none(), "{path}");
    }
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn a_push_in_a_request_that_saves_anyway_costs_nothing_more() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    visitor.get("/push/info/one").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    visitor.get("/pushes_and_logs_in/alice").await;
    assert_eq!(app.probe.calls().tuple(), (1, 2, 0, 0), "as a log-in");
    app.visitor().get("/notify/one").await;
    assert_eq!(app.probe.calls().tuple(), (0, 1, 0, 0), "as a new session");
}

#[async_test]
async fn a_notification_for_an_anonymous_visitor_survives_the_log_in() {
    let app = app().await;
    let visitor = app.visitor();
    visitor.get("/push/info/one").await;
    visitor.get("/login/alice").await;
    visitor.get("/renew").await;
    assert_eq!(visitor.get("/take").await.body, "info:one");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn no_notification_of_one_user_is_shown_to_another() {
    let app = app().await;
    let visitor = app.visitor();
    visitor.get("/login/alice").await;
    visitor.get("/push/info/alices").await;
    assert_eq!(visitor.get("/takes_as_other/bob").await.body, "info:own");
    assert_eq!(visitor.get("/take").await.body, "");
    visitor.get("/push/info/bobs").await;
    visitor.get("/login/bob").await;
    assert_eq!(
        visitor.get("/take").await.body,
        "info:bobs",
        "the same user"
    );
    visitor.get("/push/info/bobs").await;
    visitor.get("/login/alice").await;
    assert_eq!(visitor.get("/take").await.body, "");
}

#[async_test]
async fn unseen_or_late_notifications_are_not_shown_to_the_next_user() {
    on_every_store(|app| async move {
        for path in ["/blind?status=200&gate=slow", "/push/info/late?gate=slow"] {
            let visitor = app.visitor();
            visitor.get("/login/alice").await;
            visitor.get("/push/info/alices").await;
            let gate = app.gate("slow");
            let old = visitor.copy();
            let slow = old.get(path);
            let other = async {
                gate.arrived().await;
                visitor.get("/login/bob").await;
                gate.open();
            };
            let (response, ()) = join(slow, other).await;
            assert_eq!(response.status.code, 200);
            assert!(response.session_cookie().is_none(), "{response:?}");
            assert_eq!(visitor.get("/who").await.body, "bob");
            assert_eq!(visitor.get("/take").await.body, "", "{path}");
            assert_eq!(visitor.get("/keys").await.body, "", "{path}");
        }
    })
    .await;
}

#[async_test]
async fn an_unseen_notification_follows_an_anonymous_visitor_into_a_log_in() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one"]).await;
        let gate = app.gate("slow");
        let old = visitor.copy();
        let slow = old.get("/blind?status=200&gate=slow");
        let login = async {
            gate.arrived().await;
            visitor.get("/login/alice").await;
            gate.open();
        };
        join(slow, login).await;
        assert_eq!(visitor.get("/take").await.body, "info:one");
    })
    .await;
}

/// Lets the request for `path` reach the `nth` call of its `act`, and drops it there.
async fn dropped_at(app: &App, visitor: &Visitor<'_>, path: &str, act: Act, nth: usize) -> bool {
    let gate = app.probe.gate(act);
    let mut request = Box::pin(visitor.get(path));
    let mut dropped = true;
    for n in 1..=nth {
        rocket::tokio::select! {
            _ = &mut request => { dropped = false; break }
            () = gate.arrived() => if n < nth { gate.open() }
        }
    }
    drop(request);
    gate.open_for_all();
    dropped
}

#[async_test]
async fn a_cancelled_request_shows_no_notification_twice() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one"]).await;
        for path in ["/take", "/oldest", "/blind?status=200"] {
            assert!(dropped_at(&app, &visitor, path, Act::Load, 1).await);
            assert_eq!(visitor.get("/peek").await.body, "info:one", "{path}");
            // The save did not begin.
            assert!(dropped_at(&app, &visitor, path, Act::Save, 1).await);
            assert_eq!(visitor.get("/peek").await.body, "info:one", "{path}");
        }
        assert_eq!(visitor.get("/take").await.body, "info:one");
        assert_eq!(visitor.get("/take").await.body, "");
        assert_eq!(visitor.get("/keys").await.body, "n");
    })
    .await;
}

#[async_test]
async fn two_log_ins_at_once_do_not_double_a_notification() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one"]).await;
        let gate = app.gate("login");
        let visitors = [visitor.copy(), visitor.copy()];
        let logins = visitors.iter().map(|v| v.get("/login/alice?gate=login"));
        let both_loaded = async {
            gate.arrived().await;
            gate.arrived().await;
            gate.open_for_all();
        };
        join(join_all(logins), both_loaded).await;
        let mut shown = Vec::new();
        for visitor in &visitors {
            shown.push(visitor.get("/take").await.body);
            assert_eq!(visitor.get("/who").await.body, "alice");
        }
        shown.sort();
        assert_eq!(shown, ["", "info:one"]);
    })
    .await;
}

#[async_test]
async fn a_request_loaded_before_a_log_in_sees_no_later_notifications() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one"]).await;
        let thief = visitor.copy();
        let gate = app.gate("thief");
        let stolen = thief.get("/take?gate=thief");
        let login = async {
            gate.arrived().await;
            visitor.get("/login/alice").await;
            gate.open();
        };
        let (response, ()) = join(stolen, login).await;
        assert_eq!((response.status.code, response.body.as_str()), (200, ""));
        assert_eq!(visitor.get("/take").await.body, "info:one");
    })
    .await;
}

#[async_test]
async fn a_take_of_a_session_that_ended_shows_nothing() {
    on_every_store(|app| async move {
        let visitor = visitor_with(&app, &["one"]).await;
        let gate = app.gate("slow");
        let slow = visitor.get("/take?gate=slow");
        let end = async {
            gate.arrived().await;
            visitor.copy().get("/logout").await;
            gate.open();
        };
        let (response, ()) = join(slow, end).await;
        assert_eq!(response.body, "");
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_request_can_take_its_own_notification() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    assert_eq!(visitor.get("/both/two").await.body, "info:one,info:two");
    // The load, the take, and the rest.
    assert_eq!(app.probe.calls().tuple(), (1, 2, 0, 0));
    assert_eq!(visitor.get("/take").await.body, "info:later");
    assert_eq!(visitor.get("/keys").await.body, "n,before,after");

    let stranger = app.visitor();
    app.probe.calls();
    assert_eq!(stranger.get("/both/new").await.body, "info:new");
    assert_eq!(app.probe.calls().tuple(), (0, 1, 0, 0));
    assert_eq!(stranger.get("/take").await.body, "info:later");
}

#[async_test]
async fn a_session_survives_a_last_take_beside_an_insert() {
    let app = app().await;
    let visitor = app.visitor();
    visitor.get("/push/info/one").await;
    let id = app.list().await[0].0;
    let response = visitor.get("/both/two").await;
    assert!(
        response.session_cookie().is_none(),
        "it is the same session"
    );
    assert_eq!(app.list().await[0].0, id);
    assert_eq!(visitor.get("/get/after").await.body, "1");
}

#[async_test]
async fn a_take_with_a_lost_response_shows_nothing_and_is_a_503() {
    on_every_store(|app| async move {
        for path in ["/take", "/take_or_report"] {
            let visitor = visitor_with(&app, &["one"]).await;
            app.probe.fail_afterwards(Act::Save);
            let response = visitor.get(path).await;
            assert_eq!(response.status.code, 503, "{path}");
            assert!(response.header("Retry-After").is_some() && !response.body.contains("one"));
            app.probe.heal();
            // It was taken, and no request received it.
            assert_eq!(visitor.get("/take").await.body, "", "{path}");

            let visitor = visitor_with(&app, &["one"]).await;
            app.probe.fail(Act::Save);
            assert_eq!(visitor.get(path).await.status.code, 503, "{path}");
            app.probe.heal();
            assert_eq!(visitor.get("/take").await.body, "info:one", "{path}");
        }
    })
    .await;
}

#[async_test]
async fn a_take_that_the_driver_repeats_is_shown_once() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    app.probe.repeat_next_save();
    assert_eq!(visitor.get("/take").await.body, "info:one");
    assert_eq!(visitor.get("/take").await.body, "");
}

#[async_test]
async fn a_take_with_repeated_conflicts_succeeds() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    for _ in 0..20 {
        app.probe.stub_next_save(Saved::Changed);
    }
    assert_eq!(visitor.get("/take").await.body, "info:one");
    assert_eq!(visitor.get("/take").await.body, "");
}

#[async_test]
async fn responses_in_between_consume_no_unseen_notification() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    for (path, status) in [
        ("/redirect", 303),
        ("/not_modified", 304),
        ("/file", 200),
        ("/static/SUMMARY.md", 200),
        ("/nowhere", 404),
        ("/fails", 500),
        ("/blind?status=304", 304),
        ("/blind?status=404", 404),
        ("/blind?status=500", 500),
        ("/blind?status=503", 503),
        ("/clear", 200),
    ] {
        let response = visitor.get(path).await;
        assert_eq!(response.status.code, status, "{path}");
        if path.starts_with("/blind") && status != 304 {
            assert_eq!(response.body, "one was there", "{path}");
        }
        assert_eq!(visitor.get("/peek").await.body, "info:one", "{path}");
    }
    // The failed request saved nothing else.
    for path in ["/blind?status=404", "/blind?status=500"] {
        assert_eq!(visitor.get(path).await.body, "one was there");
    }
    assert_eq!(visitor.get("/get/seen").await.body, "404");
    for path in ["/take", "/oldest", "/must", "/get_note/a", "/take/info"] {
        let response = visitor.send(Method::Head, path, None).await;
        assert_eq!(response.status.code, 200, "{path}");
        assert_eq!(visitor.get("/peek").await.body, "info:one", "HEAD {path}");
    }
    visitor.get("/set_note/order/7").await;
    visitor.send(Method::Head, "/get_note/order", None).await;
    assert_eq!(visitor.get("/get_note/order").await.body, "7");
    assert_eq!(visitor.get("/take").await.body, "info:one");
}

#[async_test]
async fn a_failing_handler_consumes_the_notifications_it_looked_at() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    let response = visitor.get("/fails?take=true").await;
    assert_eq!(response.status.code, 500);
    assert_eq!(response.body, "Some(1) taken, another pushed: true");
    assert_eq!(visitor.get("/peek").await.body, "");
    assert_eq!(visitor.get("/keys").await.body, "n");
}

#[async_test]
async fn the_guard_takes_the_oldest_notification_or_forwards() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one", "two"]).await;
    visitor.get("/set_note/order/7").await;
    visitor.get("/push/info/three").await;
    assert_eq!(visitor.get("/oldest").await.body, "one");
    assert_eq!(visitor.get("/must").await.body, "two");
    assert_eq!(visitor.get("/passed_over").await.body, "three");
    assert_eq!(visitor.get("/oldest").await.body, "none");
    assert_eq!(visitor.get("/must").await.body, "nothing");
    assert_eq!(visitor.get("/passed_over").await.status.code, 404);
    assert_eq!(visitor.get("/get_note/order").await.body, "7");
}

#[async_test]
async fn the_responder_begins_a_session_for_its_notification() {
    let app = app().await;
    let visitor = app.visitor();
    let response = visitor.get("/notify/Saved").await;
    assert_eq!(response.status.code, 303);
    assert_eq!(response.header("Vary"), Some("Cookie"));
    assert!(response.sets_session());
    assert_eq!(visitor.get("/oldest").await.body, "Saved");
    visitor.get("/notify_twice").await;
    assert_eq!(visitor.get("/take").await.body, "warning:first,info:second");
    for (path, status) in [("/notify/never?status=404", 404), ("/broken", 500)] {
        assert_eq!(visitor.get(path).await.status.code, status);
        assert_eq!(visitor.get("/peek").await.body, "", "{path}");
    }
}

#[async_test]
async fn a_notification_after_a_log_out_begins_a_new_session() {
    let app = app().await;
    let visitor = app.visitor();
    visitor.get("/login/alice").await;
    visitor.get("/push/info/old").await;
    visitor.get("/notify/Goodbye?end=true").await;
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(visitor.get("/take").await.body, "success:Goodbye");
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn the_responder_fails_when_its_notification_cannot_be_kept() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    for act in [Act::Load, Act::Save] {
        app.probe.fail(act);
        let response = visitor.get("/notify/Saved").await;
        assert_eq!(response.status.code, 503, "{act:?}");
        assert_eq!(response.header("Location"), None);
        assert!(response.header("Retry-After").is_some());
        app.probe.heal();
    }
    let too_large = format!("/notify/{}", "x".repeat(65_536));
    let response = visitor.get(&too_large).await;
    assert_eq!(response.status.code, 500);
    assert_eq!(response.header("Location"), None);
    // The oldest of 64 is removed.
    visitor.get("/push_many/64/0").await;
    assert_eq!(visitor.get("/notify/Saved").await.status.code, 303);
    let taken = visitor.get("/take").await.body;
    assert_eq!(taken.split(',').count(), 64);
    assert!(taken.starts_with("info:1,"), "{taken}");
    assert!(taken.ends_with(",info:63,success:Saved"), "{taken}");
}

#[async_test]
async fn named_values_are_typed_replaced_and_clash_with_nothing() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    visitor.get("/set_note/info/1").await;
    visitor.get("/set_note/info/2").await;
    visitor.get("/set/info/3").await;
    assert_eq!(visitor.get("/get_note_as_text/info").await.body, "no text");
    assert_eq!(visitor.get("/peek").await.body, "info:one");
    assert_eq!(visitor.get("/take").await.body, "info:one");
    assert_eq!(visitor.get("/get_note/info").await.body, "2");
    assert_eq!(visitor.get("/get_note/info").await.body, "none");
    assert_eq!(visitor.get("/get/info").await.body, "\"3\"");
}

#[async_test]
async fn each_queue_is_taken_separately() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    for path in ["/push/error/one", "/push/cart/two", "/push/error/three"] {
        visitor.get(path).await;
    }
    assert_eq!(
        visitor.get("/take/error").await.body,
        "error:one,error:three"
    );
    assert_eq!(visitor.get("/take").await.body, "cart:two");
}

#[async_test]
async fn a_duplicate_is_refused_on_request_even_from_concurrent_pushes() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    at_once(&app, &visitor, "/once/one", 2).await;
    assert_eq!(visitor.get("/once/one").await.body, "false");
    assert_eq!(visitor.get("/once/two").await.body, "true");
    visitor.get("/push/info/one").await;
    assert_eq!(
        visitor.get("/take").await.body,
        "info:one,info:two,info:one"
    );
    // A message in another queue is not a duplicate.
    visitor.get("/push/error/one").await;
    assert_eq!(visitor.get("/once/one").await.body, "true");
}

#[async_test]
async fn an_exceeded_limit_is_an_error_and_keeps_the_stored_session() {
    let settings = |f: rocket::figment::Figment| {
        f.merge(("sessions.limits.notifications", 3))
            .merge(("sessions.limits.notifications_size", 100))
    };
    let app = App::built(settings, with_routes).await;
    let visitor = visitor_with(&app, &["one"]).await;
    let body = visitor.get("/push_too_much/100").await.body;
    assert!(
        body.contains("sessions.limits.notifications_size"),
        "{body}"
    );
    assert_eq!(visitor.get("/peek").await.body, "info:one", "it waits on");
    // Too many in one request, and in the next.
    visitor.get("/push_many/5/1").await;
    assert_eq!(visitor.get("/peek").await.body, "info:2x,info:3x,info:4x");
    visitor.get("/push/info/more").await;
    let now = visitor.get("/take").await.body;
    assert_eq!(now, "info:3x,info:4x,info:more");
    // Together they are too large.
    visitor.get("/push_many/2/1").await;
    let gate = app.gate("slow");
    let slow = visitor.copy();
    let slow = slow.get("/push/info/four?gate=slow");
    let quick = async {
        gate.arrived().await;
        visitor.get("/push/info/three").await;
        gate.open();
    };
    let (response, ()) = join(slow, quick).await;
    assert_eq!(response.status.code, 200);
    let now = visitor.get("/take").await.body;
    assert_eq!(now, "info:1x,info:three,info:four");
    // A new message is too large for the rest: as many old ones as necessary are removed.
    for size in [30, 30, 40] {
        visitor.get(&format!("/push_many/1/{size}")).await;
    }
    let one = format!("info:0{}", "x".repeat(40));
    let other = format!("info:0{}", "x".repeat(30));
    assert_eq!(visitor.get("/peek").await.body, format!("{other},{one}"));
}

#[async_test]
async fn at_most_64_notifications_and_64_kib_wait() {
    let app = app().await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/push_many/65/0").await.status.code, 200);
    let waiting = visitor.get("/peek").await.body;
    assert_eq!(waiting.split(',').count(), 64);
    assert!(waiting.starts_with("info:1,"), "{waiting}");
    // The name of the queue counts, and the text as JSON.
    let visitor = app.visitor();
    let most = 65_536 - "info".len() - r#""0""#.len();
    let path = format!("/push_many/1/{}", most + 1);
    assert_eq!(visitor.get(&path).await.status.code, 500);
    let path = format!("/push_many/1/{most}");
    assert_eq!(visitor.get(&path).await.status.code, 200);
    assert_eq!(visitor.get("/take").await.body.len(), "info:0".len() + most);
}

#[async_test]
async fn an_evicted_notification_does_not_come_back() {
    let settings =
        |figment: rocket::figment::Figment| figment.merge(("sessions.limits.notifications", 2));
    let app = App::built(settings, with_routes).await;
    let visitor = visitor_with(&app, &["one"]).await;
    // Three more are pushed, and two taken, while another request takes the first.
    let gate = app.gate("slow");
    let slow = visitor.copy();
    let slow = slow.get("/push_three_take_rest?gate=slow");
    let quick = async {
        gate.arrived().await;
        assert_eq!(visitor.get("/take").await.body, "info:one");
        gate.open();
    };
    let (response, ()) = join(slow, quick).await;
    assert_eq!(response.body, "info:b,info:c");
    assert_eq!(visitor.get("/peek").await.body, "");
}

#[async_test]
async fn a_notification_beside_the_end_of_all_sessions_is_kept_or_logged() {
    const LOST: &str = "a notification was lost";
    let app = App::built(|f| f, with_routes).await;
    // The handler itself ends its session first, so the message begins a new one.
    let visitor = app.visitor();
    visitor.get("/login/alice").await;
    let response = visitor.get("/everywhere?log_out=true").await;
    assert!(response.sets_session(), "{response:?}");
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(visitor.get("/take").await.body, "success:Logged out");

    // Otherwise the message is removed with the session, and a line in the log explains how to keep it.
    let visitor = app.visitor();
    visitor.get("/login/alice").await;
    let before = log::lines_with(LOST).len();
    assert_eq!(visitor.get("/everywhere").await.status.code, 200);
    assert_eq!(visitor.get("/take").await.body, "");
    // A concurrent test may lose one too.
    let lines = log::lines_with(LOST).split_off(before);
    assert!(lines[0].starts_with("WARN ") && lines[0].contains("log_out()"));
    assert!(!lines[0].contains("Logged out"), "{lines:?}");
}

#[async_test]
async fn a_record_without_notifications_has_no_notification_field() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    let stored = async || {
        let id = app.list().await[0].0;
        let stored = app.probe.load_session(&id).await.unwrap().unwrap();
        String::from_utf8(stored.bytes).unwrap()
    };
    assert!(stored().await.contains(r#""notifications":[{"id":"#));
    visitor.get("/take").await;
    assert!(!stored().await.contains("notifications"));
    assert_eq!(visitor.get("/keys").await.body, "n");
}

#[async_test]
async fn no_notification_appears_in_debug_output_or_logs() {
    let app = app().await;
    let visitor = visitor_with(&app, &["s3cr3tmessage"]).await;
    let shown = visitor.get("/debug_notes").await.body;
    assert!(
        shown.contains("Notification") && !shown.contains("s3cr3t"),
        "{shown}"
    );
    assert!(log::lines_with("s3cr3tmessage").is_empty());
}

#[async_test]
async fn guards_without_the_fairing_stop_the_launch() {
    for routes in [
        routes![peek],
        routes![oldest],
        routes![must],
        routes![take_or_report],
        routes![broken],
    ] {
        let rocket = rocket::custom(crate::support::figment()).mount("/", routes);
        let error = rocket.ignite().await.expect_err("there is no fairing");
        let aborts = matches!(error.kind(), rocket::error::ErrorKind::SentinelAborts(_));
        assert!(aborts, "{error:?}");
    }
}

#[async_test]
async fn a_take_waiting_for_the_store_blocks_no_other_visitor() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    let other = visitor_with(&app, &["two"]).await;
    let gate: Gate = app.probe.gate(Act::Save);
    let take = visitor.get("/take");
    let meanwhile = async {
        gate.arrived().await;
        assert_eq!(other.get("/peek").await.body, "info:two");
        gate.open_for_all();
    };
    assert_eq!(join(take, meanwhile).await.0.body, "info:one");
}

#[async_test]
async fn a_peek_skips_notifications_the_handler_has_taken() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one", "two"]).await;
    assert_eq!(visitor.get("/peek_beside").await.body, "info:two");
    assert_eq!(visitor.get("/take").await.body, "info:one,info:two");
}

#[async_test]
async fn an_unseen_dropped_notification_can_be_taken_again() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one", "two"]).await;
    assert_eq!(
        visitor.get("/drop_and_take").await.body,
        "info:one,info:two"
    );
    assert_eq!(visitor.get("/take").await.body, "");
}

#[async_test]
async fn a_request_that_takes_its_own_notification_counts_changes_once() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    assert_eq!(visitor.get("/count_push_and_take").await.body, "info:own");
    assert_eq!(visitor.get("/get/count").await.body, "2");
    assert_eq!(visitor.get("/take").await.body, "");
}

#[async_test]
async fn a_refused_notification_discards_all_changes_of_its_request() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    // The time of last use is due to be saved. That save must contain nothing else.
    app.clock.advance(Duration::from_secs(120));
    let response = visitor.get("/count_and_notify_too_much").await;
    assert_eq!(response.status.code, 500);
    assert_eq!(visitor.get("/get/count").await.body, "none");
}

#[async_test]
async fn notifications_can_be_taken_after_a_reload() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one", "two"]).await;
    assert_eq!(
        visitor.get("/reload_and_take").await.body,
        "info:one,info:two"
    );
    assert_eq!(visitor.get("/take").await.body, "");
    assert_eq!(visitor.get("/get/a").await.body, "1");
}

#[async_test]
async fn taken_notifications_are_not_put_back_for_another_user() {
    let app = app().await;
    for (next, messages) in [("bob", ""), ("alice", "info:one,info:two")] {
        let visitor = visitor_with(&app, &["one", "two"]).await;
        visitor.get("/login/alice").await;
        let response = visitor.get(&format!("/blind_login/{next}")).await;
        assert!(response.sets_session(), "{response:?}");
        assert_eq!(visitor.get("/take").await.body, messages, "{next}");
    }
}

#[async_test]
async fn a_guard_that_cannot_take_sends_retry_after() {
    let app = app().await;
    let visitor = visitor_with(&app, &["one"]).await;
    app.probe.fail(Act::Save);
    let response = visitor.get("/must").await;
    app.probe.heal();
    assert_eq!(response.status.code, 503);
    assert_eq!(response.header("Retry-After"), Some("5"));
}

#[async_test]
async fn unseen_notifications_return_to_the_front() {
    on_every_store(async |app| {
        let visitor = visitor_with(&app, &["first", "second", "third"]).await;
        let gate = app.gate("took");
        // Another message is pushed before the taken one is put back.
        let meanwhile = async {
            gate.arrived().await;
            assert_eq!(visitor.get("/push/info/fourth").await.status.code, 200);
            gate.open();
        };
        let (response, ()) = join(visitor.get("/blind?status=200&gate=took"), meanwhile).await;
        assert_eq!(response.status.code, 200);
        assert_eq!(
            visitor.get("/take").await.body,
            "info:first,info:second,info:third,info:fourth"
        );
    })
    .await;
}

#[async_test]
async fn a_notification_of_each_level_waits_in_the_queue_of_its_name() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    assert_eq!(visitor.get("/push_each").await.status.code, 200);
    assert_eq!(
        visitor.get("/take").await.body,
        "success:a,info:b,warning:c,error:d,error:e"
    );
}

#[async_test]
async fn a_notification_evicts_only_as_many_of_the_oldest_as_needed() {
    let settings =
        |f: rocket::figment::Figment| f.merge(("sessions.limits.notifications_size", 120));
    let app = App::built(settings, with_routes).await;
    let [small, large] = ["s".repeat(40), "l".repeat(90)];
    for (messages, left) in [
        (&[&small, &small, &large][..], vec![&large]),
        (&[&large, &small], vec![&small]),
        (&[&small, &small], vec![&small, &small]),
    ] {
        let messages: Vec<_> = messages.iter().map(|message| message.as_str()).collect();
        let visitor = visitor_with(&app, &messages).await;
        let left: Vec<_> = left.iter().map(|left| format!("info:{left}")).collect();
        assert_eq!(visitor.get("/take").await.body, left.join(","));
    }
}

#[async_test]
async fn changes_made_before_a_take_follow_a_renewal() {
    on_every_store(async |app| {
        let visitor = visitor_with(&app, &["one"]).await;
        visitor.get("/login/alice").await;
        let slow = visitor.copy();
        let renewal = async {
            app.gate("took").arrived().await;
            assert!(visitor.get("/login/alice").await.sets_session());
            app.gate("took").open();
        };
        let (response, ()) = join(slow.get("/become/bob?gate=took"), renewal).await;
        assert_eq!((response.status.code, &*response.body), (200, "info:one"));
        // It does not set the user, and all other changes are kept.
        assert_eq!(visitor.get("/who").await.body, "alice");
        assert_eq!(visitor.get("/get/a").await.body, "1");
    })
    .await;
}
