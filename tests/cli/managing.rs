//! Sessions are listed, shown, ended, swept and counted while the application runs.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{KINDS, SQL, Site, StoreKind, log_in, seconds};
use crate::support::process::wait_until;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_list_names_each_session_with_user_times_size_address_and_browser() {
    for kind in KINDS {
        let site = Site::new(kind);
        let server = site.launch();
        let cookie = log_in(&server, "alice");
        server.get("/add/visits", None);
        let all = site.list(&[]);
        assert_eq!(all.len(), 2, "{kind:?}");
        let alice = all.iter().find(|session| session["user"] == "alice");
        let alice = alice.expect("she is in the list");
        assert_eq!(alice["handle"].as_str().map(str::len), Some(43));
        assert_eq!(alice["address"], "127.0.0.1");
        assert!(alice["size"].as_u64().is_some_and(|size| size > 100));
        assert!(
            alice["browser"]
                .as_str()
                .is_some_and(|agent| agent.contains("ureq"))
        );
        for time in ["created", "last_used", "expires"] {
            let time = alice[time].as_str().expect("it is a text");
            assert!(time.ends_with('Z') && time.contains('T'), "{time}");
        }
        assert!(alice["expires"].as_str() > alice["last_used"].as_str());
        let anonymous = all.iter().find(|session| session["user"] == Value::Null);
        let anonymous = anonymous.expect("so is the visitor without a user");
        assert_eq!(anonymous["handle"].as_str().map(str::len), Some(43));

        let table = site.run(&["list"]).ok();
        let handle = alice["handle"].as_str().expect("it is a text");
        assert!(table.starts_with("HANDLE"), "{table}");
        let row = table.lines().find(|line| line.starts_with(handle));
        let row = row.expect("the table has a row for each session");
        assert!(
            row.contains("alice") && row.contains("ago") && row.contains("in "),
            "{row}"
        );
        let secret = cookie.split_once('=').expect("a cookie has a value").1;
        let ids = rocket_session_kit::testing::run(async {
            use rocket::futures::TryStreamExt;
            let all: Result<Vec<_>, _> = site.store().iter_sessions().try_collect().await;
            all.expect("the store lists them")
        });
        for (id, _) in ids {
            assert!(!table.contains(&id.to_hex()) && !table.contains(secret));
        }
    }
}

#[test]
fn a_list_is_filtered_by_user_age_and_number() {
    let site = Site::new(StoreKind::Directory);
    let server = site.launch();
    log_in(&server, "alice");
    log_in(&server, "alice");
    log_in(&server, "bob");
    server.get("/add/visits", None);
    site.plant(2, 3 * HOUR);
    for (filter, count) in [
        (&[][..], 6),
        (&["--user", "alice"], 2),
        (&["--user", "nobody"], 0),
        (&["--anonymous"], 1),
        (&["--older-than", "2h"], 2),
        (&["--newer-than", "2h"], 4),
        (&["--user", "alice", "--older-than", "2h"], 0),
        (&["--limit", "3"], 3),
        (&["--user", "alice", "--limit", "1"], 1),
    ] {
        assert_eq!(site.list(filter).len(), count, "{filter:?}");
    }
    let error = site.run(&["list", "--older-than", "soon"]).fails(2);
    assert!(error.contains("30d"), "{error}");
    site.run(&["list", "--user", "alice", "--anonymous"])
        .fails(2);
}

#[test]
fn a_text_that_a_visitor_chose_does_not_control_the_terminal() {
    let site = Site::new(StoreKind::Directory);
    let server = site.launch();
    let (status, _, _) = server.get("/login/al%1b%5b31mice", None);
    assert_eq!(status, 200);
    let table = site.run(&["list"]).ok();
    assert!(table.contains("al\u{fffd}[31mice"), "{table:?}");
    assert_eq!(site.list(&[])[0]["user"], "al\u{1b}[31mice");
}

#[test]
fn a_session_is_shown_with_its_values_masked() {
    for kind in KINDS {
        let site = Site::new(kind);
        let server = site.launch();
        let cookie = log_in(&server, "alice");
        server.get("/add/visits", Some(&cookie));
        site.plant(1, HOUR);
        for (user, value, shown) in [("alice", "visits", "1"), ("user-0", "secret", "squirrel-0")] {
            // A session that was saved without an index is found by the list.
            let all = site.list(&[]);
            let found = all.iter().find(|session| session["user"] == user);
            let handle = found.expect("it is there")["handle"].as_str();
            let handle = handle.expect("it has one");
            // All stores but Memcached trust an index that lacks a session.
            if user == "user-0" && kind != StoreKind::Memcached {
                continue;
            }
            let masked = site.run(&["show", handle]).ok();
            assert!(masked.contains(user) && masked.contains(value), "{masked}");
            assert!(
                masked.contains("(masked)") && !masked.contains("squirrel"),
                "{masked}"
            );
            let open = site.run(&["show", handle, "--values"]).ok();
            assert!(open.contains(shown) && !open.contains("(masked)"), "{open}");
            let json = site.run(&["show", "--json", handle]).ok();
            let json: Value = serde_json::from_str(&json).expect("it is JSON");
            assert_eq!(json["user"], user);
            assert_eq!(json["values"][0]["name"], value);
            assert_eq!(json["values"][0]["value"], Value::Null);
            let json = site.run(&["show", "--json", "--values", handle]).ok();
            let json: Value = serde_json::from_str(&json).expect("it is JSON");
            assert!(json["values"][0]["value"].to_string().contains(shown));
        }
    }
}

#[test]
fn a_session_without_a_user_is_shown_and_ended_by_its_handle() {
    let site = Site::new(StoreKind::Redis);
    let server = site.launch();
    let (_, cookie, _) = server.get("/add/visits", None);
    let handle = site.list(&["--anonymous"])[0]["handle"].clone();
    let handle = handle.as_str().expect("it has one");
    assert!(site.run(&["show", handle]).ok().contains("visits"));
    assert_eq!(site.run(&["end", handle]).ok(), "1 session ended\n");
    assert_eq!(server.get("/keys", cookie.as_deref()).2, "");
}

#[test]
fn an_unknown_handle_is_not_found_and_anything_else_is_no_handle() {
    let site = Site::new(StoreKind::Directory);
    for unknown in [
        "0123456789-_0123456789-_0123456789-_0123454",
        "-123456789-_0123456789-_0123456789-_0123454",
    ] {
        for command in ["show", "end"] {
            let error = site.run(&[command, unknown]).fails(3);
            assert!(error.contains("no session with this handle"), "{error}");
            assert!(!error.contains(unknown), "{error}");
        }
    }
    // It may be an id, or a cookie.
    let secret = "0123456789abcdef0123456789abcdef";
    let error = site.run(&["show", secret]).fails(2);
    assert!(
        error.contains("43 characters") && !error.contains(secret),
        "{error}"
    );
}

#[test]
fn sessions_end_by_handle_by_user_or_all() {
    for kind in KINDS {
        let site = Site::new(kind);
        let server = site.launch();
        let users = ["alice", "alice", "bob", "carol", "carol"];
        let cookies = users.map(|user| log_in(&server, user));
        let who = || -> Vec<String> {
            let each = cookies.iter();
            each.map(|cookie| server.get("/who", Some(cookie)).2)
                .collect()
        };
        assert_eq!(
            site.run(&["end", &site.handle_of("bob")]).ok(),
            "1 session ended\n"
        );
        assert_eq!(
            who(),
            ["alice", "alice", "nobody", "carol", "carol"],
            "{kind:?}"
        );
        assert_eq!(
            site.run(&["end", "--user", "alice"]).ok(),
            "2 sessions ended\n"
        );
        assert_eq!(
            site.run(&["end", "--user", "alice"]).ok(),
            "0 sessions ended\n"
        );
        assert_eq!(who(), ["nobody", "nobody", "nobody", "carol", "carol"]);
        let error = site.run(&["end", "--all"]).fails(1);
        assert!(error.contains("--yes"), "{error}");
        assert_eq!(site.list(&[]).len(), 2);
        server.get("/renew", Some(&cookies[3]));
        assert_eq!(
            site.run(&["end", "--all", "--yes"]).ok(),
            "2 sessions ended\n"
        );
        assert_eq!(who(), ["nobody"; 5]);
        assert_eq!(site.list(&[]).len(), 0);
    }
}

#[test]
fn an_end_of_all_asks_first() {
    let site = Site::new(StoreKind::Directory);
    log_in(&site.launch(), "alice");
    for (typed, code, left) in [("no\n", 1, 1), ("\n", 1, 1), ("yes\n", 0, 0)] {
        let mut tool = site.tool();
        tool.args(["end", "--all"]).stdin(Stdio::piped());
        tool.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = tool.spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(typed.as_bytes()).expect("it reads");
        drop(stdin);
        let status = child.wait().expect("it ends");
        assert_eq!((status.code(), site.list(&[]).len()), (Some(code), left));
    }
    for usage in [
        &["end"][..],
        &["end", "--all", "--user", "alice"],
        &["end", "--yes"],
    ] {
        site.run(usage).fails(2);
    }
}

#[test]
fn a_sweep_deletes_expired_and_old_sessions() {
    let mut site = Site::new(StoreKind::Directory);
    site.settings = format!("idle_timeout=1,sweep_every=0,{}", site.settings);
    let server = site.launch();
    log_in(&server, "alice");
    let files = || std::fs::read_dir(site.path().join("sessions")).expect("it is there");
    let sessions = || {
        let files = files().map(|file| file.expect("it can be read"));
        files.filter(|file| file.path().is_file()).count()
    };
    site.plant(3, 3 * HOUR);
    wait_until("the session expires", || {
        site.list(&["--user", "alice"]).is_empty()
    });
    wait_until("the store hides it", || site.count() == 3);
    assert_eq!(sessions(), 4);
    assert_eq!(site.run(&["sweep"]).ok(), "1 session deleted, 3 remain\n");
    assert_eq!(sessions(), 3);
    // A server knows the age by the record, and a directory by the file, which is new here.
    for kind in [StoreKind::Redis, StoreKind::Memcached] {
        let site = Site::new(kind);
        site.plant(3, 3 * HOUR);
        site.plant(2, HOUR);
        let old = site.run(&["sweep", "--older-than", "2h"]).ok();
        assert_eq!(old, "3 sessions deleted, 2 remain\n", "{kind:?}");
    }
    site.run(&["sweep", "--older-than", "5s"]).fails(2);
}

#[test]
fn a_sweep_of_a_database_deletes_expired_sessions_beside_the_application() {
    for kind in SQL {
        let mut site = Site::new(kind);
        site.settings = format!("idle_timeout=1,sweep_every=0,{}", site.settings);
        let server = site.launch();
        log_in(&server, "alice");
        site.plant(3, HOUR);
        wait_until("the session expires", || site.count() == 3);
        assert_eq!(
            site.run(&["sweep"]).ok(),
            "1 session deleted, 3 remain\n",
            "{kind:?}"
        );
        // A database knows the age by the time of the save, as a directory does.
        let old = site.run(&["sweep", "--older-than", "2h"]).ok();
        assert_eq!(old, "0 sessions deleted, 3 remain\n", "{kind:?}");
    }
}

#[test]
fn the_stats_count_sessions_tombstones_sizes_and_ages() {
    for kind in KINDS {
        let site = Site::new(kind);
        let server = site.launch();
        let cookie = log_in(&server, "alice");
        server.get("/add/visits", None);
        site.plant(5, 3 * HOUR);
        server.get("/renew", Some(&cookie));
        let json = site.run(&["stats", "--json"]).ok();
        let json: Value = serde_json::from_str(&json).expect("it is JSON");
        for (name, count) in [
            ("live", 7),
            ("of_users", 6),
            ("anonymous", 1),
            ("tombstones", 1),
        ] {
            assert_eq!(json[name], count, "{kind:?}: {name} in {json}");
        }
        assert_eq!(json["ages"][3], serde_json::json!([21_600, 5]));
        assert_eq!(json["idle"][0], serde_json::json!([60, 2]));
        assert!(json["bytes"].as_u64() > json["largest"].as_u64());
        let page = site.run(&["stats"]).ok();
        let bar = "#".repeat(40);
        let line = format!("  below 6h                  5  {bar}");
        assert!(page.lines().any(|found| found == line), "{page}");
    }
}

#[test]
fn the_times_of_a_list_are_those_of_the_session() {
    let site = Site::new(StoreKind::Redis);
    site.plant(1, HOUR);
    let session = &site.list(&[])[0];
    let hour_ago = humantime(seconds() - 3600);
    let used = session["last_used"].as_str().expect("it is a text");
    // The minute may change in between.
    assert_eq!(used[..13], hour_ago[..13], "{used} {hour_ago}");
    assert!(session["expires"].as_str() > session["last_used"].as_str());
}

/// Returns a time as `date` writes it.
fn humantime(seconds: u64) -> String {
    let at = format!("@{seconds}");
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &at, "+%FT%TZ"])
        .output();
    String::from_utf8(date.expect("`date` runs").stdout).expect("it writes text")
}
