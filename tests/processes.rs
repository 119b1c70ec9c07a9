//! The main use: an application behind sockets, through restarts and kills.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::process::Server;
use crate::support::{Backend, on_every_shared_store, on_every_store};

/// Starts an application whose sessions are in `backend`.
fn hello(there: &Path, backend: &Backend) -> Server {
    let sessions = backend.environment("multiprocess=true,store_timeout=20000");
    Server::start("hello", there, &[("ROCKET_SESSIONS", &sessions)])
}

/// Sends `count` requests from several threads, and returns the number of responses with status 200.
fn crowd(servers: &[&Server], path: &str, cookie: &str, count: usize) -> usize {
    let (next, good) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    let (status, set, _) = servers[n % servers.len()].get(path, Some(cookie));
                    assert_eq!(set, None, "a session that goes on needs no new cookie");
                    good.fetch_add(usize::from(status == 200), Ordering::Relaxed);
                }
            });
        }
    });
    good.into_inner()
}

#[test]
fn a_visitors_counter_survives_requests_kills_and_restarts() {
    let there = tempfile::tempdir().unwrap();
    let server = Server::start("hello", there.path(), &[]);
    let (_, cookie, body) = server.get("/", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    assert_eq!(body, "visits: 1\n");
    assert_eq!(server.get("/", Some(&cookie)).2, "visits: 2\n");
    server.kill();

    let server = Server::start("hello", there.path(), &[]);
    assert_eq!(server.get("/", Some(&cookie)).2, "visits: 3\n");
    assert_eq!(crowd(&[&server], "/", &cookie, 200), 200);
    assert_eq!(server.get("/", Some(&cookie)).2, "visits: 204\n");
}

async fn several_processes_serve_one_visitor_and_lose_no_visit(backend: Backend) {
    let there = tempfile::tempdir().unwrap();
    let servers: Vec<_> = (0..3).map(|_| hello(there.path(), &backend)).collect();
    let (_, cookie, _) = servers[0].get("/", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    let all: Vec<&Server> = servers.iter().collect();
    assert_eq!(crowd(&all, "/", &cookie, 600), 600);
    assert_eq!(servers[1].get("/", Some(&cookie)).2, "visits: 602\n");
}

async fn a_killed_server_keeps_every_acknowledged_visit(backend: Backend) {
    let there = tempfile::tempdir().unwrap();
    let mut server = hello(there.path(), &backend);
    let (_, cookie, _) = server.get("/", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    let mut served = 1;
    for round in 0..5 {
        for _ in 0..20 * round {
            assert_eq!(server.get("/", Some(&cookie)).0, 200);
            served += 1;
        }
        server.process().kill();
        server = hello(there.path(), &backend);
        let visits = server.get("/", Some(&cookie)).2;
        served += 1;
        assert_eq!(visits, format!("visits: {served}\n"));
    }
}

on_every_shared_store! {
    several_processes_serve_one_visitor_and_lose_no_visit
    a_killed_server_keeps_every_acknowledged_visit
}

#[test]
fn expired_sessions_are_swept_while_the_application_runs() {
    let there = tempfile::tempdir().unwrap();
    let settings = [("ROCKET_SESSIONS", "{idle_timeout=1,sweep_every=1}")];
    let server = Server::start("hello", there.path(), &settings);
    server.get("/", None);
    let sessions = there.path().join("sessions");
    let count = || std::fs::read_dir(&sessions).unwrap().count();
    assert_eq!(count(), 1);
    crate::support::process::wait_until("the session is swept", || count() == 0);
}
