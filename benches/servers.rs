//! The sessions that a server's store loads and saves in a second, next to the bare driver, a bare
//! socket, and the server's own benchmark, in one run. `cargo bench --bench servers`
//!
//! Compare the figures of one run only with each other. After `--`, `redis`, `memcached` and `databases` select
//! a part.

#![allow(missing_docs)]

mod server;
mod sql;

/// Processes and servers, as all tests start them.
#[expect(dead_code, clippy::unwrap_used, reason = "it is for tests")]
#[path = "../tests/support"]
mod support {
    pub(crate) mod process;
    pub(crate) mod sql_server;
}

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memcache::exp::{AsyncMetaClient, Get, Set};
use rocket::tokio::io::{AsyncReadExt, AsyncWriteExt};
use rocket::tokio::net::TcpStream;
use rocket::tokio::{self, runtime::Builder};
use rocket_session_kit::store::{Precondition, RecordHeader, Save, Saved, SessionStore};
use rocket_session_kit::{MemcachedStore, RedisStore, SessionId};
use server::Server;

const HOUR: Duration = Duration::from_secs(3600);
const TASKS: [usize; 3] = [1, 10, 100];
const ROUNDS: usize = 4;
const LONG: Duration = Duration::from_millis(700);

/// A session of some 500 bytes.
fn bytes(rev: u64) -> Vec<u8> {
    let values: Vec<_> = (0..10)
        .map(|n| format!(r#""key{n}":"{}""#, "x".repeat(30)))
        .collect();
    let head = format!(r#"{{"rev":"{rev:016x}","expires":99999999999,"v":1,"created":1,"#);
    format!(
        r#"{head}"accessed":99999999999,"values":{{{}}}}}"#,
        values.join(",")
    )
    .into_bytes()
}

/// Lets `tasks` repeat their work, and returns the total number of repetitions in a second.
async fn measure<F, Fut>(tasks: usize, act: F) -> f64
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Box<dyn Worker>>,
{
    let done = Arc::new(AtomicU64::new(0));
    let mut workers = Vec::new();
    for task in 0..tasks {
        workers.push(act(task).await);
    }
    let started = Instant::now();
    let running = workers.into_iter().map(|mut worker| {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            while started.elapsed() < LONG {
                worker.work().await;
                done.fetch_add(1, Ordering::Relaxed);
            }
        })
    });
    for task in running.collect::<Vec<_>>() {
        task.await.expect("it works");
    }
    done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

#[rocket::async_trait]
trait Worker: Send {
    async fn work(&mut self);
}

struct Load(Arc<dyn SessionStore>, SessionId);

#[rocket::async_trait]
impl Worker for Load {
    async fn work(&mut self) {
        let loaded = self.0.load_session(&self.1).await.expect("it works");
        assert!(loaded.is_some());
    }
}

struct Store(Arc<dyn SessionStore>, SessionId, Vec<u8>, Precondition, u64);

#[rocket::async_trait]
impl Worker for Store {
    async fn work(&mut self) {
        self.4 += 1;
        self.2[RecordHeader::REVISION].copy_from_slice(format!("{:016x}", self.4).as_bytes());
        let save = Save {
            bytes: &self.2,
            ttl: HOUR,
            precondition: self.3,
        };
        match self.0.save_session(&self.1, save).await.expect("it works") {
            Saved::Saved(revision) => self.3 = Precondition::Revision(revision),
            other => panic!("it was {other:?}"),
        }
    }
}

/// Returns the worker of an act on a new session of `store`.
async fn on_store(store: &Arc<dyn SessionStore>, act: &str) -> Box<dyn Worker> {
    let id = SessionId::random();
    let mut worker = Store(Arc::clone(store), id, bytes(1), Precondition::Absent, 1);
    worker.work().await;
    match act {
        "load" => Box::new(Load(Arc::clone(store), id)),
        _ => Box::new(worker),
    }
}

struct Driver(redis::aio::MultiplexedConnection, redis::Cmd);

#[rocket::async_trait]
impl Worker for Driver {
    async fn work(&mut self) {
        let _: redis::Value = self.1.query_async(&mut self.0).await.expect("it works");
    }
}

struct Meta(AsyncMetaClient, Option<Vec<u8>>);

#[rocket::async_trait]
impl Worker for Meta {
    async fn work(&mut self) {
        match &self.1 {
            None => assert!(self.0.run(Get::new("bare")).await.expect("it works").hit()),
            Some(value) => {
                let set = self.0.run(Set::new("bare", value)).await;
                assert!(set.expect("it works").applied());
            }
        }
    }
}

/// One connection for each task, a request, and a response of known length.
struct Socket(TcpStream, Vec<u8>, usize);

#[rocket::async_trait]
impl Worker for Socket {
    async fn work(&mut self) {
        self.0.write_all(&self.1).await.expect("it works");
        let mut response = vec![0; self.2];
        self.0.read_exact(&mut response).await.expect("it works");
    }
}

fn resp(parts: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        request.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
    request
}

async fn socket(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await;
    let stream = stream.expect("the server is there");
    stream.set_nodelay(true).expect("it can be set");
    stream
}

/// Returns the result of redis-benchmark for `test`, in operations a second.
fn own_benchmark(port: u16, test: &str, clients: usize) -> f64 {
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-c", &clients.to_string()])
        .args(["-n", &(20_000 * (1 + clients.ilog10())).to_string()])
        .args(["-t", test, "-d", "500", "--csv"])
        .output()
        .expect("redis-benchmark is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().expect("it says something");
    let field = line.split(',').nth(1).expect("there is a figure");
    field.trim_matches('"').parse().expect("it is a number")
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

async fn redis() {
    let server = Server::redis();
    let port = server.port;
    let url = format!("redis://127.0.0.1:{port}");
    let store: Arc<dyn SessionStore> = Arc::new(RedisStore::open(&url).expect("this is a URL"));
    let client = redis::Client::open(url).expect("this is a URL");
    let driver = client
        .get_multiplexed_async_connection()
        .await
        .expect("it is there");
    let session = bytes(1);
    let set: [&[u8]; 5] = [b"SET", b"bare", &session, b"PX", b"3600000"];
    println!("\nredis: operations a second, median of {ROUNDS} rounds, and the ratio to the store");
    println!(
        "{:>6} {:>6} {:>10} {:>18} {:>18} {:>18}",
        "tasks", "act", "store", "driver", "socket", "redis-benchmark"
    );
    for tasks in TASKS {
        for act in ["load", "save"] {
            let mut figures: [Vec<f64>; 4] = Default::default();
            for _ in 0..ROUNDS {
                figures[0].push(measure(tasks, async |_| on_store(&store, act).await).await);
                figures[1].push(
                    measure(tasks, async |_| {
                        let mut command = redis::cmd(if act == "load" { "GET" } else { "SET" });
                        command.arg("bare");
                        if act == "save" {
                            command.arg(&session).arg("PX").arg(3_600_000);
                        }
                        Box::new(Driver(driver.clone(), command)) as Box<dyn Worker>
                    })
                    .await,
                );
                figures[2].push(
                    measure(tasks, async |_| {
                        let mut stream = socket(port).await;
                        stream.write_all(&resp(&set)).await.expect("it works");
                        let mut ok = [0; 5];
                        stream.read_exact(&mut ok).await.expect("it works");
                        let (request, answer) = match act {
                            "load" => (
                                resp(&[b"GET", b"bare"]),
                                session.len() + format!("${}\r\n\r\n", session.len()).len(),
                            ),
                            _ => (resp(&set), ok.len()),
                        };
                        Box::new(Socket(stream, request, answer)) as Box<dyn Worker>
                    })
                    .await,
                );
                let test = if act == "load" { "get" } else { "set" };
                figures[3].push(own_benchmark(port, test, tasks));
            }
            let [store, driver, socket, own] = figures.map(median);
            let beside = |other: f64| format!("{other:.0} ({:.2})", store / other);
            println!(
                "{tasks:>6} {act:>6} {store:>10.0} {:>18} {:>18} {:>18}",
                beside(driver),
                beside(socket),
                beside(own)
            );
        }
    }
}

async fn memcached() {
    let server = Server::memcached(None);
    let port = server.port;
    let address = format!("127.0.0.1:{port}");
    let store = MemcachedStore::open([address.clone()]).expect("this is an address");
    let store: Arc<dyn SessionStore> = Arc::new(store.connections(128));
    let driver = AsyncMetaClient::builder()
        .max_idle(128)
        .connect_async(address)
        .await;
    let driver = driver.expect("it is there");
    let session = bytes(1);
    driver
        .run(Set::new("bare", &session))
        .await
        .expect("it works");
    let set = [
        format!("ms bare {} T3600\r\n", session.len()).as_bytes(),
        &session,
        b"\r\n",
    ]
    .concat();
    println!(
        "\nmemcached: operations a second, median of {ROUNDS} rounds, and the ratio to the store"
    );
    println!(
        "{:>6} {:>6} {:>10} {:>18} {:>18}",
        "tasks", "act", "store", "driver", "socket"
    );
    for tasks in TASKS {
        for act in ["load", "save"] {
            let mut figures: [Vec<f64>; 3] = Default::default();
            for _ in 0..ROUNDS {
                figures[0].push(measure(tasks, async |_| on_store(&store, act).await).await);
                figures[1].push(
                    measure(tasks, async |_| {
                        let set = (act == "save").then(|| session.clone());
                        Box::new(Meta(driver.clone(), set)) as Box<dyn Worker>
                    })
                    .await,
                );
                figures[2].push(
                    measure(tasks, async |_| {
                        let (request, answer) = match act {
                            "load" => (
                                b"mg bare v\r\n".to_vec(),
                                session.len() + format!("VA {}\r\n\r\n", session.len()).len(),
                            ),
                            _ => (set.clone(), b"HD\r\n".len()),
                        };
                        Box::new(Socket(socket(port).await, request, answer)) as Box<dyn Worker>
                    })
                    .await,
                );
            }
            let [store, driver, socket] = figures.map(median);
            let beside = |other: f64| format!("{other:.0} ({:.2})", store / other);
            println!(
                "{tasks:>6} {act:>6} {store:>10.0} {:>18} {:>18}",
                beside(driver),
                beside(socket)
            );
        }
    }
}

fn main() {
    // `cargo test --benches` only checks that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let parts: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    if wanted("redis") {
        runtime.block_on(redis());
    }
    if wanted("memcached") {
        runtime.block_on(memcached());
    }
    if wanted("databases") {
        runtime.block_on(sql::databases());
    }
}
