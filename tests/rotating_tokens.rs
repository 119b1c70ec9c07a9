//! A token that is rotated at each use: one request gets the next token, and every copy is refused.

use rocket::futures::future::{join, join_all};
use rocket::{Build, Rocket, State, async_test, get, routes};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Result, Session};

use crate::support::{App, Gates, remove_token};

#[get("/token")]
fn token(session: &Session) -> String {
    session.create_form_token()
}

#[get("/tokens/<count>")]
fn tokens(count: usize, session: &Session) -> String {
    let tokens: Vec<_> = (0..count).map(|_| session.create_form_token()).collect();
    tokens.join(",")
}

#[get("/rotate/<token>?<gate>")]
async fn rotate(
    token: &str,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    let next = session.rotate_form_token(token).await?;
    let next = next.filter(|next| session.has_form_token(next));
    Ok(next.unwrap_or_else(|| "refused".into()))
}

/// Rotates a token that is not saved yet, twice.
#[get("/own")]
async fn own(session: &Session) -> Result<String> {
    let first = session.create_form_token();
    let second = session.rotate_form_token(&first).await?.unwrap();
    assert_eq!(session.rotate_form_token(&first).await?, None);
    let third = session.rotate_form_token(&second).await?.unwrap();
    Ok(format!("{first},{second},{third}"))
}

/// Rotates, and fails.
#[get("/fail/<token>")]
async fn fail(token: &str, session: &Session) -> Result<(rocket::http::Status, String)> {
    session.insert("a", 1)?;
    let next = session.rotate_form_token(token).await?;
    Ok((rocket::http::Status::InternalServerError, next.unwrap()))
}

/// Rotates, and logs a user in afterwards.
#[get("/rotate_and_log_in/<token>")]
async fn rotate_and_log_in(token: &str, session: &Session) -> Result<String> {
    let next = session.rotate_form_token(token).await?;
    session.log_in("alice");
    Ok(next.unwrap())
}

fn with_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    let routes = routes![
        token,
        tokens,
        rotate,
        own,
        fail,
        rotate_and_log_in,
        remove_token
    ];
    rocket.mount("/", routes)
}

async fn app() -> App {
    App::built(|f| f, with_routes).await
}

#[async_test]
async fn exactly_one_of_many_requests_gets_the_next_token() {
    App::on_every_store(with_routes, |app| async move {
        let visitor = app.known_visitor().await;
        let mut token = visitor.get("/token").await.body;
        for round in ["one", "two"] {
            let gate = app.gate(round);
            let path = format!("/rotate/{token}?gate={round}");
            let requests = (0..10).map(|_| async { visitor.copy().get(&path).await.body });
            let all_loaded = async {
                for _ in 0..10 {
                    gate.arrived().await;
                }
                gate.open_for_all();
            };
            let (mut bodies, ()) = join(join_all(requests), all_loaded).await;
            bodies.retain(|body| body != "refused");
            assert_eq!(bodies.len(), 1, "{round}");
            // The old token is used up for each kind of use.
            for path in [format!("/rotate/{token}"), format!("/use/{token}")] {
                let refused = visitor.get(&path).await.body;
                assert!(refused == "refused" || refused == "false", "{refused}");
            }
            token = bodies.remove(0);
        }
        assert_eq!(visitor.get(&format!("/use/{token}")).await.body, "true");
        assert_eq!(visitor.get("/keys").await.body, "n");
    })
    .await;
}

#[async_test]
async fn a_rotation_is_one_save_and_a_refusal_none() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let token = visitor.get("/token").await.body;
    app.probe.calls();
    let path = format!("/rotate/{token}");
    visitor.get(&path).await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    assert_eq!(visitor.get(&path).await.body, "refused");
    assert_eq!(visitor.get("/rotate/nonsense").await.body, "refused");
    assert_eq!(app.probe.calls().tuple(), (2, 0, 0, 0));
    // Without a session there is nothing to rotate.
    assert_eq!(app.visitor().get(&path).await.body, "refused");
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn a_rotated_token_belongs_to_its_session_and_ends_with_a_log_in_or_log_out() {
    let app = app().await;
    let (visitor, other) = (app.known_visitor().await, app.known_visitor().await);
    let token = visitor.get("/token").await.body;
    let path = format!("/rotate/{token}");
    assert_eq!(other.get(&path).await.body, "refused");
    let second = visitor.get(&path).await.body;
    visitor.get("/login/alice").await;
    assert_eq!(
        visitor.get(&format!("/rotate/{second}")).await.body,
        "refused"
    );
    let third = visitor.get("/token").await.body;
    let fourth = visitor
        .get(&format!("/rotate_and_log_in/{third}"))
        .await
        .body;
    assert_eq!(
        visitor.get(&format!("/rotate/{fourth}")).await.body,
        "refused"
    );
    let fifth = visitor.get("/token").await.body;
    visitor.get("/logout").await;
    assert_eq!(
        visitor.get(&format!("/rotate/{fifth}")).await.body,
        "refused"
    );
}

#[async_test]
async fn a_rotation_beside_a_log_in_gives_no_token_of_the_new_session() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let token = visitor.get("/token").await.body;
    let slow = visitor.copy();
    let path = format!("/rotate/{token}?gate=slow");
    let log_in = async { drop(visitor.get("/login/alice").await) };
    let response = app.held_at("slow", slow.get(&path), log_in).await;
    assert_eq!(response.body, "refused");
    assert!(app.list().await.len() == 1 && visitor.get("/who").await.body == "alice");
}

#[async_test]
async fn a_token_of_the_same_request_can_be_rotated() {
    let app = app().await;
    let visitor = app.visitor();
    let body = visitor.get("/own").await.body;
    let tokens: Vec<_> = body.split(',').collect();
    for (token, good) in [(tokens[0], false), (tokens[1], false), (tokens[2], true)] {
        let next = visitor.get(&format!("/rotate/{token}")).await.body;
        assert_eq!(next != "refused", good);
    }
}

#[async_test]
async fn a_rotation_replaces_one_of_32_tokens_and_no_other() {
    let app = app().await;
    let visitor = app.visitor();
    let body = visitor.get("/tokens/32").await.body;
    let tokens: Vec<_> = body.split(',').collect();
    let next = visitor.get(&format!("/rotate/{}", tokens[31])).await.body;
    // The rotated token is the newest, so a further one displaces the oldest.
    visitor.get("/token").await;
    for (token, good) in [(tokens[0], "false"), (tokens[1], "true"), (&*next, "true")] {
        assert_eq!(visitor.get(&format!("/use/{token}")).await.body, good);
    }
}

#[async_test]
async fn a_rotation_holds_when_its_request_fails_or_its_response_is_lost() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let token = visitor.get("/token").await.body;
    let next = visitor.get(&format!("/fail/{token}")).await.body;
    assert_eq!(
        visitor.get("/keys").await.body,
        "n",
        "nothing else is saved"
    );
    assert_eq!(
        visitor.get(&format!("/rotate/{token}")).await.body,
        "refused"
    );
    app.probe.fail_afterwards(Act::Save);
    let path = format!("/rotate/{next}");
    assert_eq!(visitor.get(&path).await.status.code, 503);
    app.probe.heal();
    assert_eq!(visitor.get(&path).await.body, "refused");
}
