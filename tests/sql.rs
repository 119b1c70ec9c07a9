//! The stores in tables of databases.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rocket_session_kit::store::{KeyValue, Precondition, Revision, Save, Saved, SessionStore};
use rocket_session_kit::testing::Subject;
use rocket_session_kit::{Clock, SessionId, SqlStore, key_value_suite, store_suite};
use tempfile::TempDir;

#[cfg(any(feature = "postgres", feature = "mysql"))]
use crate::support::sql_server::{Kind, new_database};

const HOUR: Duration = Duration::from_secs(3600);

#[cfg(feature = "sqlite")]
async fn sqlite() -> (SqlStore, Clock, TempDir) {
    let there = tempfile::tempdir().expect("there is room");
    let clock = Clock::manual();
    let url = format!("sqlite:{}", there.path().join("sessions.db").display());
    let store = SqlStore::open(&url).unwrap().clock(clock.clone());
    store.setup().await.expect("it can be set up");
    (store, clock, there)
}

#[cfg(feature = "sqlite")]
async fn sqlite_sessions() -> Subject {
    let (store, clock, there) = sqlite().await;
    Subject::new(store).clock(clock).keep(there)
}

#[cfg(feature = "sqlite")]
async fn sqlite_entries() -> Subject<dyn KeyValue> {
    let (store, clock, there) = sqlite().await;
    Subject::key_value(store).clock(clock).keep(there)
}

#[cfg(feature = "sqlite")]
store_suite!(in_sqlite, sqlite_sessions());
#[cfg(feature = "sqlite")]
key_value_suite!(entries_in_sqlite, sqlite_entries());

#[cfg(any(feature = "postgres", feature = "mysql"))]
async fn on_server(kind: Kind) -> (SqlStore, Clock) {
    let clock = Clock::manual();
    let url = rocket::tokio::task::spawn_blocking(move || new_database(kind))
        .await
        .unwrap();
    let store = SqlStore::open(&url).unwrap().clock(clock.clone());
    store.setup().await.expect("it can be set up");
    (store, clock)
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
async fn sessions_on(kind: Kind) -> Subject {
    let (store, clock) = on_server(kind).await;
    Subject::new(store).clock(clock)
}

#[cfg(any(feature = "postgres", feature = "mysql"))]
async fn entries_on(kind: Kind) -> Subject<dyn KeyValue> {
    let (store, clock) = on_server(kind).await;
    Subject::key_value(store).clock(clock)
}

#[cfg(feature = "postgres")]
store_suite!(in_postgres, sessions_on(Kind::Postgres));
#[cfg(feature = "mysql")]
store_suite!(in_mariadb, sessions_on(Kind::MariaDb));
#[cfg(feature = "postgres")]
key_value_suite!(entries_in_postgres, entries_on(Kind::Postgres));
#[cfg(feature = "mysql")]
key_value_suite!(entries_in_mariadb, entries_on(Kind::MariaDb));

/// PgBouncer accepts only the parameters that it knows.
#[cfg(feature = "postgres")]
#[rocket::async_test]
async fn a_connection_to_postgres_sets_no_parameter_that_pgbouncer_refuses() {
    use rocket::tokio::io::AsyncReadExt;
    use rocket::tokio::net::TcpListener;

    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let url = format!("postgres://shop@127.0.0.1:{port}/shop?sslmode=disable");
    let store = SqlStore::open(&url).unwrap();
    let first_message = async {
        let (mut connection, _peer) = server.accept().await.unwrap();
        let length = connection.read_u32().await.unwrap();
        let mut message = vec![0; length as usize - 4];
        connection.read_exact(&mut message).await.unwrap();
        message
    };
    let (first, _failure) = rocket::tokio::join!(first_message, store.setup());
    // The version of the protocol comes first, and each name and value ends with a zero.
    let names = first[4..].split(|byte| *byte == 0).step_by(2);
    let names: Vec<_> = names.map(String::from_utf8_lossy).collect();
    for name in names.iter().filter(|name| !name.is_empty()) {
        let known = [
            "user",
            "database",
            "client_encoding",
            "DateStyle",
            "TimeZone",
        ];
        assert!(known.contains(&name.as_ref()), "{names:?}");
    }
    assert!(names.contains(&"user".into()), "{names:?}");
}

/// Saves so many sessions that a sweep takes several batches.
async fn save_many(store: &SqlStore) -> u64 {
    const MANY: u64 = 2_500;
    for number in 0..MANY {
        let save = Save {
            bytes: &record(number),
            ttl: HOUR,
            precondition: Precondition::Absent,
        };
        let saved = store.save_session(&SessionId::random(), save).await;
        assert_eq!(saved.unwrap(), Saved::Saved(Revision(number)));
    }
    MANY
}

/// The bytes of a session, as far as a store reads them.
fn record(revision: u64) -> Vec<u8> {
    format!(r#"{{"rev":"{revision:016x}","expires":99999999999,"v":1}}"#).into_bytes()
}

async fn a_sweep_of_several_batches_deletes_all_that_it_should(store: &SqlStore, clock: &Clock) {
    let many = save_many(store).await;
    clock.advance(HOUR / 2);
    save_many(store).await;

    let swept = store.delete_old_sessions(20).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (many, many));

    clock.advance(HOUR);
    save_many(store).await;
    let swept = store.delete_old_sessions(u64::MAX).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (many, many));
}

#[cfg(feature = "sqlite")]
#[rocket::async_test]
async fn a_sweep_of_several_batches_deletes_all_that_it_should_in_sqlite() {
    let (store, clock, _there) = sqlite().await;
    a_sweep_of_several_batches_deletes_all_that_it_should(&store, &clock).await;
}

#[cfg(feature = "postgres")]
#[rocket::async_test]
async fn a_sweep_of_several_batches_deletes_all_that_it_should_in_postgres() {
    let (store, clock) = on_server(Kind::Postgres).await;
    a_sweep_of_several_batches_deletes_all_that_it_should(&store, &clock).await;
}

#[cfg(feature = "mysql")]
#[rocket::async_test]
async fn a_sweep_of_several_batches_deletes_all_that_it_should_in_mariadb() {
    let (store, clock) = on_server(Kind::MariaDb).await;
    a_sweep_of_several_batches_deletes_all_that_it_should(&store, &clock).await;
}

#[cfg(feature = "sqlite")]
#[rocket::async_test]
async fn only_the_owner_can_read_the_files_of_sqlite() {
    let (store, _, there) = sqlite().await;
    save_many(&store).await;
    let mut files: Vec<_> = fs::read_dir(there.path())
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let mode = file.metadata().unwrap().permissions().mode() & 0o777;
            (file.file_name().into_string().unwrap(), mode)
        })
        .collect();
    files.sort();
    let expected = ["sessions.db", "sessions.db-shm", "sessions.db-wal"];
    assert_eq!(files, expected.map(|name| (name.to_owned(), 0o600)));
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_in_memory_is_refused() {
    for url in [
        "sqlite::memory:",
        "sqlite://sessions?mode=memory",
        "sqlite:",
    ] {
        let error = SqlStore::open(url).unwrap_err().to_string();
        assert!(
            error.contains("choose a file, or the store `memory`"),
            "{error}"
        );
    }
}

#[test]
#[cfg(all(feature = "postgres", feature = "mysql"))]
fn an_unknown_parameter_of_a_url_is_refused_and_not_shown() {
    for url in [
        "postgres://shop@127.0.0.1/shop?sslmod=verify-full",
        "postgres://shop:pass?word@127.0.0.1/shop",
        "postgres://shop@127.0.0.1/shop?sslmode=require&pasword=word",
        "mysql://shop@127.0.0.1/shop?ssl_mode=REQUIRED&x=word",
    ] {
        let error = SqlStore::open(url).unwrap_err().to_string();
        assert!(error.contains("correct its name"), "{url}: {error}");
        assert!(
            !error.contains("word@") && !error.contains("=word"),
            "{error}"
        );
    }
    for url in [
        "postgres://shop@127.0.0.1/shop?sslmode=require&options[search_path]=web&options%5Ba%5D=b",
        "postgres://shop@127.0.0.1/shop?",
        "mysql://shop@127.0.0.1/shop?ssl-mode=REQUIRED&timezone=Z#top",
    ] {
        assert!(SqlStore::open(url).is_ok(), "{url}");
    }
}

async fn a_deletion_of_an_expired_session_lasts_if_the_clock_is_set_back(
    store: &SqlStore,
    clock: &Clock,
) {
    let id = SessionId::random();
    let save = Save {
        bytes: &record(1),
        ttl: HOUR,
        precondition: Precondition::Absent,
    };
    store.save_session(&id, save).await.unwrap();
    clock.advance(2 * HOUR);
    assert!(!store.delete_session(&id).await.unwrap(), "it was over");
    clock.set_back(2 * HOUR);
    assert!(!store.has_session(&id).await.unwrap());
}

#[cfg(feature = "sqlite")]
#[rocket::async_test]
async fn a_deletion_of_an_expired_session_lasts_in_sqlite() {
    let (store, clock, _there) = sqlite().await;
    a_deletion_of_an_expired_session_lasts_if_the_clock_is_set_back(&store, &clock).await;
}

#[cfg(feature = "postgres")]
#[rocket::async_test]
async fn a_deletion_of_an_expired_session_lasts_in_postgres() {
    let (store, clock) = on_server(Kind::Postgres).await;
    a_deletion_of_an_expired_session_lasts_if_the_clock_is_set_back(&store, &clock).await;
}

#[cfg(feature = "mysql")]
#[rocket::async_test]
async fn a_deletion_of_an_expired_session_lasts_in_mariadb() {
    let (store, clock) = on_server(Kind::MariaDb).await;
    a_deletion_of_an_expired_session_lasts_if_the_clock_is_set_back(&store, &clock).await;
}
