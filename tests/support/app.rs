//! An application whose visitors can do everything to their sessions, and can wait at a gate.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rocket::figment::Figment;
use rocket::figment::providers::Serialized;
use rocket::futures::TryStreamExt;
use rocket::futures::future::join;
use rocket::http::Status;
use rocket::local::asynchronous::{Client, LocalRequest};
use rocket::{Build, Rocket, Route, State, get};
#[cfg(feature = "memcached")]
use rocket_session_kit::MemcachedStore;
#[cfg(feature = "redis")]
use rocket_session_kit::RedisStore;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
use rocket_session_kit::SqlStore;
use rocket_session_kit::store::SessionStore;
use rocket_session_kit::testing::{Gate, Probe};
use rocket_session_kit::{
    Clock, DirectoryStore, MemoryStore, Notifications, Record, Result, Session, SessionId, Sessions,
};

#[cfg(feature = "memcached")]
use super::memcached;
#[cfg(feature = "redis")]
use super::redis;
use super::visitor::Visitor;

/// A launched application, its store and its clock.
pub(crate) struct App {
    pub(crate) client: Client,
    pub(crate) probe: Probe,
    pub(crate) clock: Clock,
}

/// The time limit of the store in tests that are not about it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

impl App {
    /// Launches with a memory store and the routes of this file.
    pub(crate) async fn launch() -> Self {
        Self::configured(|figment| figment).await
    }

    /// Launches with other settings.
    pub(crate) async fn configured(settings: impl FnOnce(Figment) -> Figment) -> Self {
        Self::built(settings, |rocket| rocket).await
    }

    /// Launches with more routes, catchers and fairings.
    pub(crate) async fn built(
        settings: impl FnOnce(Figment) -> Figment,
        build: impl FnOnce(Rocket<Build>) -> Rocket<Build>,
    ) -> Self {
        let clock = Clock::manual();
        let probe = Probe::new(MemoryStore::new().clock(clock.clone()));
        let client = Self::client(settings, build, &probe, &clock).await;
        Self {
            client,
            probe,
            clock,
        }
    }

    /// Launches with another store. A server has its own time; all others use the clock.
    pub(crate) async fn on(
        store: impl SessionStore,
        settings: impl FnOnce(Figment) -> Figment,
    ) -> Self {
        Self::built_on(store, settings, |rocket| rocket).await
    }

    /// The same, with more routes, catchers and fairings.
    pub(crate) async fn built_on(
        store: impl SessionStore,
        settings: impl FnOnce(Figment) -> Figment,
        build: impl FnOnce(Rocket<Build>) -> Rocket<Build>,
    ) -> Self {
        let (clock, probe) = (Clock::manual(), Probe::new(store));
        let client = Self::client(settings, build, &probe, &clock).await;
        Self {
            client,
            probe,
            clock,
        }
    }

    /// Runs `test` on each kind of store, with more routes.
    pub(crate) async fn on_every_store<F: Future<Output = ()>>(
        build: impl Fn(Rocket<Build>) -> Rocket<Build>,
        test: impl Fn(Self) -> F,
    ) {
        Self::in_rounds(&[()], build, |app, ()| test(app)).await;
    }

    /// The same, with other settings.
    pub(crate) async fn on_every_store_with<F: Future<Output = ()>>(
        settings: impl Fn(Figment) -> Figment,
        build: impl Fn(Rocket<Build>) -> Rocket<Build>,
        test: impl Fn(Self) -> F,
    ) {
        Self::in_rounds_with(&[()], settings, build, |app, ()| test(app)).await;
    }

    /// The same, with an application for each of `rounds`. Then background work that one round left
    /// does not reach the store through the probe of the next.
    pub(crate) async fn in_rounds<R: Copy, F: Future<Output = ()>>(
        rounds: &[R],
        build: impl Fn(Rocket<Build>) -> Rocket<Build>,
        test: impl Fn(Self, R) -> F,
    ) {
        Self::in_rounds_with(rounds, |f| f, build, test).await;
    }

    /// The same, with other settings.
    pub(crate) async fn in_rounds_with<R: Copy, F: Future<Output = ()>>(
        rounds: &[R],
        settings: impl Fn(Figment) -> Figment,
        build: impl Fn(Rocket<Build>) -> Rocket<Build>,
        test: impl Fn(Self, R) -> F,
    ) {
        for &round in rounds {
            let app = Self::built_on(MemoryStore::new(), &settings, &build).await;
            test(app, round).await;
            let there = tempfile::tempdir().expect("there is room for a directory");
            let directory = DirectoryStore::open(there.path().join("sessions"));
            let directory = directory.expect("it is free");
            let app = Self::built_on(directory, &settings, &build).await;
            test(app, round).await;
        }
        #[cfg(feature = "redis")]
        {
            let server = redis::Redis::start();
            for &round in rounds {
                let redis = RedisStore::open(&server.url()).expect("this is its URL");
                let redis = redis.timeout(PATIENCE);
                test(Self::built_on(redis, &settings, &build).await, round).await;
            }
        }
        #[cfg(feature = "memcached")]
        {
            let server = memcached::Memcached::start();
            for &round in rounds {
                let memcached = MemcachedStore::open([server.address()]);
                let memcached = memcached.expect("this is its address").timeout(PATIENCE);
                test(Self::built_on(memcached, &settings, &build).await, round).await;
            }
        }
        #[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
        for (url, _kept) in super::backend::databases() {
            for &round in rounds {
                let database = SqlStore::open(&url).expect("this is its URL");
                let database = database.timeout(PATIENCE);
                test(Self::built_on(database, &settings, &build).await, round).await;
            }
        }
    }

    /// Launches another application on the same store and clock, as a restart or a second host
    /// does.
    pub(crate) async fn again(&self, settings: impl FnOnce(Figment) -> Figment) -> Self {
        self.again_built(settings, |rocket| rocket).await
    }

    /// The same, with more routes and fairings.
    pub(crate) async fn again_built(
        &self,
        settings: impl FnOnce(Figment) -> Figment,
        build: impl FnOnce(Rocket<Build>) -> Rocket<Build>,
    ) -> Self {
        let client = Self::client(settings, build, &self.probe, &self.clock).await;
        Self {
            client,
            probe: self.probe.clone(),
            clock: self.clock.clone(),
        }
    }

    async fn client(
        settings: impl FnOnce(Figment) -> Figment,
        build: impl FnOnce(Rocket<Build>) -> Rocket<Build>,
        probe: &Probe,
        clock: &Clock,
    ) -> Client {
        let rocket = rocket::custom(settings(figment()))
            .manage(clock.clone())
            .manage(Gates::default())
            .mount("/", routes())
            .attach(Sessions::with(probe.clone()));
        Client::untracked(build(rocket))
            .await
            .expect("the application launches")
    }

    pub(crate) fn visitor(&self) -> Visitor<'_> {
        Visitor::new(&self.client)
    }

    /// A visitor with a session that contains `n` = 0.
    pub(crate) async fn known_visitor(&self) -> Visitor<'_> {
        let visitor = self.visitor();
        assert!(visitor.get("/set/n/0").await.sets_session());
        self.probe.calls();
        visitor
    }

    /// The gate at which requests with `?gate=<name>` wait, with their session loaded.
    pub(crate) fn gate(&self, name: &str) -> Gate {
        let gates: &Gates = self.client.rocket().state().expect("it is managed");
        gates.named(name)
    }

    /// Returns the response to `slow`, which waits at a gate until `meanwhile` has happened.
    pub(crate) async fn held_at<T>(
        &self,
        gate: &str,
        slow: impl Future<Output = T>,
        meanwhile: impl Future<Output = ()>,
    ) -> T {
        let gate = self.gate(gate);
        let meanwhile = async {
            gate.arrived().await;
            meanwhile.await;
            gate.open();
        };
        join(slow, meanwhile).await.0
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        self.client
            .rocket()
            .state()
            .expect("the fairing manages it")
    }

    /// Waits until the store has this many sessions.
    pub(crate) async fn holds(&self, sessions: usize) {
        let started = Instant::now();
        while self.list().await.len() != sessions {
            assert!(started.elapsed() < Duration::from_secs(20), "others stay");
            rocket::tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// All contents of the store.
    pub(crate) async fn list(&self) -> Vec<(SessionId, Record)> {
        self.sessions()
            .iter_sessions()
            .try_collect()
            .await
            .expect("the store lists")
    }
}

/// A figment without files and log lines, for a store that may be slow: the machine may be busy.
pub(crate) fn figment() -> Figment {
    super::log::keep();
    let config = rocket::Config {
        log_level: rocket::config::LogLevel::Off,
        ..rocket::Config::debug_default()
    };
    Figment::from(config)
        .merge(("secret_key", vec![7_u8; 64]))
        .merge(Serialized::default("sessions.store_timeout", 20_000_u64))
}

#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Gate>>);

impl Gates {
    pub(crate) fn named(&self, name: &str) -> Gate {
        self.0
            .lock()
            .unwrap()
            .entry(name.to_owned())
            .or_default()
            .clone()
    }

    pub(crate) async fn wait(&self, name: Option<&str>) {
        if let Some(name) = name {
            let gate = self.named(name);
            gate.pass().await;
        }
    }
}

pub(crate) fn routes() -> Vec<Route> {
    rocket::routes![
        bare, read, keys, set, set_many, add, append, remove, clear, who, log_in, set_user,
        log_out, end, renew, touch, existing, age
    ]
}

#[get("/bare")]
fn bare() -> &'static str {
    "bare"
}

#[get("/get/<key>?<gate>")]
async fn read(
    key: &str,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    let value: Option<serde_json::Value> = session.get(key)?;
    Ok(value.map_or("none".into(), |value| value.to_string()))
}

#[get("/keys")]
fn keys(session: &Session) -> String {
    session.keys().join(",")
}

#[get("/set/<key>/<value>?<gate>")]
async fn set(
    key: &str,
    value: &str,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<()> {
    gates.wait(gate).await;
    session.insert(key, value)
}

#[get("/set_many/<count>/<size>")]
fn set_many(count: usize, size: usize, session: &Session) -> Result<()> {
    (0..count).try_for_each(|n| session.insert(&format!("key{n}"), "x".repeat(size)))
}

#[get("/add/<key>/<by>?<gate>")]
async fn add(
    key: &str,
    by: i64,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    Ok(session.increment(key, by)?.to_string())
}

#[get("/append/<key>/<value>?<gate>")]
async fn append(
    key: &str,
    value: String,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    let all = session.update(key, move |all: &mut Vec<String>| all.push(value.clone()))?;
    Ok(all.join(","))
}

#[get("/remove/<key>?<gate>")]
async fn remove(key: &str, gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.remove(key).to_string()
}

#[get("/clear?<gate>")]
async fn clear(gate: Option<&str>, session: &Session, gates: &State<Gates>) {
    gates.wait(gate).await;
    session.clear();
}

#[get("/who?<gate>")]
async fn who(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.user().unwrap_or_else(|| "nobody".into())
}

#[get("/set_user/<user>?<gate>")]
async fn set_user(user: &str, gate: Option<&str>, session: &Session, gates: &State<Gates>) {
    gates.wait(gate).await;
    session.set_user(Some(user).filter(|user| *user != "nobody"));
}

#[get("/login/<user>?<gate>")]
async fn log_in(user: &str, gate: Option<&str>, session: &Session, gates: &State<Gates>) {
    gates.wait(gate).await;
    session.log_in(user);
}

#[get("/logout?<gate>")]
async fn log_out(gate: Option<&str>, session: &Session, gates: &State<Gates>) {
    gates.wait(gate).await;
    session.log_out();
}

#[get("/end?<then>")]
fn end(then: Option<&str>, session: &Session) -> Result<()> {
    session.end();
    then.map_or(Ok(()), |value| session.insert("then", value))
}

#[get("/renew?<gate>")]
async fn renew(gate: Option<&str>, session: &Session, gates: &State<Gates>) {
    gates.wait(gate).await;
    session.renew();
}

/// Reads the session and does nothing.
#[get("/touch?<gate>")]
async fn touch(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.has_info().to_string()
}

#[get("/existing")]
fn existing(session: &Session) -> Result<&'static str, Status> {
    match session.is_new() {
        true => Err(Status::NotFound),
        false => Ok("there is one"),
    }
}

#[get("/age")]
fn age(session: &Session) -> String {
    format!(
        "{} {}",
        session.age().as_secs(),
        session.idle_for().as_secs()
    )
}

/// Returns the text of the response to `request`.
pub(crate) async fn text_of(request: LocalRequest<'_>) -> String {
    let response = request.dispatch().await;
    response.into_string().await.expect("there is a text")
}

/// Pushes a message. Not one of the [`routes`], and neither are the next two.
#[get("/push/<message>?<gate>")]
pub(crate) async fn push(
    message: &str,
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<()> {
    gates.wait(gate).await;
    notes.info(message)
}

/// Returns how many notifications it took.
#[get("/take?<gate>")]
pub(crate) async fn take(
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    Ok(notes.take_all().await?.len().to_string())
}

/// Returns whether it used the token up.
#[get("/use/<token>?<gate>")]
pub(crate) async fn remove_token(
    token: &str,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    Ok(session.remove_form_token(token).await?.to_string())
}
