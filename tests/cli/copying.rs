//! A copy brings every session to the other store, again only what has changed, and brings none back.

use std::time::Duration;

use rocket_session_kit::testing::run;

use super::{KINDS, SQL, Site, StoreKind, log_in};

#[test]
fn sessions_go_on_at_the_target_between_each_pair_of_stores() {
    for (one, from) in KINDS.into_iter().enumerate() {
        for (other, to) in KINDS.into_iter().enumerate() {
            // A database and another store are a pair in one direction.
            let is_sql = [from, to].map(|kind| SQL.contains(&kind));
            if is_sql == [false; 2] || from != to && ((one + other) % 2 == 0) == (one < other) {
                moves(from, to);
            }
        }
    }
}

fn moves(from: StoreKind, to: StoreKind) {
    let (source, target) = (Site::new(from), Site::new(to));
    let server = source.launch();
    let alice = [log_in(&server, "alice"), log_in(&server, "alice")];
    let (_, anonymous, _) = server.get("/add/visits", None);
    server.get("/add/cart", Some(&alice[0]));
    let renewed = log_in(&server, "carol");
    let (_, current, _) = server.get("/renew", Some(&renewed));
    let done = source.copy_to(&target).ok();
    assert!(
        done.starts_with("4 sessions copied, 0 updated, 0 ended, 0 unchanged"),
        "{done}"
    );
    server.kill();

    let server = target.launch();
    assert_eq!(
        server.get("/keys", Some(&alice[0])).2,
        "cart",
        "{from:?} {to:?}"
    );
    assert_eq!(server.get("/who", Some(&alice[1])).2, "alice");
    assert_eq!(server.get("/who", current.as_deref()).2, "carol");
    // In the grace of its renewal, the old cookie reaches the session.
    assert_eq!(server.get("/who", Some(&renewed)).2, "carol");
    assert_eq!(server.get("/add/visits", anonymous.as_deref()).2, "2");
    assert_eq!(
        server.get("/places/alice", None).2,
        "2",
        "the index is there"
    );
    assert_eq!(server.get("/endall/alice", None).2, "2");
    assert_eq!(server.get("/who", Some(&alice[0])).2, "nobody");
    assert_eq!(server.get("/who", Some(&alice[1])).2, "nobody");
}

#[test]
fn a_second_copy_brings_only_changes_and_ends() {
    for (from, to) in [
        (StoreKind::Redis, StoreKind::Directory),
        (StoreKind::Directory, StoreKind::Memcached),
        (StoreKind::Memcached, StoreKind::Redis),
        (StoreKind::Sqlite, StoreKind::Postgres),
        (StoreKind::Postgres, StoreKind::MariaDb),
        (StoreKind::MariaDb, StoreKind::Directory),
    ] {
        let (source, target) = (Site::new(from), Site::new(to));
        let server = source.launch();
        let cookies = ["alice", "bob", "carol", "dora"].map(|user| log_in(&server, user));
        let first = source.copy_to(&target).ok();
        assert_eq!(
            first,
            "4 sessions copied, 0 updated, 0 ended, 0 unchanged\n"
        );
        let again = source.copy_to(&target).ok();
        assert_eq!(
            again,
            "0 sessions copied, 0 updated, 0 ended, 4 unchanged\n"
        );

        server.get("/add/visits", Some(&cookies[0]));
        // One is logged out, one is ended by somebody else.
        server.get("/logout", Some(&cookies[1]));
        assert_eq!(server.get("/endall/carol", None).2, "1");
        let eve = log_in(&server, "eve");
        let second = source.copy_to(&target).ok();
        assert_eq!(
            second, "1 session copied, 1 updated, 2 ended, 1 unchanged\n",
            "{from:?} {to:?}"
        );
        let third = source.copy_to(&target).ok();
        assert!(
            third.starts_with("0 sessions copied, 0 updated, 0 ended"),
            "{third}"
        );
        server.kill();

        let server = target.launch();
        assert_eq!(server.get("/keys", Some(&cookies[0])).2, "visits");
        assert_eq!(server.get("/who", Some(&cookies[1])).2, "nobody");
        assert_eq!(server.get("/who", Some(&cookies[2])).2, "nobody");
        assert_eq!(server.get("/who", Some(&cookies[3])).2, "dora");
        assert_eq!(server.get("/who", Some(&eve)).2, "eve");
    }
}

#[test]
fn a_session_that_ended_at_the_target_is_not_brought_back() {
    for to in KINDS {
        let (source, target) = (Site::new(StoreKind::Redis), Site::new(to));
        let server = source.launch();
        let cookies = ["alice", "bob"].map(|user| log_in(&server, user));
        source.copy_to(&target).ok();
        let moved = target.launch();
        moved.get("/logout", Some(&cookies[0]));
        assert_eq!(moved.get("/who", Some(&cookies[0])).2, "nobody");
        for _ in 0..2 {
            let done = source.copy_to(&target).ok();
            assert!(
                done.contains("1 unchanged, 1 ended at the target"),
                "{to:?}: {done}"
            );
        }
        assert_eq!(moved.get("/who", Some(&cookies[0])).2, "nobody");
        // Not even if somebody goes on with it at the source.
        server.get("/add/visits", Some(&cookies[0]));
        source.copy_to(&target).ok();
        assert_eq!(moved.get("/who", Some(&cookies[0])).2, "nobody");
        assert_eq!(moved.get("/who", Some(&cookies[1])).2, "bob");
    }
}

#[test]
fn a_session_that_has_changed_at_the_target_stays() {
    let (source, target) = (Site::new(StoreKind::Directory), Site::new(StoreKind::Redis));
    let server = source.launch();
    let cookies = ["alice", "bob", "carol"].map(|user| log_in(&server, user));
    source.copy_to(&target).ok();
    let moved = target.launch();
    for cookie in &cookies {
        moved.get("/add/there", Some(cookie));
    }
    server.get("/add/here", Some(&cookies[1]));
    server.get("/logout", Some(&cookies[2]));
    let done = source.copy_to(&target).ok();
    assert!(done.contains("1 newer at the target"), "{done}");
    assert!(
        done.contains("1 changed on both sides and left as at the target"),
        "{done}"
    );
    assert!(done.contains(" 0 updated, 0 ended"), "{done}");
    assert_eq!(moved.get("/keys", Some(&cookies[0])).2, "there");
    assert_eq!(moved.get("/keys", Some(&cookies[1])).2, "there");
    assert_eq!(moved.get("/who", Some(&cookies[2])).2, "carol");
    // An end by an administrator leaves a tombstone, and counts whatever the target has.
    let handle = source.handle_of("alice");
    source.run(&["end", &handle]).ok();
    let done = source.copy_to(&target).ok();
    assert!(done.contains(" 1 ended,"), "{done}");
    assert_eq!(moved.get("/who", Some(&cookies[0])).2, "nobody");
}

#[test]
fn copies_keep_the_bytes_the_revision_and_the_end() {
    for to in KINDS {
        let (source, target) = (Site::new(StoreKind::Redis), Site::new(to));
        let ids = source.plant(20, Duration::from_secs(3600));
        source.copy_to(&target).ok();
        for id in &ids {
            let [one, other] = run(async {
                let one = source.store().load_session(id).await;
                let other = target.store().load_session(id).await;
                [one, other].map(|there| there.expect("it responds").expect("it is there"))
            });
            assert!(one.bytes == other.bytes, "{to:?}");
        }
    }
    let (source, target) = (Site::new(StoreKind::Directory), Site::new(StoreKind::Redis));
    let id = source.plant(1, Duration::from_secs(3600))[0].to_hex();
    source.copy_to(&target).ok();
    let server = target.redis.as_ref().expect("it is on Redis");
    let left: u64 = server
        .cli(&["TTL", &format!("session:{id}")])
        .trim()
        .parse()
        .expect("a number");
    assert!((86_000..=86_400).contains(&left), "{left} s are left");
}

#[test]
fn what_is_no_session_is_counted_and_not_copied() {
    let (source, target) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Memcached));
    source.plant(1, Duration::from_secs(3600));
    let server = source.redis.as_ref().expect("it is on Redis");
    let id = rocket_session_kit::SessionId::random().to_hex();
    server.cli(&["SET", &format!("session:{id}"), "garbage"]);
    let done = source.copy_to(&target).ok();
    assert!(
        done.contains("1 session copied") && done.contains("1 unreadable"),
        "{done}"
    );
    // A session that does not fit is refused by name of the reason, and the others are copied.
    let id = rocket_session_kit::SessionId::random().to_hex();
    let large = "x".repeat(1_100_000);
    let expires = super::seconds() + 3600;
    let record = format!(
        r#"{{"rev":"00000000000000ff","expires":{expires},"v":1,"id":"{id}","created":1,"accessed":1,"values":{{"a":"{large}"}}}}"#
    );
    let mut client = redis::Client::open(server.url()).expect("it is a URL");
    let _: () = redis::Commands::set(&mut client, format!("session:{id}"), record).expect("room");
    let done = source.copy_to(&target);
    assert!(
        done.out.contains("1 too large for the target"),
        "{}",
        done.out
    );
    assert!(done.fails(1).contains("1 session too large"));
}

#[test]
fn an_empty_source_ends_no_copies_by_mistake() {
    let (source, target) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Directory));
    source.plant(3, Duration::from_secs(3600));
    source.copy_to(&target).ok();
    let server = source.redis.as_ref().expect("it is on Redis");
    server.cli(&["FLUSHALL"]);
    let error = source.copy_to(&target).fails(1);
    assert!(error.contains("--source-is-empty"), "{error}");
    assert_eq!(target.count(), 3);
    let file = target.toml();
    let file = file.to_str().expect("it is text");
    let done = source
        .run(&["copy", "--to", file, "--source-is-empty"])
        .ok();
    assert_eq!(done, "0 sessions copied, 0 updated, 3 ended, 0 unchanged\n");
    assert_eq!(target.count(), 0);
}

#[test]
fn a_copy_onto_itself_is_refused() {
    for kind in KINDS {
        let site = Site::new(kind);
        assert!(
            site.copy_to(&site)
                .fails(1)
                .contains("the store that the sessions are copied from")
        );
    }
    for kind in SQL {
        let site = Site::new(kind);
        let url = site.url.as_ref().expect("it is in a database");
        let store = site.settings.split(',').next().expect("it names the store");
        let file = site.path().join("same.toml");
        let copy = |toml: String| {
            std::fs::write(&file, toml).expect("there is room for a file");
            site.run(&["copy", "--to", file.to_str().expect("it is text")])
        };
        // By its name, and by another name of the host.
        let by_name =
            format!("[default.databases.main]\nurl = \"{url}\"\n[default.sessions]\n{store}\n");
        let error = copy(by_name.clone() + "sql.database = \"main\"").fails(1);
        assert!(error.contains("another table"), "{kind:?}: {error}");
        let other = url.replace("127.0.0.1", "localhost");
        let error = copy(format!(
            "[default.sessions]\n{store}\nsql.url = \"{other}\""
        ))
        .fails(1);
        assert!(error.contains("another table"), "{kind:?}: {error}");
        // Another table of the database is another store.
        site.plant(2, Duration::from_secs(60));
        let done = copy(by_name + "sql = { database = \"main\", table = \"other\" }").ok();
        assert!(done.starts_with("2 sessions copied"), "{kind:?}: {done}");
    }
    let site = Site::new(StoreKind::Directory);
    let error = site.run(&["copy", "--to", "nowhere.toml"]).fails(1);
    assert!(error.contains("nowhere.toml"), "{error}");
}

#[test]
fn the_cache_is_not_copied_and_a_credential_that_counted_does_not_count_again() {
    let (source, target) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Redis));
    source.plant(1, Duration::from_secs(60));
    let [from, to] = [&source, &target].map(|site| site.redis.as_ref().expect("it is on Redis"));
    from.cli(&["SET", "session:cache:page", "cached"]);
    from.cli(&["SET", "session:taken-over:abc", "1763659000 "]);
    source.copy_to(&target).ok();
    assert_eq!(to.cli(&["EXISTS", "session:cache:page"]).trim(), "0");
    assert_eq!(
        to.cli(&["GET", "session:taken-over:abc"]).trim(),
        "1763659000"
    );
    let left: i64 = to
        .cli(&["TTL", "session:taken-over:abc"])
        .trim()
        .parse()
        .expect("a number");
    assert!(left > 86_400);
}

#[test]
fn a_copy_makes_the_tables_of_its_target() {
    let source = Site::new(StoreKind::Directory);
    source.plant(3, Duration::from_secs(60));
    for kind in SQL {
        let target = Site::without_tables(kind);
        let done = source.copy_to(&target).ok();
        assert!(done.starts_with("3 sessions copied"), "{kind:?}: {done}");
        assert_eq!(target.count(), 3, "{kind:?}");
    }
}
