//! An application that tests start twice on one store: it computes for the cache, stopping half-way,
//! and counts requests.
//!
//! `/compute/<name>/<value>` creates a file called `computing`, and continues when there is one called
//! `go`.

use std::path::Path;
use std::time::Duration;

use rocket::{Build, Rocket, get, routes};
use rocket_session_kit::{Cache, Error, Keep, KeyedRateLimit, Limit, RateLimit, Result, Sessions};

struct Narrow;

impl Limit for Narrow {
    const NAME: &'static str = "narrow";
    const LIMIT: u32 = 25;
    const WINDOW: u64 = 600;
}

#[get("/limited")]
fn limited(_limit: RateLimit<Narrow>) -> &'static str {
    "served"
}

struct Attempts;

impl Limit for Attempts {
    const NAME: &'static str = "attempts";
    const LIMIT: u32 = 5;
    const WINDOW: u64 = 600;
}

#[get("/attempt/<account>")]
async fn attempt(account: &str, attempts: KeyedRateLimit<'_, Attempts>) -> Result<()> {
    attempts.count(account).await.map(drop)
}

#[get("/forget/<account>")]
async fn forget(account: &str, attempts: KeyedRateLimit<'_, Attempts>) -> Result<()> {
    attempts.reset(account).await
}

#[get("/get/<name>")]
async fn get(name: &str, cache: &Cache) -> Result<String> {
    Ok(cache.get(name).await?.unwrap_or_else(|| "none".into()))
}

#[get("/remove/<name>")]
async fn remove(name: &str, cache: &Cache) -> Result<String> {
    Ok(cache.remove(name).await?.to_string())
}

/// Computes `value`, which takes until there is a file called `go`.
async fn slowly(value: String) -> Result<String> {
    std::fs::write("computing", "").expect("a file can be made");
    while !Path::new("go").exists() {
        rocket::tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok::<_, Error>(value)
}

#[get("/compute/<name>/<value>")]
async fn compute(name: &str, value: &str, cache: &Cache) -> Result<String> {
    let compute = || slowly(value.to_owned());
    cache.get_or_compute(name, None, compute).await
}

#[get("/compute_tagged/<name>/<value>/<tag>")]
async fn compute_tagged(name: &str, value: &str, tag: &str, cache: &Cache) -> Result<String> {
    let compute = || slowly(value.to_owned());
    cache
        .get_or_compute(name, Keep::new().tag(tag), compute)
        .await
}

#[get("/invalidate/<tag>")]
async fn invalidate(tag: &str, cache: &Cache) -> Result<()> {
    cache.invalidate_tag(tag).await
}

/// Returns a value that is stale at once, and computes the next one.
#[get("/refresh/<name>/<value>")]
async fn refresh(name: &str, value: String, cache: &Cache) -> Result<String> {
    let keep = Keep::from(Duration::ZERO).stale_for(Duration::from_secs(600));
    cache.get_or_refresh(name, keep, || slowly(value)).await
}

/// Launches the application, until it is shut down.
pub(super) fn launch() {
    let launched = rocket::execute(rocket().launch());
    launched.expect("the application launches");
}

fn rocket() -> Rocket<Build> {
    rocket::build()
        .mount(
            "/",
            routes![
                limited,
                attempt,
                forget,
                get,
                remove,
                compute,
                compute_tagged,
                invalidate,
                refresh
            ],
        )
        .attach(Sessions::fairing())
}
