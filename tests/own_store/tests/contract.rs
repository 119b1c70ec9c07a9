//! A store of your own passes both public suites, and serves an application.

use own_store::SqliteStore;
use rocket::futures::TryStreamExt;
use rocket::local::asynchronous::Client;
use rocket_session_kit::store::{KeyValue, SessionStore};
use rocket_session_kit::testing::Subject;
use rocket_session_kit::{Cache, Clock, Result, Session, Sessions, key_value_suite, store_suite};
use tempfile::TempDir;

async fn store() -> (SqliteStore, Clock, TempDir) {
    let there = tempfile::tempdir().expect("there is room");
    let clock = Clock::manual();
    let store = SqliteStore::open(there.path().join("sessions.db")).await;
    let store = store.expect("it can be made").clock(clock.clone());
    store.setup().await.expect("it can be set up");
    (store, clock, there)
}

async fn sessions() -> Subject {
    let (store, clock, there) = store().await;
    Subject::new(store).clock(clock).keep(there)
}

async fn entries() -> Subject<dyn KeyValue> {
    let (store, clock, there) = store().await;
    Subject::key_value(store).clock(clock).keep(there)
}

store_suite!(sqlite, sessions());
key_value_suite!(sqlite_entries, entries());

#[rocket::get("/")]
async fn visit(session: &Session, cache: &Cache) -> Result<String> {
    cache.set("last", "visit").await?;
    Ok(session.increment("visits", 1)?.to_string())
}

#[rocket::get("/login")]
fn login(session: &Session) {
    session.log_in("alice");
}

#[rocket::async_test]
async fn an_application_keeps_sessions_and_cache_in_an_own_store() {
    let (store, clock, _there) = store().await;
    let rocket = rocket::build()
        .manage(clock)
        .mount("/", rocket::routes![visit, login])
        .attach(Sessions::with(store));
    let client = Client::tracked(rocket).await.expect("it launches");
    for visits in ["1", "2"] {
        let response = client.get("/").dispatch().await.into_string().await;
        assert_eq!(response.as_deref(), Some(visits));
    }
    client.get("/login").dispatch().await;
    // The session has moved, and left a tombstone.
    let sessions: &Sessions = client.rocket().state().expect("it is managed");
    let kept: Vec<_> = sessions
        .store()
        .iter_sessions()
        .try_collect()
        .await
        .expect("a list");
    let listed: Vec<_> = sessions
        .iter_sessions()
        .try_collect()
        .await
        .expect("a list");
    assert_eq!((kept.len(), listed.len()), (2, 1));
    assert_eq!(listed[0].1.user(), Some("alice"));
}
