//! How long loads, saves, sweeps and listings take as the sessions grow, how much memory the sessions
//! take, and how long other requests take meanwhile.
//!
//! Visitors send requests at a steady rate. Those that are sent during a sweep are compared with
//! those before the first and after the last. Small stores are swept again and again, so that enough
//! requests are sent meanwhile. The p99 is that of the median second, so that a short pause of the
//! machine does not count.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rocket::futures::future::join_all;
use rocket::tokio::task::spawn_blocking;
use rocket::tokio::time::{interval, sleep};
use rocket::tokio::{self, task::JoinHandle};

use crate::Scale;
use crate::client::{Connection, Process};
use crate::latencies::Latencies;
use crate::place::Place;
use crate::table::{Table, figure};

/// The visitors, and the time between two requests of one: 2 000 requests a second in all.
const VISITORS: u32 = 16;
const PACE: Duration = Duration::from_millis(8);

type Span = (Instant, Instant);

pub(crate) async fn measure(scale: Scale) {
    let columns = [
        "store",
        "sessions",
        "act",
        "seconds",
        "bytes_each",
        "peak_MB",
        "quiet_p99_us",
        "p99_us",
        "ratio",
        "requests",
    ];
    let mut table = Table::new("sessions", 3, &columns);
    let mut counts = vec![1_000, 100_000];
    if scale.large {
        counts.push(1_000_000);
    }
    for store in scale.stores() {
        for &count in &counts {
            measure_store(&mut table, store, count, scale).await;
        }
    }
    table.end(scale);
}

async fn measure_store(table: &mut Table, store: &str, count: u64, scale: Scale) {
    let place = Arc::new(Place::new(store));
    let process = Process::start(&place.address()).await;
    let mut admin = Connection::open(process.port).await;
    let before = taken(&place, &process);
    let filled = Instant::now();
    match place.is_sql() {
        true => place.insert(count, false),
        false => _ = admin.number(&format!("/fill/{count}")).await,
    }
    let filled = filled.elapsed();
    let bytes_each = (taken(&place, &process) - before) / count as f64;
    let row = |act: &str, seconds: f64, cells: [String; 6]| {
        let first = [store.into(), count.to_string(), act.into(), figure(seconds)];
        first.into_iter().chain(cells)
    };
    if scale.wants("fill") {
        let mut cells: [String; 6] = Default::default();
        cells[0] = figure(bytes_each);
        table.row(row("fill", filled.as_secs_f64(), cells));
    }

    for act in ["load", "save"] {
        if scale.wants(act) {
            // The first time warms up.
            let mut medians = Vec::new();
            for _ in 0..6 {
                medians.push(admin.number(&format!("/{act}")).await);
            }
            medians.remove(0);
            medians.sort_unstable();
            let seconds = medians[medians.len() / 2] as f64 / 1e9;
            table.row(row(act, seconds, Default::default()));
        }
    }

    for (act, path, expired) in [
        ("sweep", "sweep", 0),
        ("list", "list", 0),
        ("sweep a tenth", "sweep", count / 10),
        ("remove", "remove", 0),
        ("sweep all", "sweep", count),
    ] {
        if !scale.wants(act) || expired > 0 && !place.is_sql() {
            continue;
        }
        if act == "remove" {
            let started = Instant::now();
            let deleted = admin.number("/remove").await;
            let removed = started.elapsed().as_secs_f64();
            if deleted < count {
                eprintln!("deleted only {deleted} of {count} sessions");
            }
            table.row(row("remove", removed, Default::default()));
            continue;
        }
        forget_peak(&process);
        let before = memory(process.pid(), "VmHWM");
        let done = meanwhile(&place, process.port, path, expired, scale).await;
        let peak = memory(process.pid(), "VmHWM") - before;
        let (quiet, during) = (done.quiet_p99, done.during_p99);
        let cells = [
            String::new(),
            figure(peak.max(0.0) / 1e6),
            figure(quiet),
            figure(during),
            figure(during / quiet),
            done.requests.to_string(),
        ];
        table.row(row(act, done.median.as_secs_f64(), cells));
    }
}

struct Meanwhile {
    /// The time of one sweep or listing.
    median: Duration,
    quiet_p99: f64,
    during_p99: f64,
    /// The requests that were sent during one.
    requests: usize,
}

/// Asks for `path` again and again. Each time `expired` sessions have expired.
async fn meanwhile(
    place: &Arc<Place>,
    port: u16,
    path: &str,
    expired: u64,
    scale: Scale,
) -> Meanwhile {
    let (stop, rest) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let visitors: Vec<_> = (0..VISITORS)
        .map(|number| visitor(port, number, Arc::clone(&stop), Arc::clone(&rest)))
        .collect();
    sleep(scale.seconds(1.0)).await;
    let began = Instant::now();
    sleep(scale.seconds(3.0)).await;

    let mut admin = Connection::open(port).await;
    let mut acts: Vec<Span> = Vec::new();
    let started = Instant::now();
    while acts.is_empty() || started.elapsed() < scale.seconds(6.0) {
        if expired > 0 {
            // One statement that inserts a million rows would keep them waiting.
            rest.store(true, Ordering::Relaxed);
            sleep(Duration::from_millis(500)).await;
            let place = Arc::clone(place);
            let inserted = spawn_blocking(move || place.insert(expired, true));
            inserted.await.expect("it works");
            rest.store(false, Ordering::Relaxed);
            sleep(Duration::from_millis(100)).await;
        }
        let sent = Instant::now();
        assert!(admin.number(&format!("/{path}")).await > 0);
        acts.push((sent, Instant::now()));
        // A pause as long as the sweep keeps others from waiting for the one before.
        sleep(
            sent.elapsed()
                .clamp(Duration::from_millis(4), scale.seconds(2.0)),
        )
        .await;
    }
    let ended = Instant::now();
    sleep(scale.seconds(3.0)).await;
    stop.store(true, Ordering::Relaxed);

    let sent: Vec<Span> = join_all(visitors)
        .await
        .into_iter()
        .flat_map(|spans| spans.expect("it works"))
        .filter(|(sent, _)| *sent > began)
        .collect();
    let quiet = sent.iter().filter(|s| s.1 < started || s.0 > ended);
    let quiet: Vec<Span> = quiet.copied().collect();
    let is_during = |s: &Span| acts.iter().any(|act| act.0 <= s.0 && s.0 <= act.1);
    let during: Vec<Span> = sent.into_iter().filter(is_during).collect();
    let mut lasted: Vec<Duration> = acts.iter().map(|act| act.1 - act.0).collect();
    lasted.sort_unstable();
    Meanwhile {
        median: lasted[lasted.len() / 2],
        quiet_p99: p99_of_the_median_second(&quiet, began),
        during_p99: p99_of_the_median_second(&during, began),
        requests: during.len(),
    }
}

fn p99_of_the_median_second(spans: &[Span], began: Instant) -> f64 {
    let mut seconds: BTreeMap<u64, Vec<Duration>> = BTreeMap::new();
    for (sent, served) in spans {
        let second = (*sent - began).as_secs();
        seconds.entry(second).or_default().push(*served - *sent);
    }
    // A second with few requests has no p99.
    let most = seconds.values().map(Vec::len).max().unwrap_or(0);
    let full = seconds
        .into_values()
        .filter(|taken| taken.len() * 2 >= most);
    let mut p99: Vec<f64> = full.map(|taken| Latencies::new(taken).p99()).collect();
    p99.sort_by(f64::total_cmp);
    p99.get(p99.len() / 2).copied().unwrap_or(0.0)
}

/// A visitor who sends a request every few milliseconds: they read and change in turn.
fn visitor(
    port: u16,
    number: u32,
    stop: Arc<AtomicBool>,
    rest: Arc<AtomicBool>,
) -> JoinHandle<Vec<Span>> {
    tokio::spawn(async move {
        let mut connection = Connection::open(port).await;
        assert!(connection.get("/change").await, "the session begins");
        sleep(PACE * number / VISITORS).await;
        let (mut pace, mut spans) = (interval(PACE), Vec::new());
        while !stop.load(Ordering::Relaxed) {
            while rest.load(Ordering::Relaxed) {
                sleep(PACE).await;
                pace.reset();
            }
            let due = pace.tick().await.into_std();
            // A request that had to wait for the one before it has waited since it was due. A timer
            // may be late by a millisecond.
            let late = due.elapsed() > Duration::from_millis(3);
            let sent = if late { due } else { Instant::now() };
            let path = ["/read", "/change"][spans.len() % 2];
            if !connection.get(path).await {
                eprintln!("{path} failed after {:?}", sent.elapsed());
            }
            spans.push((sent, Instant::now()));
        }
        spans
    })
}

/// Returns the bytes that the sessions take: of memory, or of disk.
fn taken(place: &Place, process: &Process) -> f64 {
    match place {
        Place::Memory => memory(process.pid(), "VmRSS"),
        Place::Redis(server) | Place::Memcached(server) => memory(server.pid(), "VmRSS"),
        Place::Directory(path) => blocks(path.path()),
        Place::Sqlite(_) | Place::Sql(..) => place.table_bytes(),
    }
}

/// Returns the bytes of the blocks of all files in `folder`.
fn blocks(folder: &Path) -> f64 {
    let entries = fs::read_dir(folder).expect("it is there");
    let sizes = entries.map(|entry| {
        let entry = entry.expect("it can be read");
        let metadata = entry.metadata().expect("nobody removes it");
        let inside = if metadata.is_dir() {
            blocks(&entry.path())
        } else {
            0.0
        };
        metadata.blocks() as f64 * 512.0 + inside
    });
    sizes.sum()
}

/// Returns the bytes that the system reports under `name` for a process.
fn memory(pid: u32, name: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: f64 = kilobytes.and_then(|n| n.parse().ok()).expect("it is there");
    kilobytes * 1024.0
}

/// From now on the peak of the memory of `process` is counted anew.
fn forget_peak(process: &Process) {
    let file = format!("/proc/{}/clear_refs", process.pid());
    fs::write(file, "5").expect("it is a process of this user");
}
