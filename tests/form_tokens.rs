//! A form is done once, and only when the application's own page sent it.

use rocket::figment::Figment;
use rocket::form::Contextual;
use rocket::futures::future::{join, join_all};
use rocket::http::{ContentType, Header, Method};
use rocket::local::blocking::Client;
use rocket::{Build, FromForm, Rocket, State, async_test, get, post, routes};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{
    CsrfForm, CsrfToken, DirectoryStore, MemoryStore, RedisStore, Result, Session, SessionStore,
};

use crate::support::{App, Gates, Visitor, redis};

#[allow(dead_code, reason = "a test needs no `main`")]
#[path = "../examples/form.rs"]
mod example;

#[get("/token")]
fn token(session: &Session) -> String {
    session.create_form_token()
}

#[get("/tokens/<count>")]
fn tokens(count: usize, session: &Session) -> String {
    let tokens: Vec<_> = (0..count).map(|_| session.create_form_token()).collect();
    tokens.join(",")
}

#[get("/has/<token>")]
fn has(token: &str, session: &Session) -> String {
    session.has_form_token(token).to_string()
}

#[get("/use/<token>?<gate>")]
async fn use_up(
    token: &str,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    Ok(session.remove_form_token(token).await?.to_string())
}

#[get("/own")]
async fn own(session: &Session) -> Result<String> {
    let token = session.create_form_token();
    let used = session.remove_form_token(&token).await?;
    Ok(format!("{used} {}", session.has_form_token(&token)))
}

#[get("/csrf?<gate>")]
async fn csrf(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.csrf_token().to_string()
}

#[get("/page")]
fn page(token: CsrfToken) -> String {
    format!("{token} {token:?}")
}

#[post("/like")]
fn like(_token: CsrfToken, session: &Session) -> Result<()> {
    session.increment("likes", 1).map(drop)
}

#[derive(FromForm)]
struct Entry<'r> {
    text: &'r str,
    stars: Option<u8>,
}

#[post("/entry", data = "<entry>")]
fn entry(entry: CsrfForm<Entry<'_>>) -> String {
    format!("{} {:?}", entry.text, entry.stars)
}

#[post("/shown_again", data = "<entry>")]
fn shown_again(entry: CsrfForm<Contextual<'_, Entry<'_>>>) -> String {
    let errors = entry.context.field_errors("text").count();
    format!("{} {errors}", entry.value.is_some())
}

fn with_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    let routes = routes![
        token,
        tokens,
        has,
        use_up,
        own,
        csrf,
        page,
        like,
        entry,
        shown_again
    ];
    rocket.mount("/", routes)
}

async fn app() -> App {
    App::built(|f| f, with_routes).await
}

/// Sends a request with headers of its own, and returns the status.
async fn send(visitor: &Visitor<'_>, app: &App, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = app.client.req(Method::Post, path.to_owned());
    request.add_header(Header::new("Cookie", visitor.cookies()));
    for (name, value) in headers {
        request.add_header(Header::new((*name).to_owned(), (*value).to_owned()));
    }
    request.dispatch().await.status().code
}

#[async_test]
async fn a_form_token_is_used_up_by_exactly_one_of_many_requests() {
    let test = async |store: Box<dyn FnOnce() -> App>| {
        let app = store();
        let visitor = app.known_visitor().await;
        let token = visitor.get("/token").await.body;
        assert_eq!(visitor.get(&format!("/has/{token}")).await.body, "true");
        let gate = app.gate("use");
        let path = format!("/use/{token}?gate=use");
        let requests = (0..20).map(|_| async { visitor.copy().get(&path).await.body });
        let all_loaded = async {
            for _ in 0..20 {
                gate.arrived().await;
            }
            gate.open_for_all();
        };
        let (bodies, ()) = join(join_all(requests), all_loaded).await;
        let used = bodies.iter().filter(|body| *body == "true").count();
        assert_eq!((used, bodies.len()), (1, 20));
        assert_eq!(visitor.get(&format!("/has/{token}")).await.body, "false");
        assert_eq!(visitor.get("/keys").await.body, "n");
    };
    async fn on(store: impl SessionStore) -> App {
        App::built_on(store, |f: Figment| f, with_routes).await
    }
    let there = tempfile::tempdir().unwrap();
    let directory = DirectoryStore::open(there.path().join("sessions")).unwrap();
    let server = redis::Redis::start();
    let redis = RedisStore::open(&server.url()).unwrap();
    for app in [
        on(MemoryStore::new()).await,
        on(directory).await,
        on(redis).await,
    ] {
        test(Box::new(move || app)).await;
    }
}

#[async_test]
async fn there_are_at_most_32_form_tokens_and_the_oldest_goes() {
    let app = app().await;
    let visitor = app.visitor();
    let body = visitor.get("/tokens/33").await.body;
    let tokens: Vec<_> = body.split(',').collect();
    assert_eq!(
        visitor.get(&format!("/use/{}", tokens[0])).await.body,
        "false"
    );
    app.probe.calls();
    assert_eq!(
        visitor.get(&format!("/use/{}", tokens[1])).await.body,
        "true"
    );
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    assert_eq!(
        visitor.get(&format!("/use/{}", tokens[32])).await.body,
        "true"
    );
    assert_eq!(visitor.get("/own").await.body, "true false");
}

#[async_test]
async fn a_form_token_is_never_used_twice_when_the_store_loses_an_answer() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let token = visitor.get("/token").await.body;
    app.probe.fail_afterwards(Act::Save);
    let path = format!("/use/{token}");
    assert_eq!(visitor.get(&path).await.status.code, 503);
    app.probe.heal();
    assert_eq!(visitor.get(&path).await.body, "false");
}

#[async_test]
async fn a_request_needs_the_token_of_its_own_session() {
    let app = app().await;
    let (visitor, other) = (app.visitor(), app.visitor());
    let token = visitor.get("/csrf").await.body;
    let page = visitor.get("/page").await.body;
    assert!(page.ends_with(" CsrfToken { .. }"), "{page}");
    let again = page.split(' ').next().unwrap();
    assert_ne!(token, again, "it is masked anew");
    let others = other.get("/csrf").await.body;
    let short = &token[..20];
    for (sent, status) in [
        (token.as_str(), 200),
        (again, 200),
        (others.as_str(), 403),
        (short, 403),
        ("", 403),
        ("ä", 403),
    ] {
        let headers = [("X-CSRF-Token", sent)];
        assert_eq!(
            send(&visitor, &app, "/like", &headers).await,
            status,
            "{sent}"
        );
    }
    assert_eq!(send(&visitor, &app, "/like", &[]).await, 403);
    assert_eq!(visitor.get("/get/likes").await.body, "2");
    assert_eq!(
        app.visitor()
            .send(Method::Post, "/like", None)
            .await
            .status
            .code,
        403
    );
}

#[async_test]
async fn what_another_site_sends_is_refused_even_with_the_token() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let token = ("X-CSRF-Token", token.as_str());
    let host = ("Host", "app.example");
    for (header, status) in [
        (("Sec-Fetch-Site", "same-origin"), 200),
        (("Sec-Fetch-Site", "none"), 200),
        (("Sec-Fetch-Site", "same-site"), 403),
        (("Sec-Fetch-Site", "cross-site"), 403),
        (("Origin", "https://app.example"), 200),
        (("Origin", "https://evil.example"), 403),
        (("Origin", "https://app.example.evil"), 403),
        (("Origin", "null"), 403),
    ] {
        let found = send(&visitor, &app, "/like", &[token, host, header]).await;
        assert_eq!(found, status, "{header:?}");
    }
}

#[async_test]
async fn a_log_in_makes_every_token_new() {
    let app = app().await;
    let visitor = app.visitor();
    let (csrf, form) = (
        visitor.get("/csrf").await.body,
        visitor.get("/token").await.body,
    );
    visitor.get("/renew").await;
    assert_eq!(
        send(&visitor, &app, "/like", &[("X-CSRF-Token", &csrf)]).await,
        200
    );
    visitor.get("/login/alice").await;
    assert_eq!(
        send(&visitor, &app, "/like", &[("X-CSRF-Token", &csrf)]).await,
        403
    );
    assert_eq!(visitor.get(&format!("/use/{form}")).await.body, "false");
    let csrf = visitor.get("/csrf").await.body;
    assert_eq!(
        send(&visitor, &app, "/like", &[("X-CSRF-Token", &csrf)]).await,
        200
    );
}

#[async_test]
async fn two_pages_that_make_the_first_token_at_once_both_work() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("csrf");
    let pages = [
        visitor.get("/csrf?gate=csrf"),
        visitor.get("/csrf?gate=csrf"),
    ];
    let both_loaded = async {
        gate.arrived().await;
        gate.arrived().await;
        gate.open_for_all();
    };
    for page in join(join_all(pages), both_loaded).await.0 {
        let headers = [("X-CSRF-Token", page.body.as_str())];
        assert_eq!(send(&visitor, &app, "/like", &headers).await, 200);
    }
    app.probe.calls();
    visitor.get("/csrf").await;
    assert_eq!(
        app.probe.calls().tuple(),
        (1, 0, 0, 0),
        "once there, it is only read"
    );
}

#[async_test]
async fn a_form_brings_its_token_along() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    for (path, form, status, body) in [
        (
            "/entry",
            format!("text=a&stars=2&csrf_token={token}"),
            200,
            "a Some(2)",
        ),
        (
            "/entry",
            format!("csrf_token={token}&text=a"),
            200,
            "a None",
        ),
        ("/entry", "text=a".into(), 403, ""),
        ("/entry", format!("csrf_token={token}"), 422, ""),
        ("/entry", "stars=many".into(), 403, ""),
        (
            "/shown_again",
            format!("stars=1&csrf_token={token}"),
            200,
            "false 1",
        ),
    ] {
        let answer = visitor.send(Method::Post, path, Some(&form)).await;
        assert_eq!(answer.status.code, status, "{form}");
        if status == 200 {
            assert_eq!(answer.body, body);
        }
    }
}

#[test]
fn the_example_takes_an_order_once_and_from_its_own_page_only() {
    let there = tempfile::tempdir().unwrap();
    let figment =
        crate::support::figment().merge(("sessions.directory.path", there.path().join("sessions")));
    let client = Client::tracked(example::rocket().configure(figment)).unwrap();
    let page = || client.get("/").dispatch().into_string().unwrap();
    let order = |form: &str| {
        let request = client.post("/").header(ContentType::Form).body(form);
        request.dispatch().status().code
    };
    let field = |page: &str, name: &str| {
        let rest = page.split(&format!(r#"name="{name}" value=""#)).nth(1);
        rest.unwrap().split('"').next().unwrap().to_owned()
    };
    let first = page();
    let (csrf, form) = (field(&first, "csrf_token"), field(&first, "form"));
    let sent = format!("csrf_token={csrf}&form={form}&cups=2");
    assert_eq!(order(&format!("form={form}&cups=2")), 403);
    assert_eq!(order(&sent), 303);
    let thanks = page();
    assert!(
        thanks.contains("Thank you.") && thanks.contains("Cups ordered: 2"),
        "{thanks}"
    );
    assert_eq!(order(&sent), 303);
    let again = page();
    assert!(
        again.contains("already") && again.contains("Cups ordered: 2"),
        "{again}"
    );
}
