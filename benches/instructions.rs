//! The instructions of a request, in addition to a bare route that receives the same cookie:
//! `cargo bench --bench instructions`. With `-- --check` it fails if a route has become more expensive.
//!
//! Counted by valgrind's callgrind, under which this program runs itself: the count hardly differs
//! from run to run, whatever else the machine does.

#![allow(missing_docs)]

mod app;
mod server;

use std::process::Command;

use app::App;
use rocket_session_kit::store::SessionStore;
use rocket_session_kit::{MemoryStore, RedisStore};
use server::Server;

/// The instructions of each route, and nothing else says them: [docs/costs.md] quotes this file.
///
/// [docs/costs.md]: ../docs/costs.md
const PINNED: &str = include_str!("instructions.tsv");

/// A route may take this many percent of what is written down, and no more.
const ROOM: i64 = 110;

/// Requests of the shorter run, and of the longer one.
const REQUESTS: [u32; 2] = [300, 1300];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["counted", url, route, times] => {
            let times = times.parse().expect("it is a number");
            match url {
                "memory" => run(MemoryStore::new(), route, times),
                url => run(RedisStore::open(url).expect("this is a URL"), route, times),
            }
        }
        _ => {
            let dearer = compare();
            if arguments.contains(&"--check") && dearer {
                eprintln!("more than {ROOM} % of benches/instructions.tsv");
                std::process::exit(1);
            }
        }
    }
}

/// Sends the requests that are counted.
fn run(store: impl SessionStore, route: &str, times: u32) {
    rocket::async_test(async {
        let app = App::launch(store).await;
        for _ in 0..times {
            app.ask(route, || 0).await;
        }
    });
}

/// Returns whether a route takes more than it may.
fn compare() -> bool {
    let redis = Server::redis();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let floor = count("memory", "bare");
    println!("store   route      instructions  pinned  (over the bare route, which takes {floor})");
    let mut is_dearer = false;
    for line in PINNED.lines().skip(1) {
        let [store, route, pinned] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not three cells: {line}")
        };
        let pinned: i64 = pinned.parse().expect("it is a number");
        let place = if store == "redis" { &url } else { store };
        let each = count(place, route) - floor;
        is_dearer |= each * 100 > pinned * ROOM;
        let percent = each * 100 / pinned;
        println!("{store:<7} {route:<10} {each:>12} {pinned:>7}  {percent} %");
    }
    is_dearer
}

/// Returns the instructions of one request. The difference of two runs leaves the program's start
/// and end out.
fn count(store: &str, route: &str) -> i64 {
    let [short, long] = REQUESTS.map(|times| count_run(store, route, times));
    (long - short) / i64::from(REQUESTS[1] - REQUESTS[0])
}

fn count_run(store: &str, route: &str, times: u32) -> i64 {
    let program = std::env::current_exe().expect("a program knows where it is");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program);
    let output = valgrind
        .args(["counted", store, route, &times.to_string()])
        .output();
    let output = output.expect("valgrind is needed: apt-get install valgrind");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = told
        .lines()
        .find_map(|line| line.split("Collected :").nth(1));
    collected
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("{told}"))
}
