//! The program `rocket-session-kit`, started as an administrator does, on real stores beside a running
//! application.

mod checking;
mod copying;
mod examples;
mod importing;
mod managing;
mod moving;
mod page;
mod stopping;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocket::futures::{StreamExt, TryStreamExt, stream};
use rocket_session_kit::store::{Precondition, Save, Saved, SessionStore};
use rocket_session_kit::testing::run;
use rocket_session_kit::{DirectoryStore, MemcachedStore, RedisStore, SessionId, SqlStore};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::memcached::Memcached;
use crate::support::process::{Process, Server};
use crate::support::redis::Redis;
use crate::support::sql_server::{Kind, new_database};

/// The program.
const TOOL: &str = env!("CARGO_BIN_EXE_rocket-session-kit");

/// What a command has written, and its exit code.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).expect("it writes text");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Returns the output of a command that has succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        assert_eq!(self.err, "");
        self.out
    }

    /// Returns the error of a command that has failed.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self.err
    }
}

/// A store, and the directory that an application on it runs in.
pub(crate) struct Site {
    /// The value of `ROCKET_SESSIONS`, without braces.
    pub(crate) settings: String,
    pub(crate) there: TempDir,
    store: Arc<dyn SessionStore>,
    /// The URL of its database, if it is in one.
    pub(crate) url: Option<String>,
    pub(crate) redis: Option<Redis>,
    _memcached: Option<[Memcached; 2]>,
}

/// The kinds of stores that the program can reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StoreKind {
    Directory,
    Redis,
    Memcached,
    Sqlite,
    Postgres,
    MariaDb,
}

pub(crate) const KINDS: [StoreKind; 6] = [
    StoreKind::Directory,
    StoreKind::Redis,
    StoreKind::Memcached,
    StoreKind::Sqlite,
    StoreKind::Postgres,
    StoreKind::MariaDb,
];

/// Those in a database.
pub(crate) const SQL: [StoreKind; 3] = [StoreKind::Sqlite, StoreKind::Postgres, StoreKind::MariaDb];

impl StoreKind {
    /// Returns the URL of a new database, and how `Rocket.toml` calls the store.
    fn database(self, there: &Path) -> (String, &'static str) {
        match self {
            Self::Postgres => (new_database(Kind::Postgres), "postgres"),
            Self::MariaDb => (new_database(Kind::MariaDb), "mysql"),
            _ => {
                let file = there.join("sessions.db");
                (format!("sqlite:{}", file.display()), "sqlite")
            }
        }
    }
}

impl Site {
    pub(crate) fn new(kind: StoreKind) -> Self {
        let site = Self::without_tables(kind);
        run(async { site.store().setup().await }).expect("the store can be set up");
        site
    }

    /// A site that no application has been launched on.
    pub(crate) fn without_tables(kind: StoreKind) -> Self {
        let there = tempfile::tempdir().expect("there is room for a directory");
        let (mut redis, mut memcached, mut database) = (None, None, None);
        let (settings, store): (String, Arc<dyn SessionStore>) = match kind {
            StoreKind::Directory => {
                let path = there.path().join("sessions");
                let store = DirectoryStore::open(&path).expect("it can be made");
                let path = path.display();
                (format!(r#"directory={{path="{path}"}}"#), Arc::new(store))
            }
            StoreKind::Redis => {
                let server = Redis::start();
                let store = RedisStore::open(&server.url()).expect("it is a URL");
                let url = server.url();
                redis = Some(server);
                let settings = format!(r#"store="redis",redis={{url="{url}"}}"#);
                (settings, Arc::new(store.timeout(Duration::from_secs(20))))
            }
            StoreKind::Memcached => {
                let servers = [Memcached::start(), Memcached::start()];
                let addresses = [servers[0].address(), servers[1].address()];
                let store = MemcachedStore::open(addresses.clone()).expect("they are addresses");
                memcached = Some(servers);
                let settings = format!(r#"store="memcached",memcached={{servers={addresses:?}}}"#);
                (settings, Arc::new(store.timeout(Duration::from_secs(20))))
            }
            StoreKind::Sqlite | StoreKind::Postgres | StoreKind::MariaDb => {
                let (url, name) = kind.database(there.path());
                let store = SqlStore::open(&url).expect("it is a URL");
                let settings = format!(r#"store="{name}",sql={{url="{url}"}}"#);
                database = Some(url);
                (settings, Arc::new(store))
            }
        };
        Self {
            settings,
            there,
            store,
            url: database,
            redis,
            _memcached: memcached,
        }
    }

    /// Returns its store. The connections to a database belong to one runtime, so each test by `run` opens
    /// its own.
    pub(crate) fn store(&self) -> Arc<dyn SessionStore> {
        match &self.url {
            Some(url) => {
                let store = SqlStore::open(url).expect("it is a URL");
                Arc::new(store.timeout(Duration::from_secs(20)))
            }
            None => Arc::clone(&self.store),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.there.path()
    }

    fn sessions(&self) -> String {
        format!("{{store_timeout=20000,{}}}", self.settings)
    }

    /// Starts an application on it.
    pub(crate) fn launch(&self) -> Server {
        let sessions = self.sessions();
        Server::start("crowd", self.path(), &[("ROCKET_SESSIONS", &sessions)])
    }

    /// Starts an application that cannot launch on it, and returns its log.
    pub(crate) fn launch_fails(&self) -> String {
        let settings = [("ROCKET_SESSIONS", &*self.sessions())];
        let launched = Server::try_start("crowd", self.path(), &settings);
        launched.err().expect("it does not launch")
    }

    /// Returns the program, with the environment of the application.
    pub(crate) fn tool(&self) -> Command {
        let mut command = Command::new(TOOL);
        command
            .current_dir(self.path())
            .env("ROCKET_SESSIONS", self.sessions())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of the program.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.tool().args(arguments))
    }

    /// Returns the file that names this store for `copy --to`.
    pub(crate) fn toml(&self) -> PathBuf {
        let file = self.path().join("target.toml");
        let text = format!("default.sessions = {}\n", self.sessions());
        std::fs::write(&file, text).expect("there is room for a file");
        file
    }

    /// Copies its sessions to `other`.
    #[track_caller]
    pub(crate) fn copy_to(&self, other: &Self) -> Done {
        let file = other.toml();
        self.run(&["copy", "--to", file.to_str().expect("it is text")])
    }

    /// Returns the sessions that `list` names, with these other arguments.
    #[track_caller]
    pub(crate) fn list(&self, more: &[&str]) -> Vec<Value> {
        let arguments = [&["list", "--json"], more].concat();
        let lines = self.run(&arguments).ok();
        let parse = |line| serde_json::from_str(line).expect("it is JSON");
        lines.lines().map(parse).collect()
    }

    /// Returns the handle of the only session of `user`.
    #[track_caller]
    pub(crate) fn handle_of(&self, user: &str) -> String {
        let sessions = self.list(&["--user", user]);
        assert_eq!(sessions.len(), 1);
        let handle = sessions[0]["handle"].as_str();
        handle.expect("it has a handle").to_owned()
    }

    /// Saves `count` sessions, which were last used `age` ago and live for another day.
    pub(crate) fn plant(&self, count: usize, age: Duration) -> Vec<SessionId> {
        run(async {
            let store = self.store();
            let saves = stream::iter(0..count).map(|number| plant_one(&*store, number, age));
            let ids = saves.buffer_unordered(64).try_collect().await;
            ids.expect("the store has room")
        })
    }

    /// Returns the number of records in the store.
    pub(crate) fn count(&self) -> usize {
        let all = run(async { self.store().iter_sessions().try_collect::<Vec<_>>().await });
        all.expect("the store lists its sessions").len()
    }
}

async fn plant_one(
    store: &dyn SessionStore,
    number: usize,
    age: Duration,
) -> rocket_session_kit::Result<SessionId> {
    let id = SessionId::random();
    let now = seconds();
    let (at, expires) = (now - age.as_secs(), now + 86_400);
    let rev = &SessionId::random().to_hex()[..16];
    let bytes = format!(
        r#"{{"rev":"{rev}","expires":{expires},"v":1,"id":"{id}","created":{at},"accessed":{at},"user":"user-{number}","lifetime":{{"idle":864000}},"tag":{number},"values":{{"secret":"squirrel-{number}"}}}}"#,
        id = id.to_hex(),
    );
    let save = Save {
        bytes: bytes.as_bytes(),
        ttl: Duration::from_secs(86_400),
        precondition: Precondition::Absent,
    };
    let saved = store.save_session(&id, save).await?;
    assert!(matches!(saved, Saved::Saved(_)));
    Ok(id)
}

pub(crate) fn seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is after 1970").as_secs()
}

/// Starts a command whose output nobody reads.
pub(crate) fn start(command: &mut Command) -> Process {
    Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Logs a visitor in, and returns the cookie.
#[track_caller]
pub(crate) fn log_in(server: &Server, user: &str) -> String {
    let (status, cookie, _) = server.get(&format!("/login/{user}"), None);
    assert_eq!(status, 200);
    cookie.expect("a log-in sets a cookie")
}
