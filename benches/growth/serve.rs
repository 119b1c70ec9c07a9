//! The application that is measured, and the process of its own that serves it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rocket::futures::{StreamExt, TryStreamExt, stream};
use rocket::{Build, Rocket, get, routes};
use rocket_session_kit::store::{Precondition, Save, Saved};
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
        _ => figment,
    };
    let routes = routes![bare, read, change, values, fill, sweep, list, remove];
    rocket::custom(figment)
        .mount("/", routes)
        .attach(Sessions::fairing())
}

/// Serves the application until this process is killed.
pub(crate) fn run(address: &str, port: u16) {
    let served = rocket::execute(application(address, port).launch());
    served.expect("it launches");
}
