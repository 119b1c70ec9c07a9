//! Sessions and entries in tables that many change at once: through several pools of connections, under
//! every isolation level, beside a sweep, and while they are listed.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rocket::async_test;
use rocket::futures::future::{join, join_all, join3};
use rocket::futures::{StreamExt, TryStreamExt};
use rocket_session_kit::store::{
    Key, KeyValue, Namespace, Precondition, Revision, Save, Saved, SessionStore,
};
use rocket_session_kit::{SessionId, SqlStore};

use crate::support::database::{Database, on_every_database};
use crate::support::server::{create, save, session};
use crate::support::sql_server::{Kind, SqlServer};

on_every_database! {
    every_increment_of_many_writers_counts
    one_of_many_saves_succeeds
    a_session_deleted_beside_saves_stays_deleted
    every_change_of_an_entry_counts_once
    no_save_is_lost_beside_a_sweep
    many_launches_make_the_tables_at_once
    a_list_has_each_session_once_while_others_come_and_go
    a_list_has_each_name_once_while_others_come_and_go
}

/// How many pools of connections there are, as of as many processes.
const POOLS: usize = 3;

/// How many tasks work at the same time.
const TASKS: usize = 6;

/// How often each of them succeeds.
const TIMES: usize = 10;

async fn every_increment_of_many_writers_counts(database: Database) {
    increments(&database.stores(POOLS).await).await;
}

async fn one_of_many_saves_succeeds(database: Database) {
    contested_saves(&database, &database.stores(POOLS).await).await;
}

async fn a_session_deleted_beside_saves_stays_deleted(database: Database) {
    deletions(&database.stores(POOLS).await).await;
}

async fn every_change_of_an_entry_counts_once(database: Database) {
    entries(&database.stores(POOLS).await).await;
}

/// Runs all of the above.
async fn all(database: &Database) {
    let stores = database.stores(POOLS).await;
    increments(&stores).await;
    contested_saves(database, &stores).await;
    deletions(&stores).await;
    entries(&stores).await;
    database.fill(3000, 1);
    let swept = stores[0].delete_old_sessions(u64::MAX).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (3000, 1));
}

#[async_test]
async fn every_isolation_level_of_postgres_is_enough() {
    for level in ["read committed", "repeatable read", "serializable"] {
        let database = Database::postgres();
        let name = database.sql("SELECT current_database()");
        let set = format!("SET default_transaction_isolation = '{level}'");
        database.sql(&format!("ALTER DATABASE {} {set}", name.trim()));
        assert_eq!(database.sql("SHOW transaction_isolation").trim(), level);
        all(&database).await;
    }
}

#[async_test]
async fn every_isolation_level_of_mariadb_is_enough() {
    // The statements of a connection are then one transaction, unless the store commits each.
    let server = SqlServer::with(Kind::MariaDb, &["--autocommit=0"]);
    for (at, level) in [
        "READ-UNCOMMITTED",
        "READ-COMMITTED",
        "REPEATABLE-READ",
        "SERIALIZABLE",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("level{at}");
        server.sql(&format!(
            "CREATE DATABASE {name}; SET GLOBAL tx_isolation = '{level}'"
        ));
        let database = Database::at(Kind::MariaDb, server.url_of("root", &name));
        let set = server.sql("SELECT @@autocommit, @@tx_isolation");
        assert_eq!(set.trim(), format!("0\t{level}"));
        all(&database).await;
    }
}

/// A session whose owner is a number.
fn counted(count: u64) -> Vec<u8> {
    session(&count.to_string())
}

fn count_of(bytes: &[u8]) -> u64 {
    let record: serde_json::Value = serde_json::from_slice(bytes).expect("it is whole");
    let owner = record["values"]["owner"].as_str().expect("it has an owner");
    owner.parse().expect("it is a number")
}

/// Adds one to the number in the session, however many others do so, and returns the revision that was
/// replaced; `None` if the session is gone.
async fn add_one(store: &SqlStore, id: &SessionId) -> Option<Revision> {
    loop {
        let there = store.load_session(id).await.unwrap()?;
        let bytes = counted(count_of(&there.bytes) + 1);
        let precondition = Precondition::Revision(there.revision);
        match store.save_session(id, save(&bytes, precondition)).await {
            Ok(Saved::Saved(_)) => return Some(there.revision),
            Ok(Saved::Changed) => {}
            Ok(Saved::Gone) => return None,
            Err(error) => panic!("a conflict is no failure: {error}"),
        }
    }
}

async fn increments(stores: &[SqlStore]) {
    let id = create(&stores[0], "0").await;
    let writers = (0..TASKS).map(|task| {
        let store = &stores[task % POOLS];
        let id = &id;
        async move {
            let mut replaced = Vec::new();
            for _ in 0..TIMES {
                replaced.push(add_one(store, id).await.expect("it is there"));
            }
            replaced
        }
    });
    let replaced = join_all(writers).await.concat();
    let distinct: HashSet<_> = replaced.iter().collect();
    assert_eq!(distinct.len(), TASKS * TIMES, "two replaced one revision");
    for store in stores {
        let there = store.load_session(&id).await.unwrap();
        let count = count_of(&there.expect("it is there").bytes);
        assert_eq!(count, (TASKS * TIMES) as u64);
    }
}

/// Saves the session in as many tasks. Exactly one must succeed, and is kept.
async fn contest(stores: &[SqlStore], id: &SessionId, precondition: Precondition) -> Revision {
    let sent: Vec<_> = (0..TASKS as u64).map(counted).collect();
    let saves = sent.iter().enumerate().map(|(task, bytes)| {
        let store = &stores[task % POOLS];
        store.save_session(id, save(bytes, precondition))
    });
    let saved = join_all(saves).await;
    let mut won = Vec::new();
    for (task, saved) in saved.into_iter().enumerate() {
        match saved.expect("a conflict is no failure") {
            Saved::Saved(revision) => won.push((task, revision)),
            Saved::Changed => {}
            Saved::Gone => panic!("it is there, or may be made"),
        }
    }
    let [(task, revision)] = won[..] else {
        panic!("{won:?} succeeded");
    };
    for store in stores {
        let there = store.load_session(id).await.unwrap().expect("it is there");
        assert!(there.bytes == sent[task] && there.revision == revision);
    }
    revision
}

async fn contested_saves(database: &Database, stores: &[SqlStore]) {
    for _ in 0..TIMES {
        let id = SessionId::random();
        let created = contest(stores, &id, Precondition::Absent).await;
        contest(stores, &id, Precondition::Revision(created)).await;
        let text = id.to_hex();
        let literal = match database.kind {
            Some(Kind::Postgres) => format!("'\\x{text}'"),
            _ => format!("x'{text}'"),
        };
        database.sql(&format!(
            "UPDATE sessions SET expires = 1 WHERE id = {literal}"
        ));
        assert!(!stores[0].has_session(&id).await.unwrap());
        contest(stores, &id, Precondition::Absent).await;
        assert!(stores[0].delete_session(&id).await.unwrap());
    }
}

async fn deletions(stores: &[SqlStore]) {
    for _ in 0..TIMES {
        let id = create(&stores[0], "0").await;
        let saves = AtomicU64::new(0);
        let writers = (0..TASKS).map(|task| {
            let (store, id, saves) = (&stores[task % POOLS], &id, &saves);
            async move {
                while add_one(store, id).await.is_some() {
                    saves.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let delete = async {
            while saves.load(Ordering::Relaxed) < TASKS as u64 {
                rocket::tokio::task::yield_now().await;
            }
            stores[1].delete_session(&id).await.unwrap()
        };
        let (_, deleted) = join(join_all(writers), delete).await;
        assert!(deleted);
        for store in stores {
            assert!(!store.has_session(&id).await.unwrap(), "it came back");
        }
        let (all, empty) = (stores[0].iter_sessions().count(), 1);
        // The one of the increments, if they ran before.
        assert!(all.await <= empty);
    }
}

async fn entries(stores: &[SqlStore]) {
    let namespace = Namespace::new("race").unwrap();
    let key = |name: &str| namespace.key(name);
    let hour = Some(Duration::from_secs(3600));
    for round in 0..TIMES {
        let key = key(&format!("contested{round}"));
        let tasks = || (0..TASKS).map(|task| (&stores[task % POOLS], task.to_string()));
        let added = tasks().map(|(store, value)| {
            let key = &key;
            async move { store.add(key, value.as_bytes(), hour).await.unwrap() }
        });
        only_one(join_all(added).await);
        let there = stores[0].get(&key).await.unwrap().expect("one was added");
        let swapped = tasks().map(|(store, value)| {
            let (key, there, value) = (&key, &there, format!("new {value}"));
            async move {
                let swapped = store.swap(key, Some(there), value.as_bytes(), hour);
                swapped.await.unwrap()
            }
        });
        only_one(join_all(swapped).await);
        let taken = tasks().map(|(store, _)| {
            let key = &key;
            async move { store.take(key).await.unwrap().is_some() }
        });
        only_one(join_all(taken).await);
    }
    let count = key("count");
    let counted = (0..TASKS).map(|task| sums(&stores[task % POOLS], &count));
    let sums = join_all(counted).await.concat();
    let distinct: HashSet<_> = sums.iter().copied().collect();
    let all: HashSet<_> = (1..=(TASKS * TIMES) as u64).collect();
    assert_eq!(distinct, all);
}

fn only_one(succeeded: Vec<bool>) {
    let count = succeeded.iter().filter(|it| **it).count();
    assert_eq!(count, 1, "{succeeded:?}");
}

async fn sums(store: &SqlStore, key: &Key) -> Vec<u64> {
    let mut sums = Vec::new();
    for _ in 0..TIMES {
        sums.push(store.increment(key, 1, None).await.unwrap());
    }
    sums
}

async fn no_save_is_lost_beside_a_sweep(database: Database) {
    const EXPIRED: u64 = 20_000;
    // Others save with the time limit that a store has by default.
    let sweeping = database.store().await;
    let saving = SqlStore::open(&database.url).unwrap();
    database.fill(EXPIRED, 1);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(create(&saving, "0").await);
    }
    let untouched = create(&saving, "7").await;
    let done = AtomicBool::new(false);
    let sweep = async {
        let swept = sweeping.delete_old_sessions(u64::MAX).await;
        done.store(true, Ordering::SeqCst);
        swept.unwrap()
    };
    let saves = async {
        let mut counts: HashMap<_, u64> = HashMap::new();
        let mut new = Vec::new();
        while !done.load(Ordering::SeqCst) {
            for id in &ids {
                add_one(&saving, id).await.expect("it has not expired");
                *counts.entry(*id).or_default() += 1;
            }
            new.push(create(&saving, "1").await);
        }
        (counts, new)
    };
    let (swept, (counts, new)) = join(sweep, saves).await;
    assert_eq!(swept.deleted, EXPIRED);
    // A save that waits for the whole sweep would be the only one.
    assert!(new.len() > 2, "{} rounds beside the sweep", new.len());
    let count = async |id: &SessionId| {
        let there = saving.load_session(id).await.unwrap();
        count_of(&there.expect("it is lost").bytes)
    };
    for (id, acknowledged) in &counts {
        assert_eq!(count(id).await, *acknowledged);
    }
    for id in &new {
        assert_eq!(count(id).await, 1);
    }
    assert_eq!(count(&untouched).await, 7);
    let all = counts.len() + new.len() + 1;
    assert_eq!(saving.iter_sessions().count().await, all);
    let rows = database.sql("SELECT count(*) FROM sessions");
    assert_eq!(rows.trim(), all.to_string());
}

#[async_test]
async fn a_session_created_anew_beside_a_sweep_of_its_expired_row_stays() {
    for database in [
        Database::postgres(),
        Database::mariadb(),
        Database::sqlite(),
    ] {
        let stores = database.stores(2).await;
        let mut ids = Vec::new();
        for _ in 0..200 {
            ids.push(create(&stores[0], "old").await);
        }
        let namespace = Namespace::new("anew").unwrap();
        let keys: Vec<_> = (0..200).map(|n| namespace.key(n.to_string())).collect();
        for key in &keys {
            stores[0].set(key, b"old", None).await.unwrap();
        }
        database.sql("UPDATE sessions SET expires = 1; UPDATE sessions_entries SET expires = 1");
        database.fill(3000, 1);
        let sweep = stores[0].delete_old_sessions(u64::MAX);
        let anew = async {
            for id in &ids {
                let bytes = session("new");
                let save = Save {
                    ttl: Duration::from_secs(3600),
                    ..save(&bytes, Precondition::Absent)
                };
                let saved = stores[1].save_session(id, save).await;
                assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
            }
        };
        let added = async {
            for key in &keys {
                let added = stores[1].add(key, b"new", None).await;
                assert!(added.unwrap(), "there was none any more");
            }
        };
        let (swept, (), ()) = join3(sweep, anew, added).await;
        assert!(swept.unwrap().deleted <= 3200);
        for id in &ids {
            assert!(stores[0].has_session(id).await.unwrap(), "it was swept");
        }
        for key in &keys {
            let there = stores[0].get(key).await.unwrap();
            assert_eq!(there.as_deref(), Some(&b"new"[..]));
        }
    }
}

#[async_test]
async fn a_sweep_of_postgres_waits_for_no_row_that_another_transaction_holds() {
    use sqlx::{Connection, Executor, PgConnection};

    let database = Database::postgres();
    let store = database.store().await;
    database.fill(1500, 1);
    let mut other = PgConnection::connect(&database.url).await.unwrap();
    let mut transaction = other.begin().await.unwrap();
    let hold = "UPDATE sessions SET revision = 0 WHERE revision = 7";
    transaction.execute(hold).await.unwrap();
    let swept = store.delete_old_sessions(u64::MAX).await.unwrap();
    assert_eq!(swept.deleted, 1499);
    transaction.commit().await.unwrap();
    let swept = store.delete_old_sessions(u64::MAX).await.unwrap();
    assert_eq!(swept.deleted, 1);
}

async fn many_launches_make_the_tables_at_once(database: Database) {
    for round in 0..5 {
        let table = format!("round{round}");
        let stores: Vec<_> = (0..TASKS)
            .map(|_| database.open().table(&table).unwrap())
            .collect();
        let launches = join_all(stores.iter().map(SessionStore::setup)).await;
        for launch in launches {
            launch.expect("both processes launch");
        }
        for store in &stores {
            create(store, "alice").await;
        }
        assert_eq!(stores[0].iter_sessions().count().await, TASKS);
    }
}

async fn a_list_has_each_session_once_while_others_come_and_go(database: Database) {
    let stores = database.stores(2).await;
    let mut kept = HashSet::new();
    for _ in 0..500 {
        kept.insert(create(&stores[0], "kept").await);
    }
    let mut listed = Vec::new();
    let mut others = Vec::new();
    let mut list = stores[0].iter_sessions();
    while let Some((id, _)) = list.try_next().await.unwrap() {
        listed.push(id);
        if listed.len() % 20 == 0 {
            for _ in 0..5 {
                others.push(create(&stores[1], "other").await);
            }
            let gone = others.swap_remove(listed.len() % others.len());
            assert!(stores[1].delete_session(&gone).await.unwrap());
            // A row that is replaced has another place in the table.
            let kept = kept.iter().nth(listed.len() % 500).expect("there are 500");
            let there = stores[1].load_session(kept).await.unwrap();
            let precondition = Precondition::Revision(there.expect("it is there").revision);
            let moved = session("moved");
            let saved = stores[1].save_session(kept, save(&moved, precondition));
            assert!(matches!(saved.await, Ok(Saved::Saved(_))));
        }
    }
    let distinct: HashSet<_> = listed.iter().copied().collect();
    assert_eq!(distinct.len(), listed.len(), "one is listed twice");
    assert!(distinct.is_superset(&kept), "one is not listed");
}

async fn a_list_has_each_name_once_while_others_come_and_go(database: Database) {
    let stores = database.stores(2).await;
    let namespace = Namespace::new("list").unwrap();
    let name = |kind: &str, n: usize| namespace.key(format!("{} {kind}", n * 7919 % 10_007));
    for n in 0..1200 {
        stores[0].set(&name("kept", n), b"1", None).await.unwrap();
    }
    let mut listed = Vec::new();
    let mut list = stores[0].keys(&namespace);
    while let Some(found) = list.try_next().await.unwrap() {
        listed.push(String::from_utf8(found).unwrap());
        let n = listed.len();
        if n % 20 == 0 {
            stores[1].set(&name("other", n), b"1", None).await.unwrap();
            let gone = name("other", n - n / 40 * 20);
            stores[1].remove(&gone).await.unwrap();
            stores[1].set(&name("kept", n), b"2", None).await.unwrap();
        }
    }
    let distinct: HashSet<_> = listed.iter().collect();
    assert_eq!(distinct.len(), listed.len(), "one is listed twice");
    let kept = listed.iter().filter(|name| name.ends_with("kept")).count();
    assert!(kept >= 1200, "{kept} of 1200 are listed");
}
