//! Sessions of clients that send a token in a header. Only the token finds them, and they are as safe
//! as those of a cookie, although the token stays when its session ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rocket::error::ErrorKind::FailedFairings;
use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::futures::TryStreamExt;
use rocket::futures::future::{Either, join, join_all, select};
use rocket::http::Status;
use rocket::local::asynchronous::Client;
use rocket::{async_test, get, routes};
use rocket_session_kit::store::{Precondition, Save, SessionStore};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{
    Clock, CsrfToken, LoggedIn, MemoryStore, Notify, Result, Session, SessionId, Sessions,
};

use crate::support::served::Served;
use crate::support::{
    App, Backend, Gates, Visitor, figment, log, on_every_store, push, remove_token, take,
};

const NAME: &str = "X-Auth-Token";
const TOKEN: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "another-token-of-another-client.";

/// An application on a back end, with its configuration.
struct Api {
    client: Client,
    clock: Clock,
    _backend: Backend,
}

impl Api {
    async fn on(backend: Backend) -> Self {
        let clock = Clock::manual();
        let rocket = rocket::custom(backend.figment(r#"transport="header",store_timeout=20000"#))
            .manage(clock.clone())
            .manage(Gates::default())
            .mount("/", crate::support::routes())
            .mount("/", more())
            .attach(Sessions::fairing());
        Self {
            client: Client::untracked(rocket).await.unwrap(),
            clock,
            _backend: backend,
        }
    }

    fn visitor(&self, token: &str) -> Visitor<'_> {
        Visitor::new(&self.client).with(NAME, token)
    }

    fn gate(&self, name: &str) -> rocket_session_kit::testing::Gate {
        self.client.rocket().state::<Gates>().unwrap().named(name)
    }

    fn sessions(&self) -> &Sessions {
        self.client.rocket().state().unwrap()
    }

    async fn ids(&self) -> Vec<SessionId> {
        let all: Vec<_> = self.sessions().iter_sessions().try_collect().await.unwrap();
        all.into_iter().map(|(id, _)| id).collect()
    }
}

fn more() -> Vec<rocket::Route> {
    routes![
        push,
        take,
        form,
        token,
        remove_token,
        responder,
        end_all,
        members,
        id_with
    ]
}

#[get("/form")]
fn form(session: &Session) -> String {
    session.create_form_token()
}

#[get("/token")]
fn token(token: CsrfToken) -> String {
    token.to_string()
}

#[get("/responder")]
fn responder() -> Notify<&'static str> {
    Notify::info("done", "it is done")
}

/// Inserts a value and returns the id of the session; removes the value on request.
#[get("/id_with?<keep>")]
fn id_with(keep: bool, session: &Session) -> Result<String> {
    session.insert("a", 1)?;
    let id = session.id();
    if !keep {
        session.remove("a");
    }
    Ok(id.map_or("none".into(), |id| id.to_hex()))
}

#[get("/end_all")]
async fn end_all(sessions: &Sessions) -> Result<String> {
    Ok(sessions.end_all_of("alice", None).await?.to_string())
}

async fn app(more: &'static str) -> App {
    App::built(settings(more), |rocket| rocket.mount("/", self::more())).await
}

#[get("/members")]
fn members(member: LoggedIn<'_>) -> String {
    member.user().to_owned()
}

fn settings(text: &'static str) -> impl FnOnce(Figment) -> Figment {
    move |figment| figment.merge(Toml::string(&format!("sessions={{{text}}}")))
}

fn with<'a>(app: &'a App, token: &str) -> Visitor<'a> {
    app.visitor().with(NAME, token)
}

async fn a_token_finds_its_session_and_no_cookie_is_ever_set(backend: Backend) {
    let api = Api::on(backend).await;
    let (one, two) = (api.visitor(TOKEN), api.visitor(OTHER));
    for response in [
        one.get("/get/a").await,
        one.get("/set/a/1").await,
        one.get("/login/alice").await,
        one.get("/renew").await,
    ] {
        assert_eq!(response.status, Status::Ok);
        assert_eq!(response.header("Set-Cookie"), None);
        assert_eq!(response.header("WWW-Authenticate"), None);
        assert_eq!(response.header("Vary"), Some(NAME));
    }
    assert_eq!(one.get("/get/a").await.body, r#""1""#);
    assert_eq!(one.get("/who").await.body, "alice");
    assert_eq!(one.get("/existing").await.status, Status::Ok);
    assert_eq!(two.get("/get/a").await.body, "none");
    assert_eq!(two.get("/existing").await.status, Status::NotFound);
    assert_eq!(api.ids().await.len(), 1, "a read begins no session");
    let response = one.get("/logout").await;
    assert_eq!(response.header("Set-Cookie"), None);
    assert_eq!(one.get("/keys").await.body, "");
    assert!(api.ids().await.is_empty());
}

async fn concurrent_requests_that_begin_a_session_lose_no_change(backend: Backend) {
    let api = Api::on(backend).await;
    let visitor = api.visitor(TOKEN);
    let gate = api.gate("all");
    let requests = join_all((0..40).map(|_| visitor.get("/add/count/1?gate=all")));
    let all_loaded = async {
        for _ in 0..40 {
            gate.arrived().await;
        }
        gate.open_for_all();
    };
    let (responses, ()) = join(requests, all_loaded).await;
    assert!(
        responses
            .iter()
            .all(|response| response.status == Status::Ok)
    );
    assert_eq!(visitor.get("/get/count").await.body, "40");
    assert_eq!(api.ids().await.len(), 1);
}

async fn a_request_in_flight_at_the_end_does_not_reach_the_next_session(backend: Backend) {
    let api = Api::on(backend).await;
    let visitor = api.visitor(TOKEN);
    for path in [
        "/set/a/1",
        "/add/n/1",
        "/append/a/1",
        "/remove/n",
        "/clear",
        "/touch",
        "/get/n",
        "/renew",
        "/login/alice",
        "/login/bob",
        "/set_user/bob",
        "/push/secret",
        "/take",
        "/logout",
    ] {
        visitor.get("/login/alice").await;
        visitor.get("/set/old/1").await;
        visitor.get("/push/old").await;
        // So that a touch is due too.
        api.clock.advance(Duration::from_secs(120));
        let gate = api.gate(path);
        let slow_path = format!("{path}?gate={path}");
        let slow = visitor.get(&slow_path);
        let meanwhile = async {
            gate.arrived().await;
            assert_eq!(visitor.get("/logout").await.status, Status::Ok);
            // At once, and with no data of the previous session.
            assert_eq!(visitor.get("/keys").await.body, "");
            assert_eq!(visitor.get("/who").await.body, "nobody");
            assert_eq!(visitor.get("/add/n/7").await.body, "7");
            visitor.get("/push/new").await;
            gate.open();
        };
        let (response, ()) = join(slow, meanwhile).await;
        assert_eq!(response.status, Status::Ok, "{path}");
        assert_eq!(response.header("Set-Cookie"), None);
        if path == "/take" {
            assert_eq!(response.body, "0", "they were of the session that ended");
        }
        assert_eq!(visitor.get("/keys").await.body, "n", "{path}");
        assert_eq!(visitor.get("/get/n").await.body, "7", "{path}");
        assert_eq!(visitor.get("/who").await.body, "nobody", "{path}");
        assert_eq!(visitor.get("/take").await.body, "1", "{path}");
        visitor.get("/logout").await;
    }
}

async fn a_form_token_of_an_ended_session_is_invalid_in_the_next(backend: Backend) {
    let api = Api::on(backend).await;
    let visitor = api.visitor(TOKEN);
    let token = visitor.get("/form").await.body;
    let gate = api.gate("slow");
    let path = format!("/use/{token}?gate=slow");
    let slow = visitor.get(&path);
    let meanwhile = async {
        gate.arrived().await;
        visitor.get("/logout").await;
        visitor.get("/form").await;
        gate.open();
    };
    let (response, ()) = join(slow, meanwhile).await;
    assert_eq!(response.body, "false");
    let token = visitor.get("/form").await.body;
    let used = visitor.get(&format!("/use/{token}")).await;
    assert_eq!(used.body, "true");
}

async fn a_token_begins_a_new_session_after_an_administrator_ended_it(backend: Backend) {
    let api = Api::on(backend).await;
    let visitor = api.visitor(TOKEN);
    for _ in 0..2 {
        visitor.get("/login/alice").await;
        assert_eq!(api.visitor(OTHER).get("/end_all").await.body, "1");
        assert_eq!(visitor.get("/who").await.body, "nobody");
        assert_eq!(visitor.get("/add/n/1").await.body, "1");
        visitor.get("/end").await;
    }
}

on_every_store! {
    a_token_finds_its_session_and_no_cookie_is_ever_set
    concurrent_requests_that_begin_a_session_lose_no_change
    a_request_in_flight_at_the_end_does_not_reach_the_next_session
    a_form_token_of_an_ended_session_is_invalid_in_the_next
    a_token_begins_a_new_session_after_an_administrator_ended_it
}

#[async_test]
async fn an_expired_session_makes_room_for_a_new_session() {
    let app = app(r#"transport="header",idle_timeout=100"#).await;
    let visitor = with(&app, TOKEN);
    visitor.get("/set/old/1").await;
    app.clock.advance(Duration::from_secs(100));
    assert_eq!(visitor.get("/keys").await.body, "");
    visitor.get("/set/new/1").await;
    assert_eq!(visitor.get("/keys").await.body, "new");
    // Even if a shorter timeout applies now that the store does not know.
    let strict = app
        .again(settings(r#"transport="header",idle_timeout=10"#))
        .await;
    app.clock.advance(Duration::from_secs(50));
    let visitor = with(&strict, TOKEN);
    assert_eq!(visitor.get("/keys").await.body, "");
    assert_eq!(visitor.get("/set/newer/1").await.status, Status::Ok);
    assert_eq!(visitor.get("/keys").await.body, "newer");
}

#[async_test]
async fn a_session_that_ends_and_begins_in_one_request_is_a_new_one() {
    let app = app(r#"transport="header""#).await;
    let visitor = with(&app, TOKEN);
    visitor.get("/set/old/1").await;
    assert_eq!(visitor.get("/end?then=now").await.status, Status::Ok);
    assert_eq!(visitor.get("/keys").await.body, "then");
}

#[async_test]
async fn an_end_never_deletes_a_new_session_of_the_same_token() {
    let app = app(r#"transport="header""#).await;
    let visitor = with(&app, TOKEN);
    visitor.get("/set/old/1").await;
    app.probe.calls();
    visitor.get("/logout").await;
    let calls = app.probe.calls();
    assert_eq!((calls.save, calls.delete), (1, 0));
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn a_cookie_application_never_deletes_a_new_session_of_a_token() {
    let app = app(r#"transport="header""#).await;
    let administrators = app.again(|figment| figment).await;
    let visitor = with(&app, TOKEN);
    visitor.get("/set/old/1").await;
    let (id, _) = app.list().await.remove(0);
    let deletes = app.probe.gate(Act::Delete);
    let ending = std::pin::pin!(administrators.sessions().end(&id));
    let deleting = std::pin::pin!(deletes.arrived());
    // If there is a deletion, it waits until the next session exists.
    let first = select(ending, deleting).await;
    visitor.get("/set/new/1").await;
    deletes.open_for_all();
    if let Either::Right((_, ending)) = first {
        ending.await.unwrap();
    }
    assert_eq!(visitor.get("/keys").await.body, "new");
}

#[async_test]
async fn a_creation_with_a_lost_response_counts_once() {
    let app = app(r#"transport="header""#).await;
    let visitor = with(&app, TOKEN);
    let slow = app.probe.gate(Act::Load);
    let others = async {
        slow.arrived().await;
        app.probe.repeat_next_save();
        slow.open();
        // It saves its session, and loads the record that is in its place.
        slow.arrived().await;
        app.probe.gate(Act::Load).open_for_all();
        assert_eq!(with(&app, TOKEN).get("/add/n/1").await.body, "2");
        slow.open();
    };
    let (response, ()) = join(visitor.get("/add/n/1"), others).await;
    assert_eq!(response.status, Status::Ok);
    assert_eq!(visitor.get("/get/n").await.body, "2");
}

#[async_test]
async fn an_unreadable_record_is_not_overwritten_and_fails_at_once() {
    let app = app(r#"transport="header""#).await;
    let visitor = with(&app, TOKEN);
    visitor.get("/set/n/1").await;
    let (id, _) = app.list().await.remove(0);
    let revision = app.probe.load_session(&id).await.unwrap().unwrap().revision;
    let bytes = br#"{"rev":"9f86d081884c7d65","expires":99999999999,"v":77}"#;
    let save = Save {
        bytes,
        ttl: Duration::from_secs(60),
        precondition: Precondition::Revision(revision),
    };
    app.probe.save_session(&id, save).await.unwrap();
    assert_eq!(visitor.get("/keys").await.body, "");
    app.probe.calls();
    // The memory store cannot quarantine it.
    assert_eq!(visitor.get("/set/a/1").await.status.code, 503);
    assert_eq!(app.probe.calls().save, 3);
    let there = app.probe.load_session(&id).await.unwrap().unwrap();
    assert_eq!(there.bytes, bytes);
}

#[async_test]
async fn a_log_in_keeps_the_id_and_replaces_the_form_tokens() {
    let app = app(r#"transport="header""#).await;
    let visitor = with(&app, TOKEN);
    let form = visitor.get("/form").await.body;
    let before = app.list().await[0].0;
    visitor.get("/login/alice").await;
    assert_eq!(app.list().await[0].0, before);
    assert_eq!(visitor.get(&format!("/use/{form}")).await.body, "false");
}

#[async_test]
async fn a_save_without_a_token_is_an_error() {
    let app = app(r#"transport="header""#).await;
    let nobody = app.visitor();
    assert_eq!(nobody.get("/bare").await.header("Vary"), None);
    let response = nobody.get("/get/a").await;
    assert_eq!((response.status, &*response.body), (Status::Ok, "none"));
    assert_eq!(response.header("Vary"), Some(NAME));
    assert_eq!(nobody.get("/existing").await.status, Status::NotFound);
    assert_eq!(nobody.get("/take").await.body, "0");
    assert_eq!(nobody.get("/logout").await.status, Status::Ok);
    for path in [
        "/set/a/1",
        "/login/alice",
        "/set_user/alice",
        "/push/a",
        "/form",
        "/token",
        "/responder",
    ] {
        let response = nobody.get(path).await;
        assert_eq!(response.status, Status::Unauthorized, "{path}");
        assert!(response.body.contains("token"), "{path}: {}", response.body);
        assert_eq!(response.header("Set-Cookie"), None);
        let challenge = response.header("WWW-Authenticate");
        assert_eq!(challenge, Some(r#"Token header="X-Auth-Token""#), "{path}");
    }
    assert!(app.list().await.is_empty());
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
    // A page for members does the same, also for a token without a logged-in user.
    for visitor in [nobody, with(&app, TOKEN)] {
        let response = visitor.get("/members").await;
        assert_eq!(response.status, Status::Unauthorized);
        let challenge = response.header("WWW-Authenticate");
        assert_eq!(challenge, Some(r#"Token header="X-Auth-Token""#));
    }
    let member = with(&app, TOKEN);
    member.get("/login/alice").await;
    let response = member.get("/members").await;
    assert_eq!(response.body, "alice");
    assert_eq!(response.header("Cache-Control"), Some("private"));
}

#[async_test]
async fn an_invalid_token_is_refused_without_a_lookup() {
    log::keep();
    let app = app(r#"transport="header""#).await;
    let long = "secret4711".repeat(410);
    for bad in [
        "",
        "secret4711",
        &long,
        "secret4711 secret4711",
        "secret4711,secret4711",
        "secret4711secret4711\u{fc}",
        "secret4711secret4711\t",
        "Bearer secret4711",
        "Basic secret4711secret4711",
    ] {
        for path in ["/get/a", "/set/a/1"] {
            let response = with(&app, bad).get(path).await;
            // White space around a header's value does not belong to it.
            let expected = match bad.ends_with('\t') {
                true => Status::Ok,
                false => Status::Unauthorized,
            };
            assert_eq!(response.status, expected, "{bad:?}");
            assert!(!response.body.contains("secret4711"));
        }
    }
    app.probe.calls();
    let twice = with(&app, TOKEN).with(NAME, OTHER);
    let response = twice.get("/get/a").await;
    assert_eq!(response.status, Status::Unauthorized);
    assert!(response.header("WWW-Authenticate").is_some());
    let twice = with(&app, TOKEN).with("x-auth-token", TOKEN);
    assert_eq!(twice.get("/get/a").await.status, Status::Unauthorized);
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
    assert!(log::lines_with("secret4711").is_empty());
}

#[async_test]
async fn a_token_stays_out_of_logs_errors_and_the_store() {
    log::keep();
    let app = app(r#"transport="header""#).await;
    let secret = "secret-token-815-secret-token-815";
    let visitor = with(&app, secret);
    visitor.get("/set/a/1").await;
    app.probe.fail(rocket_session_kit::testing::Act::Load);
    let response = visitor.get("/get/a").await;
    assert_eq!(response.status, Status::ServiceUnavailable);
    assert!(!response.body.contains("815"));
    app.probe.heal();
    assert_eq!(visitor.get("/get/a").await.body, r#""1""#);
    assert!(log::lines_with("secret-token").is_empty());
    let (id, record) = app.list().await.remove(0);
    assert!(!id.to_hex().contains("815") && !format!("{record:?}").contains("secret"));
}

#[async_test]
async fn the_first_of_several_headers_counts_and_each_has_its_sessions() {
    let app = app(r#"transport="header",header.names=["X-Dark","X-Light"]"#).await;
    let (dark, light) = (
        app.visitor().with("X-Dark", TOKEN),
        app.visitor().with("x-light", TOKEN),
    );
    dark.get("/set/dark/1").await;
    assert_eq!(light.get("/keys").await.body, "");
    light.get("/set/light/1").await;
    let both = app.visitor().with("X-Light", TOKEN).with("X-Dark", TOKEN);
    let response = both.get("/keys").await;
    assert_eq!(response.body, "dark");
    assert_eq!(response.header("Vary"), Some("X-Dark, X-Light"));
    assert_eq!(light.get("/keys").await.body, "light");
    assert_eq!(
        with(&app, TOKEN).get("/existing").await.status,
        Status::NotFound
    );
}

#[async_test]
async fn a_bearer_token_identifies_a_session() {
    let app = app(r#"transport="header",header.names=["Authorization"]"#).await;
    let bearer = app
        .visitor()
        .with("Authorization", &format!("Bearer {TOKEN}"));
    bearer.get("/set/a/1").await;
    let bearer = app
        .visitor()
        .with("Authorization", &format!("bearer {TOKEN}"));
    assert_eq!(bearer.get("/get/a").await.body, r#""1""#);
}

#[async_test]
async fn a_session_is_found_only_by_the_configured_transport() {
    let by_cookie = app("").await;
    let browser = by_cookie.known_visitor().await;
    browser.get("/set/cookie/1").await;
    let by_header = by_cookie.again(settings(r#"transport="header""#)).await;
    let client = with(&by_header, TOKEN);
    client.get("/set/header/1").await;

    // If the header counts, a cookie is neither read nor set nor removed.
    let name = "id";
    let cookie = browser.cookie(name).unwrap();
    let visitor = by_header.visitor();
    visitor.set_cookie(name, &cookie);
    let response = visitor.get("/keys").await;
    assert_eq!(response.body, "");
    let visitor = with(&by_header, TOKEN);
    visitor.set_cookie(name, &cookie);
    assert_eq!(visitor.get("/keys").await.body, "header");
    assert_eq!(visitor.get("/logout").await.header("Set-Cookie"), None);

    // If the cookie counts, the header is not read.
    client.get("/set/header/1").await;
    let response = with(&by_cookie, TOKEN).get("/keys").await;
    assert_eq!(
        (&*response.body, response.header("Vary")),
        ("", Some("Cookie"))
    );
}

#[async_test]
async fn a_valid_cookie_takes_precedence_over_the_header() {
    let app = app(r#"transport="both""#).await;
    let browser = app.visitor();
    let response = browser.get("/set/cookie/1").await;
    assert!(
        response.sets_session(),
        "a request with neither gets a cookie"
    );
    assert_eq!(response.header("Vary"), Some("Cookie, X-Auth-Token"));

    let client = with(&app, TOKEN);
    assert!(!client.get("/set/header/1").await.sets_session());
    assert_eq!(client.get("/keys").await.body, "header");

    let both = browser.copy().with(NAME, TOKEN);
    assert_eq!(both.get("/keys").await.body, "cookie");
    // A cookie that opens no session is ignored, and not removed.
    let stale = with(&app, TOKEN);
    stale.set_cookie("id", "nonsense");
    let response = stale.get("/keys").await;
    assert_eq!(
        (&*response.body, response.header("Set-Cookie")),
        ("header", None)
    );

    // A log-out by the cookie ends that session and no other.
    assert!(both.get("/logout").await.removes_session());
    assert_eq!(both.get("/keys").await.body, "header");
}

#[async_test]
async fn an_established_token_session_has_its_own_rate_limit() {
    let app = app(r#"transport="header",rate_limit={limit=2,window=60}"#).await;
    let (one, two) = (with(&app, TOKEN), with(&app, OTHER));
    one.get("/set/a/1").await;
    two.get("/set/a/1").await;
    // Both have the same address, and are new.
    assert_eq!(one.get("/bare").await.status, Status::TooManyRequests);
    app.clock.advance(Duration::from_secs(61));
    for visitor in [&one, &two] {
        for expected in [Status::Ok, Status::Ok, Status::TooManyRequests] {
            assert_eq!(visitor.get("/bare").await.status, expected);
        }
    }
    // A client without an established session does not share that count.
    let nobody = with(&app, "a-token-that-nobody-ever-saw-yet");
    assert_eq!(nobody.get("/bare").await.status, Status::Ok);
}

#[async_test]
async fn invalid_settings_stop_the_launch() {
    log::keep();
    for (text, key) in [
        (r#"transport="headers""#, "sessions.transport"),
        (
            r#"transport="header",header.names=[]"#,
            "sessions.header.names",
        ),
        (
            r#"transport="both",header.names=["a b"]"#,
            "sessions.header.names",
        ),
        (
            r#"transport="header",header.names=["Cookie"]"#,
            "sessions.header.names",
        ),
        (
            r#"transport="header",header.names=["A","a"]"#,
            "sessions.header.names",
        ),
        (r#"header.name="A""#, "sessions.header.name"),
    ] {
        let before = log::lines_with(key).len();
        let rocket =
            rocket::custom(settings(text)(figment())).attach(Sessions::with(MemoryStore::new()));
        let error = rocket.ignite().await.expect_err("this cannot work");
        assert!(matches!(error.kind(), FailedFairings(_)), "{text}");
        assert!(log::lines_with(key).len() > before, "{text}");
    }
}

#[test]
fn a_token_alone_keeps_a_session_over_tcp() {
    let served = Served::launch(settings(r#"transport="header""#));
    let ask = |path: &str, headers: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(!response.to_ascii_lowercase().contains("set-cookie"));
        let status: u16 = response[9..12].parse().unwrap();
        let body = response.split_once("\r\n\r\n").unwrap().1.to_owned();
        (status, body)
    };
    let token = format!("X-Auth-Token: {TOKEN}\r\n");
    assert_eq!(ask("/add/n/1", &token), (200, "1".into()));
    let spelt = format!("x-auth-token:  {TOKEN} \r\n");
    assert_eq!(ask("/add/n/1", &spelt), (200, "2".into()));
    assert_eq!(ask("/get/n", ""), (200, "none".into()));
    assert_eq!(ask("/add/n/1", "").0, 401);
    assert_eq!(ask("/get/n", &format!("{token}{token}")).0, 401);
    assert_eq!(
        ask("/get/n", &format!("X-Auth-Token: {}\r\n", "a".repeat(5000))).0,
        401
    );
    assert_eq!(
        ask("/get/n", &format!("Cookie: X-Auth-Token={TOKEN}\r\n")),
        (200, "none".into())
    );
    assert_eq!(
        ask(&format!("/get/n?X-Auth-Token={TOKEN}"), ""),
        (200, "none".into())
    );
}

#[get("/tokens/<user>")]
fn issue(user: &str, session: &Session) -> Result<String> {
    session.log_in(user);
    session.issue_token()
}

/// An application that issues tokens.
async fn issuer(transport: &'static str) -> App {
    App::built(
        |figment| figment.merge(("sessions.transport", transport)),
        |rocket| rocket.mount("/", routes![issue]),
    )
    .await
}

#[async_test]
async fn an_issued_token_finds_its_session() {
    for transport in ["header", "both"] {
        let app = issuer(transport).await;
        let visitor = app.visitor();
        // A browser may have a cookie from long ago.
        visitor.set_cookie("id", "c3RhbGU");
        let response = visitor.get("/tokens/alice").await;
        assert_eq!(response.status.code, 200);
        assert!(response.session_cookie().is_none(), "{transport}");
        assert_eq!(response.header("Cache-Control"), Some("no-store"));
        let token = response.body;
        assert!(token.len() >= 43 && token.is_ascii(), "256 bits");
        let client = app.visitor().with(NAME, &token);
        assert_eq!(client.get("/who").await.body, "alice", "{transport}");
        assert_eq!(client.get("/add/a/1").await.status.code, 200);
        let another = app.visitor().get("/tokens/alice").await.body;
        assert_ne!(another, token);
        assert_eq!(app.sessions().end_all_of("alice", None).await.unwrap(), 2);
        assert_eq!(client.get("/who").await.body, "nobody", "{transport}");
        let (id, _) = {
            app.visitor().get("/tokens/bob").await;
            app.list().await.remove(0)
        };
        assert!(!token.contains(&id.to_hex()));
    }
}

#[async_test]
async fn a_token_is_issued_only_for_a_new_session() {
    let app = issuer("header").await;
    let client = app.visitor().with(NAME, TOKEN);
    client.get("/set/a/1").await;
    assert_eq!(client.get("/tokens/alice").await.status.code, 500);
    assert_eq!(client.get("/who").await.body, "nobody");
    // A token of the client that has no session yet is replaced.
    let fresh = app.visitor().with(NAME, OTHER);
    let token = fresh.get("/tokens/alice").await.body;
    assert_eq!(fresh.get("/who").await.body, "nobody");
    let client = app.visitor().with(NAME, &token);
    assert_eq!(client.get("/who").await.body, "alice");

    let cookies = issuer("cookie").await;
    assert_eq!(
        cookies.visitor().get("/tokens/alice").await.status.code,
        500
    );
    assert!(cookies.list().await.is_empty());
}

#[async_test]
async fn the_returned_id_belongs_to_the_token_and_is_none_without_one() {
    let app = app(r#"transport="header""#).await;
    let visitor = with(&app, TOKEN);
    for moment in ["it begins", "it goes on"] {
        let returned = visitor.get("/id_with?keep=true").await.body;
        let [(id, _)] = app.list().await[..] else {
            panic!("there is one session");
        };
        assert_eq!(returned, id.to_hex(), "{moment}");
    }
    let nobody = app.visitor();
    assert_eq!(nobody.get("/id_with?keep=false").await.body, "none");
}
