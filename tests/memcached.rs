//! Memcached servers that are restarted, killed, frozen, disconnected or full: no request waits long, no
//! visitor sees another's session, and no server takes the place of one that is down.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use rocket::error::ErrorKind::FailedFairings;
use rocket::figment::Figment;
use rocket::futures::TryStreamExt;
use rocket::futures::future::join_all;
use rocket::{async_test, tokio};
use rocket_session_kit::store::{
    KeyValue, Namespace, Precondition, RecordHeader, Save, Saved, SessionStore,
};
use rocket_session_kit::{ErrorKind, MemcachedStore, SessionId, Sessions};

use crate::support::memcached::Memcached;
use crate::support::process::wait_until;
use crate::support::proxy::Proxy;
use crate::support::server::{
    PATIENT, SOON, brief, create, filled_session, keeps_responses_apart,
    reports_a_lost_save_followed_by_another, save, session, spares_a_session_saved_meanwhile,
    works_in_a_second_runtime, write_everything,
};
use crate::support::{App, PATIENCE, figment, log};

fn store(port: u16) -> MemcachedStore {
    MemcachedStore::open([format!("127.0.0.1:{port}")])
        .expect("this is an address")
        .timeout(PATIENCE)
}

async fn app(server: &Memcached) -> App {
    let store = store(server.port);
    App::on(store, |f| f).await
}

#[async_test]
async fn a_restart_leaves_visitors_anonymous_and_requests_working() {
    let mut server = Memcached::start();
    let app = app(&server).await;
    for _ in 0..5 {
        let visitor = app.known_visitor().await;
        server.restart();
        let response = visitor.get("/who").await;
        assert_eq!(
            (response.status.code, response.body.as_str()),
            (200, "nobody")
        );
        assert!(response.session_cookie().is_none());
    }
}

#[async_test]
async fn flush_all_leaves_visitors_anonymous_without_errors() {
    let server = Memcached::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    server.ask("flush_all", "OK");
    let response = visitor.get("/add/count/1").await;
    assert_eq!((response.status.code, response.body.as_str()), (200, "1"));
}

#[async_test]
async fn a_server_killed_in_flight_costs_one_response() {
    let mut server = Memcached::start();
    let app = app(&server).await;
    for _ in 0..5 {
        let visitor = app.known_visitor().await;
        server.process().signal("STOP");
        let asked = visitor.get("/add/count/1");
        let killed = async {
            // The command has been sent by now, or soon will be: both are in flight.
            tokio::task::yield_now().await;
            server.process().kill();
        };
        let (response, ()) = tokio::join!(asked, killed);
        assert_eq!(response.status.code, 503);
        assert_eq!(response.header("Retry-After"), Some("5"));
        server.restart();
        assert_eq!(visitor.get("/add/count/1").await.body, "1");
    }
}

#[async_test]
async fn the_configuration_decides_whether_a_dead_server_stops_the_launch() {
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
    let lines = log::lines_with(&server.address());
    assert!(
        lines.iter().any(|line| line.starts_with("ERROR ")
            && line.contains("the connection was refused; is the server running?")),
        "{lines:?}"
    );
    let rocket = rocket::custom(settings(false)).attach(Sessions::fairing());
    rocket.ignite().await.expect("it launches without");
}

#[async_test]
async fn a_server_that_is_down_affects_only_visitors_with_sessions() {
    let mut server = Memcached::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    server.process().kill();
    let started = Instant::now();
    for _ in 0..50 {
        let response = visitor.get("/touch").await;
        assert_eq!(response.status.code, 503);
        assert_eq!(response.header("Retry-After"), Some("5"));
        assert_eq!(visitor.get("/bare").await.status.code, 200);
        assert_eq!(app.visitor().get("/touch").await.status.code, 200);
        assert_eq!(app.visitor().get("/set/a/1").await.status.code, 503);
    }
    assert!(started.elapsed() < SOON, "a call may take twenty seconds");
    server.restart();
    assert_eq!(visitor.get("/add/count/1").await.body, "1");
}

#[async_test]
async fn every_request_ends_in_time_with_a_frozen_server() {
    let mut server = Memcached::start();
    let store = store(server.port).timeout(Duration::from_millis(400));
    let app = App::on(store, brief).await;
    let visitor = app.known_visitor().await;
    server.process().signal("STOP");
    let started = Instant::now();
    let all = join_all((0..20).map(|_| visitor.get("/add/count/1"))).await;
    assert!(all.iter().all(|response| response.status.code == 503));
    assert!(started.elapsed() < SOON);
    server.process().signal("CONT");
    let response = visitor.get("/add/count/1").await;
    assert_eq!(response.status.code, 200);
    assert_eq!(response.body, visitor.get("/get/count").await.body);
}

#[async_test]
async fn a_connection_that_loses_everything_is_replaced() {
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

/// Fills the pool of `store` with idle connections: this many calls wait at a gate at once, each
/// on its own connection.
async fn idle_connections(store: &MemcachedStore, proxy: &Proxy, count: u64) {
    let gate = proxy.hold(b"mg ");
    let ids: Vec<_> = (0..count).map(|_| SessionId::random()).collect();
    let loads = join_all(ids.iter().map(|id| store.load_session(id)));
    let open = async {
        for _ in 0..count {
            gate.arrived().await;
        }
        gate.open_for_all();
    };
    let (loads, ()) = tokio::join!(loads, open);
    assert!(loads.into_iter().all(|loaded| loaded.unwrap().is_none()));
}

#[async_test]
async fn repeatable_calls_are_repeated_after_a_cut() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(create(&store, &n.to_string()).await);
    }
    idle_connections(&store, &proxy, 63).await;
    proxy.cut();
    let loads = join_all(ids.iter().map(|id| store.load_session(id))).await;
    let failed = loads.iter().filter(|loaded| loaded.is_err()).count();
    assert_eq!(failed, 0, "loads failed");
    let loaded = loads.into_iter().map(|loaded| loaded.unwrap());
    let revisions: Vec<_> = loaded.map(|stored| stored.unwrap().revision).collect();

    proxy.cut();
    let bytes = session("somebody");
    let saves = ids.iter().zip(&revisions).map(|(id, revision)| {
        store.save_session(id, save(&bytes, Precondition::Revision(*revision)))
    });
    let saves = join_all(saves).await;
    let kept = |saved: &&_| matches!(saved, Ok(Saved::Saved(_)));
    assert_eq!(saves.iter().filter(kept).count(), 200, "{saves:?}");

    proxy.cut();
    let deletions = join_all(ids.iter().map(|id| store.delete_session(id))).await;
    assert!(deletions.iter().all(Result::is_ok), "{deletions:?}");
    assert!(server.ask("stats items", "END").len() <= 1, "all are gone");
}

#[async_test]
async fn connections_that_died_while_idle_fail_no_request() {
    let mut server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let app = App::on(store.clone(), |f| f).await;
    idle_connections(&store, &proxy, 64).await;
    let mut visitors = Vec::new();
    for _ in 0..64 {
        visitors.push(app.known_visitor().await);
    }
    proxy.cut();
    let responses = join_all(visitors.iter().map(|visitor| visitor.get("/add/count/1"))).await;
    let bodies: Vec<_> = responses
        .iter()
        .map(|response| response.body.as_str())
        .collect();
    assert_eq!(bodies, ["1"; 64]);
    idle_connections(&store, &proxy, 64).await;
    server.restart();
    let responses = join_all(visitors.iter().map(|visitor| visitor.get("/who"))).await;
    assert!(responses.iter().all(|response| response.body == "nobody"));
}

#[async_test]
async fn one_timeout_discards_all_dead_connections() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let patient = store(proxy.port);
    let id = create(&patient, "alice").await;
    let store = store(proxy.port).timeout(Duration::from_millis(400));
    store.load_session(&id).await.unwrap();
    idle_connections(&store, &proxy, 20).await;
    // They stay open, and get no response to any command.
    proxy.lose();
    let error = store
        .load_session(&id)
        .await
        .expect_err("nothing comes back");
    assert!(
        error.to_string().contains("it did not respond in time"),
        "{error}"
    );
    proxy.heal();
    for _ in 0..20 {
        assert!(store.load_session(&id).await.unwrap().is_some());
    }
}

#[async_test]
async fn an_entry_counts_once_after_idle_connections_died() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let namespace = Namespace::new("test").unwrap();
    let keys: Vec<_> = (0..64).map(|n| namespace.key(n.to_string())).collect();
    for key in &keys {
        store.set(key, b"1", None).await.unwrap();
    }
    idle_connections(&store, &proxy, 64).await;
    proxy.cut();
    // Each of them can be recognized as dead before anything is sent over it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let sums = join_all(keys.iter().map(|key| store.increment(key, 1, None))).await;
    assert!(sums.iter().all(|sum| matches!(sum, Ok(2))), "{sums:?}");
}

#[async_test]
async fn a_save_with_a_lost_request_or_response_counts_once() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let app = App::on(store.clone(), |f| f).await;
    // The launch queries the version; from here on there is one connection.
    let visitor = app.known_visitor().await;
    for lost in 1..=2 {
        for arrived in [false, true] {
            let id = SessionId::random();
            let mut precondition = Precondition::Absent;
            for round in 0..3 {
                let bytes = filled_session("alice", round);
                match arrived {
                    false => proxy.cut_at_requests(lost),
                    true => proxy.cut_at_responses(lost),
                }
                let saved = store.save_session(&id, save(&bytes, precondition)).await;
                let Ok(Saved::Saved(revision)) = saved else {
                    panic!("{lost} lost, arrived: {arrived}, round {round}: {saved:?}");
                };
                let there = store.load_session(&id).await.unwrap().expect("it is there");
                assert!(there.bytes == bytes && there.revision == revision);
                precondition = Precondition::Revision(revision);
            }
        }
    }
    // Through the whole application: the load of each request is lost, then its save.
    for round in 1..=10_u64 {
        match round % 2 {
            0 => proxy.cut_at_requests(2),
            _ => proxy.cut_at_responses(2),
        }
        assert_eq!(visitor.get("/add/count/1").await.body, round.to_string());
        assert_eq!(visitor.get("/get/count").await.body, round.to_string());
    }
}

#[async_test]
async fn a_deletion_of_a_revision_survives_losses_and_spares_others() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let (store, direct) = (store(proxy.port), store(server.port));
    let store = store.timeout(Duration::from_secs(20));
    for knows in [false, true] {
        for lost in 0..=2 {
            for arrived in [false, true] {
                // Another process saved it.
                let id = create(&direct, "alice").await;
                let stranger = RecordHeader::read(&session("bob"))
                    .expect("it has one")
                    .revision;
                let spared = store.delete_session_if(&id, stranger).await;
                assert!(matches!(spared, Ok(false)), "{spared:?}");
                let asked = if knows { &store } else { &direct };
                let there = asked.load_session(&id).await.unwrap();
                let revision = there.expect("it is there").revision;
                match arrived {
                    false => proxy.cut_at_requests(lost),
                    true => proxy.cut_at_responses(lost),
                }
                let deleted = store.delete_session_if(&id, revision).await;
                let what = format!("{knows} {lost} {arrived}: {deleted:?}");
                assert!(matches!(deleted, Ok(true)), "{what}");
                assert!(!direct.has_session(&id).await.unwrap(), "{what}");
                let again = store.delete_session_if(&id, revision).await;
                assert!(matches!(again, Ok(false)), "{what}");
            }
        }
    }
}

#[async_test]
async fn a_lost_deletion_spares_a_later_save() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let (store, direct) = (store(proxy.port), store(server.port));
    let store = store.timeout(Duration::from_secs(20));
    let id = create(&direct, "alice").await;
    let there = store.load_session(&id).await.unwrap();
    let revision = there.expect("it is there").revision;
    proxy.cut_at_requests(1);
    let gate = proxy.hold(b"mg ");
    let other = async {
        gate.arrived().await;
        let theirs = session("theirs");
        let saved = direct
            .save_session(&id, save(&theirs, Precondition::Revision(revision)))
            .await;
        assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
        gate.open_for_all();
    };
    let (deleted, ()) = tokio::join!(store.delete_session_if(&id, revision), other);
    assert!(matches!(deleted, Ok(false)), "{deleted:?}");
    assert!(direct.has_session(&id).await.unwrap());
}

#[async_test]
async fn a_call_lost_three_times_is_an_error() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let (store, direct) = (store(proxy.port), store(server.port));
    let store = store.timeout(Duration::from_secs(20));
    for deletes in [true, false] {
        let id = create(&direct, "alice").await;
        let there = store.load_session(&id).await.unwrap();
        let revision = there.expect("it is there").revision;
        let looks = proxy.hold(b"mg ");
        let act = async {
            match deletes {
                true => store.delete_session_if(&id, revision).await.map(drop),
                false => {
                    let theirs = session("bob");
                    let save = save(&theirs, Precondition::Revision(revision));
                    store.save_session(&id, save).await.map(drop)
                }
            }
        };
        let losses = async {
            for _ in 1..3 {
                looks.arrived().await;
                proxy.cut_at_requests(1);
                looks.open();
            }
            looks.open_for_all();
        };
        proxy.cut_at_requests(1);
        let both = async { tokio::join!(act, losses) };
        let both = tokio::time::timeout(PATIENT, both).await;
        let (lost, ()) = both.expect("it is tried three times");
        let error = lost.expect_err("it was lost three times");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{deletes}");
        let there = direct.load_session(&id).await.unwrap();
        assert_eq!(there.expect("it was kept").revision, revision, "{deletes}");
    }
}

#[async_test]
async fn a_lost_save_followed_by_another_is_an_error_and_not_repeated() {
    for arrived in [false, true] {
        let server = Memcached::start();
        let proxy = Proxy::to(server.port);
        let (store, direct) = (store(proxy.port), store(server.port));
        let id = create(&store, "alice").await;
        let before = store.load_session(&id).await.unwrap().expect("it is there");
        match arrived {
            false => proxy.cut_at_requests(1),
            true => proxy.cut_at_responses(1),
        }
        let gate = proxy.hold(b"mg ");
        let loss = gate.arrived();
        let before = (id, before.revision);
        reports_a_lost_save_followed_by_another(&store, &direct, before, arrived, &gate, loss)
            .await;
    }
}

#[async_test]
async fn an_acknowledged_save_counts_once_when_connections_are_cut() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let app = App::on(store, |f| f).await;
    let visitor = app.known_visitor().await;
    proxy.delay(Duration::from_millis(5));
    let mut acknowledged = Vec::new();
    for round in 0..100_u64 {
        let path = format!("/add/round{round}/1");
        let cut = async {
            tokio::time::sleep(Duration::from_micros(round * 150)).await;
            proxy.cut();
        };
        let (response, ()) = tokio::join!(visitor.get(&path), cut);
        acknowledged.push(response.status.code == 200);
    }
    proxy.heal();
    let (mut lost, mut doubled, mut unasked) = (0, 0, 0);
    for (round, acknowledged) in acknowledged.iter().enumerate() {
        let there = visitor.get(&format!("/get/round{round}")).await;
        match (acknowledged, there.body.as_str()) {
            (true, "1") | (false, "none") => {}
            (false, "1") => unasked += 1,
            (true, "none") => lost += 1,
            _ => doubled += 1,
        }
    }
    let refused = acknowledged.iter().filter(|done| !**done).count();
    assert_eq!((lost, doubled), (0, 0));
    // A request may be cut three times, and another may follow a save with an unknown outcome.
    assert!(
        refused <= 5,
        "{refused} were refused, {unasked} of them were applied"
    );
}

#[async_test]
async fn a_cancelled_request_never_leaves_its_response_to_another() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    keeps_responses_apart(&store(proxy.port), &proxy).await;
}

#[async_test]
async fn one_server_of_two_takes_down_only_its_own_sessions() {
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
async fn a_session_too_large_for_an_item_leaves_the_old_session() {
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
            bytes: &filled_session("alice", size),
            ttl: Duration::from_secs(60),
            precondition: Precondition::Revision(now.revision),
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
async fn a_full_server_never_causes_a_500_response() {
    for (arguments, forgets) in [(&["-m", "8"][..], true), (&["-m", "8", "-M"], false)] {
        let server = Memcached::with(arguments);
        let store = store(server.port);
        let mut refused = 0;
        for n in 0..400 {
            let id = SessionId::random();
            let save = Save {
                bytes: &filled_session(&n.to_string(), 60_000),
                ttl: Duration::from_secs(60),
                precondition: Precondition::Absent,
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

#[async_test]
async fn a_save_refused_by_a_full_server_keeps_the_old_session() {
    let server = Memcached::with(&["-m", "8", "-M"]);
    let store = store(server.port);
    let app = App::on(store.clone(), |f| f).await;
    let mut visitors = Vec::new();
    for path in ["/set_many/1/60000", "/login/alice", "/set_many/1/60000"] {
        let visitor = app.visitor();
        assert_eq!(visitor.get(path).await.status.code, 200);
        assert_eq!(visitor.get("/set_many/1/60000").await.status.code, 200);
        visitors.push(visitor);
    }
    let id = create(&store, "bob").await;
    let (large, larger) = (filled_session("bob", 60_000), filled_session("bob", 60_500));
    let revision = store.load_session(&id).await.unwrap().unwrap().revision;
    let saved = store
        .save_session(&id, save(&large, Precondition::Revision(revision)))
        .await;
    let Ok(Saved::Saved(revision)) = saved else {
        panic!("there is room: {saved:?}")
    };
    for size in [60_000, 120_000] {
        let mut refused = 0;
        while refused < 20 {
            let filling = filled_session("filling", size);
            let saved = store
                .save_session(&SessionId::random(), save(&filling, Precondition::Absent))
                .await;
            refused += u32::from(saved.is_err());
        }
    }
    let error = store
        .save_session(&id, save(&larger, Precondition::Revision(revision)))
        .await;
    let error = error.expect_err("it was refused");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("no memory left"), "{error}");
    let there = store.load_session(&id).await.unwrap();
    assert_eq!(there.expect("it is still there").bytes, large);
    for visitor in &visitors {
        let refused = visitor.get("/set_many/2/60000").await;
        assert_eq!(refused.status.code, 503);
        // A refused touch removes nothing either.
        app.clock.advance(Duration::from_secs(120));
        let after = visitor.get("/keys").await;
        assert_eq!((after.status.code, after.body.as_str()), (200, "key0"));
    }
}

/// The CAS of the only item on a server, and of the session with a key.
fn cas_of(server: &Memcached, key: &str) -> u64 {
    let response = server.ask(&format!("mg {key} c"), "");
    let cas = response[0].strip_prefix("HD c");
    cas.unwrap_or_else(|| panic!("{response:?}"))
        .trim()
        .parse()
        .unwrap()
}

#[async_test]
async fn a_session_from_after_a_restart_is_not_overwritten_by_older_saves() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    for path in ["/add/count/1", "/logout", "/end", "/append/a/b", "/touch"] {
        let mut server = Memcached::start();
        let store = store(server.port);
        let header = |figment: Figment| figment.merge(("sessions.transport", "header"));
        let app = App::on(store.clone(), header).await;
        let visitor = || app.visitor().with("X-Auth-Token", TOKEN);
        assert_eq!(visitor().get("/login/alice").await.status.code, 200);
        let ids = app.list().await;
        let key = format!("session:{}", ids[0].0.to_hex());
        // From here on the server knows the item by a number that a new server soon uses, too.
        while cas_of(&server, &key) < 12 {
            visitor().get("/add/old/1").await;
        }
        let number = cas_of(&server, &key);
        if path == "/touch" {
            app.clock.advance(Duration::from_secs(120));
        }
        let save = app.probe.gate(rocket_session_kit::testing::Act::Save);
        let before = visitor();
        let asked = before.get(path);
        let restarted = async {
            save.arrived().await;
            server.restart();
            // Another process begins a session with the same token.
            let other = App::on(self::store(server.port), header).await;
            let visitor = other.visitor().with("X-Auth-Token", TOKEN);
            assert_eq!(visitor.get("/login/bob").await.status.code, 200);
            while cas_of(&server, &key) < number {
                visitor.get("/add/new/1").await;
            }
            assert_eq!(cas_of(&server, &key), number);
            save.open_for_all();
        };
        tokio::join!(asked, restarted);
        let other = App::on(self::store(server.port), header).await;
        let visitor = other.visitor().with("X-Auth-Token", TOKEN);
        assert_eq!(visitor.get("/who").await.body, "bob", "{path}");
        assert_eq!(visitor.get("/get/old").await.body, "none", "{path}");
        assert_eq!(visitor.get("/get/count").await.body, "none", "{path}");
    }
}

#[async_test]
async fn an_entry_from_after_a_restart_is_not_confused_with_an_older_one() {
    let key = Namespace::new("test").unwrap().key("entry");
    for takes in [false, true] {
        let mut server = Memcached::start();
        let proxy = Proxy::to(server.port);
        let store = store(proxy.port);
        store.set(&key, b"before", None).await.unwrap();
        let name = format!("session:{}", key.as_str());
        let number = cas_of(&server, &name);
        let gate = proxy.hold_last_response(b"before");
        let asked = async {
            match takes {
                true => store
                    .take(&key)
                    .await
                    .map(|taken| taken.is_some_and(|it| it == b"before")),
                false => store.swap(&key, Some(b"before"), b"swapped", None).await,
            }
        };
        let restarted = async {
            gate.arrived().await;
            server.restart();
            server.ask(&format!("set {name} 0 0 5\r\nafter"), "STORED");
            assert_eq!(cas_of(&server, &name), number);
            gate.open_for_all();
        };
        let (done, ()) = tokio::join!(asked, restarted);
        assert!(
            !done.unwrap_or(false),
            "the expected value is not there any more"
        );
        let there = self::store(server.port).get(&key).await.unwrap();
        match takes {
            // If it was acknowledged, the value that it took is the current one.
            true => assert!(there.is_none_or(|there| there == b"after")),
            false => assert_eq!(there.as_deref(), Some(&b"after"[..])),
        }
    }
}

/// Sends the same response to every line.
fn pretender(response: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = [0; 1024];
            while matches!(stream.read(&mut line), Ok(1..)) {
                let _ = stream.write_all(response.as_bytes());
            }
        }
    });
    port
}

#[async_test]
async fn a_server_that_is_too_old_is_refused_with_its_version() {
    for (response, works) in [
        ("VERSION 1.4.39\r\n", false),
        ("VERSION 1.6.12\r\n", false),
        ("VERSION 1.6.13\r\n", true),
        ("VERSION 1.10.0-beta\r\n", true),
        ("VERSION 2.0\r\n", true),
        ("ERROR\r\n", false),
    ] {
        let set_up = store(pretender(response)).setup().await;
        assert_eq!(set_up.is_ok(), works, "{response}: {set_up:?}");
        if let Err(error) = set_up {
            assert_eq!(error.kind(), ErrorKind::Config);
            let version = response
                .trim()
                .strip_prefix("VERSION ")
                .unwrap_or("unknown");
            assert!(error.to_string().contains(version), "{error}");
        }
    }
}

#[async_test]
async fn a_server_without_listing_is_reported_as_unsupported() {
    let server = Memcached::with(&["-o", "no_lru_crawler"]);
    let store = store(server.port);
    create(&store, "alice").await;
    // Version 1.6 starts the crawler on request; a proxy does not.
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
async fn a_list_is_complete_beside_other_listings_and_foreign_keys() {
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
async fn a_session_saved_between_check_and_deletion_survives_a_sweep() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let (sweeping, direct) = (store(proxy.port), store(server.port));
    let deletions = proxy.hold(b"md ");
    spares_a_session_saved_meanwhile(&sweeping, &direct, deletions).await;
}

#[async_test]
async fn a_value_set_between_the_steps_of_a_take_or_swap_is_kept() {
    let server = Memcached::start();
    let proxy = Proxy::to(server.port);
    let (slow, direct) = (store(proxy.port), store(server.port));
    let key = Namespace::new("test").unwrap().key("entry");
    direct.set(&key, b"one", None).await.unwrap();
    let gate = proxy.hold(b"md ");
    let set = async {
        gate.arrived().await;
        direct.set(&key, b"two", None).await.unwrap();
        gate.open_for_all();
    };
    let (taken, ()) = tokio::join!(slow.take(&key), set);
    assert_eq!(taken.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(direct.get(&key).await.unwrap(), None);

    direct.set(&key, b"one", None).await.unwrap();
    let gate = proxy.hold(b"ms ");
    let set = async {
        gate.arrived().await;
        direct.set(&key, b"two", None).await.unwrap();
        gate.open_for_all();
    };
    let (swapped, ()) = tokio::join!(slow.swap(&key, Some(b"one"), b"three", None), set);
    assert!(!swapped.unwrap());
    assert_eq!(
        direct.get(&key).await.unwrap().as_deref(),
        Some(&b"two"[..])
    );
}

#[async_test]
async fn a_list_ignores_keys_that_belong_to_another_server() {
    let servers = [Memcached::start(), Memcached::start()];
    let store = MemcachedStore::open(servers.each_ref().map(Memcached::address)).unwrap();
    let namespace = Namespace::new("test").unwrap();
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(create(&store, &n.to_string()).await);
        store
            .set(&namespace.key(n.to_string()), b"1", None)
            .await
            .unwrap();
    }
    // As after a third server joined and left: each server has all items.
    for (from, to) in [(0, 1), (1, 0)] {
        let mut there = Vec::new();
        for line in servers[from].ask("lru_crawler metadump hash", "END") {
            let key = line
                .strip_prefix("key=")
                .and_then(|line| line.split(' ').next());
            there.extend(key.map(|key| key.replace("%3A", ":").replace("%25", "%")));
        }
        for key in there {
            let value = String::from_utf8(session("a stranger")).unwrap();
            let length = value.len();
            servers[to].ask(&format!("add {key} 0 0 {length}\r\n{value}"), "");
        }
    }
    let count = |server: &Memcached| server.ask("lru_crawler metadump hash", "END").len() - 1;
    assert_eq!(servers.each_ref().map(count), [20, 20]);
    let mut listed: Vec<_> = store.iter_sessions().try_collect().await.unwrap();
    listed.sort_by_key(|(id, _)| id.to_hex());
    ids.sort_by_key(SessionId::to_hex);
    assert!(
        listed.iter().map(|(id, _)| id).eq(&ids),
        "{} are listed",
        listed.len()
    );
    let names: Vec<_> = store.keys(&namespace).try_collect().await.unwrap();
    assert_eq!(names.len(), 10);
    let swept = store.delete_old_sessions(u64::MAX).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (0, 10));
    assert_eq!(store.clear(&namespace).await.unwrap(), 10);
}

#[async_test]
async fn a_truncated_list_is_an_error() {
    const LISTED: &str = "key=session%3A0123456789abcdef0123456789abcdef exp=-1 la=1 cas=1 fetch=no cls=1 size=1\r\n";
    for response in [LISTED, "", "key=session%3A0123456789abcdef01234"] {
        let store = store(pretender_that_hangs_up(response));
        let listed: Result<Vec<_>, _> = store.iter_sessions().try_collect().await;
        let error = listed.expect_err("there may be more of them");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let swept = store.delete_old_sessions(0).await;
        assert_eq!(
            swept.expect_err("nor is it swept").kind(),
            ErrorKind::Unavailable
        );
    }
}

/// Responds to the first line of every connection, and closes it.
fn pretender_that_hangs_up(response: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(response.as_bytes());
        }
    });
    port
}

#[test]
fn a_store_works_in_a_second_runtime() {
    let server = Memcached::start();
    works_in_a_second_runtime(&store(server.port));
}

#[async_test]
async fn every_operation_takes_the_promised_round_trips() {
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
async fn the_number_of_connections_respects_its_limit() {
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
    let store = store(server.port);
    let app = App::on(store.connections(3), |f| f).await;
    // The launch queries the server's version, over a separate connection.
    let before = connections();
    let visitor = app.known_visitor().await;
    let responses = join_all((0..100).map(|_| visitor.get("/add/count/1"))).await;
    assert!(responses.iter().all(|response| response.status.code == 200));
    // One of them is that of the query.
    let made = connections() - before - 1;
    assert!((2..=3).contains(&made), "{made}");
}

#[async_test]
async fn an_error_about_invalid_settings_names_the_key() {
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
async fn a_session_in_use_stays_on_the_server_after_the_clock_was_set_back() {
    let server = Memcached::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    let key = format!("session:{}", id.to_hex());
    app.clock.set_back(Duration::from_secs(3600));
    // On the server most of its time has passed.
    server.ask(&format!("touch {key} 60"), "TOUCHED");
    visitor.get("/touch").await;
    let response = server.ask(&format!("mg {key} t"), "");
    let left = response[0].strip_prefix("HD t").expect("it is there");
    let left: u64 = left.trim().parse().unwrap();
    assert!(left > 80_000, "{left}");
}

#[async_test]
async fn every_item_has_an_expiry() {
    let server = Memcached::start();
    let app = app(&server).await;
    write_everything(&app, &store(server.port)).await;
    let mut items = Vec::new();
    wait_until("the server lists", || {
        items = server.ask("lru_crawler metadump hash", "END");
        items.len() > 4
    });
    for item in items.iter().filter(|line| line.starts_with("key=")) {
        assert!(!item.contains("exp=-1"), "{item}");
    }
}
