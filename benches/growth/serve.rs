//! The application that is measured, and the process of its own that serves it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rocket::futures::{StreamExt, TryStreamExt, stream};
use rocket::tokio::sync::OnceCell;
use rocket::{Build, Rocket, State, get, routes};
use rocket_session_kit::store::{Precondition, RecordHeader, Save, Saved, Stored};
use rocket_session_kit::{Result, Session, SessionId, Sessions};

const DAY: u64 = 86_400;

#[get("/bare")]
fn bare() -> &'static str {
    "hello"
}

#[get("/read")]
fn read(session: &Session) -> Result<&'static str> {
    session.get::<u32>("visits")?;
    Ok("hello")
}

#[get("/change")]
fn change(session: &Session) -> Result<&'static str> {
    session.increment("visits", 1)?;
    Ok("hello")
}

/// Makes a session of `values` values of `bytes` bytes.
#[get("/values/<values>/<bytes>")]
fn values(session: &Session, values: usize, bytes: usize) -> Result<()> {
    session.insert("visits", 1)?;
    for n in 1..values {
        session.insert(&format!("key{n}"), "x".repeat(bytes))?;
    }
    Ok(())
}

/// Fills the store with sessions of some 500 bytes.
#[get("/fill/<count>")]
async fn fill(sessions: &Sessions, count: u64) {
    let values = (0..10).map(|n| format!(r#""key{n}":"{}""#, "x".repeat(30)));
    let values = values.collect::<Vec<_>>().join(",");
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.expect("it is past 1970").as_secs();
    let expires = now + DAY;
    let saves = stream::iter(0..count).map(|rev| {
        let bytes = format!(
            r#"{{"rev":"{rev:016x}","expires":{expires},"v":1,"created":{now},"accessed":{now},"values":{{{values}}}}}"#
        );
        async move {
            let save = Save {
                bytes: bytes.as_bytes(),
                ttl: Duration::from_secs(DAY),
                precondition: Precondition::Absent,
            };
            let id = SessionId::random();
            let saved = sessions.store().save_session(&id, save);
            assert!(matches!(saved.await, Ok(Saved::Saved(_))), "it is new");
        }
    });
    saves.buffer_unordered(64).collect::<()>().await;
}

#[get("/sweep")]
async fn sweep(sessions: &Sessions) -> Result<String> {
    let swept = sessions.delete_old_sessions(u64::MAX).await?;
    Ok(swept.remaining.to_string())
}

#[get("/list")]
async fn list(sessions: &Sessions) -> Result<String> {
    let all = sessions.iter_sessions();
    let count = all.try_fold(0_u64, async |count, _| Ok(count + 1)).await?;
    Ok(count.to_string())
}

/// Deletes all sessions, as a sweep that finds all of them old.
#[get("/remove")]
async fn remove(sessions: &Sessions) -> Result<String> {
    let swept = sessions.delete_old_sessions(0).await?;
    Ok(swept.deleted.to_string())
}

/// The ids of some sessions, far from each other.
#[derive(Default)]
struct Sample(OnceCell<Vec<SessionId>>);

const SAMPLED: usize = 1_000;

impl Sample {
    async fn of(&self, sessions: &Sessions) -> Result<&[SessionId]> {
        let ids = self.0.get_or_try_init(async || {
            let all = sessions.store().iter_sessions();
            let mut ids: Vec<_> = all.map_ok(|(id, _)| id).try_collect().await?;
            // Random ids in their order are evenly spread. A load follows a load of another part.
            ids.sort_by_cached_key(SessionId::to_hex);
            let step = ids.len().div_ceil(SAMPLED);
            let mut some: Vec<SessionId> = ids.into_iter().step_by(step).collect();
            some.sort_by_cached_key(|id| id.to_hex().chars().rev().collect::<String>());
            Ok(some)
        });
        Ok(ids.await?)
    }
}

/// Loads some sessions, one after the other, and returns the median time in nanoseconds.
#[get("/load")]
async fn load(sessions: &Sessions, sample: &State<Sample>) -> Result<String> {
    let mut taken = Vec::new();
    for id in sample.of(sessions).await? {
        let sent = Instant::now();
        let loaded = sessions.store().load_session(id).await?;
        taken.push(sent.elapsed());
        assert!(loaded.is_some(), "it is there");
    }
    Ok(median(taken).as_nanos().to_string())
}

/// The same for replacements of these sessions.
#[get("/save")]
async fn save(sessions: &Sessions, sample: &State<Sample>) -> Result<String> {
    let mut taken = Vec::new();
    for id in sample.of(sessions).await? {
        let loaded = sessions.store().load_session(id).await?;
        let Stored {
            mut bytes,
            revision,
        } = loaded.expect("it is there");
        let next = revision.0.wrapping_add(1);
        bytes[RecordHeader::REVISION].copy_from_slice(format!("{next:016x}").as_bytes());
        let save = Save {
            bytes: &bytes,
            ttl: Duration::from_secs(DAY),
            precondition: Precondition::Revision(revision),
        };
        let sent = Instant::now();
        let saved = sessions.store().save_session(id, save).await?;
        taken.push(sent.elapsed());
        assert!(matches!(saved, Saved::Saved(_)), "nobody changed it");
    }
    Ok(median(taken).as_nanos().to_string())
}

fn median(mut taken: Vec<Duration>) -> Duration {
    taken.sort_unstable();
    taken[taken.len() / 2]
}

/// Returns the application on the store at `address`.
pub(crate) fn application(address: &str, port: u16) -> Rocket<Build> {
    let (store, place) = address.split_once(' ').unwrap_or((address, ""));
    let figment = rocket::Config::figment()
        .merge(("address", "127.0.0.1"))
        .merge(("port", port))
        .merge(("log_level", "off"))
        .merge(("secret_key", vec![7_u8; 64]))
        .merge(("sessions.store", store))
        .merge(("sessions.sweep_every", 0))
        .merge(("sessions.memory.capacity", 2_000_000));
    let figment = match store {
        "directory" => figment.merge(("sessions.directory.path", place)),
        "redis" => figment.merge(("sessions.redis.url", place)),
        "memcached" => figment.merge(("sessions.memcached.servers", [place])),
        "sqlite" | "postgres" | "mysql" => figment.merge(("sessions.sql.url", place)),
        _ => figment,
    };
    let routes = routes![
        bare, read, change, values, fill, load, save, sweep, list, remove
    ];
    rocket::custom(figment)
        .manage(Sample::default())
        .mount("/", routes)
        .attach(Sessions::fairing())
}

/// Serves the application until this process is killed.
pub(crate) fn run(address: &str, port: u16) {
    let served = rocket::execute(application(address, port).launch());
    served.expect("it launches");
}
