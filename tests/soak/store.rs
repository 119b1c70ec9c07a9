//! The stores that processes share: servers and disks that fail on demand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::sql::{Database, File};
use crate::support::memcached::Memcached;
use crate::support::process::Process;
use crate::support::proxy::Proxy;
use crate::support::redis::Redis;
use crate::support::sql_server;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    Redis,
    Memcached,
    Postgres,
    MariaDb,
    Sqlite,
}

/// A store, which ends with the thread that started it.
pub(crate) enum Store {
    Directory(Disk),
    Redis(Redis, [Proxy; 2]),
    Memcached(Memcached, [Proxy; 2]),
    Database(Database),
    File(File),
}

impl Store {
    pub(crate) fn start(kind: Kind, there: &Path) -> Self {
        let wires = |port| [Proxy::to(port), Proxy::to(port)];
        match kind {
            Kind::Directory => Self::Directory(Disk::mount(there.join("disk"))),
            Kind::Redis => {
                let server = Redis::with(&[
                    "--appendonly",
                    "yes",
                    // With `everysec`, it responds before it writes if the disk is slow.
                    "--appendfsync",
                    "always",
                    "--maxmemory-policy",
                    "noeviction",
                ]);
                let wires = wires(server.port);
                Self::Redis(server, wires)
            }
            Kind::Memcached => {
                let server = Memcached::with(&["-m", "8", "-M"]);
                let wires = wires(server.port);
                Self::Memcached(server, wires)
            }
            Kind::Postgres => Self::Database(Database::start(sql_server::Kind::Postgres)),
            Kind::MariaDb => Self::Database(Database::start(sql_server::Kind::MariaDb)),
            Kind::Sqlite => Self::File(File(Disk::mount(there.join("disk")))),
        }
    }

    /// Returns the setting for one of the two applications.
    pub(crate) fn settings(&self, app: usize) -> String {
        match self {
            Self::Directory(disk) => {
                let path = disk.path.join("sessions");
                format!(
                    r#"store="directory",directory={{path="{}"}}"#,
                    path.display()
                )
            }
            Self::Redis(_, wires) => {
                let port = wires[app].port;
                format!(r#"store="redis",redis={{url="redis://127.0.0.1:{port}"}}"#)
            }
            Self::Memcached(_, wires) => {
                let port = wires[app].port;
                format!(r#"store="memcached",memcached={{servers=["127.0.0.1:{port}"]}}"#)
            }
            Self::Database(database) => database.settings(app),
            Self::File(file) => file.settings(),
        }
    }

    pub(crate) fn wires(&self) -> &[Proxy] {
        match self {
            Self::Directory(_) | Self::File(_) => &[],
            Self::Redis(_, wires) | Self::Memcached(_, wires) => wires,
            Self::Database(database) => &database.wires,
        }
    }

    /// Stops its server for this time.
    pub(crate) fn freeze(&mut self, time: Duration) {
        let server = match self {
            Self::Directory(_) | Self::File(_) => return,
            Self::Redis(server, _) => server.process(),
            Self::Memcached(server, _) => server.process(),
            Self::Database(database) => return database.freeze(time),
        };
        server.signal("STOP");
        sleep(time);
        server.signal("CONT");
    }

    /// Kills its server, or shuts it down if that is another way to end, and starts it again after
    /// this time.
    pub(crate) fn restart(&mut self, time: Duration, killed: bool) {
        let kill = |server: &mut Process| {
            server.kill();
            sleep(time);
        };
        match self {
            Self::Directory(_) | Self::File(_) => {}
            Self::Redis(server, _) => {
                kill(server.process());
                server.restart();
            }
            Self::Memcached(server, _) => {
                kill(server.process());
                server.restart();
            }
            Self::Database(database) => database.restart(time, killed),
        }
    }

    /// Lets another client lock it for this time.
    pub(crate) fn lock(&self, time: Duration, killed: bool) {
        match self {
            Self::Database(database) => database.lock(time),
            Self::File(file) => file.lock(time, killed),
            _ => {}
        }
    }

    /// Writes its tables anew.
    pub(crate) fn tidy(&self) {
        match self {
            Self::Database(database) => database.tidy(),
            Self::File(file) => file.tidy(),
            _ => {}
        }
    }

    /// Lets the server end all connections.
    pub(crate) fn disconnect(&self) {
        if let Self::Database(database) = self {
            database.disconnect();
        }
    }

    /// Fills it, or lets it refuse writes. Returns `false` if that is not possible.
    pub(crate) fn fill(&self) -> bool {
        match self {
            Self::Directory(disk) => disk.fill(),
            Self::Redis(server, _) => server
                .cli(&["CONFIG", "SET", "maxmemory", "1"])
                .contains("OK"),
            Self::Memcached(server, _) => {
                ballast(server.port, "set", |size| {
                    format!(" 0 0 {size}\r\n{}", "x".repeat(size))
                });
                true
            }
            Self::Database(database) => {
                database.set_read_only(true);
                true
            }
            Self::File(file) => file.0.fill(),
        }
    }

    pub(crate) fn make_room(&self) {
        match self {
            Self::Directory(disk) => disk.make_room(),
            Self::Redis(server, _) => {
                let response = server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
                assert!(response.contains("OK"), "Redis has no room: {response}");
            }
            Self::Memcached(server, _) => ballast(server.port, "delete", |_| String::new()),
            Self::Database(database) => database.set_read_only(false),
            Self::File(file) => file.0.make_room(),
        }
    }
}

/// Sends Memcached a command for items of many sizes, which together fill its 8 MB.
fn ballast(port: u16, command: &str, rest: impl Fn(usize) -> String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it is there");
    let mut reader = stream.try_clone().expect("a socket can be shared");
    let responses = std::thread::spawn(move || {
        let (mut bytes, mut last) = ([0; 65_536], Vec::new());
        // The last response is that to `version`.
        while let Ok(read @ 1..) = reader.read(&mut bytes) {
            last.extend_from_slice(&bytes[..read]);
            if last.windows(8).any(|window| window == b"VERSION ") {
                break;
            }
            last.drain(..last.len().saturating_sub(16));
        }
    });
    // The large ones first: each takes whole pages.
    for (size, count) in [(400_000, 20), (60_000, 40), (12_000, 150), (3_000, 600)] {
        for n in 0..count {
            let line = format!("{command} ballast-{size}-{n}{}\r\n", rest(size));
            stream.write_all(line.as_bytes()).expect("it listens");
        }
    }
    for size in (90..2_400).step_by(70) {
        for n in 0..200 {
            let line = format!("{command} ballast-{size}-{n}{}\r\n", rest(size));
            stream.write_all(line.as_bytes()).expect("it listens");
        }
    }
    stream.write_all(b"version\r\n").expect("it listens");
    responses.join().expect("it responds");
}

/// A small disk in memory; a directory on the usual disk without the right to mount one.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    mounted: bool,
}

impl Disk {
    fn mount(path: PathBuf) -> Self {
        std::fs::create_dir(&path).expect("there is room for a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs"]);
        let mounted = mount.arg(&path).status().is_ok_and(|done| done.success());
        if !mounted {
            eprintln!("the soak test cannot mount a disk: the store is never full");
        }
        Self { path, mounted }
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    fn fill(&self) -> bool {
        // Until not one more byte fits.
        self.mounted && std::fs::write(self.ballast(), vec![1; 16_000_000]).is_err()
    }

    fn make_room(&self) {
        let _ = std::fs::remove_file(self.ballast());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        }
    }
}
