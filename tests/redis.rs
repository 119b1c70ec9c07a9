//! A Redis server that is restarted, killed, frozen, cut off, full or replaced: nobody waits, nobody
//! sees another's session, and nothing that was acknowledged is lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rocket::error::ErrorKind::FailedFairings;
use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::futures::future::join_all;
use rocket::{async_test, tokio};
use rocket_session_kit::{
    ErrorKind, Expect, Head, KeyValue, Namespace, RedisStore, Save, Saved, SessionId, SessionStore,
    Sessions,
};

use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Redis, Sentinels, cli};
use crate::support::{App, figment, log};

/// What no request of these tests may take: the time for one call, and a lot for a slow machine.
const SOON: Duration = Duration::from_secs(8);

fn brief(figment: Figment) -> Figment {
    figment.merge(("sessions.store_timeout", 400))
}

fn patient(figment: Figment) -> Figment {
    figment.merge(("sessions.store_timeout", 20_000))
}

fn store(port: u16) -> RedisStore {
    RedisStore::open(&format!("redis://127.0.0.1:{port}")).expect("this is a URL")
}

/// A server that remembers over a restart.
fn durable() -> Redis {
    Redis::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

async fn app(server: &Redis) -> App {
    let store = store(server.port).timeout(Duration::from_secs(20));
    App::on(store, patient).await
}

/// A session's bytes with `owner` in them.
fn session(owner: &str) -> Vec<u8> {
    let rev = SessionId::random().to_hex();
    format!(
        r#"{{"rev":"{}","expires":99999999999,"v":1,"created":1,"accessed":99999999999,"values":{{"owner":"{owner}"}}}}"#,
        &rev[..16]
    )
    .into_bytes()
}

async fn create(store: &RedisStore, owner: &str) -> SessionId {
    let (id, bytes) = (SessionId::random(), session(owner));
    let save = Save {
        bytes: &bytes,
        ttl: Duration::from_secs(3600),
        expect: Expect::Absent,
    };
    let saved = store.save_session(&id, save).await;
    assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
    id
}

#[async_test]
async fn after_a_restart_while_idle_the_next_request_works() {
    let mut server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    for round in 1..=5 {
        server.restart();
        let answer = visitor.get("/add/count/1").await;
        assert_eq!(answer.body, round.to_string(), "{answer:?}");
    }
}

#[async_test]
async fn entries_survive_a_restart_while_idle_too() {
    let mut server = durable();
    let store = store(server.port);
    let key = Namespace::new("test").unwrap().key("count");
    for round in 1..=5 {
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(store.increment(&key, 1, hour).await.unwrap(), round);
        server.restart();
        crate::support::process::wait_until("the link hears of it", || true);
    }
}

#[async_test]
async fn a_server_killed_in_flight_costs_one_answer_and_no_update() {
    let mut server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let mut acknowledged = 0;
    for _ in 0..5 {
        assert_eq!(visitor.get("/add/count/1").await.status.code, 200);
        acknowledged += 1;
        server.process().signal("STOP");
        let asked = visitor.get("/add/count/1");
        let killed = async {
            // The command is on its way by now, or it soon is: both are in flight.
            tokio::task::yield_now().await;
            server.process().kill();
        };
        let (answer, ()) = tokio::join!(asked, killed);
        match answer.status.code {
            200 => acknowledged += 1,
            503 => assert_eq!(answer.header("Retry-After"), Some("5")),
            other => panic!("{other}"),
        }
        server.restart();
    }
    let count: u64 = visitor.get("/get/count").await.body.parse().unwrap();
    assert!(
        (acknowledged..=10).contains(&count),
        "{acknowledged} were acknowledged, {count} are there"
    );
    let answer = visitor.get("/add/count/1").await;
    assert_eq!(answer.body, (count + 1).to_string());
}

#[async_test]
async fn a_server_that_is_down_stops_the_launch_or_not_as_configured() {
    let mut server = durable();
    server.process().kill();
    let settings = |required: bool| {
        figment()
            .merge(("sessions.store", "redis"))
            .merge(("sessions.redis.url", server.url()))
            .merge(("sessions.require_store_at_launch", required))
    };
    log::keep();
    let rocket = rocket::custom(settings(true)).attach(Sessions::fairing());
    let error = rocket.ignite().await.expect_err("there is no server");
    assert!(matches!(error.kind(), FailedFairings(_)));
    let told = log::lines_with(&format!("127.0.0.1:{}", server.port));
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
    let mut server = durable();
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
    let mut server = durable();
    let store = store(server.port).timeout(Duration::from_millis(400));
    let app = App::on(store, brief).await;
    let visitor = app.known_visitor().await;
    server.process().signal("STOP");
    let started = Instant::now();
    let all = join_all((0..20).map(|_| visitor.get("/add/count/1"))).await;
    assert!(all.iter().all(|answer| answer.status.code == 503));
    assert!(started.elapsed() < SOON);
    server.process().signal("CONT");
    // What was sent before the freeze may still be carried out; nothing is torn by it.
    crate::support::process::wait_until("the server is back", || {
        server.cli(&["PING"]).contains("PONG")
    });
    let answer = visitor.get("/add/count/1").await;
    assert_eq!(answer.status.code, 200);
    assert_eq!(answer.body, visitor.get("/get/count").await.body);
}

#[async_test]
async fn a_link_that_loses_everything_is_given_up_for_a_new_one() {
    let server = durable();
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
    // The old connection stays dead for ever.
    let answer = visitor.get("/add/count/1").await;
    assert_eq!(answer.status.code, 200, "{answer:?}");
}

#[async_test]
async fn a_connection_that_is_cut_between_command_and_answer_doubles_nothing() {
    let server = durable();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port).timeout(Duration::from_secs(20));
    let app = App::on(store, patient).await;
    let visitor = app.known_visitor().await;
    proxy.delay(Duration::from_millis(4));
    let (done, counted) = (AtomicBool::new(false), AtomicU64::new(0));
    let add = async {
        for _ in 0..100 {
            if visitor.get("/add/count/1").await.status.code == 200 {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let cut = async {
        while !done.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(70)).await;
            proxy.cut();
        }
    };
    tokio::join!(add, cut);
    let counted = counted.into_inner();
    proxy.heal();
    let there: u64 = visitor.get("/get/count").await.body.parse().unwrap();
    assert!(counted > 0, "some were answered");
    assert!(
        (counted..=100).contains(&there),
        "{counted} were acknowledged, {there} are there"
    );
}

#[async_test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    for round in 1..=3 {
        server.cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(visitor.get("/add/count/1").await.body, round.to_string());
    }
}

#[async_test]
async fn after_flushall_visitors_are_anonymous_and_nobody_sees_an_error() {
    let server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    server.cli(&["FLUSHALL"]);
    let answer = visitor.get("/who").await;
    assert_eq!((answer.status.code, answer.body.as_str()), (200, "nobody"));
    assert!(answer.session_cookie().is_none());
    assert_eq!(visitor.get("/add/count/1").await.body, "1");
}

#[async_test]
async fn a_key_of_another_type_is_no_session_and_stays() {
    let server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.pop().expect("there is one");
    let key = format!("session:{}", id.to_hex());
    server.cli(&["DEL", &key]);
    server.cli(&["RPUSH", &key, "not ours"]);
    let answer = visitor.get("/add/count/1").await;
    assert_eq!((answer.status.code, answer.body.as_str()), (200, "1"));
    assert_eq!(server.cli(&["LRANGE", &key, "0", "-1"]), "not ours\n");
    assert_eq!(app.list().await.len(), 1, "the list is left out");
}

#[async_test]
async fn a_wrong_password_stops_the_launch_and_is_not_told() {
    let server = Redis::with(&["--requirepass", "right"]);
    log::keep();
    for (user, works) in [
        (":right@", true),
        ("default:right@", true),
        (":s3cr3tpassword@", false),
        ("nobody:s3cr3tpassword@", false),
        ("", false),
    ] {
        let url = format!("redis://{user}127.0.0.1:{}", server.port);
        let store = RedisStore::open(&url).unwrap();
        let set_up = store.setup().await;
        assert_eq!(set_up.is_ok(), works, "{url}: {set_up:?}");
        if let Err(error) = set_up {
            assert_eq!(error.kind(), ErrorKind::Config, "{url}: {error}");
            assert!(error.to_string().contains("the password"), "{url}: {error}");
        }
        assert!(!format!("{store:?}").contains("s3cr3t"));
    }
    let wrong = RedisStore::open("redis//:s3cr3tpassword@host").expect_err("this is no URL");
    assert!(!format!("{wrong:?}").contains("s3cr3t"), "{wrong:?}");
    assert!(log::lines_with("s3cr3tpassword").is_empty());
}

#[async_test]
async fn a_replica_is_read_from_but_says_that_it_cannot_be_written_to() {
    let primary = Redis::start();
    let port = primary.port.to_string();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
    crate::support::process::wait_until("the replica is linked", || {
        replica
            .cli(&["INFO", "replication"])
            .contains("master_link_status:up")
    });
    let (writing, reading) = (store(primary.port), store(replica.port));
    let id = create(&writing, "alice").await;
    primary.cli(&["WAIT", "1", "5000"]);
    assert!(reading.has_session(&id).await.unwrap());
    let error = reading
        .delete_session(&id)
        .await
        .expect_err("it is a replica");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("it is a replica"), "{error}");
}

#[async_test]
async fn a_full_server_refuses_what_is_new_and_keeps_what_is_there() {
    let server = Redis::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(visitor.get("/add/count/1").await.status.code, 503);
    assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
    assert!(!log::lines_with("it has no memory left").is_empty());
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(visitor.get("/set/n/1").await.status.code, 200);
}

#[async_test]
async fn a_request_that_is_given_up_never_leaves_its_answer_to_another() {
    let server = Redis::start();
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
async fn a_database_a_socket_and_a_prefix_keep_sessions_apart() {
    let server = Redis::with(&["--unixsocketperm", "700"]);
    let socket = server.path("redis.sock");
    let server = Redis::with(&["--unixsocket", &socket]);
    let by_socket = RedisStore::open(&format!("unix://{socket}?db=2")).unwrap();
    let id = create(&by_socket, "alice").await;
    let by_url = RedisStore::open(&format!("{}/2", server.url())).unwrap();
    let by_db = RedisStore::open(&server.url()).unwrap().db(2).unwrap();
    let elsewhere = RedisStore::open(&server.url()).unwrap();
    let prefixed = by_url.clone().prefix("s*[a]?\\:");
    assert!(by_url.has_session(&id).await.unwrap());
    assert!(by_db.has_session(&id).await.unwrap());
    assert!(!elsewhere.has_session(&id).await.unwrap());
    assert!(!prefixed.has_session(&id).await.unwrap());
    create(&prefixed, "bob").await;
    for (store, sessions) in [(&by_url, 1), (&prefixed, 1), (&elsewhere, 0)] {
        let swept = store.delete_old_sessions(u64::MAX).await.unwrap();
        assert_eq!((swept.deleted, swept.remaining), (0, sessions));
    }
}

#[async_test]
async fn tls_works_out_of_the_box_and_trusts_only_whom_it_is_told_to() {
    let there = tempfile::tempdir().unwrap();
    let path = |name: &str| there.path().join(name).display().to_string();
    let (key, cert) = (path("key.pem"), path("cert.pem"));
    let made = std::process::Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .args(["-keyout", &key, "-out", &cert])
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    let tls_port = crate::support::redis::free_port();
    let _server = Redis::with(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &cert,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{tls_port}");
    let store = RedisStore::open(&url).unwrap();
    let error = store.setup().await.expect_err("nobody vouches for it");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let store = store.ca(&cert).unwrap();
    store.setup().await.expect("now it is trusted");
    let id = create(&store, "alice").await;
    assert!(store.has_session(&id).await.unwrap());
    let error = store
        .ca(path("missing.pem"))
        .expect_err("there is no such file");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[async_test]
async fn the_server_counts_as_many_round_trips_as_promised() {
    let server = Redis::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let cost = async |path: &str| {
        server.cli(&["CONFIG", "RESETSTAT"]);
        let answer = visitor.get(path).await;
        assert_eq!(answer.status.code, 200, "{path}");
        let calls = ["get", "evalsha", "eval", "unlink", "exists"];
        calls.map(|command| server.calls(command))
    };
    assert_eq!(cost("/bare").await, [0, 0, 0, 0, 0]);
    assert_eq!(cost("/get/n").await, [1, 0, 0, 0, 0]);
    assert_eq!(cost("/set/n/1").await, [1, 1, 0, 0, 0]);
    server.cli(&["CONFIG", "RESETSTAT"]);
    assert!(app.visitor().get("/set/a/1").await.sets_session());
    assert_eq!(server.calls("get") + server.calls("evalsha"), 1);
    assert_eq!(cost("/logout").await[..2], [1, 1]);
}

#[async_test]
async fn no_key_is_left_without_an_end() {
    let server = Redis::start();
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
    let keys = server.cli(&["KEYS", "*"]);
    assert!(keys.lines().count() >= 4, "{keys}");
    for key in keys.lines() {
        let left: i64 = server.cli(&["PTTL", key]).trim().parse().unwrap();
        assert!(left > 0, "{key} lives for ever");
    }
}

#[async_test]
async fn a_cluster_that_fails_over_under_load_loses_nothing_it_acknowledged() {
    let mut cluster = Cluster::start();
    let store = RedisStore::cluster(cluster.urls()).unwrap();
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(
            create(
                &store.clone().timeout(Duration::from_secs(5)),
                &n.to_string(),
            )
            .await,
        );
    }
    let victim = cluster.primary_of(&format!("session:{}", ids[0].to_hex()));
    // Every write that is acknowledged is on a replica before the primary dies.
    cli(cluster.0[victim].port, &["WAIT", "1", "5000"]);
    let (failed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let load = async {
        let started = Instant::now();
        let mut after = 0;
        let mut answers = 0_u64;
        // Until the dead primary's sessions have answered for a while again.
        while after < 300 {
            for id in &ids {
                match store.load_session(id).await {
                    Ok(found) => {
                        assert!(found.is_some(), "a session is lost");
                        answers += 1;
                        after += u64::from(failed.load(Ordering::Relaxed) > 0);
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                        failed.fetch_add(1, Ordering::Relaxed);
                        after = 0;
                    }
                }
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "after {answers} answers it never came back"
            );
        }
        done.store(true, Ordering::Relaxed);
    };
    let kill = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.0[victim].process().kill();
    };
    tokio::join!(load, kill);
    // Saving works again too, and the list is whole, from the nodes that are left.
    let id = create(&store, "late").await;
    assert!(store.has_session(&id).await.unwrap());
    let swept = store.delete_old_sessions(u64::MAX).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (0, 31));
}

#[async_test]
async fn a_master_that_dies_under_load_is_replaced_by_the_one_the_sentinels_choose() {
    let mut set = Sentinels::start();
    let store = RedisStore::sentinel(set.urls(), "mymaster")
        .unwrap()
        .timeout(Duration::from_secs(2));
    store.setup().await.expect("the master is found");
    let id = create(&store, "alice").await;
    cli(set.servers[0].port, &["WAIT", "1", "5000"]);
    // One sentinel is frozen: the others are enough.
    set.sentinels[0].process().signal("STOP");
    set.servers[0].process().kill();
    let started = Instant::now();
    let mut refused = 0;
    loop {
        match store.load_session(&id).await {
            Ok(found) => {
                assert!(found.is_some(), "the session is lost");
                break;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                refused += 1;
            }
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no new master was found"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(refused > 0, "there was no master for a while");
    let revision = Head::read(&store.load_session(&id).await.unwrap().unwrap().bytes)
        .unwrap()
        .revision;
    let save = Save {
        bytes: &session("alice"),
        ttl: Duration::from_secs(60),
        expect: Expect::Revision(revision),
    };
    let saved = store.save_session(&id, save).await.unwrap();
    assert!(
        matches!(saved, Saved::Saved(_)),
        "the new master is written to"
    );
    set.sentinels[0].process().signal("CONT");
    let unknown = RedisStore::sentinel(set.urls(), "nosuch").unwrap();
    let error = unknown.setup().await.expect_err("nobody knows it");
    assert!(error.to_string().contains("no sentinel knows"), "{error}");
}

#[async_test]
async fn a_master_that_was_demoted_is_left_for_the_new_one() {
    let set = Sentinels::start();
    let store = RedisStore::sentinel(set.urls(), "mymaster").unwrap();
    let id = create(&store, "alice").await;
    cli(set.servers[0].port, &["WAIT", "1", "5000"]);
    set.sentinels[0].cli(&["SENTINEL", "FAILOVER", "mymaster"]);
    crate::support::process::wait_until("the replica is promoted", || {
        set.servers[1]
            .cli(&["INFO", "replication"])
            .contains("role:master")
    });
    let started = Instant::now();
    let key = format!("session:{}", id.to_hex());
    // The old one still answers, at first as a master, whose writes are lost, then as a replica.
    while set.servers[1].cli(&["EXISTS", &key]).trim() != "0" {
        assert!(started.elapsed() < Duration::from_secs(60));
        let _ = store.delete_session(&id).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[async_test]
async fn requests_at_once_share_one_connection() {
    let server = Redis::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let connections = || -> u64 {
        let stats = server.cli(&["INFO", "stats"]);
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        line.expect("the server counts them")
            .trim()
            .parse()
            .unwrap()
    };
    let before = connections();
    let answers = join_all((0..100).map(|_| visitor.get("/add/count/1"))).await;
    assert!(answers.iter().all(|answer| answer.status.code == 200));
    // The one is that of the question.
    assert_eq!(connections() - before, 1);
}

#[async_test]
async fn settings_that_contradict_each_other_are_told_with_their_key() {
    log::keep();
    for (key, settings) in [
        ("sessions.redis.url", r#"{url="http://host"}"#),
        ("sessions.redis.urls", r#"{urls=["redis://host/3"]}"#),
        (
            "`sessions.redis`",
            r#"{url="redis://host", urls=["redis://host"]}"#,
        ),
        ("sessions.redis.master", r#"{sentinels=["redis://host"]}"#),
        ("sessions.redis.sentinels", r#"{master="mymaster"}"#),
        ("sessions.redis.db", r#"{urls=["redis://host"], db=1}"#),
        ("sessions.redis.prefx", r#"{prefx="a"}"#),
    ] {
        let toml = format!("[default.sessions]\nstore=\"redis\"\nredis={settings}");
        let figment = figment().merge(Toml::string(&toml).nested());
        let before = log::lines_with(key).len();
        let rocket = rocket::custom(figment).attach(Sessions::fairing());
        let error = rocket.ignite().await.expect_err("this cannot work");
        assert!(matches!(error.kind(), FailedFairings(_)));
        let lines = log::lines_with(key).split_off(before);
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("ERROR ") && line.lines().count() == 1),
            "{settings}: {lines:?}"
        );
    }
}
