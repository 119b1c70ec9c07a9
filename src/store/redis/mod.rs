//! The store on a Redis server, a cluster of them, or whichever one the sentinels name.

mod key_value;
mod link;
mod scan;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::{Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo, ProtocolVersion, Value};
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use self::link::{Again, Answer, Link, Servers, Settings};
use super::{
    KeyValue, Precondition, RecordHeader, Revision, Save, Saved, SessionStore, Stored, Swept,
};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::record::Record;

/// A [`SessionStore`] on a Redis server of version 6.2 or newer, or on a Valkey server.
///
/// A session is a string under the prefix and its id, and ends with its `PX`. Loading it is one
/// `GET`; saving it one script that compares its revision. All requests share one connection for
/// sessions, and one for the entries of the cache and the rate limit, if there are any. Either is
/// made anew when it broke; a call is sent again, once or twice, where that cannot do it twice.
///
/// Use it when several machines serve the site, or when sessions should outlive this one.
///
/// # Example
///
/// ```rust,no_run
/// use std::time::Duration;
/// use rocket_session_kit::{RedisStore, Sessions};
///
/// let store = RedisStore::open("redis://127.0.0.1:6379")?
///     .prefix("shop:")
///     .timeout(Duration::from_millis(500));
/// let rocket = rocket::build().attach(Sessions::with(store));
/// # Ok::<_, rocket_session_kit::Error>(())
/// ```
#[derive(Clone)]
pub struct RedisStore {
    /// For sessions.
    link: Arc<Link>,
    /// For entries, which may be large: what waits for the end of one is never a session.
    entries: Arc<Link>,
    prefix: String,
    clock: Clock,
}

/// How many calls of an iteration are under way at once.
const ABREAST: usize = 32;

/// The longest life that the server takes: some thirty thousand years, in milliseconds.
const LONGEST: u64 = 1_000_000_000_000_000;

/// What runs on the server in one step.
struct Script {
    code: String,
    /// How the server knows it once it has seen it: its SHA-1.
    name: String,
}

impl Script {
    fn new(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            name: redis::Script::new(code).get_hash().to_owned(),
        }
    }
}

static SAVE: LazyLock<Script> = LazyLock::new(|| {
    // Key. Expected revision or nothing, session, milliseconds. A save that was sent twice finds
    // itself.
    Script::new(&format!(
        "local there = redis.call('GETRANGE', KEYS[1], {start}, {end})
         if there == string.sub(ARGV[2], {start} + 1, {end} + 1) then return 'saved' end
         if ARGV[1] == '' then
           if redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3], 'NX') then return 'saved' end
           return 'changed'
         end
         if there == ARGV[1] then
           redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
           return 'saved'
         end
         if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
         return 'changed'",
        start = RecordHeader::REVISION.start,
        end = RecordHeader::REVISION.end - 1,
    ))
});

static DELETE_IF: LazyLock<Script> = LazyLock::new(|| {
    // Key. Revision.
    Script::new(&format!(
        "if redis.call('GETRANGE', KEYS[1], {start}, {end}) ~= ARGV[1] then return 0 end
         return redis.call('UNLINK', KEYS[1])",
        start = RecordHeader::REVISION.start,
        end = RecordHeader::REVISION.end - 1,
    ))
});

impl RedisStore {
    /// Returns the store on one server, which is reached at launch.
    ///
    /// The URL is `redis://user:password@host:port/db`, `rediss://…` for TLS, or
    /// `unix:///path?db=1`.
    ///
    /// # Errors
    ///
    /// When `url` is not such a URL.
    pub fn open(url: &str) -> Result<Self> {
        Ok(Self::new(Servers::One(server(url)?)))
    }

    /// Returns the store on a cluster, some of whose nodes are at `urls`; it tells of the others
    /// itself. User, password and TLS are the same for all nodes.
    ///
    /// # Errors
    ///
    /// When there are none, one is no URL, or one names a database, which a cluster does not have.
    pub fn cluster<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self> {
        let nodes = urls.into_iter().map(|url| server(url.as_ref()));
        let nodes: Vec<ConnectionInfo> = nodes.collect::<Result<_>>()?;
        if nodes.is_empty() {
            return Err(wrong("a cluster needs the URL of at least one node"));
        }
        if nodes.iter().any(|node| node.redis_settings().db() != 0) {
            return Err(wrong(
                "a cluster has no databases; remove the number from the URL",
            ));
        }
        Ok(Self::new(Servers::Cluster(nodes)))
    }

    /// Returns the store on the server that the sentinels at `urls` say is the master called
    /// `master`: a name, or, where user, password, TLS or a database are needed, a URL whose host
    /// is the name, as `redis://user:password@mymaster/0`.
    ///
    /// # Errors
    ///
    /// When there is no sentinel, or something is neither a URL nor a name.
    pub fn sentinel<U: AsRef<str>>(
        urls: impl IntoIterator<Item = U>,
        master: &str,
    ) -> Result<Self> {
        let sentinels = urls.into_iter().map(|url| server(url.as_ref()));
        let sentinels: Vec<ConnectionInfo> = sentinels.collect::<Result<_>>()?;
        if sentinels.is_empty() {
            return Err(wrong("at least one sentinel is needed"));
        }
        let master = match master.contains("://") {
            true => server(master)?,
            false => server(&format!("redis://{master}"))?,
        };
        if matches!(master.addr(), redis::ConnectionAddr::Unix(_)) {
            return Err(wrong("a master has a name, not a path"));
        }
        Ok(Self::new(Servers::Sentinel { sentinels, master }))
    }

    fn new(servers: Servers) -> Self {
        let settings = Settings {
            servers,
            ca: None,
            timeout: Duration::from_secs(1),
        };
        Self {
            link: Arc::new(Link::new(settings.clone())),
            entries: Arc::new(Link::new(settings)),
            prefix: "session:".into(),
            clock: Clock::system(),
        }
    }

    /// Sets the start of every key. _Default:_ `session:`
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long one call may take, with all its tries. _Default:_ 1 second
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let settings = self.link.settings().clone();
        self.with(Settings {
            timeout,
            ..settings
        })
    }

    /// Sets the database, instead of what the URL says.
    ///
    /// # Errors
    ///
    /// When this is a cluster, which has none.
    pub fn db(self, db: u16) -> Result<Self> {
        let mut settings = self.link.settings().clone();
        let (Servers::One(server) | Servers::Sentinel { master: server, .. }) =
            &mut settings.servers
        else {
            return Err(wrong("a cluster has no databases; remove `db`"));
        };
        let redis = server.redis_settings().clone().set_db(db.into());
        *server = server.clone().set_redis_settings(redis);
        Ok(self.with(settings))
    }

    /// Trusts the certificates in the PEM file at `path` instead of the system's.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn ca(self, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ca = std::fs::read(path).map_err(|error| {
            Error::new(ErrorKind::Config, "read the certificates")
                .at(path.display())
                .because(error)
        })?;
        let settings = self.link.settings().clone();
        Ok(self.with(Settings {
            ca: Some(ca),
            ..settings
        }))
    }

    /// Sets the clock that [`delete_old_sessions`](SessionStore::delete_old_sessions) goes by; the
    /// server has its own. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn with(mut self, settings: Settings) -> Self {
        self.link = Arc::new(Link::new(settings.clone()));
        self.entries = Arc::new(Link::new(settings));
        self
    }

    fn key(&self, id: &SessionId) -> String {
        format!("{}{}", self.prefix, id.to_hex())
    }

    fn command(&self, name: &str, id: &SessionId) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(self.key(id));
        command
    }

    /// Runs a script on one key.
    async fn run(
        &self,
        link: &Link,
        act: &'static str,
        script: &Script,
        key: &str,
        arguments: &[&[u8]],
        again: Again,
    ) -> Result<Answer> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&script.name).arg(1).arg(key).arg(arguments);
        let answer = match link.raw(&command, again).await {
            // The server was restarted, or told to forget. This makes it remember.
            Err(error) if error.code() == Some("NOSCRIPT") => {
                let mut command = redis::cmd("EVAL");
                command.arg(&script.code).arg(1).arg(key).arg(arguments);
                link.raw(&command, again).await
            }
            answer => answer,
        };
        answer.map_err(|error| link.failure(act, &error))
    }

    /// Removes a session if it is still the save `revision`, and returns whether it was.
    async fn delete_if(
        &self,
        act: &'static str,
        id: &SessionId,
        revision: Revision,
    ) -> Result<bool> {
        let revision = format!("{:016x}", revision.0);
        let arguments = [revision.as_bytes()];
        let key = self.key(id);
        let answer = self.run(&self.link, act, &DELETE_IF, &key, &arguments, Again::Yes);
        self.read(act, answer.await?.value)
    }

    /// Returns an answer as what it should be.
    fn read<T: FromRedisValue>(&self, act: &'static str, answer: Value) -> Result<T> {
        redis::from_redis_value(answer).map_err(|error| self.link.failure(act, &error.into()))
    }

    /// Refuses a server that lacks commands.
    async fn check_version(&self) -> Result<()> {
        let act = "use the Redis server";
        let mut command = redis::cmd("INFO");
        command.arg("server");
        let info = match self.link.is_cluster() {
            false => self.link.ask::<String>(act, &command, Again::Yes).await?,
            true => {
                return self
                    .link
                    .ask(act, &redis::cmd("PING"), Again::Yes)
                    .await
                    .map(|_: String| ());
            }
        };
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"))
            .unwrap_or_default();
        let mut parts = version
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        // One that keeps its version to itself is taken at its word.
        let Some(major) = parts.next() else {
            return Ok(());
        };
        if (major, parts.next().unwrap_or(0)) >= (6, 2) {
            return Ok(());
        }
        let why = format!("its version is {version}; Redis 6.2 or newer is needed");
        Err(Error::new(ErrorKind::Config, act)
            .at(&self.link.settings().servers)
            .because(why))
    }

    /// Returns what is under every key that looks like a session's.
    fn sessions(&self, act: &'static str) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        scan::keys(&self.link, act, self.prefix.clone())
            .try_filter_map(async |rest| Ok(rest.parse::<SessionId>().ok()))
            .map_ok(
                move |id| async move { Ok(self.load(act, &id).await?.map(|stored| (id, stored))) },
            )
            .try_buffer_unordered(ABREAST)
            .try_filter_map(async |found| Ok(found))
            .boxed()
    }

    async fn load(&self, act: &'static str, id: &SessionId) -> Result<Option<Stored>> {
        match self.link.raw(&self.command("GET", id), Again::Yes).await {
            Ok(answer) => {
                let bytes: Option<Vec<u8>> = self.read(act, answer.value)?;
                Ok(bytes.map(Stored::new))
            }
            // Something else has the key: it is no session, and not ours to remove.
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(Some(Stored::new(Vec::new()))),
            Err(error) => Err(self.link.failure(act, &error)),
        }
    }
}

#[cfg(feature = "perl")]
#[rocket::async_trait]
impl crate::store::Server for RedisStore {
    async fn read(&self, key: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let mut command = redis::cmd("GETRANGE");
        command.arg(key).arg(0).arg(most);
        let act = "read a key";
        let bytes: Vec<u8> = match self.link.raw(&command, Again::Yes).await {
            Ok(answer) => self.read(act, answer.value)?,
            Err(error) if error.code() == Some("WRONGTYPE") => {
                let why = "what is there is no string of Redis";
                return Err(Error::new(ErrorKind::Value, act).because(why));
            }
            Err(error) => return Err(self.link.failure(act, &error)),
        };
        // What is not there is an empty string to it.
        Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({})", self.link.settings().servers)
    }
}

#[rocket::async_trait]
impl SessionStore for RedisStore {
    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    fn is_thread_safe(&self) -> bool {
        true
    }

    fn expires_by_itself(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        self.check_version().await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        self.load("load a session", id).await
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let act = "save a session";
        let head = RecordHeader::read(save.bytes).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, act).because("what is to be saved has no head")
        })?;
        let expected = match save.precondition {
            Precondition::Absent => String::new(),
            Precondition::Revision(revision) => format!("{:016x}", revision.0),
        };
        let ttl = millis(save.ttl).to_string();
        let arguments = [expected.as_bytes(), save.bytes, ttl.as_bytes()];
        let key = self.key(id);
        let answer = self
            .run(&self.link, act, &SAVE, &key, &arguments, Again::Yes)
            .await?;
        match self.read::<String>(act, answer.value)?.as_str() {
            "saved" => Ok(Saved::Saved(head.revision)),
            "gone" => Ok(Saved::Gone),
            // It may have been kept, and followed by another.
            _ if answer.repeated => Err(Error::new(ErrorKind::Unavailable, act)
                .at(&self.link.settings().servers)
                .because("the connection was lost, and whether it was saved is not known")),
            _ => Ok(Saved::Changed),
        }
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let command = self.command("UNLINK", id);
        self.link
            .ask("delete a session", &command, Again::Yes)
            .await
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        self.delete_if("delete a session", id, revision).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        let command = self.command("EXISTS", id);
        self.link
            .ask("look for a session", &command, Again::Yes)
            .await
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let act = "delete old sessions";
        let age = minutes.saturating_mul(60);
        let now = self.clock.seconds();
        self.sessions(act)
            .map_ok(|(id, stored)| async move {
                let record = Record::decode(&stored.bytes, &id);
                let old = record.is_some_and(|record| now.saturating_sub(record.accessed) >= age);
                if !old {
                    return Ok(false);
                }
                self.delete_if(act, &id, stored.revision).await
            })
            .try_buffer_unordered(ABREAST)
            .try_fold(Swept::default(), async |mut swept, deleted: bool| {
                match deleted {
                    true => swept.deleted += 1,
                    false => swept.remaining += 1,
                }
                Ok(swept)
            })
            .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        self.sessions("list the sessions").boxed()
    }
}

/// Returns the settings that a URL tells.
fn server(url: &str) -> Result<ConnectionInfo> {
    // The driver's error may quote the URL.
    let server = url.into_connection_info().map_err(|_| {
        wrong("it is no URL; write `redis://host:port`, `rediss://…` for TLS, or `unix:///path`")
    })?;
    let redis = server
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    Ok(server
        .set_redis_settings(redis)
        .set_tcp_settings(link::tcp()))
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Config, "use the address of a Redis server").because(why)
}

/// Returns a lifetime as the server takes it, and never less than was asked for.
fn millis(ttl: Duration) -> u64 {
    let millis = ttl.as_nanos().div_ceil(1_000_000);
    u64::try_from(millis).unwrap_or(LONGEST).clamp(1, LONGEST)
}
