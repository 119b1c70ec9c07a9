//! Limits by a key of the application: exact, forgotten after a success, and with numbers from `Rocket.toml`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::futures::TryStreamExt;
use rocket::futures::future::join_all;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Build, Request, Rocket, async_test, get, routes};
use rocket_session_kit::store::{KeyValue, Namespace};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{By, Error, KeyedRateLimit, Limit, RateLimit, Result, Session, Sessions};

use crate::support::process::Server;
use crate::support::{
    App, Backend, FAULTS, Visitor, figment, log, on_every_shared_store, on_every_store,
};

/// Wrong passwords of one account.
struct Passwords;

impl Limit for Passwords {
    const NAME: &'static str = "passwords";
    const LIMIT: u32 = 5;
    const WINDOW: u64 = 900;
}

type Attempts<'r> = KeyedRateLimit<'r, Passwords>;

#[get("/try/<name>/<password>")]
async fn log_in(
    name: &str,
    password: &str,
    attempts: Attempts<'_>,
    session: &Session,
) -> Result<String> {
    session.insert("tried", true)?;
    let left = attempts.count(name).await?.remaining();
    if password != "right" {
        return Ok(left.to_string());
    }
    attempts.reset(name).await?;
    session.log_in(name);
    Ok("welcome".into())
}

#[get("/reset/<name>")]
async fn reset(name: &str, attempts: Attempts<'_>) -> Result<()> {
    attempts.reset(name).await
}

/// Counts two accounts, the second one twice.
#[get("/two/<one>/<other>")]
async fn two(one: &str, other: &str, attempts: Attempts<'_>) -> Result<()> {
    for name in [one, other, other] {
        attempts.count(name).await?;
    }
    Ok(())
}

/// Responds by itself when the limit is reached.
#[get("/own/<name>")]
async fn own(name: &str, attempts: Attempts<'_>, session: &Session) -> Result<String> {
    session.increment("own", 1)?;
    let counted = attempts.count(name).await;
    Ok(counted.map_or("later".into(), |left| format!("{left:?}")))
}

/// A client of an API, whose requests count by its key.
struct ApiClient;

struct ApiCalls;

impl Limit for ApiCalls {
    const NAME: &'static str = "api";
    const LIMIT: u32 = 2;
    const WINDOW: u64 = 60;
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for ApiClient {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let Outcome::Success(calls) = request.guard::<KeyedRateLimit<'_, ApiCalls>>().await else {
            return Outcome::Error((Status::InternalServerError, ()));
        };
        let key = request.headers().get_one("X-Api-Key").unwrap_or_default();
        match calls.count(key).await {
            Ok(_) => Outcome::Success(Self),
            Err(_) => Outcome::Error((Status::TooManyRequests, ())),
        }
    }
}

#[get("/api")]
fn api(_client: ApiClient) -> &'static str {
    "served"
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount("/", routes![log_in, reset, two, own, api])
}

async fn app() -> App {
    App::built(|figment| figment, build).await
}

/// The statuses of `count` wrong passwords for `name`.
async fn wrong(visitor: &Visitor<'_>, name: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        let response = visitor.get(&format!("/try/{name}/wrong")).await;
        statuses.push(response.status.code);
    }
    statuses
}

#[async_test]
async fn five_wrong_passwords_lock_an_account_and_a_right_one_forgets_them() {
    App::on_every_store(build, |app| async move {
        let visitor = app.visitor();
        for _ in 0..2 {
            assert_eq!(wrong(&visitor, "ada", 4).await, [200; 4]);
            assert_eq!(visitor.get("/try/ada/right").await.body, "welcome");
        }
        assert_eq!(
            wrong(&visitor, "ada", 6).await,
            [200, 200, 200, 200, 200, 429]
        );
        // The right password comes too late, from whatever address.
        let elsewhere = app.visitor().copy_at("198.51.100.7");
        assert_eq!(elsewhere.get("/try/ada/right").await.status.code, 429);
        // No other account is locked, even one whose name is longer by a space.
        assert_eq!(visitor.get("/try/ada%20/wrong").await.body, "4");
        app.clock.advance(Duration::from_secs(900));
        assert_eq!(visitor.get("/try/ada/right").await.body, "welcome");
    })
    .await;
}

#[async_test]
async fn concurrent_attempts_never_exceed_the_limit_even_beside_resets() {
    App::on_every_store(build, |app| async move {
        for _ in 0..3 {
            let attempts = (0..60).map(|_| async { app.visitor().get("/try/ada/wrong").await });
            let all = join_all(attempts).await;
            let served = all.iter().filter(|response| response.status.code == 200);
            assert_eq!(served.count(), 5);
            app.visitor().get("/reset/ada").await;
        }
        // Beside resets, each of them allows five more at most.
        let requests = (0..60).map(async |n| match n % 10 {
            9 => app.visitor().get("/reset/ada").await.status.code + 1,
            _ => app.visitor().get("/try/ada/wrong").await.status.code,
        });
        let statuses = join_all(requests).await;
        let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
        assert_eq!((count(200) + count(429), count(201)), (54, 6));
        assert!((5..=35).contains(&count(200)), "{statuses:?}");
    })
    .await;
}

#[async_test]
async fn a_reset_forgets_what_was_counted_before_it_and_nothing_after() {
    App::on_every_store(build, |app| async move {
        let visitor = app.visitor();
        assert_eq!(wrong(&visitor, "ada", 3).await, [200; 3]);
        // The attempt has read three others, and is counted after the reset.
        let gate = app.probe.gate(Act::KeepEntry);
        let attempt = visitor.get("/try/ada/wrong");
        let meanwhile = async {
            gate.arrived().await;
            app.visitor().get("/reset/ada").await;
            gate.open_for_all();
        };
        let (response, ()) = rocket::futures::future::join(attempt, meanwhile).await;
        assert_eq!(response.body, "4");
        assert_eq!(wrong(&visitor, "ada", 5).await, [200, 200, 200, 200, 429]);
    })
    .await;
}

#[async_test]
async fn a_refused_attempt_is_a_429_with_the_headers_of_the_limit_and_saves_nothing() {
    let app = app().await;
    let visitor = app.visitor();
    let first = visitor.get("/try/ada/wrong").await;
    assert_eq!(first.header("X-RateLimit-Remaining"), Some("4"));
    assert_eq!(
        first.header("RateLimit-Policy"),
        Some(r#""passwords";q=5;w=900"#)
    );
    assert_eq!(first.header("Retry-After"), None);
    app.clock.advance(Duration::from_secs(100));
    wrong(&visitor, "ada", 4).await;
    let stranger = app.visitor();
    let refused = stranger.get("/try/ada/wrong").await;
    assert_eq!(refused.status, Status::TooManyRequests);
    assert_eq!(refused.header("Retry-After"), Some("800"));
    assert_eq!(refused.header("Cache-Control"), Some("no-store"));
    assert_eq!(
        refused.header("RateLimit"),
        Some(r#""passwords";r=0;t=800"#)
    );
    assert!(!stranger.has_session(), "the change is not saved");
    // The count of an account that was reset is no longer reported.
    app.clock.advance(Duration::from_secs(800));
    let welcome = visitor.get("/try/ada/right").await;
    assert_eq!(welcome.status, Status::Ok);
    assert_eq!(welcome.header("RateLimit"), None);
    assert_eq!(visitor.get("/bare").await.header("RateLimit"), None);
}

#[async_test]
async fn a_handler_that_responds_itself_keeps_its_changes() {
    let app = app().await;
    let visitor = app.visitor();
    let first = visitor.get("/own/ada").await.body;
    assert!(
        first.contains("remaining: 4") && !first.contains("ada"),
        "{first}"
    );
    wrong(&app.visitor(), "ada", 4).await;
    let response = visitor.get("/own/ada").await;
    assert_eq!(
        (response.status.code, response.body.as_str()),
        (200, "later")
    );
    assert_eq!(response.header("Retry-After"), None);
    assert_eq!(visitor.get("/get/own").await.body, "2");
}

#[async_test]
async fn each_call_counts_and_the_tightest_key_of_a_limit_is_reported() {
    let app = app().await;
    let visitor = app.visitor();
    wrong(&visitor, "ada", 2).await;
    let response = visitor.get("/two/ada/bob").await;
    assert_eq!(
        response.header("RateLimit"),
        Some(r#""passwords";r=2;t=900"#)
    );
    assert_eq!(
        response.header("RateLimit-Policy"),
        Some(r#""passwords";q=5;w=900"#)
    );
    assert_eq!(visitor.get("/try/bob/wrong").await.body, "2");
    assert_eq!(visitor.get("/try/ada/wrong").await.body, "1");
}

#[async_test]
async fn a_guard_of_the_application_can_count_by_api_key() {
    let app = app().await;
    for (key, status) in [("a", 200), ("a", 200), ("b", 200), ("a", 429), ("b", 200)] {
        let client = app.visitor().with("X-Api-Key", key);
        let response = client.get("/api").await;
        assert_eq!(response.status.code, status, "{key}");
        let retry = (status == 429).then_some("60");
        assert_eq!(response.header("Retry-After"), retry, "{key}");
    }
}

#[async_test]
async fn neither_the_store_nor_the_log_shows_a_key() {
    let app = app().await;
    let visitor = app.visitor();
    wrong(&visitor, "s3cr3tacc0unt", 6).await;
    for (_, fault) in FAULTS {
        for act in [Act::GetEntry, Act::KeepEntry, Act::RemoveEntry] {
            fault(&app.probe, act);
        }
    }
    visitor.get("/reset/s3cr3tacc0unt").await;
    app.probe.heal();
    let namespace = Namespace::new("rate").unwrap();
    let names: Vec<Vec<u8>> = app.probe.keys(&namespace).try_collect().await.unwrap();
    let name = String::from_utf8(names[0].clone()).unwrap();
    assert!(names.len() == 1 && name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_eq!(log::lines_with("s3cr3tacc0unt"), [""; 0]);
}

#[async_test]
async fn the_configuration_decides_about_attempts_while_the_store_is_down() {
    for (how, fault) in FAULTS {
        for (setting, status) in [("allow", 200), ("refuse", 503)] {
            let settings = |figment: Figment| {
                figment
                    .merge(("sessions.store_timeout", 100))
                    .merge(("sessions.rate_limit.when_store_is_down", setting))
            };
            let app = App::built(settings, build).await;
            for act in [Act::GetEntry, Act::RemoveEntry] {
                fault(&app.probe, act);
            }
            for path in ["/try/ada/wrong", "/reset/ada"] {
                let response = app.visitor().get(path).await;
                assert_eq!(response.status.code, status, "{path} {how} {setting}");
                let retry = (status == 503).then_some("5");
                assert_eq!(response.header("Retry-After"), retry, "{path} {how}");
            }
            app.probe.heal();
            assert_eq!(app.visitor().get("/try/ada/wrong").await.body, "4");
        }
    }
}

#[async_test]
async fn an_attempt_is_two_calls_and_a_reset_is_one() {
    let app = app().await;
    for (path, entries) in [("/own/ada", 2), ("/reset/ada", 1), ("/reset/ada", 1)] {
        app.visitor().get(path).await;
        assert_eq!(app.probe.calls().entries, entries, "{path}");
    }
}

/// A limit without numbers in the code.
struct Named;

impl Limit for Named {
    const NAME: &'static str = "named";
    const BY: By = By::Address;
}

#[get("/named")]
fn named(limit: RateLimit<Named>) -> String {
    limit.remaining().to_string()
}

#[get("/keyed/<key>")]
async fn keyed(key: &str, limit: KeyedRateLimit<'_, Named>) -> Result<String> {
    Ok(limit.count(key).await?.remaining().to_string())
}

/// Asks for the limit only when a request arrives.
#[get("/dynamic")]
async fn dynamic(limit: ByGuard) -> Result<String, Error> {
    limit.0
}

struct ByGuard(Result<String, Error>);

#[rocket::async_trait]
impl<'r> FromRequest<'r> for ByGuard {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let asked = request.guard::<KeyedRateLimit<'_, Named>>().await;
        Outcome::Success(Self(match asked {
            Outcome::Error((_, error)) => Err(error),
            other => Ok(format!("{:?}", other.succeeded())),
        }))
    }
}

fn toml(tables: &str) -> Figment {
    figment().merge(Toml::string(&format!(
        "sessions.store = 'memory'\n{tables}"
    )))
}

#[async_test]
async fn the_numbers_of_a_limit_can_be_in_the_configuration() {
    let tables = "
        sessions.rate_limit.named.named = { limit = 2, window = 60 }
        sessions.rate_limit.named.passwords = { limit = 1 }
    ";
    let settings = |figment: Figment| figment.merge(Toml::string(tables));
    let app = App::built(settings, |rocket| {
        build(rocket).mount("/", routes![named, keyed])
    })
    .await;
    let visitor = app.visitor();
    for path in ["/named", "/keyed/a"] {
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(visitor.get(path).await.status.code);
        }
        assert_eq!(statuses, [200, 200, 429], "{path}");
    }
    assert_eq!(visitor.get("/keyed/b").await.body, "1");
    // A number in the code is overridden, and the window of the code stays.
    assert_eq!(wrong(&visitor, "ada", 2).await, [200, 429]);
    let refused = visitor.get("/try/ada/wrong").await;
    assert_eq!(
        refused.header("RateLimit-Policy"),
        Some(r#""passwords";q=1;w=900"#)
    );
    // A limit by address counts all sessions of an address together, unless the table says otherwise.
    assert_eq!(app.visitor().get("/named").await.status.code, 429);
}

#[async_test]
async fn the_configuration_says_by_what_a_route_counts() {
    for (by, status) in [("address", 429), ("session", 200)] {
        let settings = |figment: Figment| {
            figment
                .merge(("sessions.rate_limit.named.named.limit", 1))
                .merge(("sessions.rate_limit.named.named.window", 60))
                .merge(("sessions.rate_limit.named.named.by", by))
        };
        let app = App::built(settings, |rocket| rocket.mount("/", routes![named])).await;
        let visitor = app.known_visitor().await;
        app.clock.advance(Duration::from_secs(61));
        assert_eq!(app.visitor().get("/named").await.status.code, 200);
        assert_eq!(visitor.get("/named").await.status.code, status, "{by}");
    }
}

#[async_test]
async fn a_limit_without_numbers_stops_the_launch_or_names_the_table() {
    for (tables, key) in [
        ("", "sessions.rate_limit.named.named.limit"),
        (
            "sessions.rate_limit.named.named.limit = 3",
            "sessions.rate_limit.named.named.window",
        ),
        (
            "sessions.rate_limit.named.named.window = 3",
            "sessions.rate_limit.named.named.limit",
        ),
    ] {
        for routes in [routes![named], routes![keyed]] {
            let before = log::lines_with(key).len();
            let rocket = rocket::custom(toml(tables)).mount("/", routes);
            let error = rocket.attach(Sessions::fairing()).ignite().await;
            let error = error.expect_err("the limit has no numbers");
            let kind = error.kind();
            assert!(
                matches!(kind, rocket::error::ErrorKind::SentinelAborts(_)),
                "{error:?}"
            );
            let lines = log::lines_with(key).split_off(before);
            assert!(
                lines.len() == 1 && lines[0].starts_with("ERROR "),
                "{lines:?}"
            );
            let table =
                "add `limit` and `window` to the table `[default.sessions.rate_limit.named.named]`";
            assert!(lines[0].contains(table), "{lines:?}");
        }
    }
    // A guard of the application's own is not known at launch.
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![dynamic])).await;
    assert_eq!(app.visitor().get("/dynamic").await.status.code, 500);
    let lines = log::lines_with("`sessions.rate_limit.named.named.limit`: the limit is in use");
    assert!(!lines.is_empty());
}

#[async_test]
async fn a_table_of_a_limit_that_no_route_has_is_reported() {
    let tables = "
        sessions.rate_limit.named.passwords.limit = 9
        sessions.rate_limit.named.pasword.limit = 3
    ";
    let settings = |figment: Figment| figment.merge(Toml::string(tables));
    App::built(settings, build).await;
    let lines = log::lines_with("sessions.rate_limit.named.pasword");
    assert!(
        lines.len() == 1 && lines[0].starts_with("WARN "),
        "{lines:?}"
    );
    assert_eq!(log::lines_with("named.passwords` is set"), [""; 0]);
}

on_every_shared_store! {
    two_processes_share_the_attempts_and_the_resets
}

async fn two_processes_share_the_attempts_and_the_resets(backend: Backend) {
    let settings = backend.environment("multiprocess=true");
    let settings = [("ROCKET_SESSIONS", settings.as_str())];
    let there = tempfile::tempdir().unwrap();
    let servers = [(); 2].map(|()| Server::start("shared", there.path(), &settings));
    for round in 0..2 {
        let served = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (server, served) = (&servers[n % 2], &served);
                scope.spawn(move || {
                    for _ in 0..4 {
                        let status = server.get("/attempt/ada", None).0;
                        assert!(status == 200 || status == 429, "{status}");
                        served.fetch_add(usize::from(status == 200), Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(served.into_inner(), 5, "round {round}");
        assert_eq!(servers[round].get("/forget/ada", None).0, 200);
    }
}
