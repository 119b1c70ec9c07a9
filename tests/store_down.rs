//! A store that is down, hangs, panics or loses responses: visitors with a session get an error, no
//! other visitor is affected, and nothing is lost.

use std::time::{Duration, Instant};

use rocket::figment::Figment;
use rocket::futures::FutureExt;
use rocket::http::Method;
use rocket::response::Redirect;
use rocket::{async_test, catch, catchers, get, routes};
use rocket_session_kit::store::{KeyValue, Namespace, Precondition, Save, SessionStore};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Clock, MemoryStore, Result, Session, SessionId};

use crate::support::{App, FAULTS};

#[get("/moves")]
fn moves(session: &Session) -> Result<Redirect> {
    session.increment("moves", 1)?;
    Ok(Redirect::to("/bare"))
}

/// Is busy, independent of the store.
#[get("/busy")]
fn busy() -> rocket::http::Status {
    rocket::http::Status::ServiceUnavailable
}

#[get("/saves")]
async fn saves(session: &Session) -> Result<&'static str> {
    session.increment("saves", 1)?;
    session.save().await?;
    Ok("saved")
}

/// Abandons its save, like a handler with a time limit.
#[get("/gives_up?<user>")]
fn gives_up(user: Option<&str>, session: &Session) -> Result<String> {
    session.increment("tries", 1)?;
    if let Some(user) = user {
        session.log_in(user);
    }
    let saved = session.save().now_or_never();
    Ok(saved.is_none().to_string())
}

#[catch(503)]
fn down() -> &'static str {
    "the application's own page"
}

fn quick(figment: Figment) -> Figment {
    figment.merge(("sessions.store_timeout", 100))
}

async fn app() -> App {
    App::built(quick, |rocket| {
        rocket.mount("/", routes![moves, saves, gives_up])
    })
    .await
}

#[async_test]
async fn a_visitor_with_a_session_is_asked_to_retry() {
    for (how, fault) in FAULTS {
        let app = app().await;
        let visitor = app.known_visitor().await;
        fault(&app.probe, Act::Load);
        for path in ["/touch", "/set/a/1", "/logout", "/login/alice"] {
            let response = visitor.get(path).await;
            assert_eq!(response.status.code, 503, "{path} {how}");
            assert_eq!(response.header("Retry-After"), Some("5"), "{path} {how}");
            assert!(response.session_cookie().is_none(), "{path} {how}");
        }
        app.probe.heal();
        assert_eq!(visitor.get("/keys").await.body, "n", "{how}");
    }
}

#[async_test]
async fn visitors_without_a_session_are_served_as_usual() {
    for (how, fault) in FAULTS {
        let app = app().await;
        let visitor = app.known_visitor().await;
        for act in [Act::Load, Act::Save, Act::Delete] {
            fault(&app.probe, act);
        }
        assert_eq!(visitor.get("/bare").await.status.code, 200, "{how}");
        assert_eq!(visitor.get("/nowhere").await.status.code, 404, "{how}");
        let stranger = app.visitor();
        for path in ["/touch", "/keys", "/who", "/logout", "/remove/a"] {
            assert_eq!(stranger.get(path).await.status.code, 200, "{path} {how}");
        }
    }
}

#[async_test]
async fn a_response_with_unsaved_changes_is_not_sent() {
    for (how, fault) in FAULTS {
        let app = app().await;
        let visitor = app.known_visitor().await;
        fault(&app.probe, Act::Save);
        for path in ["/set/a/1", "/moves", "/login/alice", "/renew", "/remove/n"] {
            let response = visitor.get(path).await;
            assert_eq!(response.status.code, 503, "{path} {how}");
            assert_eq!(response.header("Retry-After"), Some("5"), "{path} {how}");
            assert_eq!(response.header("Location"), None, "{path} {how}");
            assert_eq!(
                response.header("Cache-Control"),
                Some("no-store"),
                "{path} {how}"
            );
            assert_eq!(response.header("Vary"), Some("Cookie"), "{path} {how}");
            assert_eq!(
                response.header("X-Content-Type-Options"),
                Some("nosniff"),
                "{path} {how}"
            );
            assert!(response.session_cookie().is_none(), "{path} {how}");
            assert!(response.body.starts_with("503"), "{path} {how}");
        }
        let stranger = app.visitor();
        let response = stranger.get("/set/a/1").await;
        assert_eq!(response.status.code, 503, "{how}");
        assert!(!stranger.has_session(), "{how}");
        app.probe.heal();
        assert_eq!(visitor.get("/keys").await.body, "n", "{how}");
        assert_eq!(app.list().await.len(), 1, "{how}");
    }
}

#[async_test]
async fn a_hanging_store_delays_no_request_beyond_its_timeout() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    for act in [Act::Load, Act::Save] {
        app.probe.hang(act);
        let started = Instant::now();
        visitor.get("/set/a/1").await;
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "it took {:?}",
            started.elapsed()
        );
        app.probe.heal();
    }
}

#[async_test]
async fn conflicting_requests_do_not_queue_up_for_a_hanging_store() {
    // All have loaded the session and met another request's save, and then the store hangs.
    let app = app().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("all");
    let requests = (0..30).map(|_| visitor.get("/add/count/1?gate=all"));
    let meddling = async {
        for _ in 0..30 {
            gate.arrived().await;
        }
        visitor.copy().get("/add/count/1").await;
        app.probe.hang(Act::Load);
        gate.open_for_all();
    };
    let (responses, ()) =
        rocket::futures::future::join(rocket::futures::future::join_all(requests), meddling).await;
    assert!(responses.iter().all(|response| response.status.code == 503));
    // 30 requests arrived with their sessions loaded, and one was the conflicting request.
    let loads = app.probe.calls().load - 31;
    assert!(
        loads <= 2,
        "{loads} requests called the hanging store, one after the other"
    );
    app.probe.heal();
    assert_eq!(visitor.get("/get/count").await.body, "1");
}

#[async_test]
async fn a_failed_touch_does_not_fail_the_read() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    app.clock.advance(Duration::from_secs(120));
    app.probe.fail(Act::Save);
    assert_eq!(visitor.get("/touch").await.status.code, 200);
    app.probe.heal();
    visitor.get("/touch").await;
    assert_eq!(visitor.get("/age").await.body, "120 0");
}

#[async_test]
async fn a_save_with_a_lost_response_is_reported_and_tears_nothing() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    app.probe.fail_afterwards(Act::Save);
    assert_eq!(visitor.get("/add/count/1").await.status.code, 503);
    app.probe.heal();
    assert_eq!(visitor.get("/get/count").await.body, "1");
    assert_eq!(visitor.get("/add/count/1").await.body, "2");
}

#[async_test]
async fn no_session_is_overwritten_when_the_store_returns() {
    let app =
        App::configured(|f| quick(f).merge(("sessions.when_store_is_down", "anonymous"))).await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    app.probe.fail(Act::Load);
    for path in ["/set/a/1", "/clear", "/add/n/1", "/login/bob", "/renew"] {
        let response = visitor.get(path).await;
        assert_eq!(response.status.code, 200, "{path}");
        assert!(response.session_cookie().is_none(), "{path}");
    }
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(visitor.get("/existing").await.status.code, 404);
    app.probe.heal();
    assert_eq!(visitor.get("/who").await.body, "alice");
    assert_eq!(visitor.get("/keys").await.body, "n");
    assert_eq!(app.list().await.len(), 1);
}

#[async_test]
async fn a_failed_log_out_is_an_error_even_for_anonymous_service() {
    let app =
        App::configured(|f| quick(f).merge(("sessions.when_store_is_down", "anonymous"))).await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Load);
    assert_eq!(visitor.get("/logout").await.status.code, 503);
    assert!(visitor.has_session());
    app.probe.heal();
    assert_eq!(visitor.get("/keys").await.body, "n");

    // If the store works again in between, the log-out succeeds.
    let gate = app.gate("slow");
    app.probe.fail(Act::Load);
    let logout = visitor.get("/logout?gate=slow");
    let returns = async {
        gate.arrived().await;
        app.probe.heal();
        gate.open();
    };
    let (response, ()) = rocket::futures::future::join(logout, returns).await;
    assert!(response.removes_session(), "{response:?}");
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn a_handler_that_saves_itself_gets_the_error() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Save);
    let response = visitor.get("/saves").await;
    assert_eq!(response.status.code, 503);
    assert_eq!(response.header("Retry-After"), Some("5"));
    app.probe.heal();
    assert_eq!(visitor.get("/saves").await.body, "saved");
    assert_eq!(visitor.get("/get/saves").await.body, "1");
}

#[async_test]
async fn unawaited_saves_of_a_handler_finish_before_the_response() {
    let app = app().await;
    for (visitor, before) in [(app.visitor(), ""), (app.known_visitor().await, "n,")] {
        for path in ["/gives_up", "/gives_up?user=alice"] {
            let cookie = visitor.cookie("id");
            let gate = app.probe.gate(Act::Save);
            let opens = async {
                gate.arrived().await;
                gate.open_for_all();
            };
            let (response, ()) = rocket::futures::future::join(visitor.get(path), opens).await;
            assert_eq!(response.body, "true", "it was not saved at once");
            if path.ends_with("alice") {
                assert_ne!(visitor.cookie("id"), cookie, "a log-in renews");
            }
        }
        assert_eq!(visitor.get("/keys").await.body, format!("{before}tries"));
        assert_eq!(visitor.get("/get/tries").await.body, "2");
        assert_eq!(visitor.get("/who").await.body, "alice");
    }
}

#[async_test]
async fn the_catcher_of_the_application_shows_load_failures() {
    let app = App::built(quick, |rocket| rocket.register("/", catchers![down])).await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Load);
    let response = visitor.get("/touch").await;
    assert_eq!(
        (response.status.code, &*response.body),
        (503, "the application's own page")
    );
    assert_eq!(response.header("Retry-After"), Some("5"));
}

/// The error pages of an API.
mod api {
    use rocket::http::{ContentType, CookieJar, Header, Status};
    use rocket::response::Responder;
    use rocket::response::content::RawJson;
    use rocket::{Catcher, Request, Response, catch, catchers, get, post};
    use rocket_session_kit::{Result, Session};

    /// A response without the parts that differ from one response to the next.
    pub(super) struct Saved;

    impl<'r> Responder<'r, 'static> for Saved {
        fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
            Response::build()
                .status(Status::Created)
                .header(ContentType::XML)
                .raw_header("Location", "/order/1")
                .raw_header("ETag", "\"1\"")
                .raw_header("Content-Language", "tlh")
                .raw_header("Content-Security-Policy", "default-src 'none'")
                .raw_header("Access-Control-Allow-Origin", "https://app.example.com")
                .raw_header("Vary", "Origin")
                .sized_body(None, std::io::Cursor::new("<saved/>"))
                .ok()
        }
    }

    #[post("/api/order")]
    pub(super) fn order(session: &Session, jar: &CookieJar<'_>) -> Result<Saved> {
        jar.add(("coupon", "s3cr3t"));
        session.increment("orders", 1)?;
        Ok(Saved)
    }

    #[get("/api/v2/order")]
    pub(super) fn order_2(session: &Session) -> Result<Saved> {
        session.increment("orders", 1)?;
        Ok(Saved)
    }

    #[derive(Responder)]
    pub(super) struct Page(RawJson<String>, Header<'static>);

    #[catch(503)]
    pub(super) fn busy(request: &Request<'_>) -> Page {
        let page = format!(r#"{{"busy":"{}"}}"#, request.uri().path());
        Page(RawJson(page), Header::new("Vary", "Accept-Language"))
    }

    #[catch(default)]
    pub(super) fn all(status: Status, _: &Request<'_>) -> RawJson<String> {
        RawJson(format!(r#"{{"error":{}}}"#, status.code))
    }

    #[catch(default)]
    pub(super) fn version_2(status: Status, _: &Request<'_>) -> RawJson<String> {
        RawJson(format!(r#"{{"version":2,"error":{}}}"#, status.code))
    }

    #[catch(503)]
    pub(super) fn panics() -> &'static str {
        panic!("an error page that is no help")
    }

    #[catch(503)]
    pub(super) async fn panics_later() -> &'static str {
        rocket::tokio::task::yield_now().await;
        panic!("an error page that is no help")
    }

    #[catch(503)]
    pub(super) fn fails() -> std::result::Result<&'static str, Status> {
        Err(Status::ImATeapot)
    }

    #[catch(503)]
    pub(super) fn changes(request: &Request<'_>) -> (Status, String) {
        request.cookies().add(("staged", "too late"));
        (Status::Ok, "everything works".into())
    }

    pub(super) fn broken() -> [Vec<Catcher>; 3] {
        [catchers![panics], catchers![panics_later], catchers![fails]]
    }
}

#[async_test]
async fn the_catcher_of_the_application_replaces_an_unsaved_response() {
    let app = App::built(quick, |rocket| {
        rocket
            .mount("/", routes![api::order, api::order_2])
            .register("/", catchers![api::busy])
            .register("/api", catchers![api::all])
            .register("/api/v2", catchers![api::version_2])
    })
    .await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Save);
    for (method, path, body) in [
        // The catcher with the longest base responds, as in Rocket.
        (Method::Post, "/api/order", r#"{"error":503}"#),
        (Method::Get, "/api/v2/order", r#"{"version":2,"error":503}"#),
        (Method::Get, "/set/a/1", r#"{"busy":"/set/a/1"}"#),
    ] {
        let response = visitor.send(method, path, None).await;
        assert_eq!(
            (response.status.code, &*response.body),
            (503, body),
            "{path}"
        );
        let header = |name| response.header(name);
        assert_eq!(header("Content-Type"), Some("application/json"), "{path}");
        assert_eq!(header("Retry-After"), Some("5"), "{path}");
        assert_eq!(header("Cache-Control"), Some("no-store"), "{path}");
        assert_eq!(header("X-Content-Type-Options"), Some("nosniff"), "{path}");
        for about_the_response in ["Set-Cookie", "Location", "ETag", "Content-Language"] {
            assert_eq!(header(about_the_response), None, "{path}");
        }
        if path.starts_with("/api") {
            let allowed = header("Access-Control-Allow-Origin");
            assert_eq!(allowed, Some("https://app.example.com"), "{path}");
            let policy = header("Content-Security-Policy");
            assert_eq!(policy, Some("default-src 'none'"), "{path}");
            assert_eq!(header("Vary"), Some("Origin, Cookie"), "{path}");
        } else {
            assert_eq!(header("Vary"), Some("Accept-Language, Cookie"), "{path}");
        }
    }
}

#[async_test]
async fn a_failing_error_page_breaks_nothing_else() {
    for broken in api::broken() {
        let name = format!("{broken:?}");
        let app = App::built(quick, |rocket| {
            rocket.mount("/", routes![moves]).register("/", broken)
        })
        .await;
        let visitor = app.known_visitor().await;
        app.probe.fail(Act::Save);
        let response = visitor.get("/moves").await;
        assert_eq!(response.status.code, 503, "{name}");
        assert!(response.body.starts_with("503: Your changes"), "{name}");
        assert_eq!(response.header("Retry-After"), Some("5"), "{name}");
        assert_eq!(response.header("Location"), None, "{name}");
    }
}

#[async_test]
async fn no_error_page_turns_an_error_into_a_success() {
    let app = App::built(quick, |rocket| {
        rocket.register("/", catchers![api::changes])
    })
    .await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Save);
    let response = visitor.get("/set/a/1").await;
    assert_eq!(
        (response.status.code, &*response.body),
        (503, "everything works")
    );
    assert_eq!(response.header("Set-Cookie"), None);
}

#[async_test]
async fn a_full_memory_store_refuses_new_sessions_and_keeps_existing_ones() {
    let app = rocket::custom(crate::support::figment())
        .mount("/", routes![moves])
        .attach(rocket_session_kit::Sessions::with(
            MemoryStore::new().capacity(2),
        ));
    let client = rocket::local::asynchronous::Client::untracked(app)
        .await
        .unwrap();
    let visitors: Vec<_> = (0..3)
        .map(|_| crate::support::Visitor::new(&client))
        .collect();
    assert_eq!(visitors[0].get("/moves").await.status.code, 303);
    assert_eq!(visitors[1].get("/moves").await.status.code, 303);
    assert_eq!(visitors[2].get("/moves").await.status.code, 503);
    assert_eq!(visitors[0].get("/moves").await.status.code, 303);
}

#[async_test]
async fn a_full_memory_store_evicts_only_expired_sessions() {
    const BYTES: &[u8] = br#"{"rev":"9f86d081884c7d65","expires":1763745460,"v":1}"#;
    let clock = Clock::manual();
    let store = MemoryStore::new().capacity(2).clock(clock.clone());
    let [short, long] = [10, 60].map(Duration::from_secs);
    let namespace = Namespace::new("test").expect("this is a name");
    let keep = async |name: &str, ttl| store.set(&namespace.key(name), b"1", Some(ttl)).await;
    let begin = async |ttl| {
        let (bytes, precondition) = (BYTES, Precondition::Absent);
        let save = Save {
            bytes,
            ttl,
            precondition,
        };
        store.save_session(&SessionId::random(), save).await
    };
    // Sessions and entries have separate capacities.
    for ttl in [short, long] {
        begin(ttl).await.expect("there is room");
        keep(&format!("{ttl:?}"), ttl).await.expect("there is room");
    }
    begin(long).await.expect_err("there is none");
    keep("third", long).await.expect_err("there is none");
    keep("10s", short).await.expect("it is there already");
    clock.advance(short);
    begin(long).await.expect("one has expired");
    keep("third", long).await.expect("one has expired");
    begin(long).await.expect_err("there is no more room");
    keep("fourth", long)
        .await
        .expect_err("there is no more room");
    let there = store.get(&namespace.key("60s")).await.expect("it works");
    assert!(there.is_some(), "a live session is not evicted");
}

#[async_test]
async fn a_503_of_the_application_gets_no_retry_after() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![busy])).await;
    for visitor in [app.visitor(), app.known_visitor().await] {
        let response = visitor.get("/busy").await;
        assert_eq!(response.status.code, 503);
        assert_eq!(response.header("Retry-After"), None);
    }
}
