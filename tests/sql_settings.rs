//! Sessions in a database by `Rocket.toml` alone: what it names is used, and a mistake in it stops the launch.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rocket::async_test;
use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::local::asynchronous::Client;
use rocket_session_kit::{Cache, Result, Session, Sessions};

use crate::launch::refused;
use crate::support::process::Server;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::support::sql_server::{Kind, new_database};
use crate::support::{Backend, text_of};

/// Adds a text of TOML to the settings.
fn with(toml: &str) -> impl FnOnce(Figment) -> Figment {
    move |figment| figment.merge(Toml::string(toml).nested())
}

/// A store as `Rocket.toml` names it, and its backend.
type Named = (&'static str, fn() -> Backend);

/// Returns the stores of databases whose feature is on.
fn stores() -> Vec<Named> {
    vec![
        #[cfg(feature = "sqlite")]
        ("sqlite", Backend::sqlite),
        #[cfg(feature = "postgres")]
        ("postgres", Backend::postgres),
        #[cfg(feature = "mysql")]
        ("mysql", Backend::mariadb),
    ]
}

/// Counts two visits in an example beside this `Rocket.toml`, restarts it, and returns its first log.
fn visits(there: &Path, toml: &str) -> String {
    fs::write(there.join("Rocket.toml"), toml).unwrap();
    let server = Server::start("hello", there, &[]);
    let (_, cookie, _) = server.get("/", None);
    assert_eq!(server.get("/", cookie.as_deref()).2, "visits: 2\n");
    let log = server.log();
    server.kill();
    let server = Server::start("hello", there, &[]);
    assert_eq!(server.get("/", cookie.as_deref()).2, "visits: 3\n");
    log
}

#[test]
fn a_url_in_rocket_toml_is_enough() {
    for (name, backend) in stores() {
        let there = tempfile::tempdir().unwrap();
        let backend = backend();
        let toml = format!("default.sessions = {}", backend.environment(""));
        let log = visits(there.path(), &toml);
        let line = format!("sessions in the store `{name}`, by the cookie `id`");
        assert!(log.contains(&line), "{log}");
        let files = fs::read_dir(there.path()).unwrap().count();
        assert_eq!(files, 1, "only `Rocket.toml` is there");
    }
}

#[test]
fn a_database_of_rocket_db_pools_is_found_by_its_name() {
    let mut urls = Vec::new();
    let directory = tempfile::tempdir().unwrap();
    if cfg!(feature = "sqlite") {
        // There, a file needs no scheme.
        let file = directory.path().join("main.db");
        urls.push(("sqlite", file.display().to_string()));
    }
    #[cfg(feature = "postgres")]
    urls.push(("postgres", new_database(Kind::Postgres)));
    #[cfg(feature = "mysql")]
    urls.push(("mysql", new_database(Kind::MariaDb)));
    for (store, url) in urls {
        let there = tempfile::tempdir().unwrap();
        let toml = format!(
            "[default.databases.main]\nurl = \"{url}\"\nmax_connections = 3\n\
             [default.sessions]\nstore = \"{store}\"\nsql.database = \"main\"\n"
        );
        visits(there.path(), &toml);
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn without_a_url_sqlite_keeps_its_file_in_the_working_directory() {
    let there = tempfile::tempdir().unwrap();
    visits(there.path(), "default.sessions.store = \"sqlite\"");
    let file = there.path().join("sessions.db");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it is for its owner alone");
}

#[cfg(feature = "sqlite")]
#[test]
fn a_file_is_relative_to_the_rocket_toml_that_names_it() {
    let there = tempfile::tempdir().unwrap();
    let inside = there.path().join("deeper");
    fs::create_dir(&inside).unwrap();
    let toml = "[default.sessions]\nstore = \"sqlite\"\nsql.url = \"sqlite:kept.db\"\n";
    fs::write(there.path().join("Rocket.toml"), toml).unwrap();
    Server::start("hello", &inside, &[]).get("/", None);
    assert!(there.path().join("kept.db").exists());
    assert_eq!(fs::read_dir(&inside).unwrap().count(), 0);
    // The variable is in no file.
    let settings = [(
        "ROCKET_SESSIONS",
        r#"{store="sqlite",sql={url="sqlite:kept.db"}}"#,
    )];
    Server::start("hello", &inside, &settings).get("/", None);
    assert!(inside.join("kept.db").exists());
}

#[async_test]
async fn a_mistake_stops_the_launch_with_the_key_and_the_remedy() {
    const BOTH: &str = "[default.databases.main]\nurl = 'sqlite:a.db'\n[default.sessions]\nsql.url = 'sqlite:b.db'\n";
    let mut cases: Vec<(String, &str, &str)> = vec![
        (
            format!("{BOTH}sql.database = 'main'"),
            "`sessions.sql.database`",
            "the URL of the database is set twice; remove it, or `sessions.sql.url`",
        ),
        (
            "default.sessions.sql.database = 'shop'".into(),
            "`sessions.sql.database`",
            "add `url` to `[default.databases.shop]`",
        ),
        (
            "default.sessions.sql.tabel = 'visitors'".into(),
            "sessions.sql.tabel",
            "the keys are url, database, table, max_connections, migrate",
        ),
        (
            "default.sessions.sql.migrate = 'yes'".into(),
            "sessions.sql.migrate",
            "expected a boolean, found a string",
        ),
    ];
    for (name, _) in stores() {
        let scheme = name;
        let wrong = if name == "sqlite" {
            "a?b=hunter2"
        } else {
            "//[hunter2"
        };
        let other = if name == "postgres" {
            "mysql"
        } else {
            "postgres"
        };
        let set = |more: &str| format!("[default.sessions]\nstore = '{name}'\n{more}");
        if name != "sqlite" {
            cases.push((
                set(""),
                "`sessions.sql.url`",
                "the store needs the URL of its database; set it, or `sessions.sql.database`",
            ));
        }
        cases.extend([
            (
                set(&format!("sql.url = '{other}://u:hunter2@h/d'")),
                "`sessions.sql.url`",
                "as its scheme, or choose another store",
            ),
            (
                set("sql.url = 'hunter2'"),
                "`sessions.sql.url`",
                "the URL is invalid; write `postgres://user:password@host/database`",
            ),
            (
                set(&format!("sql.url = '{scheme}:{wrong}'")),
                "`sessions.sql.url`",
                "; write `postgres://",
            ),
            (
                set(&format!(
                    "sql.url = '{scheme}:d'\nsql.table = 'My Sessions'"
                )),
                "`sessions.sql.table`",
                "it must have 1 to 40 lower-case letters, digits and `_`",
            ),
            (
                set(&format!("sql.url = '{scheme}:d'\nsql.max_connections = 0")),
                "`sessions.sql.max_connections`",
                "set it to 1 or more",
            ),
        ]);
    }
    if cfg!(feature = "sqlite") {
        for url in ["sqlite::memory:", "sqlite:a?mode=memory", "sqlite:"] {
            cases.push((
                format!("[default.sessions]\nstore = 'sqlite'\nsql.url = '{url}'"),
                "`sessions.sql.url`",
                "choose a file, or the store `memory`",
            ));
        }
        cases.push((
            "[default.sessions]\nstore = 'sqlite'\nsql.url = 'sqlite:/no/such/place/a.db'".into(),
            "`/no/such/place/a.db`",
            "its directory must exist and be writable",
        ));
    }
    for (toml, key, remedy) in cases {
        let message = refused(with(&toml), key).await;
        assert!(message.contains(remedy), "{toml}\n{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[async_test]
async fn a_store_whose_feature_is_off_stops_the_launch() {
    for (name, is_on) in [
        ("postgres", cfg!(feature = "postgres")),
        ("mysql", cfg!(feature = "mysql")),
        ("sqlite", cfg!(feature = "sqlite")),
    ] {
        if is_on {
            continue;
        }
        for key in [
            "sessions.store",
            "sessions.cache.store",
            "sessions.rate_limit.store",
        ] {
            let settings = |f: Figment| {
                f.merge((key, name))
                    .merge(("sessions.sql.url", format!("{name}:a")))
            };
            let message = refused(settings, &format!("`{key}`")).await;
            let remedy = format!("give `rocket_session_kit` the feature `{name}` in Cargo.toml");
            assert!(message.contains(&remedy), "{message}");
        }
    }
}

#[rocket::get("/count")]
async fn count(session: &Session, cache: &Cache) -> Result<String> {
    let cached: u64 = cache.get("count").await?.unwrap_or_default();
    cache.set("count", &(cached + 1)).await?;
    Ok(format!("{} {cached}", session.increment("count", 1)?))
}

async fn launch(figment: Figment) -> Client {
    let rocket = rocket::custom(figment).mount("/", rocket::routes![count]);
    let client = Client::tracked(rocket.attach(Sessions::fairing())).await;
    client.expect("it launches")
}

#[async_test]
async fn a_database_serves_the_sessions_the_cache_and_the_limits_alone_or_together() {
    for (name, backend) in stores() {
        for part in ["store", "cache.store", "rate_limit.store"] {
            let there = tempfile::tempdir().unwrap();
            let path = there.path().join("sessions");
            let settings = |f: Figment| {
                f.merge(("sessions.directory.path", path.clone()))
                    .merge(("sessions.store", "directory"))
                    .merge(("sessions.cache.store", "directory"))
                    .merge(("sessions.rate_limit.store", "directory"))
                    .merge(("sessions.rate_limit.limit", 3))
                    .merge((format!("sessions.{part}"), name))
            };
            let backend = backend();
            let figment = settings(backend.figment(""));
            let client = launch(figment.clone()).await;
            for expected in ["1 0", "2 1"] {
                assert_eq!(
                    text_of(client.get("/count")).await,
                    expected,
                    "{name}: {part}"
                );
            }
            // A restart keeps all three.
            let again = launch(figment).await;
            let cookies: Vec<_> = client.cookies().iter().cloned().collect();
            let request = again.get("/count").cookies(cookies);
            assert_eq!(text_of(request).await, "3 2", "{name}: {part}");
            let response = again.get("/count").dispatch().await;
            assert_eq!(response.status().code, 429, "{name}: {part}");
        }
    }
}

#[async_test]
async fn one_table_of_settings_names_one_database() {
    if !cfg!(all(feature = "sqlite", feature = "postgres")) {
        return;
    }
    let toml =
        "[default.sessions]\nstore = 'sqlite'\ncache.store = 'postgres'\nsql.url = 'sqlite:a.db'";
    let message = refused(with(toml), "`sessions.sql.url`").await;
    let part = "of another kind than `sessions.cache.store` names; write `postgres` as its scheme";
    assert!(message.contains(part), "{message}");
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
#[test]
fn no_log_shows_the_password_of_the_url() {
    let mut urls: Vec<(&str, String)> = Vec::new();
    // It lets everybody in, whatever the password.
    #[cfg(feature = "postgres")]
    urls.push((
        "postgres",
        new_database(Kind::Postgres).replace("postgres@", "postgres:hunter2@"),
    ));
    #[cfg(feature = "mysql")]
    urls.push((
        "mysql",
        new_database(Kind::MariaDb).replace("root@", "root:hunter2@"),
    ));
    for (store, url) in urls {
        let sessions = format!(r#"{{store="{store}",sql={{url="{url}"}}}}"#);
        let there = tempfile::tempdir().unwrap();
        let settings = [
            ("ROCKET_SESSIONS", &*sessions),
            ("ROCKET_LOG_LEVEL", "debug"),
        ];
        let log = match Server::try_start("hello", there.path(), &settings) {
            Ok(server) => {
                server.get("/", None);
                server.log()
            }
            Err(log) => {
                assert!(log.contains("it refused the user or the password"), "{log}");
                log
            }
        };
        assert!(log.contains("store") && !log.contains("hunter2"), "{log}");
    }
}
