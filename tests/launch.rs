//! An unusable configuration stops the launch, with one sentence that names the remedy.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use rocket::async_test;
use rocket::fairing::AdHoc;
use rocket::figment::Figment;
use rocket::futures::stream::BoxStream;
use rocket_session_kit::store::{Revision, Save, Saved, SessionStore, Stored};
use rocket_session_kit::{
    Cache, CsrfForm, CsrfToken, DirectoryStore, Limit, MemoryStore, RateLimit, Result, SessionId,
    Sessions,
};

use crate::support::process::Server;
use crate::support::{figment, log, text_of};

/// Tries to launch, and returns the one sentence that was logged about it.
pub(crate) async fn refused(settings: impl FnOnce(Figment) -> Figment, marker: &str) -> String {
    let rocket = rocket::custom(settings(figment())).attach(Sessions::fairing());
    sentence(rocket, marker).await
}

async fn sentence(rocket: rocket::Rocket<rocket::Build>, marker: &str) -> String {
    let before = log::lines_with(marker).len();
    let error = rocket.ignite().await.expect_err("this cannot work");
    assert!(
        matches!(error.kind(), rocket::error::ErrorKind::FailedFairings(_)),
        "{error:?}"
    );
    let mut lines = log::lines_with(marker).split_off(before);
    assert_eq!(lines.len(), 1, "it is logged once: {lines:?}");
    let line = lines.remove(0);
    assert!(
        line.starts_with("ERROR ") && line.lines().count() == 1,
        "{line}"
    );
    line
}

#[async_test]
async fn invalid_settings_stop_the_launch() {
    type Settings = fn(Figment) -> Figment;
    let cases: [(&str, Settings); 16] = [
        ("`sessions`", |f| f.merge(("sessions", 5))),
        ("sessions.nonsense", |f| f.merge(("sessions.nonsense", 1))),
        ("sessions.renewal_grace", |f| {
            f.merge(("sessions.renewal_grace", 61))
        }),
        ("sessions.renew_every", |f| {
            f.merge(("sessions.renew_every", 5))
        }),
        ("sessions.absolute_timeout", |f| {
            f.merge(("sessions.policy", "aal2"))
                .merge(("sessions.absolute_timeout", 86_401))
        }),
        ("sessions.cookie.max_age", |f| {
            f.merge(("sessions.policy", "aal3"))
                .merge(("sessions.cookie.max_age", 43_201))
        }),
        ("sessions.touch_every", |f| {
            f.merge(("sessions.touch_every", "often"))
        }),
        ("sessions.when_store_is_down", |f| {
            f.merge(("sessions.when_store_is_down", "panic"))
        }),
        ("sessions.cache.prefix", |f| {
            f.merge(("sessions.cache.prefix", "a:b"))
        }),
        ("sessions.rate_limit.limit", |f| {
            f.merge(("sessions.rate_limit.limit", -1))
        }),
        ("sessions.rate_limit.headers", |f| {
            f.merge(("sessions.rate_limit.headers", "all"))
        }),
        ("sessions.proxies", |f| {
            f.merge(("sessions.proxies", ["10.0.0.0/33"]))
        }),
        ("sessions.csrf.trusted_origins", |f| {
            let with_a_path = ["https://app.example.com/forms"];
            f.merge(("sessions.csrf.trusted_origins", with_a_path))
        }),
        ("https://app.example.com\"", |f| {
            f.merge(("sessions.csrf.trusted_origins", ["app.example.com"]))
        }),
        ("sessions.cookie.same_site", |f| {
            f.merge(("sessions.cookie.same_site", "None"))
        }),
        ("sessions.cookie.prefix", |f| {
            f.merge(("sessions.cookie.prefix", "__Host-"))
                .merge(("sessions.cookie.secure", true))
                .merge(("sessions.cookie.domain", "example.com"))
        }),
    ];
    for (marker, settings) in cases {
        let message = refused(settings, marker).await;
        assert!(
            message.contains("cannot use the configuration at"),
            "{message}"
        );
    }
}

#[cfg(not(feature = "perl"))]
#[async_test]
async fn a_perl_site_without_its_feature_stops_the_launch() {
    let settings = |f: Figment| f.merge(("sessions.perl.cookie_name", "session_id"));
    let message = refused(settings, "sessions.perl").await;
    assert!(
        message.contains("the feature `perl` in Cargo.toml"),
        "{message}"
    );
}

#[async_test]
async fn an_unusable_directory_stops_the_launch() {
    let there = tempfile::tempdir().unwrap();
    let file = there.path().join("file");
    fs::write(&file, "").unwrap();
    for (path, remedy) in [
        (
            there.path().join("missing/sessions"),
            "its parent does not exist; create that, or set `sessions.directory.path`",
        ),
        (
            file,
            "it is not a directory; remove it, or set `sessions.directory.path`",
        ),
    ] {
        let path = path.to_str().unwrap();
        let message = refused(|f| f.merge(("sessions.directory.path", path)), path).await;
        assert!(message.contains(remedy), "{message}");
    }
}

#[async_test]
async fn the_fairing_is_attached_once() {
    let rocket = rocket::custom(figment())
        .attach(Sessions::with(MemoryStore::new()))
        .attach(Sessions::with(MemoryStore::new()));
    let message = sentence(rocket, "attached already").await;
    assert!(message.contains("remove the second"), "{message}");
    // Also when another fairing attaches the second one late.
    let rocket = rocket::custom(figment())
        .attach(Sessions::with(MemoryStore::new()))
        .attach(AdHoc::on_ignite("late", |rocket| {
            Box::pin(async { rocket.attach(Sessions::with(MemoryStore::new())) })
        }));
    sentence(rocket, "attached already").await;
}

#[async_test]
async fn another_fairing_may_attach_the_fairing() {
    let app = rocket::custom(figment())
        .mount("/", rocket::routes![count])
        .attach(AdHoc::on_ignite("late", |rocket| {
            Box::pin(async { rocket.attach(Sessions::with(MemoryStore::new())) })
        }));
    let client = rocket::local::asynchronous::Client::tracked(app)
        .await
        .unwrap();
    for count in ["1", "2"] {
        assert_eq!(text_of(client.get("/count")).await, count);
    }
}

#[rocket::get("/count")]
fn count(session: &rocket_session_kit::Session) -> Result<String> {
    Ok(session.increment("count", 1)?.to_string())
}

/// Launches with a cookie of this name, and returns the lines of the log that name it.
async fn lines_of_launch(name: &str, settings: impl FnOnce(Figment) -> Figment) -> Vec<String> {
    let figment = settings(figment().merge(("sessions.cookie.name", name)));
    let rocket = rocket::custom(figment).attach(Sessions::with(MemoryStore::new()));
    let client = rocket::local::asynchronous::Client::untracked(rocket).await;
    client.expect("it launches");
    log::lines_with(name)
}

#[async_test]
async fn the_launch_says_how_sessions_are_kept() {
    let line = "INFO sessions in the store `memory`, by the cookie `shown-1` (HttpOnly; SameSite=Lax; Path=/); \
                idle timeout 86400 s, no absolute timeout";
    assert_eq!(lines_of_launch("shown-1", |f| f).await, [line]);
    let settings = |f: Figment| {
        f.merge(("sessions.transport", "both"))
            .merge(("sessions.cookie.secure", true))
            .merge(("sessions.cookie.max_age", 60))
            .merge(("sessions.idle_timeout", 600))
            .merge(("sessions.absolute_timeout", 3600))
    };
    let line = "INFO sessions in the store `memory`, by the cookie `__Host-shown-2` (HttpOnly; SameSite=Lax; \
                Secure; Path=/; Max-Age=60) or a token in `X-Auth-Token`; idle timeout 600 s, absolute timeout 3600 s";
    assert_eq!(lines_of_launch("shown-2", settings).await, [line]);
}

#[async_test]
async fn a_secure_cookie_without_tls_is_a_warning_except_in_the_debug_profile() {
    let warning = "WARN browsers send the cookie `__Host-plain-1` over HTTPS alone, and Rocket is configured \
                   without TLS: put a proxy that speaks TLS in front of the application, and name it in \
                   `sessions.proxies`; or, for a local test over plain HTTP, set \
                   `sessions.cookie.secure = false`";
    let lines = lines_of_launch("plain-1", |f| f.select("release")).await;
    assert_eq!(lines[1..], [warning]);
    type Settings = fn(Figment) -> Figment;
    let others: [(&str, Settings); 4] = [
        ("plain-2", |f| f.merge(("sessions.cookie.secure", true))),
        ("plain-3", |f| {
            f.select("release").merge(("sessions.cookie.secure", false))
        }),
        ("plain-4", |f| {
            f.select("release").merge(("sessions.proxies", ["::1"]))
        }),
        ("plain-5", |f| {
            f.select("release").merge(("sessions.transport", "header"))
        }),
    ];
    for (name, settings) in others {
        let lines = lines_of_launch(name, settings).await;
        assert!(
            lines.iter().all(|line| line.starts_with("INFO ")),
            "{lines:?}"
        );
    }
}

/// A store with the properties that a test sets.
struct Flags {
    thread_safe: bool,
    multiprocess_safe: bool,
}

#[rocket::async_trait]
impl SessionStore for Flags {
    fn is_multiprocess_safe(&self) -> bool {
        self.multiprocess_safe
    }

    fn is_thread_safe(&self) -> bool {
        self.thread_safe
    }

    async fn load_session(&self, _: &SessionId) -> Result<Option<Stored>> {
        Ok(None)
    }

    async fn save_session(&self, _: &SessionId, _: Save<'_>) -> Result<Saved> {
        Ok(Saved::Gone)
    }

    async fn delete_session(&self, _: &SessionId) -> Result<bool> {
        Ok(false)
    }

    async fn delete_session_if(&self, _: &SessionId, _: Revision) -> Result<bool> {
        Ok(false)
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        Box::pin(rocket::futures::stream::empty())
    }
}

#[async_test]
async fn a_limit_of_sessions_that_cannot_be_kept_stops_the_launch() {
    let attach = |allowed: i64, store: Flags| {
        let figment = figment().merge(("sessions.max_sessions_per_user", allowed));
        rocket::custom(figment).attach(Sessions::with(store))
    };
    let flags = || Flags {
        thread_safe: true,
        multiprocess_safe: true,
    };
    for (allowed, part) in [(3, "keeps no entries"), (101, "at most 100"), (-1, "found")] {
        let message = sentence(attach(allowed, flags()), "sessions.max_sessions_per_user").await;
        assert!(message.contains(part), "{allowed}: {message}");
    }
    attach(0, flags())
        .ignite()
        .await
        .expect("any number is allowed");
}

#[async_test]
async fn a_store_without_the_required_safety_stops_the_launch() {
    let attach = |multiprocess, store| {
        rocket::custom(figment().merge(("sessions.multiprocess", multiprocess)))
            .attach(Sessions::with(store))
    };
    let flags = |thread_safe, multiprocess_safe| Flags {
        thread_safe,
        multiprocess_safe,
    };
    sentence(
        attach(false, flags(false, true)),
        "not thread safe; choose another",
    )
    .await;
    let message = sentence(attach(true, flags(true, false)), "sessions.multiprocess").await;
    assert!(message.contains("set `multiprocess = false`"), "{message}");
    attach(false, flags(true, false))
        .ignite()
        .await
        .expect("one process is allowed");
    attach(true, flags(true, true))
        .ignite()
        .await
        .expect("several are none either");
    let rocket = rocket::custom(
        figment()
            .merge(("sessions.store", "memory"))
            .merge(("sessions.multiprocess", true)),
    );
    sentence(rocket.attach(Sessions::fairing()), "sessions.multiprocess").await;

    let there = tempfile::tempdir().unwrap();
    let directory = DirectoryStore::open(there.path().join("sessions")).unwrap();
    assert!(directory.is_multiprocess_safe() && directory.is_thread_safe());
    let memory = MemoryStore::new();
    assert!(!memory.is_multiprocess_safe() && memory.is_thread_safe());
}

#[rocket::get("/cached")]
async fn cached(cache: &Cache) -> Result<String> {
    cache.set("a", "cached").await?;
    Ok(cache.get("a").await?.unwrap_or_default())
}

#[rocket::get("/limited")]
fn limited(_limit: RateLimit<Once>) -> &'static str {
    "served"
}

#[rocket::get("/token")]
fn with_a_token(_token: CsrfToken) -> &'static str {
    "served"
}

#[rocket::post("/form", data = "<_form>")]
fn with_a_form(_form: CsrfForm<HashMap<String, String>>) -> &'static str {
    "served"
}

struct Once;

impl Limit for Once {
    const NAME: &'static str = "once";
    const LIMIT: u32 = 1;
    const WINDOW: u64 = 60;
}

#[async_test]
async fn a_guard_that_finds_no_store_stops_the_launch() {
    let store = || Flags {
        thread_safe: true,
        multiprocess_safe: true,
    };
    for (routes, key) in [
        (rocket::routes![cached], "sessions.cache.store"),
        (rocket::routes![limited], "sessions.rate_limit.store"),
    ] {
        let marker = format!("set `{key}`, or implement `key_value`");
        let rocket = rocket::custom(figment()).mount("/", routes.clone());
        let before = log::lines_with(&marker).len();
        let refused = rocket.attach(Sessions::with(store())).ignite().await;
        let refused = refused.expect_err("the guard aborts");
        let aborts = matches!(refused.kind(), rocket::error::ErrorKind::SentinelAborts(_));
        assert!(aborts, "{refused:?}");
        assert!(log::lines_with(&marker).len() > before, "{key}");

        // The named remedy works.
        let figment = figment().merge((key, "memory"));
        let rocket = rocket::custom(figment).mount("/", routes);
        let client = rocket.attach(Sessions::with(store()));
        let client = rocket::local::asynchronous::Client::tracked(client);
        let client = client.await.expect("it launches");
        let bodies = ["/cached", "/limited"].map(async |path| {
            let response = client.get(path).dispatch().await;
            response.status().code
        });
        let statuses = rocket::futures::future::join_all(bodies).await;
        assert!(statuses.contains(&200), "{key}: {statuses:?}");
    }
    // Without the fairing, the error names the same remedy as for a session.
    for routes in [
        rocket::routes![cached],
        rocket::routes![limited],
        rocket::routes![with_a_token],
        rocket::routes![with_a_form],
    ] {
        let rocket = rocket::custom(figment()).mount("/", routes);
        let refused = rocket.ignite().await.expect_err("the fairing is missing");
        let aborts = matches!(refused.kind(), rocket::error::ErrorKind::SentinelAborts(_));
        assert!(aborts, "{refused:?}");
    }
    // A limit for the whole application needs no guard.
    let figment = figment().merge(("sessions.rate_limit.limit", 1));
    let rocket = rocket::custom(figment).attach(Sessions::with(store()));
    sentence(rocket, "cannot limit requests").await;
}

#[async_test]
async fn several_processes_with_an_unshared_cache_do_not_launch() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("sessions");
    let message = refused(
        |f| {
            f.merge(("sessions.cache.store", "memory"))
                .merge(("sessions.directory.path", path))
                .merge(("sessions.multiprocess", true))
        },
        "sessions.multiprocess",
    );
    assert!(
        message
            .await
            .contains("cannot be shared by several processes")
    );
}

#[async_test]
async fn one_setting_chooses_the_memory_store() {
    let rocket = rocket::custom(figment().merge(("sessions.store", "memory")))
        .mount("/", rocket::routes![count]);
    let client = rocket::local::asynchronous::Client::tracked(rocket.attach(Sessions::fairing()))
        .await
        .unwrap();
    assert_eq!(text_of(client.get("/count")).await, "1");
}

/// Writes a `Rocket.toml`, and starts the example next to it.
fn launch(
    directory: &Path,
    toml: &str,
    settings: &[(&str, &str)],
) -> std::result::Result<Server, String> {
    fs::write(directory.join("Rocket.toml"), toml).unwrap();
    Server::try_start("hello", directory, settings)
}

#[test]
fn an_error_in_rocket_toml_is_shown_readably() {
    let there = tempfile::tempdir().unwrap();
    for (toml, settings, expected) in [
        (
            "[default.sessions]\nidle_timout = 5\n",
            vec![],
            vec!["sessions.idle_timout", "Rocket.toml", "idle_timeout"],
        ),
        (
            "[default.sessions]\nidle_timeout = \"5\"\n",
            vec![],
            vec![
                "sessions.idle_timeout",
                "Rocket.toml",
                "expected",
                "a string",
            ],
        ),
        (
            "[default]\nsessions = 5\n",
            vec![],
            vec!["`sessions`", "expected a table"],
        ),
        (
            "[default.sessions]\nstore = \"redsi\"\n",
            vec![],
            vec!["sessions.store", "Rocket.toml", "directory"],
        ),
        (
            "[default.sessions.cookie]\nsame_site = \"lax\"\n",
            vec![],
            vec!["sessions.cookie.same_site", "Lax"],
        ),
        (
            "",
            vec![("ROCKET_SESSIONS", "{idle_timeout=-5}")],
            vec!["sessions.idle_timeout", "ROCKET_"],
        ),
        (
            "",
            vec![("ROCKET_SESSIONS", "{directory={path=\"/no/such/place\"}}")],
            vec!["/no/such/place", "its parent does not exist"],
        ),
    ] {
        let log = launch(there.path(), toml, &settings)
            .err()
            .expect("it does not launch");
        let line = log
            .lines()
            .find(|line| line.contains(expected[0]))
            .unwrap_or_else(|| panic!("not told: {log}"));
        for part in expected {
            assert!(line.contains(part), "{line}");
        }
    }
}

#[test]
fn a_release_without_a_secret_key_does_not_launch() {
    let there = tempfile::tempdir().unwrap();
    let settings = [("ROCKET_PROFILE", "release"), ("ROCKET_SECRET_KEY", "")];
    let log = launch(there.path(), "", &settings)
        .err()
        .expect("it does not launch");
    assert!(log.contains("secret_key"), "{log}");
}

#[test]
fn a_path_is_relative_to_the_file_that_names_it() {
    let there = tempfile::tempdir().unwrap();
    let inside = there.path().join("deeper");
    fs::create_dir(&inside).unwrap();
    fs::write(
        there.path().join("Rocket.toml"),
        "[default.sessions.directory]\npath = \"kept\"\n",
    )
    .unwrap();
    let server = Server::start("hello", &inside, &[]);
    server.get("/", None);
    assert_eq!(fs::read_dir(there.path().join("kept")).unwrap().count(), 1);
}

#[async_test]
async fn a_cookie_readable_by_scripts_logs_a_warning() {
    const MARKER: &str = "sessions.cookie.http_only";
    // It also keeps the log.
    let figment = figment().merge(("sessions.cookie.http_only", false));
    let before = log::lines_with(MARKER).len();
    let rocket = rocket::custom(figment).attach(Sessions::with(MemoryStore::new()));
    rocket.ignite().await.expect("it works");
    // A concurrent test may cause a warning, too.
    let lines = log::lines_with(MARKER).split_off(before);
    assert!(!lines.is_empty(), "nothing is logged");
    assert!(lines[0].starts_with("WARN "), "{lines:?}");
}
