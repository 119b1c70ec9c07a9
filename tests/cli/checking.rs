//! `check` finds what a launch would find: every mistake at once, with its origin and the remedy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Done, KINDS, SQL, Site, StoreKind, TOOL, log_in};
use crate::support::redis::Redis;
use crate::support::sql_server::execute;

/// Runs the program in a directory with this `Rocket.toml`.
fn with_toml(toml: &str, arguments: &[&str]) -> (tempfile::TempDir, Done) {
    let there = tempfile::tempdir().expect("there is room for a directory");
    fs::write(there.path().join("Rocket.toml"), toml).expect("there is room for a file");
    let mut tool = Command::new(TOOL);
    let done = Done::of(tool.current_dir(there.path()).args(arguments));
    (there, done)
}

#[test]
fn a_store_that_works_passes_and_keeps_nothing_of_the_probe() {
    for kind in KINDS {
        let site = Site::new(kind);
        let out = site.run(&["check"]).ok();
        assert!(out.contains("ok: a probe session was created"), "{out}");
        assert!(out.contains("`sessions.store_timeout` is set in"), "{out}");
        let server = out.contains("responds, version ");
        let has_none = [StoreKind::Directory, StoreKind::Sqlite].contains(&kind);
        assert_eq!(server, !has_none, "{out}");
        assert_eq!(site.count(), 0);
    }
    let redis = Site::new(StoreKind::Redis);
    redis.run(&["check"]).ok();
    let server = redis.redis.as_ref().expect("it is on Redis");
    assert_eq!(server.cli(&["DBSIZE"]).trim(), "0");
}

#[test]
fn every_mistake_is_reported_at_once_with_its_origin() {
    let toml = "[default.sessions]\nidle_timout = 5\nstore_timeout = 0\nrenewal_grace = 61\n\
                redis = { url = \"redis://:hunter2@localhost\", prefx = \"x\" }\n\
                cookie = { name = \"a b\", same_site = \"lax\" }\n";
    let (_there, done) = with_toml(toml, &["check"]);
    let error = done.fails(1);
    for part in [
        "sessions.idle_timout in ",
        "sessions.redis.prefx in ",
        "sessions.cookie.same_site in ",
        "`sessions.store_timeout`",
        "`sessions.renewal_grace`",
        "sessions.cookie.name",
        "6 problems",
    ] {
        assert!(error.contains(part), "{part} is missing in {error}");
    }
    assert!(error.contains("Rocket.toml"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    // Other commands say the same as the launch.
    let (_there, done) = with_toml(toml, &["list"]);
    assert_eq!(done.fails(1).lines().count(), 1);
}

#[test]
fn a_file_that_is_not_toml_is_no_file_without_settings() {
    let (_there, done) = with_toml("[default.sessions]\nurl = hunter2 hunter2", &["list"]);
    let error = done.fails(1);
    assert!(error.contains("not TOML at line 2"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let error = Site::new(StoreKind::Directory).run(&["list", "--config", "nowhere.toml"]);
    assert!(error.fails(1).contains("nowhere.toml"));
}

#[test]
fn the_profile_and_the_file_are_those_of_the_arguments() {
    let toml = "[release.sessions]\nidle_timeout = 0";
    let (there, done) = with_toml(toml, &["check", "--profile", "debug"]);
    done.ok();
    let (_, done) = with_toml(toml, &["check", "--profile", "release"]);
    assert!(done.fails(1).contains("idle_timeout"));
    let mut tool = Command::new(TOOL);
    tool.current_dir(there.path())
        .env("ROCKET_PROFILE", "release");
    Done::of(tool.arg("check")).fails(1);
    fs::write(
        there.path().join("other.toml"),
        "[default.sessions]\nstore = 5",
    )
    .expect("room");
    let mut tool = Command::new(TOOL);
    tool.current_dir(there.path())
        .args(["check", "--config", "other.toml"]);
    assert!(Done::of(&mut tool).fails(1).contains("other.toml"));
}

#[test]
fn a_directory_is_neither_created_nor_opened_by_a_look() {
    let (there, done) = with_toml("", &["check"]);
    assert!(
        done.ok()
            .contains("does not exist yet; the launch creates it")
    );
    for command in [
        &["list"][..],
        &["stats"],
        &["sweep"],
        &["end", "--user", "alice"],
    ] {
        let (there, done) = with_toml("", command);
        let error = done.fails(1);
        assert!(
            error.contains("`sessions`") && error.contains("does not exist"),
            "{error}"
        );
        assert!(!there.path().join("sessions").exists());
    }
    let sessions = there.path().join("sessions");
    fs::create_dir(&sessions).expect("there is room for a directory");
    fs::set_permissions(&sessions, fs::Permissions::from_mode(0o755)).expect("it is ours");
    for command in ["check", "list"] {
        let mut tool = Command::new(TOOL);
        let error = Done::of(tool.current_dir(there.path()).arg(command)).fails(1);
        assert!(error.contains("chmod 700"), "{error}");
    }
    let mode = fs::metadata(&sessions)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755, "a look changes nothing");
    let (_there, done) = with_toml("default.sessions.directory.path = \"a/b\"", &["check"]);
    assert!(done.fails(1).contains("its parent does not exist"));
}

#[test]
fn tables_are_neither_made_nor_changed_by_a_look() {
    for kind in SQL {
        let site = Site::without_tables(kind);
        let out = site.run(&["check"]).ok();
        assert!(
            out.contains("warning: the table `sessions` at `")
                && out.contains("does not exist yet; the launch creates it"),
            "{out}"
        );
        for command in [
            &["list"][..],
            &["stats"],
            &["sweep"],
            &["end", "--user", "alice"],
        ] {
            let error = site.run(command).fails(1);
            assert!(
                error.contains("the table `sessions` does not exist: the application creates it"),
                "{error}"
            );
        }
        assert!(!site.path().join("sessions.db").exists());
        // A launch that makes no tables says how they are made.
        let (store, url) = (&site.settings, site.url.as_ref().expect("it has one"));
        let store = store.split(',').next().expect("it names the store");
        let set = |more: &str| format!("[default.sessions]\n{store}\nsql.url = \"{url}\"\n{more}");
        let (_there, done) = with_toml(&set("sql.migrate = false"), &["check"]);
        let error = done.fails(1);
        if kind != StoreKind::Sqlite {
            assert!(error.contains("CREATE TABLE"), "{error}");
        }
        site.launch();
        let out = site.run(&["check"]).ok();
        assert!(out.contains("ok: a probe session was created"), "{out}");
        let (_there, done) = with_toml(&set("sql.table = \"visitors\""), &["list"]);
        assert!(
            done.fails(1)
                .contains("the table `visitors` does not exist")
        );
    }
}

#[test]
fn a_mistake_about_the_database_is_an_error_of_the_check() {
    for (toml, parts) in [
        (
            "[default.sessions]\nstore = \"postgres\"\nidle_timout = 5\nsql.tabel = \"x\"\nsql.database = \"shop\"",
            &[
                "sessions.idle_timout",
                "sessions.sql.tabel",
                "`sessions.sql.database`",
            ][..],
        ),
        (
            "[default.sessions]\nstore = \"mysql\"\nsql.url = \"postgres://u:hunter2@h/d\"",
            &["`sessions.sql.url`", "choose another store"],
        ),
        (
            "[default.sessions]\nstore = \"redis\"\ncache.store = \"mysql\"\nsql.url = \"sqlite:hunter2\"",
            &["`sessions.sql.url`", "than `sessions.cache.store` names"],
        ),
        (
            "[default.sessions]\nstore = \"sqlite\"\nsql.url = \"sqlite:/no/such/place/a.db\"",
            &["/no/such/place/a.db", "its directory must exist"],
        ),
    ] {
        let (_there, done) = with_toml(toml, &["check"]);
        let error = done.fails(1);
        for part in parts {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
        assert!(!error.contains("hunter2"), "{error}");
    }
    // A database that is not there, and a user that may only read.
    for kind in [StoreKind::Postgres, StoreKind::MariaDb] {
        let mut site = Site::new(kind);
        let url = site.url.clone().expect("it has one");
        let (host, name) = url.rsplit_once('/').expect("it names a database");
        site.settings = site.settings.replace(name, "nowhere");
        let error = site.run(&["check"]).fails(1);
        assert!(
            error.contains("there is no such database; create it"),
            "{error}"
        );
        let reader = format!("reader_of_{name}");
        let role = match kind {
            StoreKind::Postgres => format!(
                "CREATE ROLE {reader} LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}"
            ),
            _ => format!(
                "CREATE USER {reader} IDENTIFIED BY 'hunter2'; GRANT SELECT ON {name}.* TO {reader}"
            ),
        };
        execute(&url, &role);
        let user = format!("//{reader}:hunter2@");
        let host = host.replace("//postgres@", &user).replace("//root@", &user);
        let mine = Site::new(kind).settings;
        let store = mine.split(',').next().expect("it names the store");
        site.settings = format!(r#"{store},sql={{migrate=false,url="{host}/{name}"}}"#);
        let error = site.run(&["check"]).fails(1);
        assert!(
            error.contains("cannot save a session") && error.contains("lacks a necessary right"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
        // It suffices for a look.
        site.run(&["list"]).ok();
        // To make the tables, it would need more.
        site.settings = site.settings.replace("migrate=false", r#"table="other""#);
        let error = site.launch_fails();
        assert!(error.contains("lacks a necessary right"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_sessions_of_the_memory_store_are_out_of_reach() {
    let toml = "default.sessions.store = \"memory\"";
    let (_there, done) = with_toml(toml, &["list"]);
    assert!(
        done.fails(1)
            .contains("inside the process of the application")
    );
    let (_there, done) = with_toml(toml, &["check"]);
    assert!(done.ok().contains("warning: the store `memory`"));
}

#[test]
fn a_server_that_is_down_is_an_error_of_every_command() {
    for kind in [
        StoreKind::Redis,
        StoreKind::Memcached,
        StoreKind::Postgres,
        StoreKind::MariaDb,
    ] {
        let mut site = Site::without_tables(kind);
        site.settings = match kind {
            StoreKind::Postgres => {
                r#"store="postgres",sql={url="postgres://u:hunter2@127.0.0.1:1/d"}"#.into()
            }
            StoreKind::MariaDb => {
                r#"store="mysql",sql={url="mysql://u:hunter2@127.0.0.1:1/d"}"#.into()
            }
            StoreKind::Redis => {
                r#"store="redis",redis={url="redis://:hunter2@127.0.0.1:1"}"#.into()
            }
            _ => r#"store="memcached",memcached={servers=["127.0.0.1:1"]}"#.into(),
        };
        let other = Site::new(StoreKind::Directory);
        for command in [
            &["check"][..],
            &["list"],
            &["stats"],
            &["end", "--all", "--yes"],
            &["sweep"],
        ] {
            let error = site.run(command).fails(1);
            assert!(error.contains("127.0.0.1:1"), "{command:?}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let error = site.copy_to(&other).fails(1);
        let is_open = !SQL.contains(&kind);
        assert_eq!(error.contains("0 sessions copied"), is_open, "{error}");
        other.plant(1, std::time::Duration::from_secs(60));
        other.copy_to(&site).fails(1);
    }
}

#[test]
fn a_server_that_drops_sessions_is_a_warning() {
    let mut site = Site::new(StoreKind::Redis);
    let server = Redis::with(&["--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"]);
    site.settings = format!(r#"store="redis",redis={{url="{}"}}"#, server.url());
    let out = site.run(&["check"]).ok();
    assert!(
        out.contains("warning: ") && out.contains("`allkeys-lru`"),
        "{out}"
    );
    server.cli(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    let out = site.run(&["check"]).ok();
    assert!(!out.contains("maxmemory-policy"), "{out}");
}

#[test]
fn a_server_that_refuses_a_command_fails_the_check() {
    let mut site = Site::new(StoreKind::Redis);
    let server = site.redis.as_ref().expect("it is on Redis");
    server.cli(&[
        "ACL", "SETUSER", "reader", "on", ">pass", "~*", "+@all", "-eval", "-evalsha", "-unlink",
    ]);
    site.settings = format!(
        r#"store="redis",redis={{url="redis://reader:pass@127.0.0.1:{}"}}"#,
        server.port
    );
    let error = site.run(&["check"]).fails(1);
    assert!(error.contains("cannot save a session"), "{error}");
    assert!(!error.contains("pass@"), "{error}");
}

#[test]
fn no_secret_key_is_needed_and_no_application() {
    let site = Site::new(StoreKind::Directory);
    let server = site.launch();
    log_in(&server, "alice");
    server.kill();
    let mut tool = site.tool();
    tool.env_remove("ROCKET_SECRET_KEY")
        .env("ROCKET_PROFILE", "release");
    assert!(Done::of(tool.arg("list")).ok().contains("alice"));
    let mut tool = site.tool();
    tool.env_remove("ROCKET_SECRET_KEY")
        .env("ROCKET_PROFILE", "release");
    let out = Done::of(tool.arg("check")).ok();
    assert!(out.contains("warning: no `secret_key`"), "{out}");
}
