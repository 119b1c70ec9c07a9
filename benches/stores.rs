//! The time of a store's calls: a load, a save, and a sweep of 100 000 files. `cargo bench --bench stores`

#![allow(missing_docs)]

use std::time::Duration;

use divan::{Bencher, black_box};
use rocket::tokio::runtime::{Builder, Runtime};
use rocket_session_kit::store::{Precondition, RecordHeader, Revision, Save, Saved, SessionStore};
use rocket_session_kit::{Clock, DirectoryStore, Durability, MemoryStore, SessionId};

const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// A session of some 500 bytes.
fn bytes(rev: u64) -> Vec<u8> {
    let values: Vec<_> = (0..10)
        .map(|n| format!(r#""key{n}":"{}""#, "x".repeat(30)))
        .collect();
    let head = format!(r#"{{"rev":"{rev:016x}","expires":99999999999,"v":1,"created":1,"#);
    format!(
        r#"{head}"accessed":99999999999,"values":{{{}}}}}"#,
        values.join(",")
    )
    .into_bytes()
}

async fn save(
    store: &dyn SessionStore,
    id: &SessionId,
    rev: u64,
    precondition: Precondition,
) -> Revision {
    let save = Save {
        bytes: &bytes(rev),
        ttl: HOUR,
        precondition,
    };
    match store.save_session(id, save).await.expect("the store works") {
        Saved::Saved(revision) => revision,
        other => panic!("it was {other:?}"),
    }
}

fn load_from(bencher: Bencher<'_, '_>, store: &dyn SessionStore) {
    let (runtime, id) = (runtime(), SessionId::random());
    runtime.block_on(save(store, &id, 1, Precondition::Absent));
    bencher.bench_local(|| runtime.block_on(async { black_box(store.load_session(&id).await) }));
}

fn save_to(bencher: Bencher<'_, '_>, store: &dyn SessionStore) {
    let (runtime, id) = (runtime(), SessionId::random());
    let mut revision = runtime.block_on(save(store, &id, 1, Precondition::Absent));
    let (mut bytes, mut rev) = (bytes(1), 1_u64);
    bencher.bench_local(|| {
        rev += 1;
        bytes[RecordHeader::REVISION].copy_from_slice(format!("{rev:016x}").as_bytes());
        let save = Save {
            bytes: &bytes,
            ttl: HOUR,
            precondition: Precondition::Revision(revision),
        };
        match runtime.block_on(store.save_session(&id, save)) {
            Ok(Saved::Saved(next)) => revision = next,
            other => panic!("it was {other:?}"),
        }
    });
}

fn with_directory(durability: Durability, use_it: impl FnOnce(&DirectoryStore)) {
    let there = tempfile::tempdir().expect("there is room");
    let store = DirectoryStore::open(there.path().join("sessions")).expect("it can be made");
    use_it(&store.sync(durability));
}

#[divan::bench]
fn memory_load(bencher: Bencher<'_, '_>) {
    load_from(bencher, &MemoryStore::new());
}

#[divan::bench]
fn memory_save(bencher: Bencher<'_, '_>) {
    save_to(bencher, &MemoryStore::new());
}

/// The time to open, read and close a file of this size: nothing can be faster.
#[divan::bench]
fn file_read_floor(bencher: Bencher<'_, '_>) {
    let there = tempfile::tempdir().expect("there is room");
    let path = there.path().join("file");
    std::fs::write(&path, bytes(1)).expect("there is room");
    bencher.bench_local(|| black_box(std::fs::read(&path)));
}

/// The time to write a file of this size next to another, and to rename it into its place.
#[divan::bench]
fn file_replace_floor(bencher: Bencher<'_, '_>) {
    let there = tempfile::tempdir().expect("there is room");
    let (path, beside) = (there.path().join("file"), there.path().join("beside"));
    let bytes = bytes(1);
    bencher.bench_local(|| {
        std::fs::write(&beside, &bytes).expect("there is room");
        std::fs::rename(&beside, &path).expect("it is there");
    });
}

#[divan::bench]
fn directory_load(bencher: Bencher<'_, '_>) {
    with_directory(Durability::None, |store| load_from(bencher, store));
}

#[divan::bench(args = [Durability::None, Durability::Data, Durability::Full])]
fn directory_save(bencher: Bencher<'_, '_>, durability: Durability) {
    with_directory(durability, |store| save_to(bencher, store));
}

/// Nothing is old enough, so every sweep finds the same.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn directory_sweep_of_100_000(bencher: Bencher<'_, '_>) {
    with_directory(Durability::None, |store| {
        let runtime = runtime();
        runtime.block_on(async {
            for rev in 0..100_000 {
                save(store, &SessionId::random(), rev, Precondition::Absent).await;
            }
        });
        bencher.bench_local(|| {
            runtime.block_on(async { black_box(store.delete_old_sessions(60).await) })
        });
    });
}

/// All of them are old.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn directory_removal_of_100_000(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    bencher
        .with_inputs(|| {
            let there = tempfile::tempdir().expect("there is room");
            let clock = Clock::manual();
            let store =
                DirectoryStore::open(there.path().join("sessions")).expect("it can be made");
            let store = store.clock(clock.clone());
            runtime.block_on(async {
                for rev in 0..100_000 {
                    save(&store, &SessionId::random(), rev, Precondition::Absent).await;
                }
            });
            clock.advance(2 * HOUR);
            (there, store)
        })
        .bench_local_values(|(there, store)| {
            let swept = runtime
                .block_on(store.delete_old_sessions(60))
                .expect("the store works");
            assert_eq!(swept.deleted, 100_000);
            there
        });
}
