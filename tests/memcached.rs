//! Memcached servers that are restarted, killed, frozen, cut off or full: nobody waits, nobody sees
//! another's session, and a server that is down is replaced by no other.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use rocket::error::ErrorKind::FailedFairings;
use rocket::figment::Figment;
use rocket::futures::TryStreamExt;
use rocket::futures::future::join_all;
use rocket::{async_test, tokio};
use rocket_session_kit::{
    ErrorKind, Expect, KeyValue, MemcachedStore, Namespace, Save, Saved, SessionId, SessionStore,
    Sessions,
};

use crate::support::memcached::Memcached;
use crate::support::process::wait_until;
use crate::support::proxy::Proxy;
use crate::support::{App, figment, log};

/// What no request of these tests may take: the time for one call, and a lot for a slow machine.
const SOON: Duration = Duration::from_secs(8);

fn brief(figment: Figment) -> Figment {
    figment.merge(("sessions.store_timeout", 400))
}

fn patient(figment: Figment) -> Figment {
    figment.merge(("sessions.store_timeout", 20_000))
}

fn store(port: u16) -> MemcachedStore {
    MemcachedStore::open([format!("127.0.0.1:{port}")]).expect("this is an address")
}

async fn app(server: &Memcached) -> App {
    let store = store(server.port).timeout(Duration::from_secs(20));
    App::on(store, patient).await
}

/// A session's bytes with `owner` in them.
fn session(owner: &str, filling: usize) -> Vec<u8> {
    let rev = SessionId::random().to_hex();
    let filling = "x".repeat(filling);
    format!(
        r#"{{"rev":"{}","expires":99999999999,"v":1,"created":1,"accessed":99999999999,"values":{{"owner":"{owner}","filling":"{filling}"}}}}"#,
        &rev[..16]
    )
    .into_bytes()
}

async fn create(store: &MemcachedStore, owner: &str) -> SessionId {
    let id = SessionId::random();
    let save = Save {
        bytes: &session(owner, 0),
        ttl: Duration::from_secs(3600),
        expect: Expect::Absent,
    };
    let saved = store.save_session(&id, save).await;
    assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
    id
}

#[async_test]
async fn after_a_restart_visitors_are_anonymous_and_the_next_request_works() {
    let mut server = Memcached::start();
    let app = app(&server).await;
    for _ in 0..5 {
        let visitor = app.known_visitor().await;
        server.restart();
        let answer = visitor.get("/who").await;
        assert_eq!((answer.status.code, answer.body.as_str()), (200, "nobody"));
        assert!(answer.session_cookie().is_none());
    }
}

#[async_test]
async fn after_flush_all_visitors_are_anonymous_and_nobody_sees_an_error() {
    let server = Memcached::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    server.ask("flush_all", "OK");
    let answer = visitor.get("/add/count/1").await;
    assert_eq!((answer.status.code, answer.body.as_str()), (200, "1"));
}

#[async_test]
async fn a_server_killed_in_flight_costs_one_answer() {
    let mut server = Memcached::start();
    let app = app(&server).await;
    for _ in 0..5 {
        let visitor = app.known_visitor().await;
        server.process().signal("STOP");
        let asked = visitor.get("/add/count/1");
        let killed = async {
            // The command is on its way by now, or it soon is: both are in flight.
            tokio::task::yield_now().await;
            server.process().kill();
        };
        let (answer, ()) = tokio::join!(asked, killed);
        assert_eq!(answer.status.code, 503);
        assert_eq!(answer.header("Retry-After"), Some("5"));
        server.restart();
        assert_eq!(visitor.get("/add/count/1").await.body, "1");
    }
}

#[async_test]
async fn a_server_that_is_down_stops_the_launch_or_not_as_configured() {
    let mut server = Memcached::start();
    server.process().kill();
    let settings = |required: bool| {
        figment()
            .merge(("sessions.store", "memcached"))
            .merge(("sessions.memcached.servers", [server.address()]))
            .merge(("sessions.require_store_at_launch", required))
    };
    log::keep();
    let rocket = rocket::custom(settings(true)).attach(Sessions::fairing());
    let error = rocket.ignite().await.expect_err("there is no server");
    assert!(matches!(error.kind(), FailedFairings(_)));
    let told = log::lines_with(&server.address());
    assert!(
        told.iter().any(|line| line.starts_with("ERROR ")
            && line.contains("the connection was refused; is the server running?")),
        "{told:?}"
    );
    let rocket = rocket::custom(settings(false)).attach(Sessions::fairing());
    rocket.ignite().await.expect("it launches without");
}

#[async_test]
async fn while_the_server_is_down_only_those_with_a_session_notice_and_nobody_waits() {
    let mut server = Memcached::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    server.process().kill();
    let started = Instant::now();
    for _ in 0..50 {
        let answer = visitor.get("/touch").await;
        assert_eq!(answer.status.code, 503);
        assert_eq!(answer.header("Retry-After"), Some("5"));
        assert_eq!(visitor.get("/bare").await.status.code, 200);
        assert_eq!(app.visitor().get("/touch").await.status.code, 200);
        assert_eq!(app.visitor().get("/set/a/1").await.status.code, 503);
    }
    assert!(started.elapsed() < SOON, "a call may take twenty seconds");
    server.restart();
    assert_eq!(visitor.get("/add/count/1").await.body, "1");
}

#[async_test]
async fn with_a_frozen_server_every_request_ends_in_time() {
    let mut server = Memcached::start();
    let store = store(server.port).timeout(Duration::from_millis(400));
    let app = App::on(store, brief).await;
    let visitor = app.known_visitor().await;
    server.process().signal("STOP");
    let started = Instant::now();
    let all = join_all((0..20).map(|_| visitor.get("/add/count/1"))).await;
    assert!(all.iter().all(|answer| answer.status.code == 503));
    assert!(started.elapsed() < SOON);
    server.process().signal("CONT");
    let answer = visitor.get("/add/count/1").await;
    assert_eq!(answer.status.code, 200);
    assert_eq!(answer.body, visitor.get("/get/count").await.body);
}

#[async_test]
async fn a_link_that_loses_everything_is_given_up_for_a_new_one() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port).timeout(Duration::from_millis(400));
    let app = App::on(store, brief).await;
    let visitor = app.known_visitor().await;
    proxy.lose();
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(visitor.get("/add/count/1").await.status.code, 503);
        assert_eq!(visitor.get("/bare").await.status.code, 200);
    }
    assert!(started.elapsed() < SOON);
    proxy.heal();
    assert_eq!(visitor.get("/add/count/1").await.status.code, 200);
}

#[async_test]
async fn a_save_whose_answer_was_lost_is_found_out_by_reading_again() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port).timeout(Duration::from_secs(20));
    let app = App::on(store, patient).await;
    let visitor = app.known_visitor().await;
    proxy.delay(Duration::from_millis(5));
    let mut acknowledged = 0;
    for round in 0..100_u64 {
        let cut = async {
            tokio::time::sleep(Duration::from_micros(round * 150)).await;
            proxy.cut();
        };
        let (answer, ()) = tokio::join!(visitor.get("/add/count/1"), cut);
        acknowledged += u64::from(answer.status.code == 200);
    }
    proxy.heal();
    let there: u64 = visitor.get("/get/count").await.body.parse().unwrap();
    assert!(acknowledged > 0, "some were answered");
    assert!(
        (acknowledged..=100).contains(&there),
        "{acknowledged} were acknowledged, {there} are there"
    );
}

#[async_test]
async fn a_request_that_is_given_up_never_leaves_its_answer_to_another() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port).timeout(Duration::from_secs(20));
    let mut owners = Vec::new();
    for owner in ["alice", "bob", "carol"] {
        owners.push((owner, create(&store, owner).await));
    }
    proxy.delay(Duration::from_millis(2));
    for round in 0..1000 {
        let (owner, id) = &owners[round % 3];
        let (_, other) = &owners[(round + 1) % 3];
        // Given up at every moment between the command and its answer.
        let given_up = Duration::from_micros(round as u64 * 4);
        let _ = tokio::time::timeout(given_up, store.load_session(other)).await;
        let loaded = store.load_session(id).await.unwrap().expect("it is there");
        let text = String::from_utf8(loaded.bytes).unwrap();
        assert!(text.contains(owner), "{owner} was answered {text}");
    }
}

#[async_test]
async fn of_two_servers_one_that_is_down_takes_only_its_own_sessions_along() {
    let mut servers = [Memcached::start(), Memcached::start()];
    let store = MemcachedStore::open(servers.each_ref().map(Memcached::address)).unwrap();
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(create(&store, &n.to_string()).await);
    }
    servers[0].process().kill();
    let (mut there, mut unknown) = (Vec::new(), 0);
    for id in &ids {
        match store.load_session(id).await {
            Ok(found) => {
                assert!(found.is_some(), "nothing is lost");
                there.push(*id);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.to_string().contains(&servers[0].address()), "{error}");
                store
                    .delete_session(id)
                    .await
                    .expect_err("it cannot be deleted");
                unknown += 1;
            }
        }
    }
    assert!(
        there.len() > 5 && unknown > 5,
        "{} and {unknown}",
        there.len()
    );
    servers[0].restart();
    for id in &ids {
        assert_eq!(store.has_session(id).await.unwrap(), there.contains(id));
    }
}

#[async_test]
async fn what_is_too_large_for_an_item_leaves_the_old_session() {
    let server = Memcached::start();
    let store = store(server.port);
    let id = create(&store, "alice").await;
    let before = store.load_session(&id).await.unwrap().expect("it is there");
    for (size, fits) in [
        (999_000, true),
        (1_000_000, false),
        (1_048_576, false),
        (4_000_000, false),
    ] {
        let now = store.load_session(&id).await.unwrap().expect("it is there");
        let save = Save {
            bytes: &session("alice", size),
            ttl: Duration::from_secs(60),
            expect: Expect::Revision(now.revision),
        };
        match store.save_session(&id, save).await {
            Ok(saved) => assert!(
                fits && matches!(saved, Saved::Saved(_)),
                "{size}: {saved:?}"
            ),
            Err(error) => {
                assert!(!fits, "{size}: {error}");
                assert_eq!(error.kind(), ErrorKind::Limit);
                assert!(store.has_session(&id).await.unwrap());
            }
        }
    }
    assert!(before.bytes.len() < 1000);
    let key = Namespace::new("test").unwrap().key("large");
    let error = store.set(&key, &vec![0; 1_000_000], None).await;
    assert_eq!(error.expect_err("it is too large").kind(), ErrorKind::Limit);
}

#[async_test]
async fn a_full_server_forgets_or_refuses_but_answers_no_500() {
    for (arguments, forgets) in [(&["-m", "8"][..], true), (&["-m", "8", "-M"], false)] {
        let server = Memcached::with(arguments);
        let store = store(server.port);
        let mut refused = 0;
        for n in 0..400 {
            let id = SessionId::random();
            let save = Save {
                bytes: &session(&n.to_string(), 60_000),
                ttl: Duration::from_secs(60),
                expect: Expect::Absent,
            };
            match store.save_session(&id, save).await {
                Ok(saved) => assert!(matches!(saved, Saved::Saved(_))),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    refused += 1;
                }
            }
        }
        let left: Vec<_> = store.iter_sessions().try_collect().await.unwrap();
        assert!(left.len() < 400, "{} are left", left.len());
        assert_eq!(refused == 0, forgets, "{refused} were refused");
    }
}

/// Answers every line with the same one.
fn pretender(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = [0; 1024];
            while matches!(stream.read(&mut line), Ok(1..)) {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    port
}

#[async_test]
async fn a_server_that_is_too_old_is_refused_with_its_version() {
    for (answer, works) in [
        ("VERSION 1.4.39\r\n", false),
        ("VERSION 1.6.12\r\n", false),
        ("VERSION 1.6.13\r\n", true),
        ("VERSION 1.10.0-beta\r\n", true),
        ("VERSION 2.0\r\n", true),
        ("ERROR\r\n", false),
    ] {
        let set_up = store(pretender(answer)).setup().await;
        assert_eq!(set_up.is_ok(), works, "{answer}: {set_up:?}");
        if let Err(error) = set_up {
            assert_eq!(error.kind(), ErrorKind::Config);
            let version = answer.trim().strip_prefix("VERSION ").unwrap_or("unknown");
            assert!(error.to_string().contains(version), "{error}");
        }
    }
}

#[async_test]
async fn a_server_that_does_not_list_is_told_apart_from_one_that_is_down() {
    let server = Memcached::with(&["-o", "no_lru_crawler"]);
    let store = store(server.port);
    create(&store, "alice").await;
    // 1.6 starts the crawler when it is asked to list; a proxy does not.
    let listed: Result<Vec<_>, _> = store.iter_sessions().try_collect().await;
    if let Err(error) = listed {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
    let other = self::store(pretender("ERROR\r\n"));
    let listed: Result<Vec<_>, _> = other.iter_sessions().try_collect().await;
    let error = listed.expect_err("it does not list");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[async_test]
async fn a_list_is_whole_beside_others_who_list_and_keys_that_are_not_ours() {
    let server = Memcached::start();
    let store = store(server.port);
    for n in 0..300 {
        create(&store, &n.to_string()).await;
    }
    for key in [
        "session:no",
        "other:0123",
        "session%3A",
        "session:0123456789abcdef0123456789abcdeX",
    ] {
        server.ask(&format!("set {key} 0 0 1\r\nx"), "STORED");
    }
    let lists = join_all((0..8).map(|_| store.iter_sessions().try_collect::<Vec<_>>())).await;
    for list in lists {
        assert_eq!(list.unwrap().len(), 300);
    }
}

#[async_test]
async fn the_server_counts_as_many_round_trips_as_promised() {
    let server = Memcached::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let cost = async |path: &str| {
        let before = server.commands();
        assert_eq!(visitor.get(path).await.status.code, 200, "{path}");
        let after = server.commands();
        (after.0 - before.0, after.1 - before.1)
    };
    assert_eq!(cost("/bare").await, (0, 0));
    assert_eq!(cost("/get/n").await, (1, 0));
    assert_eq!(cost("/set/n/1").await, (1, 1));
    let before = server.commands();
    assert!(app.visitor().get("/set/a/1").await.sets_session());
    let after = server.commands();
    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 1));
}

#[async_test]
async fn no_more_connections_are_made_than_are_set() {
    let server = Memcached::start();
    let connections = || -> u64 {
        let stats = server.ask("stats", "END");
        let line = stats
            .iter()
            .find_map(|line| line.strip_prefix("STAT total_connections "));
        line.expect("the server counts them")
            .trim()
            .parse()
            .unwrap()
    };
    let store = store(server.port).timeout(Duration::from_secs(20));
    let app = App::on(store.connections(3), patient).await;
    // The launch asks for the server's version, over a connection of its own.
    let before = connections();
    let visitor = app.known_visitor().await;
    let answers = join_all((0..100).map(|_| visitor.get("/add/count/1"))).await;
    assert!(answers.iter().all(|answer| answer.status.code == 200));
    // One is that of the question.
    let made = connections() - before - 1;
    assert!((2..=3).contains(&made), "{made}");
}

#[async_test]
async fn settings_that_cannot_work_are_told_with_their_key() {
    log::keep();
    for (key, servers, prefix) in [
        ("sessions.memcached.servers", vec![], "a"),
        ("sessions.memcached.servers", vec!["host"], "a"),
        ("sessions.memcached.servers", vec!["host:99999"], "a"),
        ("sessions.memcached.servers", vec!["host:1", "host:1"], "a"),
        ("sessions.memcached.prefix", vec!["host:1"], "a b"),
        (
            "sessions.memcached.prefix",
            vec!["host:1"],
            "a\r\nflush_all\r\n",
        ),
    ] {
        let figment = figment()
            .merge(("sessions.store", "memcached"))
            .merge(("sessions.memcached.servers", &servers))
            .merge(("sessions.memcached.prefix", prefix));
        let before = log::lines_with(key).len();
        let rocket = rocket::custom(figment).attach(Sessions::fairing());
        let error = rocket.ignite().await.expect_err("this cannot work");
        assert!(matches!(error.kind(), FailedFairings(_)));
        let lines = log::lines_with(key).split_off(before);
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("ERROR ") && line.lines().count() == 1),
            "{servers:?} {prefix:?}: {lines:?}"
        );
    }
}

#[async_test]
async fn no_item_is_left_without_an_end() {
    let server = Memcached::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    for path in [
        "/login/alice",
        "/add/a/1",
        "/renew",
        "/clear",
        "/logout",
        "/set/a/1",
    ] {
        visitor.get(path).await;
    }
    let store = store(server.port);
    let namespace = Namespace::new("test").unwrap();
    let minute = Some(Duration::from_secs(60));
    store
        .set(&namespace.key("set"), b"1", minute)
        .await
        .unwrap();
    store
        .increment(&namespace.key("set"), 1, None)
        .await
        .unwrap();
    store
        .increment(&namespace.key("new"), 1, minute)
        .await
        .unwrap();
    store
        .swap(&namespace.key("swap"), None, b"1", minute)
        .await
        .unwrap();
    store
        .swap(&namespace.key("swap"), Some(b"1"), b"2", minute)
        .await
        .unwrap();
    let mut items = Vec::new();
    wait_until("the server lists", || {
        items = server.ask("lru_crawler metadump hash", "END");
        items.len() > 4
    });
    for item in items.iter().filter(|line| line.starts_with("key=")) {
        assert!(!item.contains("exp=-1"), "{item}");
    }
}
