//! The tools for the tests of an application: its session, logged in, without a route for log-ins.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use rocket::http::{ContentType, Header, Status};
use rocket::local::{asynchronous, blocking};
use rocket::{Build, Rocket, catch, catchers, get, post, routes};
use rocket_session_kit::testing::{Act, Probe, log_in, with_session};
use rocket_session_kit::{
    Clock, CsrfForm, CsrfToken, LoggedIn, MemoryStore, Result, Session, Sessions,
};

use crate::support::{Backend, figment, on_every_store};

#[get("/account")]
fn account(member: LoggedIn<'_>) -> String {
    member.user().to_owned()
}

#[get("/account", rank = 2)]
fn nobody() -> &'static str {
    "nobody"
}

#[get("/renew")]
fn renew(session: &Session) {
    session.renew();
}

#[post("/save", data = "<_form>")]
fn save(_form: CsrfForm) -> &'static str {
    "saved"
}

#[post("/like")]
fn like(_token: CsrfToken) -> &'static str {
    "liked"
}

#[post("/order?<token>")]
async fn order(token: &str, session: &Session) -> Result<String> {
    Ok(session.remove_form_token(token).await?.to_string())
}

/// A catcher that uses the session, too.
#[catch(404)]
async fn not_found(request: &rocket::Request<'_>) -> String {
    let session = request.guard::<&Session>().await.succeeded();
    format!("{:?}", session.and_then(Session::user))
}

fn application(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .mount("/", routes![account, nobody, renew, save, like, order])
        .register("/", catchers![not_found])
}

fn in_memory() -> Rocket<Build> {
    let rocket = rocket::custom(figment()).attach(Sessions::with(MemoryStore::new()));
    application(rocket)
}

fn text(client: &blocking::Client, path: &'static str) -> String {
    client.get(path).dispatch().into_string().unwrap()
}

fn panic_of<T>(act: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act))
        .err()
        .expect("it panics");
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
}

async fn a_client_is_logged_in_without_a_route(backend: Backend) {
    let rocket = rocket::custom(backend.figment("")).attach(Sessions::fairing());
    let client = asynchronous::Client::tracked(application(rocket))
        .await
        .unwrap();
    let account = async || {
        let response = client.get("/account").dispatch().await;
        response.into_string().await.unwrap()
    };
    assert_eq!(account().await, "nobody");
    log_in(&client, "ann").await;
    assert_eq!(account().await, "ann");

    // The session is one that the application knows, renews and ends.
    client.get("/renew").dispatch().await;
    assert_eq!(account().await, "ann");
    let sessions: &Sessions = client.rocket().state().unwrap();
    assert_eq!(sessions.end_all_of("ann", None).await.unwrap(), 1);
    assert_eq!(account().await, "nobody");

    log_in(&client, "bob").await;
    let user = with_session(&client, Session::user).await;
    assert_eq!(user.as_deref(), Some("bob"));
}

on_every_store!(a_client_is_logged_in_without_a_route);

#[test]
fn a_log_in_renews_the_session_that_the_client_has() {
    let client = blocking::Client::tracked(in_memory()).unwrap();
    with_session(&client, |session| session.insert("cart", ["tea"])).unwrap();
    let cookie = || client.cookies().get("id").unwrap().value().to_owned();
    let before = cookie();
    log_in(&client, "ann");
    assert_ne!(cookie(), before);
    let cart: Option<Vec<String>> = with_session(&client, |session| session.get("cart")).unwrap();
    assert_eq!(cart, Some(vec!["tea".to_owned()]));

    with_session(&client, Session::log_out);
    assert!(client.cookies().get("id").is_none());
    assert_eq!(text(&client, "/account"), "nobody");
}

#[test]
fn a_test_has_the_tokens_of_protected_forms() {
    let client = blocking::Client::tracked(in_memory()).unwrap();
    let csrf = with_session(&client, |session| session.csrf_token().to_string());
    let save = |body: String| {
        let request = client.post("/save").header(ContentType::Form).body(body);
        request.dispatch().status()
    };
    assert_eq!(save(String::new()), Status::Forbidden);
    assert_eq!(save(format!("csrf_token={csrf}")), Status::Ok);
    let like = client
        .post("/like")
        .header(Header::new("X-CSRF-Token", csrf));
    assert_eq!(like.dispatch().status(), Status::Ok);

    let token = with_session(&client, Session::create_form_token);
    let order = || {
        client
            .post(format!("/order?token={token}"))
            .dispatch()
            .into_string()
    };
    assert_eq!(
        (order().as_deref(), order().as_deref()),
        (Some("true"), Some("false"))
    );
}

#[test]
fn a_test_makes_a_token_for_a_client_without_cookies() {
    let figment = figment().merge(("sessions.transport", "header"));
    let rocket = rocket::custom(figment).attach(Sessions::with(MemoryStore::new()));
    let client = blocking::Client::untracked(application(rocket)).unwrap();
    let token = with_session(&client, |session| {
        session.log_in("ann");
        session.issue_token().unwrap()
    });
    let request = client
        .get("/account")
        .header(Header::new("X-Auth-Token", token));
    assert_eq!(request.dispatch().into_string().unwrap(), "ann");
    assert!(panic_of(|| log_in(&client, "bob")).contains("401"));
}

#[test]
fn a_tool_that_cannot_do_its_work_fails_the_test_and_says_why() {
    let client = blocking::Client::untracked(in_memory()).unwrap();
    assert!(panic_of(|| log_in(&client, "ann")).contains("Client::tracked"));

    let bare = blocking::Client::tracked(rocket::custom(figment())).unwrap();
    assert!(panic_of(|| log_in(&bare, "ann")).contains("Sessions::fairing()"));

    let limited = figment().merge(("sessions.rate_limit.limit", 1));
    let rocket = rocket::custom(limited).attach(Sessions::with(MemoryStore::new()));
    let client = blocking::Client::tracked(rocket).unwrap();
    log_in(&client, "ann");
    assert!(panic_of(|| log_in(&client, "ann")).contains("429"));

    let client = blocking::Client::tracked(in_memory()).unwrap();
    let claim = || {
        with_session(&client, |session| {
            assert_eq!(session.user(), Some("ann".into()))
        })
    };
    assert!(panic_of(claim).contains("left == right"));

    let probe = Probe::new(MemoryStore::new());
    let rocket = rocket::custom(figment()).attach(Sessions::with(probe.clone()));
    let client = blocking::Client::tracked(application(rocket)).unwrap();
    probe.fail(Act::Save);
    assert!(panic_of(|| log_in(&client, "ann")).contains("503"));
    probe.heal();
    log_in(&client, "ann");
    probe.fail(Act::Load);
    assert!(panic_of(|| log_in(&client, "ann")).contains("503"));
}

#[test]
fn a_session_of_a_test_expires_by_its_clock() {
    let clock = Clock::manual();
    let figment = figment().merge(("sessions.store", "memory"));
    let rocket = rocket::custom(figment).manage(clock.clone());
    let client =
        blocking::Client::tracked(application(rocket.attach(Sessions::fairing()))).unwrap();
    log_in(&client, "ann");
    clock.advance(Duration::from_secs(86_399));
    assert_eq!(text(&client, "/account"), "ann");
    clock.advance(Duration::from_secs(86_400));
    assert_eq!(text(&client, "/account"), "nobody");
}
