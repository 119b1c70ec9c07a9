//! A database that is restarted, killed, frozen, disconnected, full, locked or misconfigured: no request
//! waits long, and no acknowledged change is lost or counted twice.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rocket::error::ErrorKind::FailedFairings;
use rocket::futures::future::join_all;
use rocket::futures::{FutureExt, TryStreamExt};
use rocket::{async_test, tokio};
use rocket_session_kit::store::{KeyValue, Namespace, Precondition, Revision, Saved, SessionStore};
use rocket_session_kit::{ErrorKind, Result, SessionId, Sessions, SqlStore};

use crate::support::database::{Database, on_every_server};
use crate::support::disk::Disk;
use crate::support::process::{Process, program, run_program, wait_until};
use crate::support::proxy::Proxy;
use crate::support::server::{
    SOON, brief, create, filled_session, keeps_responses_apart,
    reports_a_lost_save_followed_by_another, save, session,
};
use crate::support::sql_server::{Kind, SqlServer, give_away};
use crate::support::{App, Visitor, figment, log};

on_every_server! {
    the_next_request_works_after_a_restart_while_idle
    a_server_killed_in_flight_costs_one_response_and_no_update
    a_server_that_is_down_affects_only_visitors_with_sessions
    the_configuration_decides_whether_a_dead_server_stops_the_launch
    every_request_ends_in_time_with_a_frozen_server
    connections_that_lose_everything_are_replaced
    a_connection_cut_before_the_response_doubles_no_update
    an_entry_is_counted_once_though_the_response_was_lost
    a_save_with_a_lost_request_or_response_counts_once
    a_lost_save_followed_by_another_is_an_error_and_not_repeated
    a_cancelled_request_never_leaves_its_response_to_another
    abandoned_requests_use_up_no_connection
    entries_lose_at_most_one_call_after_a_restart_while_idle
    an_unknown_database_stops_the_launch
    a_wrong_password_stops_the_launch_and_is_not_shown
    a_server_that_accepts_no_writes_serves_reads_and_reports_refused_writes
}

/// Launches an application on the server.
async fn app(kind: Kind, server: &SqlServer) -> App {
    App::on(Database::at(kind, server.url()).open(), |f| f).await
}

/// The time limit of a store whose server does not respond.
const BRIEF: Duration = Duration::from_millis(400);

async fn the_next_request_works_after_a_restart_while_idle(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let app = app(kind, &server).await;
    let visitor = app.known_visitor().await;
    for round in 1..=3 {
        // There are several idle connections, and all of them break.
        let all = join_all((0..5).map(|_| visitor.get("/touch"))).await;
        assert!(all.iter().all(|response| response.status.code == 200));
        server.restart();
        let response = visitor.get("/add/count/1").await;
        assert_eq!(response.body, round.to_string(), "{response:?}");
    }
}

async fn a_server_killed_in_flight_costs_one_response_and_no_update(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let app = app(kind, &server).await;
    let visitor = app.known_visitor().await;
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        assert_eq!(visitor.get("/add/calm/1").await.status.code, 200);
        server.freeze();
        let path = format!("/add/round{round}/1");
        let asked = visitor.get(&path);
        let killed = async {
            // The statement has been sent by now, or soon will be: both are in flight.
            tokio::task::yield_now().await;
            server.kill();
        };
        let (response, ()) = tokio::join!(asked, killed);
        acknowledged.push(response.status.code == 200);
        if response.status.code != 200 {
            assert_eq!(response.status.code, 503);
            assert_eq!(response.header("Retry-After"), Some("5"));
        }
        server.restart();
    }
    assert_eq!(visitor.get("/get/calm").await.body, "4");
    assert_each_applied_once(&visitor, &acknowledged).await;
    assert_eq!(visitor.get("/add/calm/1").await.body, "5");
}

/// Asserts that each acknowledged `/add/round<n>/1` was applied once, and every other one at most once.
async fn assert_each_applied_once(visitor: &Visitor<'_>, acknowledged: &[bool]) {
    for (round, acknowledged) in acknowledged.iter().enumerate() {
        let there = visitor.get(&format!("/get/round{round}")).await;
        match (acknowledged, there.body.as_str()) {
            (_, "1") | (false, "none") => {}
            (true, "none") => panic!("{round} is lost"),
            _ => panic!("{round} was applied twice: {there:?}"),
        }
    }
}

async fn a_server_that_is_down_affects_only_visitors_with_sessions(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let app = app(kind, &server).await;
    let visitor = app.known_visitor().await;
    server.kill();
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

/// The settings of an application that keeps its sessions at `url`.
fn configured(kind: Kind, url: &str, required: bool) -> rocket::Rocket<rocket::Build> {
    let name = match kind {
        Kind::Postgres => "postgres",
        Kind::MariaDb => "mysql",
    };
    let settings = figment()
        .merge(("sessions.store", name))
        .merge(("sessions.sql.url", url))
        .merge(("sessions.require_store_at_launch", required));
    rocket::custom(settings).attach(Sessions::fairing())
}

async fn the_configuration_decides_whether_a_dead_server_stops_the_launch(kind: Kind) {
    let mut server = SqlServer::start(kind);
    server.kill();
    log::keep();
    let rocket = configured(kind, &server.url(), true);
    let error = rocket.ignite().await.expect_err("there is no server");
    assert!(matches!(error.kind(), FailedFairings(_)));
    let lines = log::lines_with(&format!("127.0.0.1:{}", server.port));
    assert!(
        lines.iter().any(|line| line.starts_with("ERROR ")
            && line.contains("the connection was refused; is the server running?")),
        "{lines:?}"
    );
    let rocket = configured(kind, &server.url(), false);
    rocket.ignite().await.expect("it launches without");
}

async fn every_request_ends_in_time_with_a_frozen_server(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let store = Database::at(kind, server.url()).open().timeout(BRIEF);
    let app = App::on(store, brief).await;
    let visitor = app.known_visitor().await;
    for _ in 0..2 {
        server.freeze();
        let started = Instant::now();
        let all = join_all((0..20).map(|_| visitor.get("/add/count/1"))).await;
        assert!(all.iter().all(|response| response.status.code == 503));
        assert!(started.elapsed() < SOON);
        server.thaw();
        // A statement that was sent before the freeze may still be executed. It corrupts nothing.
        let started = Instant::now();
        let response = loop {
            let response = visitor.get("/add/count/1").await;
            if response.status.code == 200 {
                break response;
            }
            assert!(started.elapsed() < SOON, "{response:?}");
        };
        assert_eq!(response.body, visitor.get("/get/count").await.body);
        // As many as there may be connections, and each of them works.
        let all = join_all((0..10).map(|_| visitor.get("/touch"))).await;
        assert!(all.iter().all(|response| response.status.code == 200));
    }
    wait_until("no abandoned connection is left", || {
        server.connections() <= 10
    });
}

async fn connections_that_lose_everything_are_replaced(kind: Kind) {
    let database = Database::on(kind);
    let proxy = Proxy::to(database.port());
    let store = database.open_at(proxy.port).timeout(BRIEF);
    let app = App::on(store, brief).await;
    let visitor = app.known_visitor().await;
    let all = join_all((0..5).map(|_| visitor.get("/touch"))).await;
    assert!(all.iter().all(|response| response.status.code == 200));
    proxy.lose();
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(visitor.get("/add/count/1").await.status.code, 503);
        assert_eq!(visitor.get("/bare").await.status.code, 200);
    }
    assert!(started.elapsed() < SOON);
    proxy.heal();
    // The old connections stay dead forever.
    for round in 1..=10 {
        let response = visitor.get("/add/count/1").await;
        assert_eq!(response.body, round.to_string(), "{response:?}");
    }
}

async fn a_connection_cut_before_the_response_doubles_no_update(kind: Kind) {
    let database = Database::on(kind);
    let proxy = Proxy::to(database.port());
    let app = App::on(database.open_at(proxy.port), |f| f).await;
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
    // A new connection takes several messages, and may be cut as well.
    assert!(refused <= 12, "{refused} were refused");
}

async fn an_entry_is_counted_once_though_the_response_was_lost(kind: Kind) {
    let database = Database::on(kind);
    let proxy = Proxy::to(database.port());
    let (store, direct) = (database.open_at(proxy.port), database.store().await);
    let key = Namespace::new("rate").unwrap().key("visitor");
    // From here on there are connections.
    assert_eq!(store.increment(&key, 1, None).await.unwrap(), 1);
    let gate = proxy.hold(key.as_str().as_bytes());
    let lost = async {
        // It reads the entry, and then replaces its value.
        gate.arrived().await;
        gate.open();
        gate.arrived().await;
        proxy.cut_at_responses(1);
        gate.open_for_all();
    };
    let (counted, ()) = tokio::join!(store.increment(&key, 1, None), lost);
    let error = counted.expect_err("the outcome of the increment is unknown");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(direct.increment(&key, 1, None).await.unwrap(), 3);
    assert_eq!(store.increment(&key, 1, None).await.unwrap(), 4);
}

async fn a_save_with_a_lost_request_or_response_counts_once(kind: Kind) {
    let database = Database::on(kind);
    let proxy = Proxy::to(database.port());
    let app = App::on(database.open_at(proxy.port), |f| f).await;
    let store = database.open_at(proxy.port);
    let visitor = app.known_visitor().await;
    let id = SessionId::random();
    let mut precondition = Precondition::Absent;
    for arrived in [false, true, false, true] {
        let bytes = session("alice");
        let gate = proxy.hold(b"\"owner\":\"alice\"");
        let lost = async {
            gate.arrived().await;
            match arrived {
                false => proxy.cut(),
                true => proxy.cut_at_responses(1),
            }
            gate.open();
            // It is sent again.
            gate.arrived().await;
            gate.open_for_all();
        };
        let saving = store.save_session(&id, save(&bytes, precondition));
        let (saved, ()) = tokio::join!(saving, lost);
        let Ok(Saved::Saved(revision)) = saved else {
            panic!("arrived: {arrived}: {saved:?}");
        };
        let there = store.load_session(&id).await.unwrap().expect("it is there");
        assert!(there.bytes == bytes && there.revision == revision);
        precondition = Precondition::Revision(revision);
    }
    // The same for a new session, whose first attempt arrived.
    let (bytes, id) = (session("bob"), SessionId::random());
    let gate = proxy.hold(b"\"owner\":\"bob\"");
    let lost = async {
        gate.arrived().await;
        proxy.cut_at_responses(1);
        gate.open_for_all();
    };
    let saving = store.save_session(&id, save(&bytes, Precondition::Absent));
    let (saved, ()) = tokio::join!(saving, lost);
    assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
    // The same for a request.
    for round in 1..=5_u64 {
        let gate = proxy.hold(b"\"count\"");
        let lost = async {
            gate.arrived().await;
            proxy.cut_at_responses(1);
            gate.open();
            gate.arrived().await;
            gate.open_for_all();
        };
        let (response, ()) = tokio::join!(visitor.get("/add/count/1"), lost);
        assert_eq!(
            (response.status.code, response.body),
            (200, round.to_string())
        );
    }
}

async fn a_lost_save_followed_by_another_is_an_error_and_not_repeated(kind: Kind) {
    for arrived in [false, true] {
        let database = Database::on(kind);
        let proxy = Proxy::to(database.port());
        let direct = database.store().await;
        let store = database.open_at(proxy.port);
        let id = create(&store, "alice").await;
        let before = store.load_session(&id).await.unwrap().expect("it is there");
        let gate = proxy.hold(b"\"owner\":\"ours\"");
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

async fn a_cancelled_request_never_leaves_its_response_to_another(kind: Kind) {
    let database = Database::on(kind);
    let proxy = Proxy::to(database.port());
    let store = database.open_at(proxy.port);
    store.setup().await.expect("it can be set up");
    keeps_responses_apart(&store, &proxy).await;
}

async fn abandoned_requests_use_up_no_connection(kind: Kind) {
    let database = Database::on(kind);
    let proxy = Proxy::to(database.port());
    let store = database.open_at(proxy.port).max_connections(2);
    store.setup().await.expect("it can be set up");
    create_known(&store).await;
    let id = id();
    for _ in 0..50 {
        // Each of them has sent its statement, or waits for a connection.
        let abandoned = join_all((0..3).map(|_| store.load_session(&id)));
        let _ = abandoned.now_or_never();
        tokio::task::yield_now().await;
    }
    assert!(store.has_session(&id).await.unwrap());
    // While it hangs, and afterwards.
    let gate = proxy.hold(&ID);
    for _ in 0..4 {
        let load = store.load_session(&id);
        let arrived = gate.arrived();
        tokio::select! {
            biased;
            _ = load => panic!("the gate is closed"),
            () = arrived => {}
        }
    }
    gate.open_for_all();
    assert!(store.has_session(&id).await.unwrap());
    let both = join_all((0..2).map(|_| store.has_session(&id))).await;
    assert!(both.into_iter().all(|there| there.unwrap()));
}

async fn entries_lose_at_most_one_call_after_a_restart_while_idle(kind: Kind) {
    let mut server = SqlServer::start(kind);
    let store = Database::at(kind, server.url()).store().await;
    let key = Namespace::new("test").unwrap().key("count");
    let mut counted = 0;
    for _ in 0..3 {
        server.restart();
        match store.increment(&key, 1, None).await {
            Ok(sum) => assert_eq!(sum, counted + 1),
            // No connection tells whether it has been executed.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        }
        let sum = store.increment(&key, 1, None).await.unwrap();
        assert!(sum == counted + 1 || sum == counted + 2);
        counted = sum;
    }
}

/// All operations on a store, in an order in which each of them does something. The first eight may be
/// executed twice.
const OPERATIONS: [&str; 13] = [
    "load",
    "save",
    "replace",
    "list",
    "sweep",
    "delete",
    "set",
    "get",
    "add",
    "swap",
    "take",
    "increment",
    "remove",
];

/// Returns whether an operation did what it must. `revision` is that of the session in the beginning.
async fn operate(store: &SqlStore, operation: &str, revision: Revision) -> Result<bool> {
    let (id, new) = (id(), SessionId::random());
    let bytes = session("new");
    Ok(match operation {
        "load" => store.load_session(&id).await?.is_some(),
        "save" => {
            let saved = store.save_session(&new, save(&bytes, Precondition::Absent));
            matches!(saved.await?, Saved::Saved(_))
        }
        "replace" => {
            let precondition = Precondition::Revision(revision);
            let saved = store.save_session(&id, save(&bytes, precondition));
            matches!(saved.await?, Saved::Saved(_))
        }
        "list" => {
            let listed: Vec<_> = store.iter_sessions().try_collect().await?;
            !listed.is_empty()
        }
        "sweep" => store.delete_old_sessions(u64::MAX).await?.remaining > 0,
        "delete" => store.delete_session(&id).await?,
        "set" => store.set(&key("value"), b"1", None).await.map(|()| true)?,
        "get" => store.get(&key("value")).await?.is_some(),
        "add" => store.add(&key("added"), b"1", None).await?,
        "swap" => store.swap(&key("added"), Some(b"1"), b"2", None).await?,
        "take" => store.take(&key("added")).await?.is_some(),
        "increment" => store.increment(&key("value"), 1, None).await? == 2,
        "remove" => store.remove(&key("value")).await?,
        other => panic!("there is no {other}"),
    })
}

/// The id of the session of the [`OPERATIONS`], and its bytes.
fn id() -> SessionId {
    let id = "00112233445546778899aabbccddeeff".parse();
    id.expect("it is an id")
}

const ID: [u8; 16] = 0x0011_2233_4455_4677_8899_aabb_ccdd_eeff_u128.to_be_bytes();

/// Saves this session for the first time, and returns its revision.
async fn create_known(store: &SqlStore) -> Revision {
    let (id, bytes) = (id(), session("alice"));
    match store
        .save_session(&id, save(&bytes, Precondition::Absent))
        .await
    {
        Ok(Saved::Saved(revision)) => revision,
        other => panic!("{other:?}"),
    }
}

fn key(name: &str) -> rocket_session_kit::store::Key {
    Namespace::new("test").unwrap().key(name)
}

#[async_test]
async fn every_operation_works_after_postgres_ended_idle_connections() {
    let mut server = SqlServer::start(Kind::Postgres);
    let store = Database::at(Kind::Postgres, server.url()).store().await;
    let id = id();
    for stopped in [false, true] {
        let revision = create_known(&store).await;
        for operation in OPERATIONS {
            // Some are open, and idle.
            let all = join_all((0..3).map(|_| store.has_session(&id))).await;
            assert!(all.into_iter().all(|there| there.is_ok()));
            match stopped {
                false => server.end_connections(),
                true => {
                    // As an administrator restarts it.
                    server.process().signal("INT");
                    assert!(server.process().wait());
                    server.restart();
                }
            }
            let done = operate(&store, operation, revision).await;
            assert!(matches!(done, Ok(true)), "{operation}: {done:?}");
        }
    }
}

#[async_test]
async fn a_connection_that_mariadb_closed_as_idle_fails_no_request() {
    let server = SqlServer::with(Kind::MariaDb, &["--wait-timeout=1"]);
    let store = Database::at(Kind::MariaDb, server.url()).store().await;
    let app = app(Kind::MariaDb, &server).await;
    let visitor = app.known_visitor().await;
    let revision = create_known(&store).await;
    for operation in &OPERATIONS[..8] {
        join_all((0..3).map(|_| visitor.get("/touch"))).await;
        wait_until("the server has closed them", || server.connections() == 0);
        let done = operate(&store, operation, revision).await;
        assert!(matches!(done, Ok(true)), "{operation}: {done:?}");
        let response = visitor.get("/add/count/1").await;
        assert_eq!(response.status.code, 200, "{operation}: {response:?}");
    }
    assert_eq!(visitor.get("/get/count").await.body, "8");
}

#[test]
fn a_store_works_in_a_second_runtime() {
    for database in [
        Database::postgres(),
        Database::mariadb(),
        Database::sqlite(),
    ] {
        let store = database.open();
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.enable_all().build().unwrap()
        };
        let (first, second) = (runtime(), runtime());
        let id = first.block_on(async {
            store.setup().await.expect("it can be set up");
            create(&store, "alice").await
        });
        assert!(second.block_on(store.has_session(&id)).unwrap());
        drop(first);
        // The connections of the first runtime are dead.
        assert!(second.block_on(store.load_session(&id)).unwrap().is_some());
        drop(second);
        let last = runtime();
        assert!(last.block_on(store.delete_session(&id)).unwrap());
    }
}

/// Asserts that the launch is refused, and returns why.
async fn refused(store: SqlStore) -> String {
    let error = store.setup().await.expect_err("it cannot work");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    error.to_string()
}

async fn an_unknown_database_stops_the_launch(kind: Kind) {
    let port = Database::on(kind).port();
    let url = match kind {
        Kind::Postgres => format!("postgres://postgres@127.0.0.1:{port}/shop"),
        Kind::MariaDb => format!("mysql://root@127.0.0.1:{port}/shop"),
    };
    let text = refused(SqlStore::open(&url).unwrap()).await;
    assert!(
        text.contains("there is no such database; create it"),
        "{text}"
    );
    assert!(text.contains(&port.to_string()), "{text}");
}

async fn a_wrong_password_stops_the_launch_and_is_not_shown(kind: Kind) {
    log::keep();
    let server = SqlServer::start(kind);
    match kind {
        Kind::Postgres => {
            server.sql(
                "CREATE USER shop PASSWORD 'right'; GRANT ALL ON DATABASE sessions TO shop; \
                 GRANT ALL ON SCHEMA public TO shop; \
                 SET password_encryption = 'md5'; CREATE USER old PASSWORD 'right'; \
                 GRANT ALL ON SCHEMA public TO old",
            );
            let rules = "host all postgres 127.0.0.1/32 trust\nhost all old 127.0.0.1/32 md5\n\
                         host all all 127.0.0.1/32 scram-sha-256\n";
            fs::write(server.path("data/pg_hba.conf"), rules).unwrap();
            server.sql("SELECT pg_reload_conf()");
            let read = "SELECT count(*) FROM pg_hba_file_rules";
            wait_until("it has read them", || server.sql(read).trim() == "3");
        }
        Kind::MariaDb => {
            server.sql(
                "CREATE USER shop@'127.0.0.1' IDENTIFIED BY 'right', old@'127.0.0.1' IDENTIFIED BY 'right'; \
                 GRANT ALL ON sessions.* TO shop@'127.0.0.1'; GRANT ALL ON sessions.* TO old@'127.0.0.1'",
            );
        }
    }
    // It reads the new rules for new connections.
    let works = |user: &str| {
        let url = server.url_of(user, "sessions");
        async move { SqlStore::open(&url).unwrap().setup().await.is_ok() }
    };
    assert!(works("shop:right").await);
    for user in [
        "shop:s3cr3tpassword",
        "old:s3cr3tpassword",
        "nobody:s3cr3tpassword",
        "shop",
    ] {
        let url = server.url_of(user, "sessions");
        let store = SqlStore::open(&url).unwrap();
        assert!(!format!("{store:?}").contains("s3cr3t"));
        let text = refused(store).await;
        assert!(text.contains("the user or the password"), "{user}: {text}");
        assert!(!text.contains("s3cr3t"), "{user}: {text}");
        let before = log::lines_with(&text).len();
        let launched = configured(kind, &url, true).ignite().await;
        let error = launched.expect_err("it cannot work");
        assert!(matches!(error.kind(), FailedFairings(_)));
        assert!(log::lines_with(&text).len() > before, "{text}");
    }
    let url = server.url_of("shop:s3cr3tpassword", "sessions");
    let wrong = SqlStore::open(&url.replace("127.0.0.1", "[")).expect_err("it is no URL");
    assert!(!format!("{wrong:?}").contains("s3cr3t"), "{wrong:?}");
    assert!(log::lines_with("s3cr3tpassword").is_empty());
}

async fn a_server_that_accepts_no_writes_serves_reads_and_reports_refused_writes(kind: Kind) {
    let server = SqlServer::start(kind);
    let writing = Database::at(kind, server.url()).store().await;
    let id = create(&writing, "alice").await;
    let mut replica = None;
    let reading = match kind {
        Kind::Postgres => {
            let replica = replica.insert(server.standby());
            assert_eq!(replica.sql("SELECT pg_is_in_recovery()").trim(), "t");
            replica.url()
        }
        Kind::MariaDb => {
            server.sql(
                "CREATE USER shop@'127.0.0.1'; GRANT ALL ON sessions.* TO shop@'127.0.0.1'; \
                 SET GLOBAL read_only = 1",
            );
            server.url_of("shop", "sessions")
        }
    };
    let reading = SqlStore::open(&reading).unwrap();
    reading.setup().await.expect("the tables are there");
    let started = Instant::now();
    while !reading.has_session(&id).await.unwrap() {
        assert!(started.elapsed() < SOON, "it is not replicated");
        tokio::task::yield_now().await;
    }
    let bytes = session("bob");
    let (new, key) = (SessionId::random(), key("entry"));
    let saved = reading.save_session(&new, save(&bytes, Precondition::Absent));
    for refused in [
        reading.delete_session(&id).await.map(drop),
        saved.await.map(drop),
        reading.increment(&key, 1, None).await.map(drop),
    ] {
        let error = refused.expect_err("it accepts no writes");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("accepts no writes"), "{error}");
    }
    assert!(reading.has_session(&id).await.unwrap());
    if kind == Kind::Postgres {
        // The same without a replica, from one moment to the next.
        server.sql("ALTER DATABASE sessions SET default_transaction_read_only = on");
        server.end_connections();
        let error = writing.delete_session(&id).await.expect_err("it is set so");
        assert!(error.to_string().contains("accepts no writes"), "{error}");
        assert!(writing.has_session(&id).await.unwrap());
    }
}

/// Asserts that a request that needs more room fails, and the old session stays. `free` makes room again.
async fn assert_full(
    app: &App,
    store: &SqlStore,
    fill: impl FnOnce(),
    deletes: bool,
    free: impl FnOnce(),
) {
    let (visitor, other) = (app.known_visitor().await, app.known_visitor().await);
    visitor.get("/login/alice").await;
    other.get("/login/bob").await;
    let id = create(store, "carol").await;
    let before = store.load_session(&id).await.unwrap().expect("it is there");
    fill();
    let large = filled_session("carol", 3_000_000);
    for (id, precondition) in [
        (id, Precondition::Revision(before.revision)),
        (SessionId::random(), Precondition::Absent),
    ] {
        let error = store.save_session(&id, save(&large, precondition)).await;
        let error = error.expect_err("there is no room");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("it has no room left"), "{error}");
    }
    let there = store.load_session(&id).await.unwrap();
    assert!(there.expect("it is there") == before);
    let response = visitor.get("/set_many/60/60000").await;
    assert_eq!(response.status.code, 503);
    assert_eq!(response.header("Retry-After"), Some("5"));
    assert_eq!(visitor.get("/who").await.body, "alice");
    match deletes {
        true => {
            let response = visitor.get("/logout").await;
            assert_eq!(response.status.code, 200);
            assert!(response.removes_session());
            assert_eq!(visitor.get("/who").await.body, "nobody");
            assert_eq!(app.sessions().end_all_of("bob", None).await.unwrap(), 1);
            assert_eq!(other.get("/who").await.body, "nobody");
        }
        // The visitor learns that the session has not ended.
        false => assert_eq!(visitor.get("/logout").await.status.code, 503),
    }
    free();
    let response = visitor.get("/logout").await;
    assert_eq!((response.status.code, visitor.has_session()), (200, false));
    assert_eq!(visitor.get("/set/a/1").await.status.code, 200);
    let bytes = session("carol");
    let saved = store.save_session(&id, save(&bytes, Precondition::Revision(before.revision)));
    assert!(matches!(saved.await, Ok(Saved::Saved(_))));
}

fn generous(figment: rocket::figment::Figment) -> rocket::figment::Figment {
    figment.merge(("sessions.limits.size", 4_000_000))
}

#[async_test]
async fn a_full_disk_of_postgres_leaves_the_old_session_and_refuses_no_log_out() {
    let mut server = SqlServer::start(Kind::Postgres);
    let path = server.path("disk");
    fs::create_dir(&path).unwrap();
    let _disk = Disk::mount(&path, "4m");
    give_away(&path);
    let place = path.display();
    server.sql(&format!("CREATE TABLESPACE small LOCATION '{place}'"));
    server.sql("ALTER DATABASE sessions SET default_tablespace = small");
    let database = Database::at(Kind::Postgres, server.url());
    let app = App::on(database.open(), generous).await;
    let filling = path.join("filling");
    let fill = || {
        let all = fs::write(&filling, vec![0; 4 << 20]);
        assert!(all.is_err(), "the disk is full");
    };
    let free = || fs::remove_file(&filling).unwrap();
    assert_full(&app, &database.open(), fill, true, free).await;
    server.kill();
}

#[async_test]
async fn a_full_tablespace_of_mariadb_leaves_the_old_session() {
    // All tables are in one file, which must not grow further.
    let small = [
        "--innodb-file-per-table=0",
        "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M",
        "--innodb-autoextend-increment=1",
    ];
    let server = RefCell::new(SqlServer::with(Kind::MariaDb, &small));
    let database = Database::at(Kind::MariaDb, server.borrow().url());
    let app = App::on(database.open(), generous).await;
    let fill = || {
        let server = server.borrow();
        server.sql("CREATE TABLE filling (id serial, bytes longblob)");
        let rows = "INSERT INTO filling (bytes) VALUES (repeat('x', 1000000))";
        while server.try_sql(rows).is_ok() {}
    };
    // Nothing can be deleted: that is noted in the same file, for the case that it is undone.
    let free = || server.borrow_mut().restart_with(&[]);
    assert_full(&app, &database.open(), fill, false, free).await;
}

#[async_test]
async fn a_full_file_of_sqlite_leaves_the_old_session_and_refuses_no_log_out() {
    use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

    let database = Database::sqlite();
    let options = SqliteConnectOptions::new().filename(database.file());
    let options = options
        .create_if_missing(true)
        .pragma("max_page_count", "40");
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool.connect_with(options).await.unwrap();
    let app = App::on(SqlStore::with_pool(pool.clone()), generous).await;
    let store = SqlStore::with_pool(pool);
    assert_full(&app, &store, || {}, true, || {}).await;
}

/// Another process, which uses the file of SQLite.
struct Client(Child);

impl Client {
    fn to(database: &Database) -> Self {
        let mut client = Command::new("sqlite3");
        let client = client.args(["-bail", database.file()]);
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(client.spawn().expect("sqlite3 is installed"))
    }

    /// Executes SQL, and waits until that is done.
    fn sql(&mut self, sql: &str) {
        let stdin = self.0.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{sql};\nSELECT 'done';").expect("it runs");
        let stdout = self.0.stdout.as_mut().expect("it is piped");
        let mut line = String::new();
        // It prints nothing else.
        let read = BufReader::with_capacity(1, stdout).read_line(&mut line);
        read.expect("it runs");
        assert_eq!(line, "done\n");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[async_test]
async fn a_locked_file_of_sqlite_serves_reads_and_reports_refused_writes() {
    let database = Database::sqlite();
    let app = App::on(database.open().timeout(BRIEF), |f| f).await;
    let visitor = app.known_visitor().await;
    let mut other = Client::to(&database);
    other.sql("BEGIN IMMEDIATE");
    let started = Instant::now();
    for _ in 0..3 {
        let response = visitor.get("/add/count/1").await;
        assert_eq!(response.status.code, 503);
        assert_eq!(response.header("Retry-After"), Some("5"));
        assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
    }
    assert!(started.elapsed() < SOON);
    let store = database.open().timeout(BRIEF);
    let (id, bytes) = (id(), session("alice"));
    let saved = store.save_session(&id, save(&bytes, Precondition::Absent));
    let error = saved.await.expect_err("it is locked");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("lock"), "{error}");
    other.sql("COMMIT");
    assert_eq!(visitor.get("/add/count/1").await.body, "1");
    // A writer that is soon done costs no request.
    other.sql("BEGIN IMMEDIATE");
    let store = database.open();
    let saving = store.save_session(&id, save(&bytes, Precondition::Absent));
    let commits = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.sql("COMMIT");
    };
    let (saved, ()) = tokio::join!(saving, commits);
    assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
}

#[async_test]
async fn a_file_of_sqlite_that_cannot_be_used_is_refused_with_the_remedy() {
    let there = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("sqlite:{}", there.path().join(name).display());
    let missing = SqlStore::open(&at("no/such/sessions.db")).unwrap();
    let text = refused(missing).await;
    assert!(text.contains("its directory must exist"), "{text}");
    assert!(text.contains("no/such/sessions.db"), "{text}");
    let text = refused(SqlStore::open(&at("")).unwrap()).await;
    assert!(text.contains("cannot be opened"), "{text}");
    let garbage = "no database, but a text that is longer than the head of one. ".repeat(50);
    fs::write(there.path().join("text.db"), &garbage).unwrap();
    let text = refused(SqlStore::open(&at("text.db")).unwrap()).await;
    assert!(text.contains("the file is not a database"), "{text}");
    let kept = fs::read_to_string(there.path().join("text.db")).unwrap();
    assert_eq!(kept, garbage, "it stays as it is");
}

#[async_test]
async fn a_file_of_sqlite_without_writes_serves_reads_and_reports_refused_writes() {
    let database = Database::sqlite();
    let id = create(&database.store().await, "alice").await;
    let store = SqlStore::open(&format!("{}?mode=ro", database.url)).unwrap();
    store.setup().await.expect("the tables are there");
    assert!(store.has_session(&id).await.unwrap());
    let error = store
        .delete_session(&id)
        .await
        .expect_err("it is read-only");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("read-only"), "{error}");
    assert!(store.has_session(&id).await.unwrap());
}

/// Adds to the number in a session until it is killed, and prints each sum that was acknowledged.
#[test]
#[ignore = "a program that other tests start"]
fn writer() {
    run_program(|arguments| {
        let [url, id] = arguments else {
            panic!("usage: writer URL ID")
        };
        let id: SessionId = id.parse().expect("it is an id");
        let store = SqlStore::open(url).expect("it is a URL");
        rocket::async_test(async {
            store.setup().await.expect("the tables are there");
            loop {
                let there = store.load_session(&id).await.expect("it loads");
                let there = there.expect("it is there");
                let sum = number_in(&there.bytes) + 1;
                let bytes = filled_session(&sum.to_string(), (sum as usize * 997) % 20_000);
                let precondition = Precondition::Revision(there.revision);
                let saved = store.save_session(&id, save(&bytes, precondition)).await;
                if let Saved::Saved(_) = saved.expect("it saves") {
                    println!("{sum}");
                }
            }
        });
    });
}

/// The number that is the owner of a session.
fn number_in(bytes: &[u8]) -> u64 {
    let record: serde_json::Value = serde_json::from_slice(bytes).expect("it is whole");
    let owner = record["values"]["owner"].as_str().expect("it has an owner");
    owner.parse().expect("it is a number")
}

/// Starts a [`writer`], and returns how many sums it has printed, which goes on counting until its end.
fn start_writer(
    database: &Database,
    id: &SessionId,
) -> (Process, Arc<AtomicU64>, thread::JoinHandle<()>) {
    let mut command = program("sql_failures::writer");
    command
        .args([&database.url, &id.to_hex()])
        .stdout(Stdio::piped());
    let mut process = Process::start(&mut command);
    let (printed, lines) = (Arc::new(AtomicU64::new(0)), process.stdout().lines());
    let count = Arc::clone(&printed);
    let reads = thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            // The test harness prints lines, too.
            if line.parse::<u64>().is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (process, printed, reads)
}

async fn processes_killed_in_the_middle_of_writes_lose_no_save(database: Database) {
    const KILLED: u64 = 4;
    let store = database.store().await;
    let id = create(&store, "0").await;
    let mut acknowledged = 0;
    let mut survivor = start_writer(&database, &id);
    for _ in 0..KILLED - 1 {
        let (mut process, printed, reads) = start_writer(&database, &id);
        wait_until("it writes", || printed.load(Ordering::SeqCst) > 10);
        process.kill();
        reads.join().expect("it reads to the end");
        acknowledged += printed.load(Ordering::SeqCst);
        // The other process goes on.
        let so_far = survivor.1.load(Ordering::SeqCst);
        wait_until("the other goes on", || {
            survivor.1.load(Ordering::SeqCst) > so_far + 10
        });
    }
    survivor.0.kill();
    survivor.2.join().expect("it reads to the end");
    acknowledged += survivor.1.load(Ordering::SeqCst);
    // A server may still execute the last save of a process that is dead.
    let kept = loop {
        let there = store.load_session(&id).await.unwrap().expect("it is there");
        let bytes = session("next");
        let precondition = Precondition::Revision(there.revision);
        match store.save_session(&id, save(&bytes, precondition)).await {
            Ok(Saved::Saved(_)) => break number_in(&there.bytes),
            Ok(Saved::Changed) => {}
            other => panic!("{other:?}"),
        }
    };
    // The last save of each was perhaps not yet acknowledged.
    assert!(
        (acknowledged..=acknowledged + KILLED).contains(&kept),
        "{acknowledged} were acknowledged, and {kept} are kept"
    );
    if database.kind.is_none() {
        assert_eq!(database.sql("PRAGMA integrity_check").trim(), "ok");
    }
}

mod processes {
    use crate::support::database::on_every_database;

    use super::processes_killed_in_the_middle_of_writes_lose_no_save;

    on_every_database! {
        processes_killed_in_the_middle_of_writes_lose_no_save
    }
}
