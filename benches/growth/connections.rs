//! How many requests a second are served, and how long they take, as the connections grow.
//!
//! Each connection sends its next request when it has the response to the last one.

use std::time::Instant;

use rocket::futures::future::join_all;
use rocket::tokio;

use crate::Scale;
use crate::client::{Connection, Process};
use crate::latencies::Latencies;
use crate::place::Place;
use crate::table::{Table, figure};

const CONNECTIONS: [usize; 4] = [1, 32, 256, 2_000];

pub(crate) async fn measure(scale: Scale) {
    let columns = [
        "store",
        "connections",
        "request",
        "per_second",
        "median_us",
        "p99_us",
        "failed",
    ];
    let mut table = Table::new("connections", 3, &columns);
    for store in scale.stores() {
        let place = Place::new(store);
        let process = Process::start(&place.address()).await;
        for count in CONNECTIONS {
            for path in ["bare", "read", "change"] {
                let run = run(process.port, count, path, scale).await;
                table.row([
                    store.into(),
                    count.to_string(),
                    path.into(),
                    figure(run.per_second),
                    figure(run.taken.median()),
                    figure(run.taken.p99()),
                    run.failed.to_string(),
                ]);
            }
        }
    }
    table.end(scale);
}

struct Run {
    per_second: f64,
    taken: Latencies,
    failed: usize,
}

async fn run(port: u16, count: usize, path: &'static str, scale: Scale) -> Run {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = Connection::open(port).await;
        assert!(connection.get("/change").await, "the session begins");
        connections.push(connection);
    }
    let path = format!("/{path}");
    let (warm, long) = (scale.seconds(0.5), scale.seconds(2.5));
    let started = Instant::now();
    let tasks = connections.into_iter().map(|mut connection| {
        let path = path.clone();
        tokio::spawn(async move {
            let (mut taken, mut failed) = (Vec::new(), 0);
            while started.elapsed() < long {
                let sent = Instant::now();
                let succeeded = connection.get(&path).await;
                if started.elapsed() > warm {
                    taken.push(sent.elapsed());
                    failed += usize::from(!succeeded);
                }
            }
            (taken, failed)
        })
    });
    let (mut taken, mut failed) = (Vec::new(), 0);
    for task in join_all(tasks).await {
        let (one, one_failed) = task.expect("it works");
        taken.extend(one);
        failed += one_failed;
    }
    let lasted = started.elapsed().saturating_sub(warm);
    Run {
        per_second: taken.len() as f64 / lasted.as_secs_f64(),
        taken: Latencies::new(taken),
        failed,
    }
}
