//! Real PostgreSQL and MariaDB servers on free ports, as an ordinary user, in directories of their own;
//! they die with the test.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use super::process::{Process, free_port, wait_until};

/// The user that runs the servers if the tests run as root: both servers refuse to. It is `nobody`.
const NOBODY: u32 = 65534;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
}

/// A server with its data in a directory of its own.
pub(crate) struct SqlServer {
    process: Process,
    pub(crate) port: u16,
    kind: Kind,
    there: TempDir,
    more: Vec<String>,
}

impl SqlServer {
    pub(crate) fn start(kind: Kind) -> Self {
        Self::with(kind, &[])
    }

    /// Starts it with more arguments.
    pub(crate) fn with(kind: Kind, more: &[&str]) -> Self {
        let there = tempfile::tempdir().expect("there is room for a directory");
        give_away(there.path());
        make(kind, there.path());
        Self::on(kind, there, more)
    }

    /// Starts it on the data in `there`.
    fn on(kind: Kind, there: TempDir, more: &[&str]) -> Self {
        let more: Vec<String> = more.iter().copied().map(str::to_owned).collect();
        loop {
            let port = free_port();
            let mut process = launch(kind, there.path(), port, &more);
            // Another test may have taken the port first.
            if responds(kind, there.path(), &mut process, port) {
                return Self {
                    process,
                    port,
                    kind,
                    there,
                    more,
                };
            }
        }
    }

    /// A server that all tests of this process use and none breaks.
    pub(crate) fn shared(kind: Kind) -> u16 {
        static PORTS: [OnceLock<u16>; 2] = [OnceLock::new(), OnceLock::new()];
        *PORTS[kind as usize].get_or_init(|| {
            let (sender, receiver) = mpsc::channel();
            // The server ends with the thread that started it, which never ends.
            thread::spawn(move || {
                let server = Self::start(kind);
                #[allow(clippy::zombie_processes, reason = "it outlives this process")]
                let _janitor = remove_after_this_process(server.there.path());
                sender.send(server.port).expect("somebody waits");
                loop {
                    thread::park();
                }
            });
            receiver.recv().expect("the server starts")
        })
    }

    /// Starts it again on its port, after it was killed.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = launch(self.kind, self.there.path(), self.port, &self.more);
        let responds = responds(self.kind, self.there.path(), &mut self.process, self.port);
        assert!(responds, "{:?} does not start again", self.kind);
    }

    /// The same, with other arguments.
    pub(crate) fn restart_with(&mut self, more: &[&str]) {
        self.more = more.iter().copied().map(str::to_owned).collect();
        self.restart();
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it, as `kill -9` does, with the processes of its connections.
    pub(crate) fn kill(&mut self) {
        let children = self.children();
        self.process.kill();
        signal("KILL", &children);
        wait_until("all of its processes are gone", || {
            let gone = |pid: &String| !Path::new("/proc").join(pid).exists();
            children.iter().all(gone)
        });
    }

    /// Freezes it, with the processes of its connections.
    pub(crate) fn freeze(&self) {
        self.process.signal("STOP");
        let children = self.children();
        signal("STOP", &children);
        wait_until("all of its processes are frozen", || {
            children.iter().all(|pid| {
                let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat"));
                // The name, in brackets, may hold spaces.
                let stat = stat.unwrap_or_default();
                let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
                state.is_none_or(|state| state.starts_with(['T', 'Z']))
            })
        });
    }

    /// Lets it go on, and waits until it responds.
    pub(crate) fn thaw(&mut self) {
        signal("CONT", &self.children());
        self.process.signal("CONT");
        let there = self.there.path();
        assert!(responds(self.kind, there, &mut self.process, self.port));
    }

    /// Returns the ids of the processes that it started. PostgreSQL has one for each connection.
    fn children(&self) -> Vec<String> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        // It may have ended by now.
        let children = children.unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn url(&self) -> String {
        url(self.kind, self.port, "sessions")
    }

    /// Returns the URL of `database` for `user`, who may come with a password.
    pub(crate) fn url_of(&self, user: &str, database: &str) -> String {
        let scheme = match self.kind {
            Kind::Postgres => "postgres",
            Kind::MariaDb => "mysql",
        };
        format!("{scheme}://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts a PostgreSQL server that follows this one, and accepts no writes.
    pub(crate) fn standby(&self) -> Self {
        assert_eq!(self.kind, Kind::Postgres);
        let there = tempfile::tempdir().expect("there is room for a directory");
        give_away(there.path());
        let copied = as_ordinary_user(postgres_program("pg_basebackup"))
            .args(["-h", "127.0.0.1", "-U", "postgres", "--no-sync", "-R"])
            .args(["--checkpoint=fast", "-p", &self.port.to_string(), "-D"])
            .arg(there.path().join("data"))
            .current_dir(there.path())
            .output();
        let copied = copied.expect("PostgreSQL's server is installed");
        let said = String::from_utf8_lossy(&copied.stderr);
        assert!(copied.status.success(), "{said}");
        fs::write(there.path().join("made"), "").expect("there is room");
        Self::on(Kind::Postgres, there, &[])
    }

    /// Ends all connections to it, and waits until they are gone.
    pub(crate) fn end_connections(&self) {
        let ids = match self.kind {
            Kind::Postgres => {
                let others = "backend_type = 'client backend' AND pid <> pg_backend_pid()";
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            }
            Kind::MariaDb => {
                let others = "user = 'root' AND id <> connection_id()";
                format!("SELECT id FROM information_schema.processlist WHERE {others}")
            }
        };
        let ids = self.sql(&ids);
        if self.kind == Kind::MariaDb {
            for id in ids.lines() {
                self.sql(&format!("KILL {id}"));
            }
        }
        wait_until("the connections are gone", || self.connections() == 0);
    }

    /// Returns how many connections there are besides that of this query.
    pub(crate) fn connections(&self) -> u64 {
        let count = self.sql(match self.kind {
            Kind::Postgres => {
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                 AND pid <> pg_backend_pid()"
            }
            Kind::MariaDb => {
                "SELECT count(*) FROM information_schema.processlist WHERE user <> 'system user' \
                 AND id <> connection_id()"
            }
        });
        count.trim().parse().expect("it is a number")
    }

    /// Returns the path of `name` in its directory, whose `data` holds the databases.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.there.path().join(name)
    }

    /// Executes SQL, and returns what the server's own client prints.
    pub(crate) fn sql(&self, sql: &str) -> String {
        run_sql(self.kind, self.port, "sessions", sql)
    }

    /// The same, for SQL that may fail. The error is the text of the client.
    pub(crate) fn try_sql(&self, sql: &str) -> Result<String, String> {
        try_sql(self.kind, self.port, "sessions", sql)
    }
}

/// Removes a directory when this process has ended, which drops nothing then. It waits as long as the
/// process that is returned is kept.
fn remove_after_this_process(there: &Path) -> Child {
    // The server may write a last file while it is killed.
    let remove = r#"cat; until rm -rf -- "$0"; do sleep 0.1; done 2> /dev/null"#;
    let mut janitor = Command::new("sh");
    janitor
        .args(["-c", remove])
        .arg(there)
        .stdin(Stdio::piped());
    janitor.spawn().expect("there is a shell")
}

/// Returns the URL of a new database on the shared server.
pub(crate) fn new_database(kind: Kind) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let port = SqlServer::shared(kind);
    run_sql(kind, port, "", &format!("CREATE DATABASE {name}"));
    url(kind, port, &name)
}

/// Executes SQL in the database at a URL of [`new_database`].
pub(crate) fn execute(url: &str, sql: &str) -> String {
    let kind = match url.starts_with("postgres") {
        true => Kind::Postgres,
        false => Kind::MariaDb,
    };
    let name = url.rsplit('/').next().expect("it names a database");
    run_sql(kind, SqlServer::shared(kind), name, sql)
}

fn url(kind: Kind, port: u16, database: &str) -> String {
    match kind {
        Kind::Postgres => format!("postgres://postgres@127.0.0.1:{port}/{database}"),
        Kind::MariaDb => format!("mysql://root@127.0.0.1:{port}/{database}"),
    }
}

/// Executes SQL, and returns what the server's own client prints.
pub(crate) fn run_sql(kind: Kind, port: u16, database: &str, sql: &str) -> String {
    try_sql(kind, port, database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn try_sql(kind: Kind, port: u16, database: &str, sql: &str) -> Result<String, String> {
    let port = port.to_string();
    let mut command = match kind {
        Kind::Postgres => {
            let mut command = Command::new("psql");
            command.args([
                "-XAtq",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
            ]);
            let database = if database.is_empty() {
                "postgres"
            } else {
                database
            };
            command.args(["-p", &port, "-d", database, "-c", sql]);
            command
        }
        Kind::MariaDb => {
            let mut command = Command::new("mariadb");
            command.args([
                "--no-defaults",
                "-N",
                "-h",
                "127.0.0.1",
                "-u",
                "root",
                "-P",
                &port,
            ]);
            command.args(["-e", sql]).arg(database);
            command
        }
    };
    let output = command.output().expect("the client is installed");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(text(&output.stderr)),
    }
}

/// Sends the processes a signal. Some may have ended by now.
fn signal(name: &str, ids: &[String]) {
    let mut kill = Command::new("kill");
    let kill = kill.args(["-s", name]).args(ids).stderr(Stdio::null());
    if !ids.is_empty() {
        kill.status().expect("kill runs");
    }
}

/// The programs of PostgreSQL that are not for users, in Debian's folder for its version.
fn postgres_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.unwrap().path().join("bin").join(name))
        .filter(|program| program.exists())
        .collect();
    found.sort();
    found.pop().expect("PostgreSQL's server is installed")
}

/// Returns a command that runs as an ordinary user, and dies with this process.
fn as_ordinary_user(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    // Where MariaDB's server is, an ordinary user does not look.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin";
    command.args(["--pdeathsig", "KILL"]).env("PATH", path);
    if is_root() {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    command.arg(program);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("Linux tells it").uid() == 0
}

/// Lets the servers' user have the directory.
pub(crate) fn give_away(there: &Path) {
    if is_root() {
        chown(there, Some(NOBODY), Some(NOBODY)).expect("root may do it");
    }
    fs::set_permissions(there, fs::Permissions::from_mode(0o700)).expect("it is ours");
}

/// Makes the data of a new server.
fn make(kind: Kind, there: &Path) {
    let mut command = match kind {
        Kind::Postgres => {
            let mut command = as_ordinary_user(postgres_program("initdb"));
            command.args([
                "-U",
                "postgres",
                "-A",
                "trust",
                "--no-sync",
                "-E",
                "UTF8",
                "--locale=C",
                "-D",
            ]);
            command.arg(there.join("data"));
            command
        }
        Kind::MariaDb => {
            let mut command = as_ordinary_user("mariadb-install-db");
            command.args([
                "--no-defaults",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ]);
            command.arg(format!("--datadir={}", there.join("data").display()));
            command.arg(format!("--tmpdir={}", there.display()));
            command
        }
    };
    let output = command
        .current_dir(there)
        .output()
        .expect("it is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{kind:?}: {said}");
}

fn launch(kind: Kind, there: &Path, port: u16, more: &[String]) -> Process {
    let (data, port) = (there.join("data"), port.to_string());
    let mut command = match kind {
        Kind::Postgres => {
            let mut command = as_ordinary_user(postgres_program("postgres"));
            command
                .arg("-D")
                .arg(data)
                .args(["-p", &port, "-k"])
                .arg(there);
            command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
            command.args(["-c", "max_connections=300"]);
            command
        }
        Kind::MariaDb => {
            let mut command = as_ordinary_user("mariadbd");
            command.args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
            ]);
            // What is committed survives the end of the process, and not that of the machine.
            command.args([
                "--innodb-flush-log-at-trx-commit=2",
                "--max-connections=300",
            ]);
            command.arg(format!("--datadir={}", data.display()));
            command.arg(format!("--socket={}", there.join("socket").display()));
            command.arg(format!("--port={port}"));
            // A server that starts removes the temporary files of others.
            command.arg(format!("--tmpdir={}", there.display()));
            command
        }
    };
    command.args(more).current_dir(there);
    Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Waits until the server responds, and makes its database; `false` if it ended instead.
fn responds(kind: Kind, there: &Path, process: &mut Process, port: u16) -> bool {
    let number = port.to_string();
    let mut ended = false;
    wait_until("the server responds", || {
        ended = process.has_ended();
        let mut ping = match kind {
            Kind::Postgres => {
                let mut ping = Command::new("pg_isready");
                ping.args(["-q", "-h", "127.0.0.1", "-p", &number]);
                ping
            }
            Kind::MariaDb => {
                let mut ping = Command::new("mariadb-admin");
                ping.args([
                    "--no-defaults",
                    "-s",
                    "-h",
                    "127.0.0.1",
                    "-u",
                    "root",
                    "-P",
                    &number,
                    "ping",
                ]);
                ping
            }
        };
        let ping = ping.stdout(Stdio::null()).stderr(Stdio::null()).status();
        ended || ping.is_ok_and(|status| status.success())
    });
    let made = there.join("made");
    if !ended && !made.exists() {
        run_sql(kind, port, "", "CREATE DATABASE sessions");
        fs::write(made, "").expect("there is room");
    }
    !ended
}
