//! A session is loaded once, however many guards use it, and a page for members is for members only.

use std::collections::HashMap;

use rocket::data::FromData;
use rocket::fairing::{AdHoc, Fairing};
use rocket::futures::future::join_all;
use rocket::http::{ContentType, Status};
use rocket::local::asynchronous::Client;
use rocket::request::{FromRequest, Outcome};
use rocket::{Data, Request, async_test, catch, catchers, data, get, post, routes};
use rocket_session_kit::testing::{Act, Probe};
use rocket_session_kit::{
    Cache, CsrfForm, CsrfToken, Error, ErrorKind, Limit, LoggedIn, MemoryStore, Notification,
    Notifications, RateLimit, Session, Sessions,
};

use crate::support::{App, Gates, Visitor, text_of};

/// A guard of an application, with a session inside.
struct Visits(u32);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Visits {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        // Several at once, as in `join!`.
        let guards = join_all((0..5).map(|_| request.guard::<&Session>())).await;
        let session = guards
            .into_iter()
            .find_map(Outcome::succeeded)
            .expect("the store is there");
        Outcome::Success(Self(session.get("visits").ok().flatten().unwrap_or(0)))
    }
}

struct Forwards;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Forwards {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let session = request
            .guard::<&Session>()
            .await
            .succeeded()
            .expect("the store is there");
        session.insert("forwarded", true).expect("it is small");
        Outcome::Forward(Status::NotFound)
    }
}

#[get("/twice")]
fn twice(one: &Session, other: &Session, visits: Visits) -> String {
    assert!(std::ptr::eq(one, other));
    format!("{} {}", visits.0, other.len())
}

#[get("/forwarding")]
fn forwarding(_session: &Session, _forwards: Forwards) {}

#[get("/forwarding", rank = 2)]
fn forwarding_too(_session: &Session, _forwards: Forwards) {}

#[get("/forwarding", rank = 3)]
fn last(session: &Session) -> String {
    session.keys().join(",")
}

#[get("/result")]
fn result(session: Result<&Session, Error>) -> String {
    match session {
        Ok(session) => format!("{}", session.is_new()),
        Err(error) => format!("{:?}", error.kind()),
    }
}

#[get("/option")]
fn option(session: Option<&Session>) -> &'static str {
    session.map_or(
        "none",
        |session| if session.is_new() { "new" } else { "one" },
    )
}

#[get("/both")]
fn both(session: &Session, member: Option<LoggedIn<'_>>) -> String {
    format!("{} {}", session.is_new(), member.is_some())
}

#[get("/nested")]
async fn nested(guard: Nested<'_>) -> &'static str {
    guard.0.map_or("none", |_| "one")
}

struct Nested<'r>(Option<&'r Session>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Nested<'r> {
    type Error = std::convert::Infallible;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        request.guard::<Option<&Session>>().await.map(Nested)
    }
}

#[get("/member")]
fn member(member: LoggedIn<'_>, session: &Session) -> String {
    assert!(std::ptr::eq(member.session(), session));
    format!("{} {member:?}", member.user())
}

#[get("/account")]
fn account(member: LoggedIn<'_>) -> String {
    format!("the account of {}", member.user())
}

#[get("/account", rank = 2)]
fn account_of_nobody() -> &'static str {
    "Please log in."
}

#[get("/greeting")]
fn greeting(member: Option<LoggedIn<'_>>) -> String {
    member.map_or("Hello.".into(), |member| {
        format!("Hello, {}.", member.user())
    })
}

#[get("/told")]
fn told(member: Result<LoggedIn<'_>, Error>) -> String {
    match member {
        Ok(member) => member.user().to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    }
}

#[get("/sessions")]
fn sessions(sessions: &Sessions) -> String {
    sessions.store().is_thread_safe().to_string()
}

#[catch(404)]
async fn not_found(request: &Request<'_>) -> String {
    let session = request
        .guard::<&Session>()
        .await
        .succeeded()
        .expect("the store is there");
    session
        .increment("lost", 1)
        .expect("it is a number")
        .to_string()
}

async fn app() -> App {
    let routes = routes![
        twice,
        forwarding,
        forwarding_too,
        last,
        result,
        option,
        both,
        nested,
        member,
        account,
        account_of_nobody,
        greeting,
        told,
        sessions
    ];
    App::built(
        |f| f,
        |rocket| {
            rocket
                .mount("/", routes)
                .register("/", catchers![not_found])
        },
    )
    .await
}

#[async_test]
async fn a_session_is_loaded_once_for_all_guards_of_a_request() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    for (path, body) in [
        ("/twice", "0 1"),
        ("/both", "false false"),
        ("/nested", "one"),
    ] {
        assert_eq!(visitor.get(path).await.body, body);
        assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0), "{path}");
    }
    assert_eq!(visitor.get("/forwarding").await.body, "n,forwarded");
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    assert_eq!(visitor.get("/nowhere").await.body, "1");
    assert_eq!(
        app.probe.calls().tuple(),
        (1, 1, 0, 0),
        "in a catcher, after 404"
    );
}

#[async_test]
async fn a_failing_store_is_called_once_per_request() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Load);
    assert_eq!(visitor.get("/result").await.body, "Unavailable");
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    assert_eq!(visitor.get("/forwarding").await.status.code, 503);
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    assert_eq!(visitor.get("/option").await.body, "none");
}

#[async_test]
async fn a_page_with_the_logged_in_guard_needs_a_log_in() {
    let app = app().await;
    let (stranger, visitor) = (app.visitor(), app.known_visitor().await);
    for nobody in [&stranger, &visitor] {
        assert_eq!(nobody.get("/member").await.status.code, 401);
        assert_eq!(nobody.get("/told").await.status.code, 401);
        assert_eq!(nobody.get("/account").await.body, "Please log in.");
        assert_eq!(nobody.get("/greeting").await.body, "Hello.");
        let response = nobody.get("/member").await;
        assert_eq!(response.header("Vary"), Some("Cookie"));
    }
    stranger.set_cookie("id", "forged");
    assert_eq!(stranger.get("/member").await.status.code, 401);

    visitor.get("/login/alice").await;
    app.probe.calls();
    assert_eq!(visitor.get("/member").await.body, "alice LoggedIn { .. }");
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    assert_eq!(visitor.get("/account").await.body, "the account of alice");
    assert_eq!(visitor.get("/greeting").await.body, "Hello, alice.");
    assert_eq!(visitor.get("/told").await.body, "alice");
    visitor.get("/logout").await;
    assert_eq!(visitor.get("/member").await.status.code, 401);
}

#[async_test]
async fn a_store_failure_is_never_mistaken_for_an_anonymous_visitor() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    for fault in [Probe::fail, Probe::panic] {
        fault(&app.probe, Act::Load);
        for path in ["/member", "/account", "/who"] {
            let response = visitor.get(path).await;
            assert_eq!(response.status.code, 503, "{path}");
            assert_eq!(response.header("Retry-After"), Some("5"), "{path}");
        }
        assert_eq!(visitor.get("/told").await.body, "Unavailable");
        // Rocket's `Option` turns every error into `None`.
        assert_eq!(visitor.get("/greeting").await.body, "Hello.");
        app.probe.heal();
    }
    assert_eq!(visitor.get("/account").await.body, "the account of alice");
}

#[async_test]
async fn an_optional_session_is_present_whenever_the_store_responds() {
    let app = app().await;
    let (stranger, visitor) = (app.visitor(), app.known_visitor().await);
    assert_eq!(stranger.get("/option").await.body, "new");
    assert_eq!(stranger.get("/nested").await.body, "one");
    assert_eq!(visitor.get("/option").await.body, "one");
    app.probe.fail(Act::Load);
    assert_eq!(visitor.get("/option").await.body, "none");
}

#[async_test]
async fn the_sessions_object_is_a_guard_too() {
    let app = app().await;
    assert_eq!(app.visitor().get("/sessions").await.body, "true");
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn a_request_that_is_dispatched_twice_has_two_sessions() {
    // Clones of a local request share Rocket's cache for one request.
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let request = app.client.get("/add/count/1");
    let request = request.header(rocket::http::Header::new("Cookie", visitor.cookies()));
    for count in ["1", "2", "3"] {
        assert_eq!(text_of(request.clone()).await, count);
    }
    assert_eq!(app.probe.calls().tuple(), (3, 3, 0, 0));
}

/// Logs a banned visitor out before any route runs, and counts all requests.
fn ban() -> impl Fairing {
    AdHoc::on_request("ban", |request, _| {
        Box::pin(async move {
            let session = request.guard::<&Session>().await;
            let session = session.succeeded().expect("the store is there");
            if session.user().as_deref() == Some("mallory") {
                session.log_out();
            } else {
                session.increment("seen", 1).expect("it is a number");
            }
        })
    })
}

#[async_test]
async fn request_fairings_work_in_either_order() {
    for before in [true, false] {
        let rocket = rocket::custom(crate::support::figment()).manage(Gates::default());
        let sessions = Sessions::with(MemoryStore::new());
        let rocket = match before {
            true => rocket.attach(ban()).attach(sessions),
            false => rocket.attach(sessions).attach(ban()),
        };
        let client = Client::untracked(rocket.mount("/", crate::support::routes()))
            .await
            .unwrap();
        let mallory = Visitor::new(&client);
        mallory.get("/login/mallory").await;
        let thief = mallory.copy();
        let response = mallory.get("/who").await;
        assert_eq!(response.body, "nobody", "attached before: {before}");
        assert!(response.removes_session(), "attached before: {before}");
        assert_eq!(thief.get("/who").await.body, "nobody", "{before}");

        let alice = Visitor::new(&client);
        alice.get("/login/alice").await;
        assert_eq!(alice.get("/get/seen").await.body, "2", "{before}");
    }
}

#[async_test]
async fn a_tracked_client_of_rocket_keeps_a_session() {
    let app = rocket::custom(crate::support::figment())
        .mount("/", routes![last])
        .attach(Sessions::with(rocket_session_kit::MemoryStore::new()))
        .mount("/", routes![count]);
    let client = Client::tracked(app).await.unwrap();
    for count in ["1", "2", "3"] {
        assert_eq!(text_of(client.get("/count")).await, count);
    }
    client.get("/count?end").dispatch().await;
    assert_eq!(text_of(client.get("/count")).await, "1");
}

#[get("/count?<end>")]
fn count(end: bool, session: &Session) -> rocket_session_kit::Result<String> {
    if end {
        session.end();
        return Ok(String::new());
    }
    Ok(session.increment("count", 1)?.to_string())
}

#[async_test]
async fn guards_without_the_fairing_stop_the_launch() {
    for routes in [
        routes![twice],
        routes![option],
        routes![account],
        routes![greeting],
        routes![result],
        routes![sessions],
    ] {
        let rocket = rocket::custom(crate::support::figment()).mount("/", routes);
        let error = rocket.ignite().await.expect_err("there is no fairing");
        assert!(
            matches!(error.kind(), rocket::error::ErrorKind::SentinelAborts(_)),
            "{error:?}"
        );
    }
}

#[async_test]
async fn a_custom_guard_around_a_session_fails_without_the_fairing() {
    // The sentinel cannot be found through a guard of the application.
    let rocket = rocket::custom(crate::support::figment()).mount("/", routes![nested, hidden]);
    let client = Client::untracked(rocket).await.unwrap();
    assert_eq!(
        client.get("/hidden").dispatch().await.status(),
        Status::InternalServerError
    );
}

struct Hidden;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Hidden {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        request.guard::<&Session>().await.map(|_| Self)
    }
}

#[get("/hidden")]
fn hidden(guard: Result<Hidden, Error>) -> Status {
    let error = guard.err().expect("nothing is attached");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("Sessions::fairing()"), "{error}");
    error_status(&error)
}

fn error_status(_: &Error) -> Status {
    Status::InternalServerError
}

#[get("/contains/<key>")]
fn contains(key: &str, session: &Session) -> String {
    session.contains_key(key).to_string()
}

#[async_test]
async fn contains_key_reports_whether_a_value_exists() {
    let app = App::built(
        |figment| figment,
        |rocket| rocket.mount("/", rocket::routes![contains]),
    )
    .await;
    let visitor = app.known_visitor().await;
    assert_eq!(visitor.get("/contains/n").await.body, "true");
    assert_eq!(visitor.get("/contains/m").await.body, "false");
    visitor.get("/remove/n").await;
    assert_eq!(visitor.get("/contains/n").await.body, "false");
}

struct Rare;

impl Limit for Rare {
    const NAME: &'static str = "some";
    const LIMIT: u32 = 10;
    const WINDOW: u64 = 60;
}

/// Runs every guard. All must give the same result.
struct EveryGuard;

#[rocket::async_trait]
impl<'r> FromData<'r> for EveryGuard {
    type Error = ();

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        macro_rules! fails {
            ($($guard:ty)*) => {
                $(match request.guard::<$guard>().await {
                    Outcome::Error((status, error)) => {
                        assert_eq!(status, Status::InternalServerError, stringify!($guard));
                        assert_eq!(error.kind(), ErrorKind::Config, stringify!($guard));
                    }
                    Outcome::Success(_) => panic!("{} is there", stringify!($guard)),
                    Outcome::Forward(_) => panic!("{} is passed over", stringify!($guard)),
                })*
            };
        }
        fails! {
            &Session LoggedIn &Sessions Notifications Notification &Cache CsrfToken
            RateLimit<Rare>
        }
        #[cfg(feature = "perl")]
        fails! { &rocket_session_kit::PerlSession }
        match <CsrfForm<HashMap<String, String>>>::from_data(request, data).await {
            data::Outcome::Error((status, _)) => {
                assert_eq!(status, Status::InternalServerError, "CsrfForm");
            }
            _ => panic!("CsrfForm is there"),
        }
        data::Outcome::Success(Self)
    }
}

#[post("/every_guard", data = "<_guard>")]
fn every_guard(_guard: EveryGuard) -> &'static str {
    "all of them fail"
}

#[async_test]
async fn every_guard_fails_without_the_fairing_and_none_forwards() {
    let rocket = rocket::custom(crate::support::figment()).mount("/", routes![every_guard]);
    let client = rocket::local::asynchronous::Client::untracked(rocket)
        .await
        .unwrap();
    let request = client.post("/every_guard").header(ContentType::Form);
    let response = request.body("a=b").dispatch().await;
    assert_eq!(response.into_string().await.unwrap(), "all of them fail");
}
