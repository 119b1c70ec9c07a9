//! A copy while the application serves a crowd, several copies at once, and a copy that is killed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::{Site, StoreKind, log_in, start};
use crate::support::process::wait_until;

/// The visitors of a crowd.
const VISITORS: usize = 8;

#[test]
fn an_application_moves_under_load_and_loses_no_update() {
    for (from, to) in [
        (StoreKind::Directory, StoreKind::Redis),
        (StoreKind::Redis, StoreKind::Memcached),
        (StoreKind::Sqlite, StoreKind::Postgres),
        (StoreKind::Postgres, StoreKind::MariaDb),
        (StoreKind::MariaDb, StoreKind::Sqlite),
    ] {
        let (source, target) = (Site::new(from), Site::new(to));
        let server = source.launch();
        let cookies: Vec<String> = (0..VISITORS)
            .map(|visitor| log_in(&server, &format!("user-{visitor}")))
            .collect();
        let (stop, served) = (
            AtomicBool::new(false),
            [const { AtomicUsize::new(0) }; VISITORS],
        );
        thread::scope(|scope| {
            for (cookie, served) in cookies.iter().zip(&served) {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(server.get("/add/visits", Some(cookie)).0, 200);
                        served.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let all = || {
                served
                    .iter()
                    .map(|count| count.load(Ordering::Relaxed))
                    .min()
            };
            for round in 1..=3 {
                wait_until("everybody is served", || all() >= Some(5 * round));
                source.copy_to(&target).ok();
            }
            stop.store(true, Ordering::Relaxed);
        });
        // The application is stopped, and the last changes are copied.
        server.kill();
        let last = source.copy_to(&target).ok();
        assert!(last.contains(" 0 ended,"), "{last}");
        let server = target.launch();
        for (cookie, served) in cookies.iter().zip(&served) {
            let expected = served.load(Ordering::Relaxed) + 1;
            let visits = server.get("/add/visits", Some(cookie)).2;
            assert_eq!(visits, expected.to_string(), "{from:?} {to:?}");
        }
    }
}

#[test]
fn several_copies_at_once_are_as_good_as_one() {
    for kind in [
        StoreKind::Redis,
        StoreKind::Sqlite,
        StoreKind::Postgres,
        StoreKind::MariaDb,
    ] {
        several_copies(kind);
    }
}

fn several_copies(kind: StoreKind) {
    let (source, target) = (Site::new(StoreKind::Redis), Site::without_tables(kind));
    source.plant(600, Duration::from_secs(3600));
    let file = target.toml();
    let copies: Vec<_> = (0..3)
        .map(|_| {
            let mut tool = source.tool();
            tool.arg("copy").arg("--to").arg(&file);
            start(&mut tool)
        })
        .collect();
    for mut copy in copies {
        assert!(copy.wait(), "a copy beside others succeeds");
    }
    let again = source.copy_to(&target).ok();
    assert_eq!(
        again,
        "0 sessions copied, 0 updated, 0 ended, 600 unchanged\n"
    );
}

#[test]
fn a_killed_copy_is_completed_by_the_next_one() {
    let (source, target) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Redis));
    const ALL: usize = 4000;
    source.plant(ALL, Duration::from_secs(3600));
    let file = target.toml();
    for least in [50, 500, 1000] {
        let mut tool = source.tool();
        tool.arg("copy").arg("--to").arg(&file);
        let mut copy = start(&mut tool);
        let server = target.redis.as_ref().expect("it is on Redis");
        wait_until("some are copied", || {
            let keys: usize = server.cli(&["DBSIZE"]).trim().parse().expect("a number");
            // Each has a mark, and an index of its user.
            keys > 3 * least
        });
        copy.kill();
        assert!(target.count() < ALL, "it was killed in the middle");
    }
    source.copy_to(&target).ok();
    let all = "0 sessions copied, 0 updated, 0 ended, 4000 unchanged\n";
    assert_eq!(source.copy_to(&target).ok(), all);
    assert_eq!(target.list(&[]).len(), ALL);
}
