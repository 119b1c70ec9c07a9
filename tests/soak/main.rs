//! Random visitors on two applications that share a store, while the store fails, applications die
//! and clocks move; and a model that records the acknowledged requests.
//!
//! `SOAK` is the number of seconds for each store (8), `SOAK_SEED` sets the seed,
//! `SOAK_STORE` selects one store, and `SOAK_FAULTS` and `SOAK_ACTS` select some kinds of faults and
//! requests, by name. The seed determines all choices here, but not how requests interleave.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod act;
mod app;
mod checks;
mod faults;
mod findings;
mod model;
mod promises;
mod random;
mod request;
mod sql;
mod store;
mod visitor;
mod world;

/// Processes and servers, as all tests start them.
#[expect(dead_code, reason = "the other tests need more of it")]
#[path = "../support"]
mod support {
    pub(crate) mod memcached;
    pub(crate) mod process;
    pub(crate) mod proxy;
    pub(crate) mod redis;
    pub(crate) mod sql_server;
}

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use faults::Site;
use random::Random;
use store::{Kind, Store};
use support::process::run_program;
use visitor::Visitor;
use world::World;

const VISITORS: usize = 5;

#[test]
fn every_promise_holds_on_a_directory() {
    soak(Kind::Directory);
}

#[test]
fn every_promise_holds_on_redis() {
    soak(Kind::Redis);
}

#[test]
fn every_promise_holds_on_memcached() {
    soak(Kind::Memcached);
}

#[test]
fn every_promise_holds_on_postgres() {
    soak(Kind::Postgres);
}

#[test]
fn every_promise_holds_on_mariadb() {
    soak(Kind::MariaDb);
}

#[test]
fn every_promise_holds_on_sqlite() {
    soak(Kind::Sqlite);
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn soak(kind: Kind) {
    let name = format!("{kind:?}").to_lowercase();
    if std::env::var("SOAK_STORE").is_ok_and(|chosen| chosen != name) {
        eprintln!("SOAK_STORE leaves out {name}");
        return;
    }
    let seed = number("SOAK_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::from(now.expect("it is after 1970").subsec_nanos())
    });
    let time = Duration::from_secs(number("SOAK").unwrap_or(8));

    let mut random = Random::new(seed);
    let there = tempfile::tempdir().expect("there is room for a directory");
    let renews_by_age = random.percent(50);
    let world = Arc::new(World::new(there.path().to_owned(), renews_by_age));
    let store = Store::start(kind, there.path());
    let max_age = if random.percent(50) {
        ",cookie={max_age=5000}"
    } else {
        ""
    };
    eprintln!("{name}: SOAK_SEED={seed}, for {time:?}, renewals by age: {renews_by_age}");
    let renewals = match renews_by_age {
        true => ",renew_every=4,renewal_grace=3",
        false => "",
    };
    let settings = [0, 1].map(|app| {
        format!(
            "{{idle_timeout=600,touch_every=1,store_timeout=300,sweep_every=3,multiprocess=true,\
             limits={{keys=100000,size=4000000}}{max_age}{renewals},{}}}",
            store.settings(app)
        )
    });
    let apps = [0, 1].map(|app| world.launch(app, &settings[app]));
    let mut site = Site {
        world: &world,
        kind,
        store,
        apps,
        settings,
        shifted: Instant::now(),
    };
    let visitors: Vec<_> = (0..VISITORS)
        .map(|n| {
            let mut visitor = Visitor::new(world.clone(), format!("v{n}"), random.split());
            thread::spawn(move || visitor.visit())
        })
        .collect();
    site.weather(time, &mut random);
    world.over.store(true, Ordering::SeqCst);
    for visitor in visitors {
        visitor.join().expect("a visitor does not panic");
    }
    world.read_journals();

    let counts = [&world.succeeded, &world.refused, &world.settled]
        .map(|count| count.load(Ordering::SeqCst));
    let [succeeded, refused, settled] = counts;
    eprintln!(
        "{name}: {succeeded} responses of 200, {refused} others, {settled} checks of all, {} findings",
        world.findings.count()
    );
    if let Some(report) = world.findings.report() {
        panic!("{name} broke promises with SOAK_SEED={seed} SOAK_STORE={name}\n{report}");
    }
}

/// The application of the soak test, which it starts in separate processes.
#[test]
#[ignore = "a program that the soak starts"]
fn application() {
    run_program(|_| app::launch());
}
