//! The rate limit: exactly this many requests of one visitor in any window, on any number of processes.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::futures::future::join_all;
use rocket::futures::{StreamExt, TryStreamExt};
use rocket::http::{Header, Method, Status};
use rocket::local::asynchronous::Client;
use rocket::request::Outcome;
use rocket::response::Redirect;
use rocket::{Build, Request, Rocket, State, async_test, catch, catchers, get, post, routes};
use rocket_session_kit::store::{KeyValue, Namespace};
use rocket_session_kit::testing::{Act, Probe};
use rocket_session_kit::{
    By, Clock, DirectoryStore, Error, Limit, MemoryStore, RateLimit, Session, Sessions,
};

use crate::support::process::Server;
use crate::support::proxy::Proxy;
use crate::support::served::Served;
use crate::support::{
    App, Backend, FAULTS, Visitor, figment, on_every_shared_store, on_every_store,
};

/// The number of calls of a handler.
#[derive(Default)]
struct Ran(AtomicUsize);

#[get("/api/work?<quick>")]
fn work(quick: Option<bool>, ran: &State<Ran>) -> &'static str {
    let _ = quick;
    ran.0.fetch_add(1, Ordering::SeqCst);
    "done"
}

struct LogIns;

impl Limit for LogIns {
    const NAME: &'static str = "log-ins";
    const LIMIT: u32 = 2;
    const WINDOW: u64 = 300;
    const BY: By = By::Address;
}

#[get("/limited", rank = 1)]
fn never(_one: RateLimit<LogIns>, _other: RateLimit<LogIns>, _none: Never) {}

#[get("/limited", rank = 2)]
fn limited(_again: Option<RateLimit<LogIns>>, limit: RateLimit<LogIns>) -> String {
    format!("{} {:?}", limit.remaining(), limit.resets_in())
}

/// Also serves visitors beyond the limit, who get less.
#[get("/less")]
fn less(limit: Option<RateLimit<LogIns>>, session: &Session) -> Result<String, Error> {
    session.increment("less", 1)?;
    Ok(limit.map_or("less".into(), |limit| limit.remaining().to_string()))
}

struct Rare;

impl Limit for Rare {
    const NAME: &'static str = "rare";
    const LIMIT: u32 = 1;
    const WINDOW: u64 = 3600;
    const BY: By = By::Address;
}

#[get("/both")]
fn both(_one: RateLimit<LogIns>, _other: RateLimit<Rare>) -> &'static str {
    "served"
}

#[get("/either")]
fn either(one: Option<RateLimit<LogIns>>, other: Option<RateLimit<Rare>>) -> Status {
    match (one, other) {
        (Some(_), Some(_)) => Status::Ok,
        _ => Status::TooManyRequests,
    }
}

#[get("/panics")]
fn panics() {
    panic!("a test makes the handler panic")
}

#[get("/one/<_name>")]
fn one(_name: &str, _limit: RateLimit<LogIns>) -> &'static str {
    "served"
}

#[post("/post")]
fn sent() -> &'static str {
    "served"
}

/// Changes the session, and then checks the limit.
#[get("/late")]
fn late(_session: Changed, _limit: RateLimit<LogIns>) -> &'static str {
    "served"
}

struct Changed;

#[rocket::async_trait]
impl<'r> rocket::request::FromRequest<'r> for Changed {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> rocket::request::Outcome<Self, ()> {
        let session = request.guard::<&Session>().await.unwrap();
        session.insert("changed", true).unwrap();
        rocket::request::Outcome::Success(Self)
    }
}

/// A guard that forwards every request.
struct Never;

#[rocket::async_trait]
impl<'r> rocket::request::FromRequest<'r> for Never {
    type Error = ();

    async fn from_request(_: &'r Request<'_>) -> rocket::request::Outcome<Self, ()> {
        rocket::request::Outcome::Forward(Status::NotFound)
    }
}

/// The application's 429 page, which uses a session itself.
#[catch(429)]
async fn too_many(request: &Request<'_>) -> String {
    if let Some(session) = request.guard::<&Session>().await.succeeded() {
        session.insert("refused", true).unwrap();
    }
    format!("{} {} too often", request.method(), request.uri())
}

/// Redirects refused requests.
#[catch(429)]
async fn come_later(request: &Request<'_>) -> Redirect {
    too_many(request).await;
    Redirect::to("/later")
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket
        .manage(Ran::default())
        .mount(
            "/",
            routes![
                work, never, limited, less, both, either, panics, one, sent, late
            ],
        )
        .register("/api", catchers![too_many])
        .register("/shop", catchers![come_later])
}

/// Three requests in a minute, and `more`.
fn three(more: &str) -> impl FnOnce(Figment) -> Figment {
    let toml = format!("sessions={{rate_limit={{limit=3,window=60{more}}}}}");
    move |figment| figment.merge(Toml::string(&toml))
}

async fn app(more: &str) -> App {
    App::built(three(more), build).await
}

/// An application whose proxies report addresses in `header`.
async fn proxied_app(header: &str) -> App {
    let settings = |figment| {
        three("")(figment)
            .merge(("sessions.proxies", ["10.0.0.0/8", "fd00::1"]))
            .merge(("sessions.ip_header", header))
    };
    App::built(settings, build).await
}

/// An application with a short `store_timeout`.
async fn impatient_app(more: &str) -> App {
    let settings = |figment| three(more)(figment).merge(("sessions.store_timeout", 200));
    App::built(settings, build).await
}

impl App {
    fn ran(&self) -> usize {
        let ran: &Ran = self.client.rocket().state().unwrap();
        ran.0.load(Ordering::SeqCst)
    }
}

/// The statuses of `count` requests, one after the other.
async fn statuses(visitor: &Visitor<'_>, path: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(visitor.get(path).await.status.code);
    }
    statuses
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[async_test]
async fn a_request_beyond_the_limit_never_reaches_its_handler() {
    let app = app("").await;
    let visitor = app.visitor();
    assert_eq!(
        statuses(&visitor, "/api/work", 5).await,
        [200, 200, 200, 429, 429]
    );
    assert_eq!(app.ran(), 3);
    // The catcher for the path makes the page, and sees the original request.
    let response = visitor.get("/api/work?quick=yes").await;
    assert_eq!(response.body, "GET /api/work?quick=yes too often");
    // Any path, with any method.
    for method in [
        Method::Get,
        Method::Head,
        Method::Options,
        Method::Put,
        Method::Delete,
    ] {
        for path in ["/", "/nowhere", "//api//work", "/post", "/a/b?c"] {
            let response = visitor.send(method, path, None).await;
            assert_eq!(response.status.code, 429, "{method} {path}");
        }
    }
    assert_eq!(app.ran(), 3);
}

#[async_test]
async fn a_request_within_the_limit_is_served_unchanged() {
    let app = app(",by=\"session\"").await;
    let plain = App::built(|figment| figment, build).await;
    for (method, path) in [
        (Method::Get, "/api/work"),
        (Method::Head, "/api/work"),
        (Method::Post, "/post"),
        (Method::Get, "/post"),
        (Method::Get, "/nowhere"),
        (Method::Options, "/api/work"),
        (Method::Get, "/limited"),
        (Method::Get, "/"),
    ] {
        app.clock.advance(seconds(60));
        let limited = app.visitor().send(method, path, None).await;
        let free = plain.visitor().send(method, path, None).await;
        assert_eq!(limited.status, free.status, "{method} {path}");
        assert_eq!(limited.body, free.body, "{method} {path}");
        assert!(
            limited.header("X-RateLimit-Limit").is_some(),
            "{method} {path}"
        );
        assert_eq!(
            free.header("X-RateLimit-Limit").is_some(),
            path == "/limited",
            "{path}"
        );
    }
}

#[async_test]
async fn every_counted_response_reports_the_remaining_requests() {
    let app = app("").await;
    let visitor = app.visitor();
    let told = |response: &crate::support::Response| {
        let names = [
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
            "RateLimit-Policy",
            "RateLimit",
            "Retry-After",
        ];
        names
            .map(|name| response.header(name).unwrap_or("-").to_owned())
            .join(" ")
    };
    let first = visitor.get("/api/work").await;
    assert_eq!(told(&first), r#"3 2 60 "app";q=3;w=60 "app";r=2;t=60 -"#);
    app.clock.advance(Duration::from_millis(10_500));
    let second = visitor.get("/nowhere").await;
    assert_eq!(told(&second), r#"3 1 50 "app";q=3;w=60 "app";r=1;t=50 -"#);
    visitor.get("/api/work").await;
    let refused = visitor.get("/api/work").await;
    assert_eq!(told(&refused), r#"3 0 50 "app";q=3;w=60 "app";r=0;t=50 50"#);
    assert_eq!(refused.header("Cache-Control"), Some("no-store"));
    // The promise holds: served at that time, and not before.
    app.clock.advance(Duration::from_millis(49_499));
    assert_eq!(visitor.get("/api/work").await.status.code, 429);
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(visitor.get("/api/work").await.status.code, 200);
}

#[async_test]
async fn error_responses_report_the_remaining_requests_too() {
    let app = app("").await;
    let visitor = app.visitor();
    for (path, status, left) in [("/panics", 500, "2"), ("/nowhere", 404, "1")] {
        let response = visitor.get(path).await;
        assert_eq!(response.status.code, status);
        assert_eq!(response.header("X-RateLimit-Remaining"), Some(left));
    }
}

#[async_test]
async fn a_clock_set_back_locks_no_client_out() {
    let app = app("").await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/set/n/1").await.status, Status::Ok);
    app.clock.advance(seconds(3600));
    assert_eq!(
        statuses(&visitor, "/api/work", 4).await,
        [200, 200, 200, 429]
    );
    // Before the session began, so the address counts.
    app.clock.set_back(seconds(5 * 3600));
    assert_eq!(
        statuses(&visitor, "/api/work", 4).await,
        [200, 200, 200, 429]
    );
    app.clock.advance(seconds(60));
    assert_eq!(visitor.get("/api/work").await.status, Status::Ok);
}

#[async_test]
async fn the_configured_headers_are_sent() {
    for (headers, x, ietf) in [
        ("both", true, true),
        ("x", true, false),
        ("ietf", false, true),
        ("none", false, false),
    ] {
        let app = app(&format!(",headers=\"{headers}\"")).await;
        let visitor = app.visitor();
        for status in [200, 200, 200, 429] {
            let response = visitor.get("/api/work").await;
            assert_eq!(response.status.code, status);
            for name in [
                "X-RateLimit-Limit",
                "X-RateLimit-Remaining",
                "X-RateLimit-Reset",
            ] {
                assert_eq!(response.header(name).is_some(), x, "{headers}: {name}");
            }
            for name in ["RateLimit", "RateLimit-Policy"] {
                assert_eq!(response.header(name).is_some(), ietf, "{headers}: {name}");
            }
            assert_eq!(
                response.header("Retry-After").is_some(),
                status == 429,
                "{headers}"
            );
        }
    }
}

#[async_test]
async fn a_window_slides_and_refused_requests_do_not_count() {
    let app = app("").await;
    let visitor = app.visitor();
    app.clock.advance(seconds(59));
    assert_eq!(statuses(&visitor, "/api/work", 3).await, [200; 3]);
    // A second later another minute of the clock begins, and many requests are refused.
    app.clock.advance(seconds(2));
    assert_eq!(statuses(&visitor, "/api/work", 10).await, [429; 10]);
    app.clock.advance(seconds(58));
    assert_eq!(
        statuses(&visitor, "/api/work", 4).await,
        [200, 200, 200, 429]
    );
}

#[async_test]
async fn dropping_the_cookie_gains_no_requests() {
    let app = app("").await;
    let mut served = 0;
    // A new session for each visit, whose cookie is used until it is refused.
    for _ in 0..10 {
        let visitor = app.visitor();
        served += usize::from(visitor.get("/set/n/1").await.status == Status::Ok);
        app.clock.advance(seconds(5));
        for _ in 0..5 {
            served += usize::from(visitor.get("/api/work").await.status == Status::Ok);
        }
    }
    assert_eq!(served, 3);
}

#[async_test]
async fn an_established_session_has_its_own_count_under_every_id() {
    let app = app("").await;
    let visitor = app.visitor();
    let neighbour = app.visitor();
    assert_eq!(visitor.get("/set/n/1").await.status, Status::Ok);
    assert_eq!(neighbour.get("/set/n/1").await.status, Status::Ok);
    app.clock.advance(seconds(61));
    // Other visitors at the same address do not matter.
    assert_eq!(
        statuses(&app.visitor(), "/api/work", 4).await,
        [200, 200, 200, 429]
    );
    // A log-in and a renewal keep the count, and another address does not help.
    assert_eq!(visitor.get("/login/alice").await.status, Status::Ok);
    assert_eq!(visitor.get("/renew").await.status, Status::Ok);
    assert_eq!(
        visitor
            .copy_at("198.51.100.9")
            .get("/api/work")
            .await
            .status,
        Status::Ok
    );
    for path in ["/api/work", "/login/bob", "/renew", "/get/n"] {
        assert_eq!(visitor.get(path).await.status.code, 429, "{path}");
    }
    assert_eq!(
        statuses(&neighbour, "/api/work", 4).await,
        [200, 200, 200, 429]
    );
    // Without the cookie, the visitor now counts by the address, which is used up.
    assert_eq!(app.visitor().get("/api/work").await.status.code, 429);
}

#[async_test]
async fn a_limit_by_address_ignores_and_never_loads_the_session() {
    let app = app(",by=\"address\"").await;
    let visitor = app.known_visitor().await;
    app.clock.advance(seconds(61));
    assert_eq!(statuses(&app.visitor(), "/api/work", 2).await, [200; 2]);
    app.probe.calls();
    assert_eq!(visitor.get("/api/work").await.status.code, 200);
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
    assert_eq!(visitor.get("/api/work").await.status.code, 429);
}

#[async_test]
async fn a_response_that_depends_on_the_session_varies_by_cookie() {
    let app = app("").await;
    assert_eq!(
        app.visitor().get("/api/work").await.header("Vary"),
        Some("Cookie")
    );
    let app = self::app(",by=\"address\"").await;
    assert_eq!(app.visitor().get("/api/work").await.header("Vary"), None);
}

#[async_test]
async fn a_refused_request_makes_no_session_and_changes_none() {
    let app = app("").await;
    let visitor = app.visitor();
    statuses(&visitor, "/api/work", 3).await;
    // The catcher inserts a value.
    let response = visitor.get("/api/work").await;
    assert_eq!(response.status.code, 429);
    assert!(response.session_cookie().is_none());
    assert!(app.list().await.is_empty());
    // So does a guard before the one that refuses.
    let app = App::built(|figment| figment, build).await;
    let visitor = app.visitor();
    assert_eq!(statuses(&app.visitor(), "/one/a", 2).await, [200; 2]);
    assert_eq!(visitor.get("/late").await.status.code, 429);
    assert!(!visitor.has_session() && app.list().await.is_empty());
}

#[async_test]
async fn a_refused_request_makes_no_session_in_its_catcher() {
    let app = app("").await;
    let visitor = app.visitor();
    statuses(&visitor, "/api/work", 3).await;
    let response = visitor.get("/shop/x").await;
    assert_eq!(response.status, Status::SeeOther);
    assert!(response.session_cookie().is_none());
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn a_handler_that_ignores_a_limit_keeps_its_changes() {
    let app = App::built(|figment| figment, build).await;
    let visitor = app.visitor();
    for body in ["1", "0", "less", "less"] {
        let response = visitor.get("/less").await;
        assert_eq!((response.status.code, response.body.as_str()), (200, body));
        assert_eq!(response.header("Retry-After"), None);
    }
    assert_eq!(visitor.get("/get/less").await.body, "4");
}

#[async_test]
async fn a_request_after_its_retry_after_is_served() {
    // The limit that is the last to have room decides.
    for path in ["/both", "/either"] {
        let app = App::built(|figment| figment, build).await;
        let visitor = app.visitor();
        assert_eq!(visitor.get(path).await.status.code, 200);
        assert_eq!(statuses(&visitor, "/one/x", 2).await, [200, 429]);
        for _ in 0..2 {
            let response = visitor.get(path).await;
            assert_eq!(response.status.code, 429);
            if path == "/either" {
                assert_eq!(response.header("Retry-After"), Some("3600"));
            }
        }
        // The limit that refuses first hides the other.
        let mut refused = 0;
        while let Some(after) = visitor.get(path).await.header("Retry-After") {
            refused += 1;
            assert!(refused < 9, "the reported time is wrong");
            app.clock.advance(seconds(after.parse().unwrap()));
        }
        assert_eq!(refused, if path == "/both" { 2 } else { 1 });
    }
}

#[async_test]
async fn a_limit_of_a_route_counts_each_of_its_requests_once() {
    let app = App::built(|figment| figment, build).await;
    let visitor = app.visitor();
    // Two routes and five guards check it.
    let response = visitor.get("/limited").await;
    assert_eq!(response.body, "1 300s");
    assert_eq!(response.header("RateLimit"), Some(r#""log-ins";r=1;t=300"#));
    assert_eq!(response.header("X-RateLimit-Remaining"), Some("1"));
    // A HEAD request is tried twice.
    let response = visitor.send(Method::Head, "/limited", None).await;
    assert_eq!(response.header("X-RateLimit-Remaining"), Some("0"));
    assert_eq!(visitor.get("/limited").await.status.code, 429);
    // Under every spelling of the path, and on every route of this limit, but of no other.
    for path in [
        "/limited/",
        "//limited",
        "/%6cimited",
        "/limited?x",
        "/one/%2e",
    ] {
        assert_ne!(visitor.get(path).await.status, Status::Ok, "{path}");
    }
    assert_eq!(visitor.get("/one/x").await.status.code, 429);
    assert_eq!(visitor.get("/api/work").await.status.code, 200);
    assert_eq!(visitor.get("/api/work").await.header("RateLimit"), None);
}

#[async_test]
async fn two_limits_are_reported_together_with_the_tighter_one_first() {
    let app = app("").await;
    let visitor = app.visitor();
    let response = visitor.get("/limited").await;
    let policies = response.header("RateLimit-Policy");
    assert_eq!(policies, Some(r#""app";q=3;w=60, "log-ins";q=2;w=300"#));
    assert_eq!(
        response.header("RateLimit"),
        Some(r#""app";r=2;t=60, "log-ins";r=1;t=300"#)
    );
    assert_eq!(response.header("X-RateLimit-Limit"), Some("2"));
    visitor.get("/limited").await;
    let response = visitor.get("/limited").await;
    assert_eq!(
        (response.status.code, response.header("Retry-After")),
        (429, Some("300"))
    );
    assert_eq!(
        response.header("RateLimit"),
        Some(r#""app";r=0;t=60, "log-ins";r=0;t=300"#)
    );
}

#[async_test]
async fn a_clone_of_a_local_request_counts_anew() {
    let app = app("").await;
    let request = app
        .client
        .get("/api/work")
        .remote(([127, 0, 0, 1], 4711).into());
    for status in [200, 200, 200, 429] {
        assert_eq!(request.clone().dispatch().await.status().code, status);
    }
}

/// The status of a request from `peer`, with these `header` lines.
async fn status_from(client: &Client, peer: &str, header: &str, lines: &[&str]) -> u16 {
    let peer: IpAddr = peer.parse().unwrap();
    let mut request = client.get("/api/work").remote((peer, 4711).into());
    for line in lines {
        request.add_header(Header::new(header.to_owned(), (*line).to_owned()));
    }
    request.dispatch().await.status().code
}

#[async_test]
async fn an_address_has_one_count_in_every_spelling() {
    for (same, others) in [
        (
            ["203.0.113.7", "::ffff:203.0.113.7", "::ffff:cb00:7107"],
            ["203.0.113.8", "::ffff:203.0.113.9"],
        ),
        (
            [
                "2001:db8:1:2::1",
                "2001:db8:1:2:ffff::",
                "2001:db8:1:2:3:4:5:6",
            ],
            ["2001:db8:1:3::1", "2001:db8::1"],
        ),
        // As NAT64 writes it.
        (
            ["203.0.113.7", "64:ff9b::203.0.113.7", "64:ff9b::cb00:7107"],
            ["64:ff9b::203.0.113.8", "64:ff9b:0:0:1::203.0.113.7"],
        ),
        // As 6to4 writes it, which has 65 536 networks for it.
        (
            ["203.0.113.7", "2002:cb00:7107::1", "2002:cb00:7107:ffff::1"],
            ["2002:cb00:7108::1", "2003:cb00:7107::1"],
        ),
        // As Teredo writes it, with the server's address in front, and the port.
        (
            [
                "203.0.113.7",
                "2001:0:c000:201:0:63bf:34ff:8ef8",
                "2001:0:c000:202:8000:ffff:34ff:8ef8",
            ],
            [
                "2001:0:c000:201:0:63bf:34ff:8ef7",
                "2001:1:c000:201:0:63bf:34ff:8ef8",
            ],
        ),
    ] {
        let app = app("").await;
        for address in same {
            assert_eq!(
                status_from(&app.client, address, "X", &[]).await,
                200,
                "{address}"
            );
        }
        for address in same {
            assert_eq!(
                status_from(&app.client, address, "X", &[]).await,
                429,
                "{address}"
            );
        }
        for address in others {
            assert_eq!(
                status_from(&app.client, address, "X", &[]).await,
                200,
                "{address}"
            );
        }
    }
    // 256 addresses of one network share one allowance.
    let app = app("").await;
    let mut served = 0;
    for n in 0..256 {
        served += usize::from(
            status_from(&app.client, &format!("2001:db8::{n:x}"), "X", &[]).await == 200,
        );
    }
    assert_eq!(served, 3);
}

/// Sends this request on a real socket, and returns the whole response.
fn raw(served: &Served, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    let close = "Host: localhost\r\nConnection: close";
    write!(stream, "{request} HTTP/1.1\r\n{close}\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Counts the requests to which Rocket itself responds.
#[catch(400)]
async fn bad_request(request: &Request<'_>) -> (Status, &'static str) {
    match request.guard::<RateLimit<LogIns>>().await {
        Outcome::Error((status, _)) => (status, "too often"),
        _ => (Status::BadRequest, "not understood"),
    }
}

#[test]
fn a_catcher_can_count_the_responses_of_rocket() {
    let counted = |rocket| build(rocket).register("/", catchers![bad_request]);
    let served = Served::built(three(""), counted);
    for status in ["400", "400", "429", "429"] {
        let response = raw(&served, "PROPFIND /api/work");
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
    }
}

#[test]
fn every_method_of_rocket_is_counted_and_no_other_reaches_a_handler() {
    // The request, its status, and the requests that remain then.
    let requests = [
        ("TRACE /api/work", "404", Some(19)),
        ("CONNECT /api/work", "404", Some(18)),
        ("OPTIONS /api/work", "404", Some(17)),
        ("PATCH /nowhere", "404", Some(16)),
        ("DELETE /nowhere", "404", Some(15)),
        ("HEAD /nowhere", "404", Some(14)),
        ("PUT /nowhere", "404", Some(13)),
        ("POST /nowhere", "404", Some(12)),
        // Rocket itself responds to these, before any other code sees them.
        ("PROPFIND /api/work", "400", None),
        ("FOOBAR /api/work", "400", None),
        ("GET /api/work", "200", Some(11)),
    ];
    let limit = |figment: Figment| figment.merge(("sessions.rate_limit.limit", 20));
    let served = Served::built(limit, build);
    for (request, status, left) in requests {
        let response = raw(&served, request);
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {response}"
        );
        let response = response.to_lowercase();
        let told = response
            .lines()
            .find_map(|line| line.strip_prefix("x-ratelimit-remaining: "));
        assert_eq!(
            told,
            left.map(|left: u32| left.to_string()).as_deref(),
            "{request}"
        );
    }
}

#[async_test]
async fn a_forwarding_header_is_trusted_only_from_a_proxy() {
    const FORWARDED: &str = "X-Forwarded-For";
    // Without configuration, no peer is a proxy.
    let app = app("").await;
    for n in 0..3 {
        for header in [FORWARDED, "X-Real-IP", "Forwarded", "Client-IP"] {
            let status = status_from(
                &app.client,
                "203.0.113.7",
                header,
                &[&format!("10.0.0.{n}")],
            )
            .await;
            assert_eq!(
                status,
                if n == 0 && header != "Client-IP" {
                    200
                } else {
                    429
                }
            );
        }
    }
    // Each of these is one visitor, in any notation.
    let same: [(&str, &[&str]); 8] = [
        ("198.51.100.1", &[]),
        ("198.51.100.1", &["1.2.3.4"]),
        ("10.0.0.1", &["198.51.100.1"]),
        ("fd00::1", &["1.2.3.4, 198.51.100.1"]),
        ("10.0.0.1", &["1.2.3.4", "198.51.100.1, 10.9.9.9"]),
        ("10.0.0.1", &["198.51.100.1", " 10.9.9.9 ,fd00::1"]),
        ("::ffff:10.0.0.1", &["198.51.100.1:8080"]),
        ("10.0.0.1", &["nonsense, [::ffff:198.51.100.1]:80"]),
    ];
    for (peer, lines) in same {
        let app = proxied_app(FORWARDED).await;
        for _ in 0..3 {
            assert_eq!(
                status_from(&app.client, "198.51.100.1", FORWARDED, &[]).await,
                200
            );
        }
        assert_eq!(
            status_from(&app.client, peer, FORWARDED, lines).await,
            429,
            "{peer} {lines:?}"
        );
        // A visitor beside it.
        assert_eq!(
            status_from(&app.client, "10.0.0.1", FORWARDED, &["198.51.100.2"]).await,
            200
        );
    }
    // An entry that is not an address counts as its proxy, and so does an empty header.
    let app = proxied_app(FORWARDED).await;
    for lines in [&["nonsense"][..], &["1.2.3.4, "], &[]] {
        assert_eq!(
            status_from(&app.client, "10.0.0.1", FORWARDED, lines).await,
            200,
            "{lines:?}"
        );
    }
    assert_eq!(
        status_from(&app.client, "10.0.0.1", FORWARDED, &["x"]).await,
        429
    );
    // Another header, if the proxies write that one.
    let app = proxied_app("X-Real-IP").await;
    for _ in 0..3 {
        assert_eq!(
            status_from(&app.client, "10.0.0.1", "x-real-ip", &["198.51.100.1"]).await,
            200
        );
    }
    assert_eq!(
        status_from(&app.client, "198.51.100.1", "X-Real-IP", &[]).await,
        429
    );
    assert_eq!(
        status_from(&app.client, "10.0.0.1", FORWARDED, &["198.51.100.1"]).await,
        200
    );
}

#[async_test]
async fn the_standard_header_of_proxies_is_read_too() {
    for (same, lines) in [
        ("198.51.100.1", &["for=198.51.100.1"][..]),
        (
            "198.51.100.1",
            &["For=\"198.51.100.1:4711\";proto=https;by=10.0.0.1"],
        ),
        (
            "198.51.100.1",
            &["proto=http; FOR=\"[::ffff:198.51.100.1]:80\""],
        ),
        (
            "198.51.100.1",
            &["for=1.2.3.4, for=198.51.100.1, for=10.9.9.9;host=a"],
        ),
        (
            "198.51.100.1",
            &["for=\"1.2.3.4", "for=198.51.100.1,for=\"[fd00::1]\""],
        ),
        ("2001:db8:1:2::1", &["for=\"[2001:db8:1:2:3::4]\""]),
        // A hidden visitor counts as the proxy that hides it.
        ("10.0.0.1", &["for=unknown"]),
        ("10.0.0.1", &["for=198.51.100.1, for=_hidden"]),
        ("10.0.0.1", &["198.51.100.1"]),
        ("10.0.0.1", &["for=198.51.100.1, by=10.0.0.1"]),
    ] {
        let app = proxied_app("forwarded").await;
        for _ in 0..3 {
            let status = status_from(&app.client, same, "Forwarded", &[]).await;
            assert_eq!(status, 200, "{same}");
        }
        let status = status_from(&app.client, "10.0.0.1", "Forwarded", lines).await;
        assert_eq!(status, 429, "{lines:?}");
        let other = status_from(&app.client, "10.0.0.1", "Forwarded", &["for=198.51.100.2"]).await;
        assert_eq!(other, 200);
    }
}

#[async_test]
async fn a_counted_request_is_two_calls_and_a_refused_one_is_one() {
    let app = app("").await;
    let visitor = app.known_visitor().await;
    app.clock.advance(seconds(30));
    for entries in [2, 2, 1, 1] {
        visitor.get("/touch").await;
        let calls = app.probe.calls();
        // The session is loaded once, for the limit and for the handler.
        assert_eq!((calls.tuple(), calls.entries), ((1, 0, 0, 0), entries));
    }
    app.clock.advance(seconds(61));
    app.visitor().get("/api/work").await;
    let calls = app.probe.calls();
    assert_eq!((calls.tuple(), calls.entries), ((0, 0, 0, 0), 2));
}

#[async_test]
async fn no_request_is_counted_without_a_limit() {
    let app = App::built(|figment| figment, build).await;
    for _ in 0..100 {
        let response = app.visitor().get("/api/work").await;
        assert_eq!(
            (response.status, response.header("RateLimit")),
            (Status::Ok, None)
        );
    }
    assert_eq!(app.probe.calls().entries, 0);
}

#[async_test]
async fn the_configuration_decides_about_requests_while_the_store_is_down() {
    for (how, fault) in FAULTS {
        for (setting, status) in [("allow", 200), ("refuse", 503)] {
            for act in [Act::GetEntry, Act::KeepEntry] {
                let app = impatient_app(&format!(",when_store_is_down=\"{setting}\"")).await;
                fault(&app.probe, act);
                let started = Instant::now();
                for path in ["/api/work", "/limited"] {
                    let response = app.visitor().get(path).await;
                    assert_eq!(response.status.code, status, "{path} {how} {setting}");
                    assert_eq!(response.header("RateLimit"), None);
                    let retry = (status == 503).then_some("5");
                    assert_eq!(response.header("Retry-After"), retry, "{how} {setting}");
                }
                assert!(
                    started.elapsed() < Duration::from_secs(3),
                    "{how} {setting}"
                );
                app.probe.heal();
                assert_eq!(
                    statuses(&app.visitor(), "/api/work", 4).await,
                    [200, 200, 200, 429]
                );
            }
        }
    }
}

#[async_test]
async fn concurrent_requests_do_not_queue_up_for_a_hanging_store() {
    let app = impatient_app("").await;
    app.probe.hang(Act::KeepEntry);
    let started = Instant::now();
    let visitor = app.visitor();
    let all = join_all((0..50).map(|_| visitor.get("/api/work"))).await;
    assert!(all.iter().all(|response| response.status == Status::Ok));
    assert!(
        started.elapsed() < Duration::from_secs(3),
        "{:?}",
        started.elapsed()
    );
}

#[async_test]
async fn a_visitor_counts_by_address_while_the_session_store_is_down() {
    let app = app("").await;
    let visitor = app.known_visitor().await;
    app.clock.advance(seconds(61));
    app.probe.fail(Act::Load);
    assert_eq!(
        statuses(&visitor, "/api/work", 4).await,
        [200, 200, 200, 429]
    );
    assert_eq!(app.visitor().get("/api/work").await.status.code, 429);
    app.probe.heal();
    assert_eq!(visitor.get("/api/work").await.status.code, 200);
}

#[async_test]
async fn stored_counts_reveal_no_client() {
    let probe = Probe::new(MemoryStore::new());
    let store = &probe;
    let rocket = build(rocket::custom(three("")(figment())).attach(Sessions::with(probe.clone())));
    let client = Client::untracked(rocket).await.unwrap();
    assert_eq!(status_from(&client, "203.0.113.7", "X", &[]).await, 200);
    let names: Vec<Vec<u8>> = store
        .keys(&Namespace::new("rate").unwrap())
        .try_collect()
        .await
        .unwrap();
    let name = String::from_utf8(names[0].clone()).unwrap();
    assert!(names.len() == 1 && name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()));
    // Trying all addresses does not help: another secret gives another name.
    let other = three("")(figment()).merge(("secret_key", vec![8_u8; 64]));
    let rocket = build(rocket::custom(other).attach(Sessions::with(probe.clone())));
    let client = Client::untracked(rocket).await.unwrap();
    assert_eq!(status_from(&client, "203.0.113.7", "X", &[]).await, 200);
    assert_eq!(
        store.keys(&Namespace::new("rate").unwrap()).count().await,
        2
    );
}

#[async_test]
async fn every_count_expires() {
    let server = crate::support::redis::Redis::start();
    let settings = three("")(figment())
        .merge(("sessions.store", "memory"))
        .merge(("sessions.rate_limit.store", "redis"))
        .merge(("sessions.redis.url", server.url()));
    let rocket = build(rocket::custom(settings).attach(Sessions::fairing()));
    let client = Client::untracked(rocket).await.unwrap();
    for status in [200, 200, 200, 429] {
        assert_eq!(status_from(&client, "203.0.113.7", "X", &[]).await, status);
        let keys = server.cli(&["KEYS", "session:rate:*"]);
        let left: i64 = server.cli(&["PTTL", keys.trim()]).trim().parse().unwrap();
        assert!(left > 60_000 && left < 75_000, "{left} ms");
    }
}

/// Sends this many requests at once, and returns how many of them were served. The others are
/// refused.
async fn served_of(client: &Client, requests: usize) -> usize {
    let requests = (0..requests).map(|_| status_from(client, "203.0.113.7", "X", &[]));
    let statuses = join_all(requests).await;
    let served = statuses.iter().filter(|status| **status == 200).count();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    assert_eq!(served + refused, statuses.len(), "{statuses:?}");
    served
}

#[async_test]
async fn concurrent_requests_never_exceed_the_limit_on_a_slow_server() {
    let server = crate::support::redis::Redis::start();
    let proxy = Proxy::to(server.port);
    proxy.delay(Duration::from_millis(20));
    let redis = format!(
        "rate_limit={{limit=400}},redis={{url=\"redis://127.0.0.1:{}\"}}",
        proxy.port
    );
    let settings = figment().merge(Toml::string(&format!(
        "sessions={{store=\"redis\",{redis}}}"
    )));
    let rocket = build(rocket::custom(settings).attach(Sessions::fairing()));
    let client = Client::untracked(rocket).await.unwrap();
    assert_eq!(served_of(&client, 900).await, 400);
}

#[async_test]
async fn concurrent_requests_never_exceed_the_limit_on_a_syncing_disk() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("sessions");
    let directory = format!("directory={{path=\"{}\",sync=\"full\"}}", path.display());
    let settings =
        format!("sessions={{store=\"directory\",rate_limit={{limit=1000}},{directory}}}");
    let settings = figment().merge(Toml::string(&settings));
    let rocket = build(rocket::custom(settings).attach(Sessions::fairing()));
    let client = Client::untracked(rocket).await.unwrap();
    assert_eq!(served_of(&client, 2500).await, 1000);
}

#[async_test]
async fn a_request_that_always_loses_the_race_is_refused() {
    let there = tempfile::tempdir().unwrap();
    let open = || DirectoryStore::open(there.path().join("sessions")).unwrap();
    // It tries for ten times that time.
    let settings = |figment| three("")(figment).merge(("sessions.store_timeout", 1000));
    let app = App::built_on(open(), settings, build).await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/api/work").await.status.code, 200);
    let other = open();
    let namespace = Namespace::new("rate").unwrap();
    let names: Vec<Vec<u8>> = other.keys(&namespace).try_collect().await.unwrap();
    let key = namespace.key(&names[0]);
    let gate = app.probe.gate(Act::KeepEntry);
    let writes = async {
        for n in 0_u64.. {
            gate.arrived().await;
            // There is no count: the limit has room, but the count cannot be saved.
            let value = format!("from elsewhere, {n}");
            other.set(&key, value.as_bytes(), None).await.unwrap();
            gate.open();
        }
    };
    rocket::tokio::select! {
        () = writes => unreachable!("there is always another write"),
        response = visitor.get("/api/work") => {
            assert_eq!(response.status.code, 429);
            assert_eq!(response.header("Retry-After"), Some("1"));
        }
    }
}

on_every_store! {
    exactly_the_limit_of_concurrent_requests_is_served
    the_allowance_returns_to_the_millisecond
}

async fn launch(backend: &Backend, limit: u32, window: u64, clock: &Clock) -> Client {
    let settings = format!("rate_limit={{limit={limit},window={window}}}");
    let rocket = rocket::custom(backend.figment(&settings))
        .manage(clock.clone())
        .attach(Sessions::fairing());
    Client::untracked(build(rocket))
        .await
        .expect("the application launches")
}

async fn exactly_the_limit_of_concurrent_requests_is_served(backend: Backend) {
    let clock = Clock::manual();
    let client = launch(&backend, 37, 60, &clock).await;
    for _ in 0..3 {
        let requests = (0..100).map(|_| status_from(&client, "203.0.113.7", "X", &[]));
        let served = join_all(requests)
            .await
            .into_iter()
            .filter(|status| *status == 200)
            .count();
        assert_eq!(served, 37);
        clock.advance(seconds(60));
    }
    let ran: &Ran = client.rocket().state().unwrap();
    assert_eq!(ran.0.load(Ordering::SeqCst), 3 * 37);
}

async fn the_allowance_returns_to_the_millisecond(backend: Backend) {
    let clock = Clock::manual();
    let client = launch(&backend, 1, 1, &clock).await;
    assert_eq!(status_from(&client, "203.0.113.7", "X", &[]).await, 200);
    assert_eq!(status_from(&client, "203.0.113.7", "X", &[]).await, 429);
    clock.advance(Duration::from_millis(999));
    assert_eq!(status_from(&client, "203.0.113.7", "X", &[]).await, 429);
    clock.advance(Duration::from_millis(1));
    assert_eq!(status_from(&client, "203.0.113.7", "X", &[]).await, 200);
}

on_every_shared_store! {
    two_processes_share_one_exact_count
}

async fn two_processes_share_one_exact_count(backend: Backend) {
    let settings = backend.environment("multiprocess=true,rate_limit={limit=60,window=600}");
    let settings = [("ROCKET_SESSIONS", settings.as_str())];
    let there = tempfile::tempdir().unwrap();
    let servers = [(); 2].map(|()| Server::start("shared", there.path(), &settings));
    // The route's own limit is 25. All of its 32 requests count for the application, which then has 28
    // left for others.
    for (path, each, expected) in [("/limited", 2, 25), ("/get/a", 10, 28)] {
        let served = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..16 {
                let (server, served) = (&servers[n % 2], &served);
                scope.spawn(move || {
                    for _ in 0..each {
                        let status = server.get(path, None).0;
                        assert!(status == 200 || status == 429, "{path}: {status}");
                        served.fetch_add(usize::from(status == 200), Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(served.into_inner(), expected, "{path}");
    }
}

#[test]
fn the_peer_address_counts_over_tcp_and_no_header_changes_it() {
    let served = Served::launch(three(""));
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let mut statuses = Vec::new();
    for n in 0..5 {
        let request = agent.get(format!("http://127.0.0.1:{}/bare", served.port));
        let response = request
            .header("X-Forwarded-For", format!("198.51.100.{n}"))
            .header("X-Real-IP", format!("198.51.100.{n}"))
            .call()
            .unwrap();
        let remaining = response.headers().get("X-RateLimit-Remaining").unwrap();
        statuses.push((
            response.status().as_u16(),
            remaining.to_str().unwrap().to_owned(),
        ));
    }
    let told: Vec<_> = statuses
        .iter()
        .map(|(status, left)| (*status, left.as_str()))
        .collect();
    assert_eq!(
        told,
        [(200, "2"), (200, "1"), (200, "0"), (429, "0"), (429, "0")]
    );
}
