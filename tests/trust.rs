//! A route can ask how long ago the user proved their identity.

use std::time::{Duration, UNIX_EPOCH};

use rocket::figment::Figment;
use rocket::http::Status;
use rocket::outcome::try_outcome;
use rocket::request::{FromRequest, Outcome};
use rocket::{Build, Request, Rocket, State, async_test, get, routes};
use rocket_session_kit::{LoggedIn, Session};

use crate::support::{App, Gates};

const MINUTE: Duration = Duration::from_secs(60);

#[get("/reauthenticate?<gate>")]
async fn reauthenticate(gate: Option<&str>, session: &Session, gates: &State<Gates>) {
    gates.wait(gate).await;
    session.reauthenticate();
}

#[get("/authenticated?<within>")]
fn authenticated(within: u64, session: &Session) -> String {
    let at = session.authenticated_at();
    let at = at.map(|at| at.duration_since(UNIX_EPOCH).unwrap().as_secs());
    let within = session.authenticated_within(Duration::from_secs(within));
    // A time and a duration must not contradict each other.
    assert!(at.is_some() || !within);
    within.to_string()
}

#[get("/token")]
fn token(session: &Session) -> String {
    session.create_form_token()
}

#[get("/has_token/<token>")]
fn has_token(token: &str, session: &Session) -> String {
    session.has_form_token(token).to_string()
}

/// A member who proved their identity in the last ten minutes.
struct Trusted<'r>(LoggedIn<'r>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Trusted<'r> {
    type Error = rocket_session_kit::Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        let member = try_outcome!(request.guard::<LoggedIn<'_>>().await);
        match member.session().authenticated_within(10 * MINUTE) {
            true => Outcome::Success(Self(member)),
            false => Outcome::Forward(Status::Forbidden),
        }
    }
}

#[get("/vault")]
fn vault(trusted: Trusted<'_>) -> String {
    format!("the vault of {}", trusted.0.user())
}

#[get("/vault", rank = 2)]
fn vault_for_members(member: LoggedIn<'_>) -> String {
    format!("your password, {}?", member.user())
}

#[get("/vault", rank = 3)]
fn vault_for_nobody() -> &'static str {
    "who are you?"
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount(
        "/",
        routes![
            reauthenticate,
            authenticated,
            token,
            has_token,
            vault,
            vault_for_members,
            vault_for_nobody
        ],
    )
}

#[async_test]
async fn the_time_of_the_log_in_is_the_time_of_authentication() {
    App::on_every_store(build, async |app| {
        let visitor = app.known_visitor().await;
        assert_eq!(
            visitor.get("/authenticated?within=9999").await.body,
            "false"
        );
        visitor.get("/set_user/alice").await;
        assert_eq!(
            visitor.get("/authenticated?within=9999").await.body,
            "false"
        );
        visitor.get("/login/alice").await;
        assert_eq!(visitor.get("/authenticated?within=0").await.body, "true");
        app.clock.advance(10 * MINUTE);
        visitor.get("/renew").await;
        assert_eq!(visitor.get("/authenticated?within=600").await.body, "true");
        assert_eq!(visitor.get("/authenticated?within=599").await.body, "false");
        visitor.get("/set_user/bob").await;
        assert_eq!(visitor.get("/authenticated?within=600").await.body, "false");
        visitor.get("/login/bob").await;
        visitor.get("/set_user/nobody").await;
        assert_eq!(visitor.get("/authenticated?within=600").await.body, "false");
    })
    .await;
}

#[async_test]
async fn a_clock_that_is_set_back_makes_no_log_in_newer_for_longer() {
    let app = App::built(|f| f, build).await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    app.clock.set_back(600 * MINUTE);
    assert_eq!(visitor.get("/authenticated?within=0").await.body, "true");
    visitor.get("/set/a/1").await;
    app.clock.advance(10 * MINUTE);
    assert_eq!(visitor.get("/authenticated?within=599").await.body, "false");
}

#[async_test]
async fn a_route_asks_for_a_fresh_proof() {
    let app = App::built(|f| f, build).await;
    let visitor = app.known_visitor().await;
    assert_eq!(visitor.get("/vault").await.body, "who are you?");
    visitor.get("/login/alice").await;
    assert_eq!(visitor.get("/vault").await.body, "the vault of alice");
    app.clock.advance(11 * MINUTE);
    assert_eq!(visitor.get("/vault").await.body, "your password, alice?");
    visitor.get("/reauthenticate").await;
    assert_eq!(visitor.get("/vault").await.body, "the vault of alice");
}

#[async_test]
async fn a_fresh_proof_renews_the_id_and_keeps_the_values() {
    App::on_every_store(build, async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let token = visitor.get("/token").await.body;
        let thief = visitor.copy();
        app.clock.advance(11 * MINUTE);
        let response = visitor.get("/reauthenticate").await;
        assert!(response.sets_session(), "{response:?}");
        assert_eq!(visitor.get("/who").await.body, "alice");
        assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
        assert_eq!(visitor.get("/authenticated?within=0").await.body, "true");
        // The old id gives no access, and whoever knew it knows no token.
        assert_eq!(thief.get("/who").await.body, "nobody");
        let known = visitor.get(&format!("/has_token/{token}")).await.body;
        assert_eq!(known, "false");
        assert_eq!(app.list().await.len(), 1);
        visitor.get("/logout").await;
    })
    .await;
}

#[async_test]
async fn nobody_can_prove_an_identity_again_without_a_log_in() {
    let app = App::built(|f| f, build).await;
    let visitor = app.known_visitor().await;
    let response = visitor.get("/reauthenticate").await;
    assert!(response.session_cookie().is_none());
    assert_eq!(
        visitor.get("/authenticated?within=9999").await.body,
        "false"
    );
    assert!(
        app.visitor()
            .get("/reauthenticate")
            .await
            .session_cookie()
            .is_none()
    );
    // The user who was set without a log-in proves their identity for the first time.
    visitor.get("/set_user/alice").await;
    visitor.get("/reauthenticate").await;
    assert_eq!(visitor.get("/authenticated?within=0").await.body, "true");
}

#[async_test]
async fn a_fresh_proof_starts_the_absolute_timeout_anew() {
    let settings = |f: Figment| f.merge(("sessions.policy", "aal2"));
    App::on_every_store_with(settings, build, async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        for hour in 1..=25 {
            app.clock.advance(59 * MINUTE);
            assert_eq!(visitor.get("/who").await.body, "alice", "{hour}");
            if hour == 20 {
                visitor.get("/reauthenticate").await;
            }
        }
        app.clock.advance(60 * MINUTE);
        assert_eq!(visitor.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn the_proof_of_one_user_does_not_count_for_another() {
    App::on_every_store(build, async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        app.clock.advance(11 * MINUTE);
        let slow = visitor.copy();
        let response = app
            .held_at("slow", slow.get("/reauthenticate?gate=slow"), async {
                visitor.get("/set_user/bob").await;
            })
            .await;
        assert!(response.sets_session(), "{response:?}");
        assert_eq!(slow.get("/who").await.body, "bob");
        assert_eq!(slow.get("/authenticated?within=600").await.body, "false");
    })
    .await;
}

#[async_test]
async fn a_slow_proof_does_not_reach_the_session_of_the_next_log_in() {
    App::on_every_store(build, async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let slow = visitor.copy();
        app.held_at("slow", slow.get("/reauthenticate?gate=slow"), async {
            visitor.get("/login/bob").await;
            app.clock.advance(11 * MINUTE);
        })
        .await;
        assert_eq!(visitor.get("/who").await.body, "bob");
        assert_eq!(visitor.get("/authenticated?within=600").await.body, "false");
    })
    .await;
}

#[async_test]
async fn a_client_with_a_token_proves_its_identity_under_the_same_id() {
    let settings = |f: Figment| f.merge(("sessions.transport", "header"));
    let app = App::built(settings, build).await;
    let client = app
        .visitor()
        .with("X-Auth-Token", &"0123456789abcdef".repeat(4));
    client.get("/login/alice").await;
    app.clock.advance(11 * MINUTE);
    assert_eq!(client.get("/authenticated?within=600").await.body, "false");
    client.get("/reauthenticate").await;
    assert_eq!(client.get("/authenticated?within=600").await.body, "true");
}
