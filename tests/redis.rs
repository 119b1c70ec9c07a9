//! A Redis server that is restarted, killed, frozen, disconnected, full or replaced: no request waits
//! long, no visitor sees another's session, and no acknowledged change is lost.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rocket::error::ErrorKind::FailedFairings;
use rocket::figment::providers::{Format, Toml};
use rocket::futures::TryStreamExt;
use rocket::futures::future::join_all;
use rocket::{async_test, tokio};
use rocket_session_kit::store::{
    KeyValue, Namespace, Precondition, RecordHeader, Revision, Save, Saved, SessionStore,
};
use rocket_session_kit::{ErrorKind, RedisStore, SessionId, Sessions};

use crate::support::proxy::Proxy;
use crate::support::redis::{Cluster, Redis, Sentinels, wait_until_replicated};
use crate::support::server::{
    SOON, brief, create, keeps_responses_apart, reports_a_lost_save_followed_by_another, save,
    session, spares_a_session_saved_meanwhile, works_in_a_second_runtime, write_everything,
};
use crate::support::{App, PATIENCE, Visitor, figment, log};

fn store(port: u16) -> RedisStore {
    RedisStore::open(&format!("redis://127.0.0.1:{port}"))
        .expect("this is a URL")
        .timeout(PATIENCE)
}

/// A server whose data survives a restart.
fn durable() -> Redis {
    Redis::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

async fn app(server: &Redis) -> App {
    let store = store(server.port);
    App::on(store, |f| f).await
}

#[async_test]
async fn the_next_request_works_after_a_restart_while_idle() {
    let mut server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    for round in 1..=5 {
        server.restart();
        let response = visitor.get("/add/count/1").await;
        assert_eq!(response.body, round.to_string(), "{response:?}");
    }
}

#[async_test]
async fn entries_work_after_a_restart_while_idle() {
    let mut server = durable();
    let store = store(server.port);
    let key = Namespace::new("test").unwrap().key("count");
    for round in 1..=5 {
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(store.increment(&key, 1, hour).await.unwrap(), round);
        server.restart();
    }
}

#[async_test]
async fn a_server_killed_in_flight_costs_one_response_and_no_update() {
    let mut server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        assert_eq!(visitor.get("/add/calm/1").await.status.code, 200);
        server.process().signal("STOP");
        let path = format!("/add/round{round}/1");
        let asked = visitor.get(&path);
        let killed = async {
            // The command has been sent by now, or soon will be: both are in flight.
            tokio::task::yield_now().await;
            server.process().kill();
        };
        let (response, ()) = tokio::join!(asked, killed);
        acknowledged.push(response.status.code == 200);
        if response.status.code != 200 {
            assert_eq!(response.status.code, 503);
            assert_eq!(response.header("Retry-After"), Some("5"));
        }
        server.restart();
    }
    assert_eq!(visitor.get("/get/calm").await.body, "5");
    assert_each_applied_once(&visitor, &acknowledged).await;
    assert_eq!(visitor.get("/add/calm/1").await.body, "6");
}

/// Asserts that each acknowledged `/add/round<n>/1` was applied once, and every other one at most
/// once. Returns how many of the others were applied.
async fn assert_each_applied_once(visitor: &Visitor<'_>, acknowledged: &[bool]) -> usize {
    let (mut lost, mut doubled, mut unasked) = (0, 0, 0);
    for (round, acknowledged) in acknowledged.iter().enumerate() {
        let there = visitor.get(&format!("/get/round{round}")).await;
        match (acknowledged, there.body.as_str()) {
            (true, "1") | (false, "none") => {}
            (false, "1") => unasked += 1,
            (true, "none") => lost += 1,
            (_, other) => {
                assert!(other.parse::<u64>().is_ok(), "{there:?}");
                doubled += 1;
            }
        }
    }
    assert_eq!((lost, doubled), (0, 0));
    unasked
}

#[async_test]
async fn the_configuration_decides_whether_a_dead_server_stops_the_launch() {
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
    let lines = log::lines_with(&format!("127.0.0.1:{}", server.port));
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
    let mut server = durable();
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
    let mut server = durable();
    let store = store(server.port).timeout(Duration::from_millis(400));
    let app = App::on(store, brief).await;
    let visitor = app.known_visitor().await;
    server.process().signal("STOP");
    let started = Instant::now();
    let all = join_all((0..20).map(|_| visitor.get("/add/count/1"))).await;
    assert!(all.iter().all(|response| response.status.code == 503));
    assert!(started.elapsed() < SOON);
    server.process().signal("CONT");
    // A command that was sent before the freeze may still be executed. It corrupts nothing.
    crate::support::process::wait_until("the server is back", || {
        server.cli(&["PING"]).contains("PONG")
    });
    let started = Instant::now();
    let response = loop {
        let response = visitor.get("/add/count/1").await;
        if response.status.code == 200 {
            break response;
        }
        assert!(started.elapsed() < SOON, "{response:?}");
    };
    assert_eq!(response.body, visitor.get("/get/count").await.body);
}

#[async_test]
async fn a_connection_that_loses_everything_is_replaced() {
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
    // The old connection stays dead forever.
    let response = visitor.get("/add/count/1").await;
    assert_eq!(response.status.code, 200, "{response:?}");
}

#[async_test]
async fn a_connection_cut_before_the_response_doubles_no_update() {
    let server = durable();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let app = App::on(store, |f| f).await;
    let visitor = app.known_visitor().await;
    proxy.delay(Duration::from_millis(4));
    let rounds = AtomicU64::new(0);
    let add = async {
        let mut acknowledged = Vec::new();
        for round in 0..100 {
            let response = visitor.get(&format!("/add/round{round}/1")).await;
            acknowledged.push(response.status.code == 200);
            rounds.store(round + 1, Ordering::Relaxed);
        }
        acknowledged
    };
    let cut = async {
        // At another moment in every fourth round, however long a round takes.
        for cut in 0..25 {
            while rounds.load(Ordering::Relaxed) < 4 * cut {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(cut)).await;
            proxy.cut();
        }
    };
    let (acknowledged, ()) = tokio::join!(add, cut);
    proxy.heal();
    assert_each_applied_once(&visitor, &acknowledged).await;
    let refused = acknowledged.iter().filter(|done| !**done).count();
    assert!(refused <= 5, "{refused} were refused");
}

#[async_test]
async fn an_entry_is_counted_once_though_the_response_was_lost() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port);
    let (store, direct) = (store(proxy.port), store(server.port));
    let key = Namespace::new("rate").unwrap().key("visitor");
    // From here on there is a connection, and the server knows the script.
    assert_eq!(store.increment(&key, 1, None).await.unwrap(), 1);
    proxy.cut_at_responses(1);
    let lost = store.increment(&key, 1, None).await;
    let error = lost.expect_err("the outcome of the increment is unknown");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(direct.increment(&key, 1, None).await.unwrap(), 3);
}

#[async_test]
async fn a_save_with_a_lost_request_or_response_counts_once() {
    let server = durable();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let app = App::on(store.clone(), |f| f).await;
    let visitor = app.known_visitor().await;
    let id = SessionId::random();
    let mut precondition = Precondition::Absent;
    for arrived in [false, true, false, true] {
        let bytes = session("alice");
        match arrived {
            false => proxy.cut_at_requests(1),
            true => proxy.cut_at_responses(1),
        }
        let saved = store.save_session(&id, save(&bytes, precondition)).await;
        let Ok(Saved::Saved(revision)) = saved else {
            panic!("arrived: {arrived}: {saved:?}");
        };
        let there = store.load_session(&id).await.unwrap().expect("it is there");
        assert!(there.bytes == bytes && there.revision == revision);
        precondition = Precondition::Revision(revision);
    }
    let gate = proxy.hold(b"EVALSHA");
    for round in 1..=5_u64 {
        let lost = async {
            gate.arrived().await;
            proxy.cut_at_responses(1);
            gate.open();
            gate.arrived().await;
            gate.open();
        };
        let (response, ()) = tokio::join!(visitor.get("/add/count/1"), lost);
        assert_eq!(
            (response.status.code, response.body),
            (200, round.to_string())
        );
    }
}

#[async_test]
async fn a_lost_save_followed_by_another_is_an_error_and_not_repeated() {
    for arrived in [false, true] {
        let server = durable();
        let proxy = Proxy::to(server.port);
        let (store, direct) = (store(proxy.port), store(server.port));
        let id = create(&store, "alice").await;
        let before = store.load_session(&id).await.unwrap().expect("it is there");
        let gate = proxy.hold(b"EVALSHA");
        let loss = async {
            gate.arrived().await;
            match arrived {
                false => proxy.cut(),
                true => proxy.cut_at_responses(1),
            }
            gate.open();
            // The save is sent again.
            gate.arrived().await;
        };
        let before = (id, before.revision);
        reports_a_lost_save_followed_by_another(&store, &direct, before, arrived, &gate, loss)
            .await;
    }
}

#[async_test]
async fn a_session_saved_between_check_and_deletion_survives_a_sweep() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port);
    let (sweeping, direct) = (store(proxy.port), store(server.port));
    let deletions = proxy.hold(b"EVALSHA");
    spares_a_session_saved_meanwhile(&sweeping, &direct, deletions).await;
}

#[test]
fn a_store_works_in_a_second_runtime() {
    let server = Redis::start();
    works_in_a_second_runtime(&store(server.port));
}

#[async_test]
async fn lost_scripts_are_loaded_into_the_server_again() {
    let server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    for round in 1..=3 {
        server.cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(visitor.get("/add/count/1").await.body, round.to_string());
    }
}

#[async_test]
async fn flushall_leaves_visitors_anonymous_without_errors() {
    let server = durable();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    server.cli(&["FLUSHALL"]);
    let response = visitor.get("/who").await;
    assert_eq!(
        (response.status.code, response.body.as_str()),
        (200, "nobody")
    );
    assert!(response.session_cookie().is_none());
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
    let response = visitor.get("/add/count/1").await;
    assert_eq!((response.status.code, response.body.as_str()), (200, "1"));
    assert_eq!(server.cli(&["LRANGE", &key, "0", "-1"]), "not ours\n");
    assert_eq!(app.list().await.len(), 1, "the list is left out");
}

#[async_test]
async fn a_wrong_password_stops_the_launch_and_is_not_shown() {
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
async fn a_replica_serves_reads_and_reports_refused_writes() {
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
    wait_until_replicated(primary.port);
    assert!(reading.has_session(&id).await.unwrap());
    let error = reading
        .delete_session(&id)
        .await
        .expect_err("it is a replica");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("it is a replica"), "{error}");
}

#[async_test]
async fn a_full_server_refuses_new_sessions_and_keeps_existing_ones() {
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
async fn a_full_server_refuses_no_log_out() {
    let server = Redis::start();
    let app = app(&server).await;
    let (visitor, other) = (app.known_visitor().await, app.known_visitor().await);
    visitor.get("/login/alice").await;
    other.get("/login/bob").await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let response = visitor.get("/logout").await;
    assert_eq!(response.status.code, 200);
    assert!(response.removes_session());
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(app.sessions().end_all_of("bob", None).await.unwrap(), 1);
    assert_eq!(other.get("/who").await.body, "nobody");
}

#[async_test]
async fn a_session_in_use_stays_on_the_server_after_the_clock_was_set_back() {
    let server = Redis::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    let key = format!("session:{}", id.to_hex());
    app.clock.set_back(Duration::from_secs(3600));
    // On the server most of its time has passed.
    assert_eq!(server.cli(&["EXPIRE", &key, "60"]).trim(), "1");
    visitor.get("/touch").await;
    let left: u64 = server.cli(&["TTL", &key]).trim().parse().unwrap();
    assert!(left > 80_000, "{left}");
}

#[async_test]
async fn a_cancelled_request_never_leaves_its_response_to_another() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port);
    keeps_responses_apart(&store(proxy.port), &proxy).await;
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
async fn tls_works_by_default_and_trusts_only_configured_certificates() {
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
    let tls_port = crate::support::process::free_port();
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
    let store = RedisStore::open(&url).unwrap().timeout(PATIENCE);
    let error = store
        .setup()
        .await
        .expect_err("no session of the site belongs to it");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    let store = store.ca(&cert).unwrap();
    store.setup().await.expect("now it is trusted");
    let id = create(&store, "alice").await;
    assert!(store.has_session(&id).await.unwrap());
    // The same from the configuration, which applies to the server of a Perl site, too.
    for (ca, launches) in [(&cert, true), (&path("missing.pem"), false)] {
        let of_sessions = figment()
            .merge(("sessions.store", "redis"))
            .merge(("sessions.redis.url", &url));
        let of_perl = figment()
            .merge(("sessions.store", "memory"))
            .merge(("sessions.perl.cookie_name", "perl"))
            .merge(("sessions.perl.url", &url));
        let perl = cfg!(feature = "perl").then_some(of_perl);
        for figment in [Some(of_sessions), perl].into_iter().flatten() {
            let figment = figment.merge(("sessions.redis.ca", ca));
            let rocket = rocket::custom(figment).attach(Sessions::fairing());
            let launched = rocket::local::asynchronous::Client::untracked(rocket).await;
            let refused = launched.err().map(|error| format!("{:?}", error.kind()));
            assert_eq!(refused.is_none(), launches, "{ca}: {refused:?}");
        }
    }
    let error = store
        .ca(path("missing.pem"))
        .expect_err("there is no such file");
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[async_test]
async fn every_operation_takes_the_promised_round_trips() {
    let server = Redis::start();
    let app = app(&server).await;
    let visitor = app.known_visitor().await;
    let cost = async |path: &str| {
        server.cli(&["CONFIG", "RESETSTAT"]);
        let response = visitor.get(path).await;
        assert_eq!(response.status.code, 200, "{path}");
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
async fn every_key_has_an_expiry() {
    let server = Redis::start();
    let app = app(&server).await;
    write_everything(&app, &store(server.port)).await;
    let keys = server.cli(&["KEYS", "*"]);
    assert!(keys.lines().count() >= 4, "{keys}");
    for key in keys.lines() {
        let left: i64 = server.cli(&["PTTL", key]).trim().parse().unwrap();
        assert!(left > 0, "{key} never expires");
    }
}

/// Writes to a session again and again, and records the acknowledged numbers.
struct Writer {
    id: SessionId,
    attempts: u64,
    acknowledged: Vec<(u64, Instant)>,
    /// The times at which the missing numbers were acknowledged.
    lost: Vec<Instant>,
}

impl Writer {
    async fn new(store: &RedisStore) -> Self {
        Self {
            id: create(store, "0").await,
            attempts: 0,
            acknowledged: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn key(&self) -> String {
        format!("session:{}", self.id.to_hex())
    }

    /// Returns the current revision, and records the missing numbers.
    async fn look(&mut self, store: &RedisStore) -> Option<Revision> {
        let there = store.load_session(&self.id).await.ok()?;
        let there = there.expect("the session was replicated before");
        let text = String::from_utf8(there.bytes).unwrap();
        let number = text
            .split(r#""owner":""#)
            .nth(1)
            .and_then(|rest| rest.split('"').next());
        let number: u64 = number.expect("it has one").parse().unwrap();
        assert!(number <= self.attempts);
        let kept = self
            .acknowledged
            .partition_point(|(written, _)| *written <= number);
        let lost = self.acknowledged.drain(kept..);
        self.lost.extend(lost.map(|(_, when)| when));
        Some(there.revision)
    }

    /// Returns whether the next number was acknowledged.
    async fn write(&mut self, store: &RedisStore) -> bool {
        let Some(revision) = self.look(store).await else {
            return false;
        };
        self.attempts += 1;
        let bytes = session(&self.attempts.to_string());
        let saved = store
            .save_session(&self.id, save(&bytes, Precondition::Revision(revision)))
            .await;
        let done = matches!(saved, Ok(Saved::Saved(_)));
        if done {
            self.acknowledged.push((self.attempts, Instant::now()));
        }
        done
    }
}

/// Writes until `done`, and then until a write of every writer is acknowledged. Returns the number of
/// acknowledged writes.
async fn write_until(done: &AtomicBool, writers: &mut [Writer], store: &RedisStore) -> usize {
    let started = Instant::now();
    let mut count = 0;
    while !done.load(Ordering::Relaxed) {
        for writer in &mut *writers {
            count += usize::from(writer.write(store).await);
        }
    }
    for writer in writers {
        while !writer.write(store).await {
            assert!(
                started.elapsed() < Duration::from_secs(90),
                "it never works again"
            );
        }
        count += 1;
        assert!(writer.look(store).await.is_some());
    }
    count
}

#[async_test]
async fn a_cluster_failover_under_load_loses_only_unreplicated_writes() {
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
    let mut writers = Vec::new();
    for _ in 0..12 {
        writers.push(Writer::new(&store.clone().timeout(Duration::from_secs(5))).await);
    }
    let concerned = |writer: &Writer| cluster.primary_of(&writer.key()) == victim;
    let concerned: Vec<_> = writers.iter().map(concerned).collect();
    // Every acknowledged write is on a replica before the primary dies.
    wait_until_replicated(cluster.0[victim].port);
    let (failed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let load = async {
        let started = Instant::now();
        let mut after = 0;
        let mut responses = 0_u64;
        // Until the dead primary's sessions have been served for a while again.
        while after < 300 {
            for id in &ids {
                match store.load_session(id).await {
                    Ok(found) => {
                        assert!(found.is_some(), "a session is lost");
                        responses += 1;
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
                "after {responses} responses it never came back"
            );
        }
        done.store(true, Ordering::Relaxed);
    };
    let kill = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.0[victim].process().kill();
        Instant::now()
    };
    let writes = write_until(&done, &mut writers, &store);
    let (written, killed, ()) = tokio::join!(writes, kill, load);
    let mut lost = 0;
    for (writer, concerned) in writers.iter().zip(concerned) {
        assert!(concerned || writer.lost.is_empty(), "its primary lives");
        let late = killed - Duration::from_secs(1);
        assert!(
            writer.lost.iter().all(|when| *when > late),
            "it had a second to be replicated"
        );
        lost += writer.lost.len();
    }
    println!("of {written} acknowledged writes {lost} were lost with the primary");
    // Saves work again too, and the list from the remaining nodes is complete.
    let id = create(&store, "late").await;
    assert!(store.has_session(&id).await.unwrap());
    let swept = store.delete_old_sessions(u64::MAX).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (0, 43));
}

#[async_test]
async fn a_dead_master_is_replaced_by_the_choice_of_the_sentinels() {
    let mut set = Sentinels::start();
    let store = RedisStore::sentinel(set.urls(), "mymaster")
        .unwrap()
        .timeout(Duration::from_secs(2));
    store.setup().await.expect("the master is found");
    let id = create(&store, "alice").await;
    let mut writers = [Writer::new(&store).await, Writer::new(&store).await];
    wait_until_replicated(set.servers[0].port);
    let done = AtomicBool::new(false);
    let dies = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        // One sentinel is frozen; the others suffice.
        set.sentinels[0].process().signal("STOP");
        set.servers[0].process().kill();
        let killed = Instant::now();
        while set.servers[1].cli(&["ROLE"]).lines().next() != Some("master") {
            assert!(
                killed.elapsed() < Duration::from_secs(60),
                "no master is chosen"
            );
            let _ = store.load_session(&id).await;
        }
        done.store(true, Ordering::Relaxed);
        killed
    };
    let (written, killed) = tokio::join!(write_until(&done, &mut writers, &store), dies);
    let lost: Vec<_> = writers.iter().flat_map(|writer| &writer.lost).collect();
    let late = killed - Duration::from_secs(1);
    assert!(
        lost.iter().all(|when| **when > late),
        "it had a second to be replicated"
    );
    println!(
        "of {written} acknowledged writes {} were lost with the master",
        lost.len()
    );
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
    assert_eq!(refused, 0, "there is a new master");
    let revision = RecordHeader::read(&store.load_session(&id).await.unwrap().unwrap().bytes)
        .unwrap()
        .revision;
    let save = Save {
        bytes: &session("alice"),
        ttl: Duration::from_secs(60),
        precondition: Precondition::Revision(revision),
    };
    let saved = store.save_session(&id, save).await.unwrap();
    assert!(
        matches!(saved, Saved::Saved(_)),
        "the new master is written to"
    );
    set.sentinels[0].process().signal("CONT");
    let unknown = RedisStore::sentinel(set.urls(), "nosuch").unwrap();
    let error = unknown.setup().await.expect_err("it is unknown");
    assert!(error.to_string().contains("no sentinel knows"), "{error}");
}

#[async_test]
async fn a_demoted_master_is_left_for_the_new_master() {
    // Until the sentinels reconfigure it, the old master acknowledges writes that are then lost.
    demote(&Sentinels::start(), Duration::from_secs(60)).await;
}

#[async_test]
async fn a_master_that_requires_a_replica_is_left_before_its_demotion() {
    let set = Sentinels::start();
    for setting in ["min-replicas-to-write", "min-replicas-max-lag"] {
        set.servers[0].cli(&["CONFIG", "SET", setting, "1"]);
    }
    let served = demote(&set, Duration::from_secs(4)).await;
    assert!(
        served,
        "no write is acknowledged until the old master is reconfigured"
    );
}

/// Promotes the replica of a living master, while sessions are written to. Every lost write
/// was acknowledged within `window`. Returns whether the new master acknowledged
/// a write before the old one was reconfigured.
async fn demote(set: &Sentinels, window: Duration) -> bool {
    let store = RedisStore::sentinel(set.urls(), "mymaster").unwrap();
    let id = create(&store, "alice").await;
    let mut writers = [Writer::new(&store).await, Writer::new(&store).await];
    wait_until_replicated(set.servers[0].port);
    let done = AtomicBool::new(false);
    let demoted = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let began = Instant::now();
        set.sentinels[0].cli(&["SENTINEL", "FAILOVER", "mymaster"]);
        for (server, role) in [(&set.servers[1], "master"), (&set.servers[0], "slave")] {
            while server.cli(&["ROLE"]).lines().next() != Some(role) {
                assert!(began.elapsed() < Duration::from_secs(60), "it is no {role}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        done.store(true, Ordering::Relaxed);
        (began, Instant::now())
    };
    let writes = write_until(&done, &mut writers, &store);
    let (written, (began, ended)) = tokio::join!(writes, demoted);
    // A replica is promoted within a second or two.
    let between = began + (ended - began) / 2..ended;
    let kept = writers.iter().flat_map(|writer| &writer.acknowledged);
    let served = kept.into_iter().any(|(_, when)| between.contains(when));
    let lost: Vec<_> = writers.iter().flat_map(|writer| &writer.lost).collect();
    // A write that was acknowledged at the last moment may be recorded a little later.
    let second = Duration::from_secs(1);
    let during = began - second..(ended + second).min(began + window);
    assert!(
        lost.iter().all(|when| during.contains(*when)),
        "it was replicated"
    );
    println!(
        "of {written} acknowledged writes {} were lost in {:?}",
        lost.len(),
        ended - began
    );
    let started = Instant::now();
    let key = format!("session:{}", id.to_hex());
    // The old master still responds, at first as a master, whose writes are lost, then as a replica.
    while set.servers[1].cli(&["EXISTS", &key]).trim() != "0" {
        assert!(started.elapsed() < Duration::from_secs(60));
        let _ = store.delete_session(&id).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    served
}

/// Returns how many connections the server has accepted, including the one of this query.
fn connections(server: &Redis) -> u64 {
    let stats = server.cli(&["INFO", "stats"]);
    let mut lines = stats.lines();
    let line = lines.find_map(|line| line.strip_prefix("total_connections_received:"));
    let count = line.expect("the server counts them").trim();
    count.parse().expect("it is a number")
}

#[async_test]
async fn concurrent_requests_share_one_connection_and_entries_another() {
    let server = Redis::start();
    let store = store(server.port);
    let before = connections(&server);
    let app = App::on(store.clone(), |f| f).await;
    let visitor = app.known_visitor().await;
    let responses = join_all((0..100).map(|_| visitor.get("/add/count/1"))).await;
    assert!(responses.iter().all(|response| response.status.code == 200));
    // One of them is that of the query.
    assert_eq!(connections(&server) - before - 1, 1);
    let key = Namespace::new("test").unwrap().key("count");
    let hour = Some(Duration::from_secs(3600));
    let counts = join_all((0..100).map(|_| store.increment(&key, 1, hour))).await;
    assert!(counts.iter().all(Result::is_ok));
    assert_eq!(connections(&server) - before - 2, 2);
}

#[async_test]
async fn no_session_waits_for_a_large_entry() {
    let server = Redis::start();
    let proxy = Proxy::to(server.port);
    let store = store(proxy.port);
    let key = Namespace::new("test").unwrap().key("large");
    let large = vec![b'x'; 8 << 20];
    let ids = [create(&store, "alice").await, create(&store, "bob").await];
    store.set(&key, &large, None).await.unwrap();
    // At 12 MB a second, the entry takes two thirds of a second.
    proxy.bandwidth(12_000_000);
    let done = AtomicBool::new(false);
    for writes in [false, true] {
        done.store(false, Ordering::SeqCst);
        let entry = async {
            let started = Instant::now();
            match writes {
                true => store.set(&key, &large, None).await.unwrap(),
                false => assert_eq!(store.get(&key).await.unwrap().unwrap().len(), 8 << 20),
            }
            done.store(true, Ordering::SeqCst);
            started.elapsed()
        };
        let sessions = async {
            let (mut slowest, mut loads) = (Duration::ZERO, 0);
            while !done.load(Ordering::SeqCst) {
                let started = Instant::now();
                assert!(store.load_session(&ids[loads % 2]).await.unwrap().is_some());
                slowest = slowest.max(started.elapsed());
                loads += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            (slowest, loads)
        };
        let (took, (slowest, loads)) = tokio::join!(entry, sessions);
        assert!(
            took > Duration::from_millis(400),
            "the link is not slow: {took:?}"
        );
        assert!(loads > 5, "{loads} loads in {took:?}");
        assert!(slowest < took / 2, "a load took {slowest:?} of {took:?}");
    }
}

static GUIDE: LazyLock<String> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/store-redis.md");
    std::fs::read_to_string(path).expect("the guide is there")
});

/// The rights that the guide lists for a use.
fn rights(uses: &[&str]) -> Vec<&'static str> {
    let table = GUIDE.split("## Rights").nth(1).expect("it has a chapter");
    let table = table.split("```").nth(1).expect("it has a table");
    let of = |wanted: &&str| {
        let mut lines = table.lines();
        let line = lines.find_map(|line| line.strip_prefix(wanted)?.strip_prefix("  "));
        let line = line.unwrap_or_else(|| panic!("the guide does not name {wanted}"));
        line.split_whitespace()
    };
    uses.iter().flat_map(of).collect()
}

/// Creates a user with only these rights.
fn allow(server: &Redis, rights: &[&str]) {
    let reset = ["ACL", "SETUSER", "shop", "reset", "on", ">s3cr3t"];
    let made = server.cli(&[&reset[..], rights].concat());
    assert_eq!(made.trim(), "OK", "{rights:?}");
}

/// Makes every kind of call to a store; with `entries`, also those of the cache and the limits.
async fn do_all(store: &RedisStore, entries: bool) -> rocket_session_kit::Result<()> {
    store.setup().await?;
    let id = SessionId::random();
    let mut precondition = Precondition::Absent;
    for _ in 0..2 {
        let Saved::Saved(revision) = store
            .save_session(&id, save(&session("a"), precondition))
            .await?
        else {
            panic!("no other request saves");
        };
        precondition = Precondition::Revision(revision);
    }
    assert!(store.load_session(&id).await?.is_some() && store.has_session(&id).await?);
    store.iter_sessions().try_collect::<Vec<_>>().await?;
    store.delete_old_sessions(0).await?;
    store.delete_session(&id).await?;
    let late = session("a");
    let saved = store.save_session(&id, save(&late, precondition));
    assert_eq!(saved.await?, Saved::Gone);
    if entries {
        let namespace = Namespace::new("test").unwrap();
        let key = namespace.key(id.to_hex());
        let hour = Some(Duration::from_secs(3600));
        store.set(&key, b"1", hour).await?;
        store.get(&key).await?;
        store.add(&key, b"2", None).await?;
        store.swap(&key, Some(b"1"), b"2", hour).await?;
        store.take(&key).await?;
        store.increment(&key, 1, hour).await?;
        store.remove(&key).await?;
        store.keys(&namespace).try_collect::<Vec<_>>().await?;
        store.clear(&namespace).await?;
    }
    Ok(())
}

/// Asserts that a user with exactly these rights on all of `servers` can make every call, and that
/// no right is unnecessary. The store is opened anew for each right.
async fn assert_enough(
    servers: &[&Redis],
    uses: &[&str],
    beside: &[&str],
    entries: bool,
    store: impl Fn() -> RedisStore,
) {
    let rights = rights(uses);
    // The server would still know earlier scripts, and would not need `EVAL`.
    let start = |rights: &[&str]| {
        for server in servers {
            allow(server, rights);
            server.cli(&["SCRIPT", "FLUSH"]);
        }
    };
    start(&rights);
    if let Err(error) = do_all(&store(), entries).await {
        let log = servers[0].cli(&["ACL", "LOG", "1"]);
        panic!("{uses:?} are not enough: {error}\n{log}");
    }
    for right in rights.iter().filter(|right| !beside.contains(right)) {
        let fewer: Vec<_> = rights.iter().copied().filter(|it| it != right).collect();
        start(&fewer);
        let done = do_all(&store(), entries).await;
        assert!(done.is_err(), "{right} is not needed for {uses:?}");
    }
}

#[async_test]
async fn the_rights_in_the_guide_are_sufficient_and_necessary() {
    let server = Redis::start();
    let url = format!("redis://shop:s3cr3t@127.0.0.1:{}", server.port);
    let open = |url: &str| {
        RedisStore::open(url)
            .unwrap()
            .timeout(Duration::from_secs(5))
    };
    assert_enough(&[&server], &["sessions"], &[], false, || open(&url)).await;
    let uses = ["sessions", "the cache, rate limits"];
    assert_enough(&[&server], &uses, &[], true, || open(&url)).await;
    let uses = ["sessions", "a `db` other than 0"];
    let url = format!("{url}/3");
    assert_enough(&[&server], &uses, &[], false, || open(&url)).await;
    // The complete line in the guide lists the same rights.
    let line = format!(
        "ACL SETUSER shop on >password {}\n",
        rights(&["sessions", "the cache, rate limits"]).join(" ")
    );
    assert!(GUIDE.contains(&line), "{line}");
}

#[async_test]
async fn the_rights_in_the_guide_are_sufficient_behind_sentinels() {
    let set = Sentinels::start();
    let sentinels: Vec<_> = set.sentinels.iter().collect();
    let urls = set.urls().into_iter();
    let urls: Vec<_> = urls
        .map(|url| url.replace("//", "//shop:s3cr3t@"))
        .collect();
    let store = || {
        let store = RedisStore::sentinel(&urls, "redis://shop:s3cr3t@mymaster").unwrap();
        store.timeout(Duration::from_secs(5))
    };
    for sentinel in &sentinels {
        allow(sentinel, &rights(&["a sentinel"]));
    }
    let uses = ["sessions", "a master of sentinels"];
    assert_enough(&[&set.servers[0]], &uses, &[], false, store).await;
    allow(&set.servers[0], &rights(&uses));
    for right in rights(&["a sentinel"]) {
        let fewer: Vec<_> = rights(&["a sentinel"]);
        let fewer: Vec<_> = fewer.into_iter().filter(|it| *it != right).collect();
        sentinels
            .iter()
            .for_each(|sentinel| allow(sentinel, &fewer));
        let done = do_all(&store(), false).await;
        assert!(done.is_err(), "{right} is not needed on a sentinel");
    }
}

#[async_test]
async fn a_session_is_found_and_saved_while_its_slot_moves_and_afterwards() {
    let cluster = Cluster::start();
    let uses = ["sessions", "a node of a cluster"];
    let nodes: Vec<_> = cluster.0.iter().collect();
    let urls = cluster.urls().into_iter();
    let urls: Vec<_> = urls
        .map(|url| url.replace("//", "//shop:s3cr3t@"))
        .collect();
    let open = || {
        let store = RedisStore::cluster(&urls).unwrap().prefix("session:");
        store.timeout(Duration::from_secs(5))
    };
    // `ASKING` is needed below, and the version of a cluster is not checked.
    assert_enough(&nodes, &uses, &["+asking", "+info"], false, open).await;
    nodes.iter().for_each(|node| allow(node, &rights(&uses)));
    let store = open();
    let ids = [create(&store, "alice").await, create(&store, "bob").await];
    let key = format!("session:{}", ids[0].to_hex());
    let slot = nodes[0]
        .cli(&["CLUSTER", "KEYSLOT", &key])
        .trim()
        .to_owned();
    let from = cluster.primary_of(&key);
    let is_other = |at: &usize| {
        let info = cluster.0[*at].cli(&["INFO", "replication"]);
        *at != from && info.contains("role:master")
    };
    let to = (0..6).find(is_other).expect("there are three primaries");
    let name = |at: usize| cluster.0[at].cli(&["CLUSTER", "MYID"]).trim().to_owned();
    let slots = |at: usize, how: &[&str]| {
        let command = [&["CLUSTER", "SETSLOT", &slot][..], how].concat();
        assert_eq!(cluster.0[at].cli(&command).trim(), "OK", "{how:?}");
    };
    slots(to, &["IMPORTING", &name(from)]);
    slots(from, &["MIGRATING", &name(to)]);
    let port = cluster.0[to].port.to_string();
    let moved = cluster.0[from].cli(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]);
    assert_eq!(moved.trim(), "OK");
    assert!(cluster.0[from].cli(&["GET", &key]).contains("ASK"));
    // The first node redirects to the right one.
    for stage in ["ASK", "MOVED"] {
        for round in 0..3 {
            let there = store.load_session(&ids[0]).await.unwrap();
            let there = there.unwrap_or_else(|| panic!("{stage} {round}: it is lost"));
            let bytes = session(&format!("{stage}{round}"));
            let precondition = Precondition::Revision(there.revision);
            let saved = store
                .save_session(&ids[0], save(&bytes, precondition))
                .await;
            assert!(matches!(saved, Ok(Saved::Saved(_))), "{stage}: {saved:?}");
            let stale = store
                .save_session(&ids[0], save(&session("stale"), precondition))
                .await;
            assert!(matches!(stale, Ok(Saved::Changed)), "{stage}: {stale:?}");
            assert!(store.has_session(&ids[0]).await.unwrap(), "{stage}");
            assert!(
                store.load_session(&ids[1]).await.unwrap().is_some(),
                "{stage}"
            );
        }
        if stage == "ASK" {
            for at in [to, from] {
                slots(at, &["NODE", &name(to)]);
            }
            assert!(cluster.0[from].cli(&["GET", &key]).contains("MOVED"));
        }
    }
    assert!(store.delete_session(&ids[0]).await.unwrap());
    assert!(store.load_session(&ids[0]).await.unwrap().is_none());
    assert!(
        !nodes
            .iter()
            .any(|node| node.cli(&["ACL", "LOG"]).contains("asking"))
    );
}

#[async_test]
async fn an_error_about_contradictory_settings_names_the_key() {
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
