//! Several processes on one store, whichever it is: nothing is lost, and no ended session comes
//! back.

use std::path::Path;
use std::thread;

use tempfile::TempDir;

use crate::support::Backend;
use crate::support::process::Server;

/// A store that several processes share.
struct Shared {
    backend: Backend,
    there: TempDir,
}

impl Shared {
    fn new(backend: Backend) -> Self {
        let there = tempfile::tempdir().expect("there is room for a directory");
        Self { backend, there }
    }

    fn launch(&self, example: &str, more: &str) -> Server {
        let more = format!("store_timeout=20000,multiprocess=true{more}");
        let (sessions, path): (String, &Path) =
            (self.backend.environment(&more), self.there.path());
        Server::start(example, path, &[("ROCKET_SESSIONS", &sessions)])
    }
}

/// Runs the tests of this file on a store.
macro_rules! on {
    ($($store:ident)*) => {$(
        mod $store {
            use crate::support::Backend;

            use super::Shared;

            #[test]
            fn hello_runs_by_configuration_alone_and_survives_a_restart() {
                super::hello(&Shared::new(Backend::$store()));
            }

            #[test]
            fn concurrent_increments_of_two_processes_add_up() {
                super::increments(&Shared::new(Backend::$store()));
            }

            #[test]
            fn different_keys_from_two_processes_are_all_kept() {
                super::different_keys(&Shared::new(Backend::$store()));
            }

            #[test]
            fn a_session_ended_by_another_process_stays_ended() {
                super::log_out(&Shared::new(Backend::$store()));
            }

            #[test]
            fn a_log_out_ends_the_copy_made_by_another_process() {
                super::copies(&Shared::new(Backend::$store()));
            }

            #[test]
            fn log_ins_at_two_processes_respect_the_limit_of_sessions() {
                super::limited_log_ins(&Shared::new(Backend::$store()));
            }

            #[test]
            fn log_ins_at_one_process_end_by_the_other() {
                super::log_ins_and_ends(&Shared::new(Backend::$store()));
            }

            #[test]
            fn renewals_of_two_processes_at_once_leave_one_session() {
                super::renewals(&Shared::new(Backend::$store()));
            }

            #[test]
            fn a_cookie_from_before_a_renewal_reaches_the_session_in_another_process() {
                super::grace(&Shared::new(Backend::$store()));
            }

            #[test]
            fn a_token_session_begun_by_two_processes_loses_no_increment() {
                super::increments_by_token(&Shared::new(Backend::$store()));
            }

            #[test]
            fn a_request_in_flight_does_not_reach_a_new_token_session() {
                super::log_out_by_token(&Shared::new(Backend::$store()));
            }
        }
    )*};
}

on!(directory);
#[cfg(feature = "redis")]
on!(redis);
#[cfg(feature = "memcached")]
on!(memcached);
#[cfg(feature = "sqlite")]
on!(sqlite);
#[cfg(feature = "postgres")]
on!(postgres);
#[cfg(feature = "mysql")]
on!(mariadb);

#[test]
fn hello_runs_in_memory_by_configuration_alone() {
    let there = tempfile::tempdir().expect("there is room for a directory");
    let settings = [("ROCKET_SESSIONS", r#"{store="memory"}"#)];
    let server = Server::start("hello", there.path(), &settings);
    let (_, cookie, _) = server.get("/", None);
    assert_eq!(server.get("/", cookie.as_deref()).2, "visits: 2\n");
}

fn hello(shared: &Shared) {
    let server = shared.launch("hello", "");
    let (status, cookie, body) = server.get("/", None);
    assert_eq!((status, body.as_str()), (200, "visits: 1\n"));
    let cookie = cookie.expect("a new visitor gets a cookie");
    assert_eq!(server.get("/", Some(&cookie)).2, "visits: 2\n");
    server.kill();
    let server = shared.launch("hello", "");
    assert_eq!(server.get("/", Some(&cookie)).2, "visits: 3\n");
}

/// Sends requests from several threads to both processes in turn.
fn crowd(servers: &[Server; 2], header: (&str, &str), path: impl Fn(usize) -> String + Sync) {
    thread::scope(|scope| {
        for thread in 0..8 {
            let path = &path;
            scope.spawn(move || {
                for n in 0..125 {
                    let n = thread * 125 + n;
                    let (status, _, body) = servers[n % 2].send(&path(n), Some(header));
                    assert_eq!(status, 200, "{body}");
                }
            });
        }
    });
}

fn increments(shared: &Shared) {
    let servers = [shared.launch("crowd", ""), shared.launch("crowd", "")];
    let (_, cookie, _) = servers[0].get("/add/visits", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    crowd(&servers, ("Cookie", &cookie), |_| "/add/visits".into());
    assert_eq!(servers[1].get("/add/visits", Some(&cookie)).2, "1002");
}

fn different_keys(shared: &Shared) {
    let servers = [shared.launch("crowd", ""), shared.launch("crowd", "")];
    let (_, cookie, _) = servers[0].get("/add/visits", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    crowd(&servers, ("Cookie", &cookie), |n| format!("/add/key{n}"));
    let keys = servers[0].get("/keys", Some(&cookie)).2;
    let mut keys: Vec<&str> = keys.split(',').collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 1001);
}

fn log_out(shared: &Shared) {
    let [slow, other] = [shared.launch("crowd", ""), shared.launch("crowd", "")];
    for act in ["add", "keys"] {
        let (_, cookie, _) = slow.get("/login/alice", None);
        let cookie = cookie.expect("a new visitor gets a cookie");
        assert_eq!(other.get("/who", Some(&cookie)).2, "alice");
        let (_, set, _) = thread::scope(|scope| {
            let response = scope.spawn(|| slow.get(&format!("/slow/{act}"), Some(&cookie)));
            slow.get("/arrived", None);
            let (status, set, _) = other.get("/logout", Some(&cookie));
            assert_eq!((status, set.as_deref()), (200, Some("id=")));
            slow.get("/open", None);
            response.join().expect("there is a response")
        });
        // The browser may have the cookie of the next log-in by now.
        assert_eq!(set, None, "{act}");
        for server in [&slow, &other] {
            assert_eq!(server.get("/who", Some(&cookie)).2, "nobody", "{act}");
            assert_eq!(server.get("/keys", Some(&cookie)).2, "", "{act}");
        }
    }
}

/// Sends a request that waits at a gate to each process, and returns the cookies that are set.
fn at_once(servers: &[Server; 2], path: &str, cookie: &str) -> [String; 2] {
    thread::scope(|scope| {
        let renewals = servers
            .each_ref()
            .map(|server| scope.spawn(|| server.get(path, Some(cookie)).1));
        for path in ["/arrived", "/open"] {
            for server in servers {
                server.get(path, None);
            }
        }
        renewals.map(|renewal| {
            let set = renewal.join().expect("there is a response");
            set.expect("a renewed session has a new cookie")
        })
    })
}

fn renewals(shared: &Shared) {
    let servers = [shared.launch("crowd", ""), shared.launch("crowd", "")];
    let (_, cookie, _) = servers[0].get("/login/alice", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    let cookies = at_once(&servers, "/slow/renew", &cookie);
    for (server, cookie) in servers.iter().zip(&cookies) {
        server.get("/add/visits", Some(cookie));
    }
    for (server, cookie) in servers.iter().rev().zip(&cookies) {
        assert_eq!(server.get("/who", Some(cookie)).2, "alice");
    }
    // Both are cookies of the same session.
    assert_eq!(servers[0].get("/add/visits", Some(&cookies[1])).2, "3");
}

fn grace(shared: &Shared) {
    // The machine may be busy.
    let servers = [(); 2].map(|()| shared.launch("crowd", ",renewal_grace=60"));
    let (_, first, _) = servers[0].get("/login/alice", None);
    let first = first.expect("a new visitor gets a cookie");
    servers[0].get("/renew", Some(&first));
    let (_, second, body) = servers[1].get("/who", Some(&first));
    assert_eq!(body, "alice");
    let second = second.expect("the new cookie is set");
    servers[1].get("/renew", Some(&second));
    // It follows both renewals.
    let (_, third, body) = servers[0].get("/who", Some(&first));
    assert_eq!(body, "alice");
    let third = third.expect("the new cookie is set");
    servers[1].get("/logout", Some(&third));
    for cookie in [&first, &second, &third] {
        assert_eq!(servers[0].get("/who", Some(cookie)).2, "nobody");
    }
}

fn copies(shared: &Shared) {
    let servers = [shared.launch("crowd", ""), shared.launch("crowd", "")];
    let (_, cookie, _) = servers[0].get("/login/alice", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    let cookies = at_once(&servers, "/slow/login", &cookie);
    assert_ne!(cookies[0], cookies[1]);
    for cookie in &cookies {
        assert_eq!(servers[0].get("/who", Some(cookie)).2, "alice");
    }
    let (status, set, _) = servers[0].get("/logout", Some(&cookies[0]));
    assert_eq!((status, set.as_deref()), (200, Some("id=")));
    for cookie in &cookies {
        assert_eq!(servers[1].get("/who", Some(cookie)).2, "nobody");
    }
}

/// Logs Alice in from twenty browsers at once, at both processes in turn. Returns the cookies.
fn log_ins(servers: &[Server; 2]) -> Vec<String> {
    thread::scope(|scope| {
        let log_ins: Vec<_> = (0..20)
            .map(|n| scope.spawn(move || servers[n % 2].get("/login/alice", None)))
            .collect();
        let cookies = log_ins.into_iter().map(|log_in| {
            let (status, cookie, _) = log_in.join().expect("there is a response");
            assert_eq!(status, 200);
            cookie
        });
        cookies.flatten().collect()
    })
}

/// Returns how many of these cookies open a session of Alice.
fn logged_in(server: &Server, cookies: &[String]) -> usize {
    let is_logged_in = |cookie: &&String| server.get("/who", Some(cookie)).2 == "alice";
    cookies.iter().filter(is_logged_in).count()
}

fn limited_log_ins(shared: &Shared) {
    let allowed = ",max_sessions_per_user=3";
    let servers = [
        shared.launch("crowd", allowed),
        shared.launch("crowd", allowed),
    ];
    for round in 0..3 {
        let cookies = log_ins(&servers);
        assert_eq!(logged_in(&servers[0], &cookies), 3, "round {round}");
        assert_eq!(servers[1].get("/places/alice", None).2, "3");
    }
    assert_eq!(servers[0].get("/endall/alice", None).2, "3");
    assert_eq!(servers[1].get("/places/alice", None).2, "0");
}

fn log_ins_and_ends(shared: &Shared) {
    let servers = [shared.launch("crowd", ""), shared.launch("crowd", "")];
    for round in 0..5 {
        let (cookies, ended) = thread::scope(|scope| {
            let cookies = scope.spawn(|| log_ins(&servers));
            let mut ended = 0;
            for n in 0..4 {
                let (status, _, body) = servers[n % 2].get("/endall/alice", None);
                assert_eq!(status, 200, "{body}");
                ended += body.parse::<usize>().expect("it is a number");
            }
            (cookies.join().expect("they log in"), ended)
        });
        let live = logged_in(&servers[0], &cookies);
        assert!(ended + live <= 20, "round {round}: {ended} and {live}");
        let listed = servers[1].get("/places/alice", None).2;
        assert_eq!(listed, live.to_string(), "round {round}");
        assert_eq!(servers[1].get("/endall/alice", None).2, listed);
        assert_eq!(logged_in(&servers[0], &cookies), 0, "round {round}");
    }
}

const BY_TOKEN: &str = r#",transport="header""#;
const TOKEN: (&str, &str) = ("X-Auth-Token", "0123456789abcdef0123456789abcdef");

fn increments_by_token(shared: &Shared) {
    let servers = [(); 2].map(|()| shared.launch("crowd", BY_TOKEN));
    // No request began a session, so each of them may.
    crowd(&servers, TOKEN, |_| "/add/visits".into());
    assert_eq!(servers[1].send("/add/visits", Some(TOKEN)).2, "1001");
}

fn log_out_by_token(shared: &Shared) {
    let [slow, other] = [(); 2].map(|()| shared.launch("crowd", BY_TOKEN));
    for act in ["add", "keys"] {
        slow.send("/login/alice", Some(TOKEN));
        slow.send("/add/old", Some(TOKEN));
        let (status, _, _) = thread::scope(|scope| {
            let response = scope.spawn(|| slow.send(&format!("/slow/{act}"), Some(TOKEN)));
            slow.get("/arrived", None);
            assert_eq!(other.send("/logout", Some(TOKEN)).0, 200);
            assert_eq!(other.send("/add/new", Some(TOKEN)).2, "1");
            slow.get("/open", None);
            response.join().expect("there is a response")
        });
        assert_eq!(status, 200, "{act}");
        for server in [&slow, &other] {
            assert_eq!(server.send("/who", Some(TOKEN)).2, "nobody", "{act}");
            assert_eq!(server.send("/keys", Some(TOKEN)).2, "new", "{act}");
        }
        other.send("/logout", Some(TOKEN));
    }
}
