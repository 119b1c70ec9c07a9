//! Real Redis servers on free ports, single, in a cluster and under sentinels; they die with the
//! test.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, free_port, wait_until};

/// A server with its data in a directory of its own.
pub(crate) struct Redis {
    process: Process,
    pub(crate) port: u16,
    there: TempDir,
    arguments: Vec<String>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Starts it with more settings, such as `["--maxmemory", "2mb"]`.
    pub(crate) fn with(more: &[&str]) -> Self {
        let there = tempfile::tempdir().expect("there is room for a directory");
        let path = there.path().to_str().expect("it is text").to_owned();
        let mut arguments: Vec<String> = ["--bind", "127.0.0.1", "--save", "", "--dir", &path]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(more.iter().copied().map(str::to_owned));
        loop {
            let port = free_port();
            let mut process = launch(port, &arguments);
            // Another test may have taken the port first.
            if responds(&mut process, port) {
                return Self {
                    process,
                    port,
                    there,
                    arguments,
                };
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.there.path().join(name).display().to_string()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again on its port, after it was killed.
    pub(crate) fn restart(&mut self) {
        self.process.kill();
        self.process = launch(self.port, &self.arguments);
        assert!(
            responds(&mut self.process, self.port),
            "redis-server does not start again"
        );
        wait_until("the server has loaded its data", || {
            self.cli(&["PING"]).contains("PONG")
        });
    }

    /// Sends it a command, and returns its response.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        cli(self.port, command)
    }

    /// Returns how often it executed `command`.
    pub(crate) fn calls(&self, command: &str) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]);
        let start = format!("cmdstat_{command}:calls=");
        stats
            .lines()
            .find_map(|line| line.strip_prefix(&start)?.split(',').next()?.parse().ok())
            .unwrap_or(0)
    }
}

fn launch(port: u16, arguments: &[String]) -> Process {
    // Even a killed test does not leave it behind.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "redis-server", "--port"])
        .arg(port.to_string())
        .args(arguments)
        .stdout(Stdio::null());
    Process::start(&mut command)
}

/// Waits until the server responds; `false` if it ended instead.
fn responds(process: &mut Process, port: u16) -> bool {
    let mut ended = false;
    wait_until("the server responds", || {
        ended = process.has_ended();
        ended || process.listens_on(port) && is_up(port)
    });
    !ended
}

/// Whether the server on `port` responds itself, and not only its kernel. Then its socket exists, too.
fn is_up(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    // A missing password is an error, and a missing TLS a closed connection: each is a response.
    let _ = stream.write_all(b"PING\r\n");
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let read = stream.read(&mut [0; 64]);
    read.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |_| true)
}

pub(crate) fn cli(port: u16, command: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-p", &port.to_string()])
        .args(command)
        .stderr(Stdio::null())
        .output()
        .expect("redis-cli is installed");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Waits until a replica has all writes to the server at `port`.
pub(crate) fn wait_until_replicated(port: u16) {
    wait_until("a replica has everything", || {
        let told = cli(port, &["INFO", "replication"]);
        let number = |before: &str| {
            let rest = told.split_once(before)?.1;
            rest.split([',', '\r', '\n']).next()?.parse::<u64>().ok()
        };
        // That of the first replica, and that of the server itself.
        let (there, here) = (number("offset="), number("master_repl_offset:"));
        there.is_some() && there >= here
    });
}

/// Three primaries with a replica each.
pub(crate) struct Cluster(pub(crate) Vec<Redis>);

impl Cluster {
    pub(crate) fn start() -> Self {
        let settings = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--appendonly",
            "yes",
        ];
        let nodes: Vec<Redis> = (0..6).map(|_| Redis::with(&settings)).collect();
        let addresses: Vec<String> = nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(&addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .expect("redis-cli is installed");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stdout)
        );
        let cluster = Self(nodes);
        cluster.wait_until_well(6);
        cluster
    }

    /// The URLs of a cluster that all tests use and none breaks.
    pub(crate) fn shared() -> &'static [String] {
        static URLS: OnceLock<Vec<String>> = OnceLock::new();
        URLS.get_or_init(|| {
            let (sender, receiver) = mpsc::channel();
            // The servers end with the thread that started them, which never ends.
            thread::spawn(move || {
                let cluster = Self::start();
                sender.send(cluster.urls()).expect("somebody waits");
                loop {
                    thread::park();
                }
            });
            receiver.recv().expect("the cluster starts")
        })
    }

    /// Waits until all living nodes agree.
    pub(crate) fn wait_until_well(&self, nodes: usize) {
        wait_until("the cluster is healthy", || {
            let well = |node: &&Redis| {
                node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && node
                        .cli(&["CLUSTER", "NODES"])
                        .lines()
                        .filter(|line| line.contains(" connected") && !line.contains("fail"))
                        .count()
                        >= nodes
            };
            self.0.iter().filter(well).count() >= nodes
        });
        wait_until("the replicas are linked", || {
            let linked = |node: &&Redis| {
                let info = node.cli(&["INFO", "replication"]);
                info.contains("role:master") || info.contains("master_link_status:up")
            };
            self.0.iter().filter(linked).count() >= nodes
        });
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.0.iter().map(Redis::url).collect()
    }

    /// The node that is primary for a key.
    pub(crate) fn primary_of(&self, key: &str) -> usize {
        let position = |node: &Redis| {
            let info = node.cli(&["INFO", "replication"]);
            let response = node.cli(&["EXISTS", key]);
            info.contains("role:master") && !response.contains("MOVED")
        };
        self.0.iter().position(position).expect("a primary has it")
    }
}

/// A primary, a replica, and three sentinels that watch them.
pub(crate) struct Sentinels {
    pub(crate) servers: Vec<Redis>,
    pub(crate) sentinels: Vec<Redis>,
}

impl Sentinels {
    pub(crate) fn start() -> Self {
        let primary = Redis::start();
        let port = primary.port.to_string();
        let replica = Redis::with(&["--replicaof", "127.0.0.1", &port]);
        wait_until("the replica is linked", || {
            replica
                .cli(&["INFO", "replication"])
                .contains("master_link_status:up")
        });
        let sentinels: Vec<Redis> = (0..3).map(|_| sentinel(&port)).collect();
        wait_until("the sentinels know each other and the replica", || {
            sentinels.iter().all(|sentinel| {
                let about = sentinel.cli(&["SENTINEL", "MASTER", "mymaster"]);
                let field = |name: &str| {
                    let mut lines = about.lines().skip_while(|line| *line != name);
                    lines.nth(1).unwrap_or_default().to_owned()
                };
                field("num-other-sentinels") == "2" && field("num-slaves") == "1"
            })
        });
        Self {
            servers: vec![primary, replica],
            sentinels,
        }
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }
}

fn sentinel(port: &str) -> Redis {
    let there = tempfile::tempdir().expect("there is room for a directory");
    let file = there.path().join("sentinel.conf");
    let text = format!(
        "sentinel monitor mymaster 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds mymaster 700\n\
         sentinel failover-timeout mymaster 3000\n"
    );
    fs::write(&file, text).expect("it can be written");
    loop {
        let port = free_port();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "redis-server"])
            .arg(&file)
            .args([
                "--sentinel",
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
            ])
            .stdout(Stdio::null());
        let mut process = Process::start(&mut command);
        if responds(&mut process, port) {
            return Redis {
                process,
                port,
                there,
                arguments: Vec::new(),
            };
        }
    }
}
