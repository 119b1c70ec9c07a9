//! The databases: servers of several processes, a file, and what administrators do to their tables.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::store::Disk;
use crate::support::process::wait_until;
use crate::support::proxy::Proxy;
use crate::support::sql_server::{Kind, SqlServer};

/// A server of SQL, behind one proxy for each application.
pub(crate) struct Database {
    server: SqlServer,
    kind: Kind,
    pub(crate) wires: [Proxy; 2],
}

/// The user of the applications on MariaDB. Unlike `root`, it cannot write to a server that is
/// read-only.
const USER: &str = "app";

impl Database {
    pub(crate) fn start(kind: Kind) -> Self {
        // A transaction that was acknowledged is with the system when the server is killed. The server of the
        // other tests may keep it for a second.
        let more: &[&str] = match kind {
            Kind::Postgres => &[],
            Kind::MariaDb => &["--innodb-flush-log-at-trx-commit=2"],
        };
        let server = SqlServer::with(kind, more);
        if kind == Kind::MariaDb {
            server.sql(&format!(
                "CREATE USER {USER}@'%'; GRANT ALL ON sessions.* TO {USER}@'%'"
            ));
        }
        let wires = [Proxy::to(server.port), Proxy::to(server.port)];
        Self {
            server,
            kind,
            wires,
        }
    }

    /// Returns the setting for one of the two applications.
    pub(crate) fn settings(&self, app: usize) -> String {
        let port = self.wires[app].port;
        match self.kind {
            Kind::Postgres => format!(
                r#"store="postgres",sql={{url="postgres://postgres@127.0.0.1:{port}/sessions"}}"#
            ),
            Kind::MariaDb => {
                format!(r#"store="mysql",sql={{url="mysql://{USER}@127.0.0.1:{port}/sessions"}}"#)
            }
        }
    }

    /// Stops all processes of the server for this time.
    pub(crate) fn freeze(&mut self, time: Duration) {
        // A stopped server starts no more processes.
        self.server.process().signal("STOP");
        let children = children_of(self.server.process().id());
        signal(&children, "STOP");
        sleep(time);
        signal(&children, "CONT");
        self.server.process().signal("CONT");
    }

    /// Kills all processes of the server, or shuts it down, and starts it again after this time.
    pub(crate) fn restart(&mut self, time: Duration, killed: bool) {
        let children = children_of(self.server.process().id());
        if killed {
            self.server.process().kill();
            signal(&children, "KILL");
        } else {
            // PostgreSQL would wait for its clients after `TERM`.
            let how = match self.kind {
                Kind::Postgres => "INT",
                Kind::MariaDb => "TERM",
            };
            self.server.process().signal(how);
            self.server.process().wait();
        }
        wait_until("the server's processes end", || {
            children.iter().all(|child| has_ended(*child))
        });
        sleep(time);
        self.server.restart();
    }

    /// Ends the connections of the applications, as an administrator does.
    pub(crate) fn disconnect(&self) {
        self.server.sql(&match self.kind {
            Kind::Postgres => "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                               WHERE datname = 'sessions' AND pid <> pg_backend_pid()"
                .to_owned(),
            Kind::MariaDb => format!("KILL USER {USER}"),
        });
    }

    /// Locks the tables for this time, for all others.
    pub(crate) fn lock(&self, time: Duration) {
        let time = time.as_secs_f64();
        self.server.sql(&match self.kind {
            Kind::Postgres => format!(
                "BEGIN; LOCK TABLE sessions, sessions_entries IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({time}); \
                 ROLLBACK"
            ),
            Kind::MariaDb => format!(
                "LOCK TABLES sessions WRITE, sessions_entries WRITE; DO SLEEP({time}); UNLOCK TABLES"
            ),
        });
    }

    /// Writes the tables anew, without the room of deleted rows.
    pub(crate) fn tidy(&self) {
        self.server.sql(match self.kind {
            Kind::Postgres => "VACUUM FULL",
            Kind::MariaDb => "OPTIMIZE TABLE sessions, sessions_entries",
        });
    }

    /// Sets whether it refuses to write, like a replica.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let switch = if read_only { "on" } else { "off" };
        match self.kind {
            Kind::Postgres => {
                self.server.sql(&format!(
                    "ALTER SYSTEM SET default_transaction_read_only = {switch}"
                ));
                self.server.sql("SELECT pg_reload_conf()");
            }
            Kind::MariaDb => {
                self.server.sql(&format!("SET GLOBAL read_only = {switch}"));
            }
        }
    }
}

/// A file of `SQLite` on a small disk.
pub(crate) struct File(pub(crate) Disk);

impl File {
    fn path(&self) -> PathBuf {
        self.0.path.join("sessions.db")
    }

    pub(crate) fn settings(&self) -> String {
        let path = self.path();
        format!(r#"store="sqlite",sql={{url="sqlite:{}"}}"#, path.display())
    }

    /// Lets another process delete all sessions in a transaction, and end before it commits.
    pub(crate) fn lock(&self, time: Duration, killed: bool) {
        let mut other = self.open();
        let mut input = other.stdin.take().expect("it is piped");
        let script = ".timeout 5000\nBEGIN IMMEDIATE;\nDELETE FROM sessions;\nSELECT 'locked';\n";
        input.write_all(script.as_bytes()).expect("it reads");
        let mut line = String::new();
        let output = other.stdout.take().expect("it is piped");
        // If the file was locked all the time, or the disk is full, there is no line.
        let _ = BufReader::new(output).read_line(&mut line);
        sleep(time);
        if killed {
            let _ = other.kill();
        }
        drop(input);
        let _ = other.wait();
    }

    /// Writes the file anew, and empties its log.
    pub(crate) fn tidy(&self) {
        let mut other = self.open();
        let mut input = other.stdin.take().expect("it is piped");
        let script = ".timeout 5000\nPRAGMA wal_checkpoint(TRUNCATE);\nVACUUM;\n";
        let _ = input.write_all(script.as_bytes());
        drop(input);
        let _ = other.wait();
    }

    fn open(&self) -> Child {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "sqlite3"]);
        command.arg(self.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
            .stderr(Stdio::null())
            .spawn()
            .expect("it is installed")
    }
}

/// Returns the processes that `parent` has started.
fn children_of(parent: u32) -> Vec<u32> {
    let file = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).ok();
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).expect("it runs");
    let lists = tasks.filter_map(Result::ok).filter_map(file);
    let children = lists.flat_map(|list| {
        let ids = list.split_whitespace().map(str::to_owned);
        ids.collect::<Vec<_>>()
    });
    children.filter_map(|id| id.parse().ok()).collect()
}

fn has_ended(process: u32) -> bool {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = line.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_none_or(|state| state.starts_with('Z'))
}

/// Sends a signal to those processes that are still there.
fn signal(processes: &[u32], name: &str) {
    let ids = processes.iter().map(u32::to_string);
    let mut kill = Command::new("kill");
    kill.args(["-s", name]).args(ids).stderr(Stdio::null());
    if !processes.is_empty() {
        kill.status().expect("kill runs");
    }
}
