//! A directory of sessions is safe from other processes, from kills and full disks, and from foreign
//! files.

use std::fs;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rocket::async_test;
use rocket::futures::future::{join, join_all};
use rocket::futures::{FutureExt, TryStreamExt};
use rocket::local::asynchronous::Client;
use rocket::tokio::runtime::{Builder, Runtime};
use rocket::tokio::task::spawn_blocking;
use rocket::tokio::time::timeout;
use rocket_session_kit::store::{
    KeyValue, Namespace, Precondition, RecordHeader, Revision, Save, Saved, SessionStore,
};
use rocket_session_kit::{Clock, DirectoryStore, Durability, ErrorKind, SessionId, Sessions};
use tempfile::TempDir;

use crate::support::disk::Disk;
use crate::support::process::{Process, wait_until, worker};
use crate::support::{App, Gates, Visitor, figment, log, routes};

const HOUR: Duration = Duration::from_secs(3600);

struct Place {
    _there: TempDir,
    path: PathBuf,
    store: DirectoryStore,
    id: SessionId,
}

fn place() -> Place {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("sessions");
    let store = DirectoryStore::open(&path).unwrap();
    Place {
        _there: there,
        path,
        store,
        id: SessionId::random(),
    }
}

impl Place {
    fn file(&self) -> PathBuf {
        self.path.join(self.id.to_hex())
    }

    async fn create(&self) -> Revision {
        create(&self.store, &self.id).await
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn bytes(rev: u64, text: &str) -> Vec<u8> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    format!(
        r#"{{"rev":"{rev:016x}","expires":{},"v":1,"created":{now},"accessed":{now},"values":{{"count":0,"text":"{text}"}}}}"#,
        now + 3600
    )
    .into_bytes()
}

async fn save(
    store: &DirectoryStore,
    id: &SessionId,
    bytes: &[u8],
    precondition: Precondition,
) -> rocket_session_kit::Result<Saved> {
    store
        .save_session(
            id,
            Save {
                bytes,
                ttl: HOUR,
                precondition,
            },
        )
        .await
}

async fn create(store: &DirectoryStore, id: &SessionId) -> Revision {
    match save(store, id, &bytes(1, "first"), Precondition::Absent)
        .await
        .unwrap()
    {
        Saved::Saved(revision) => revision,
        other => panic!("it should have been created, and was {other:?}"),
    }
}

fn output(process: &mut Process) -> u64 {
    let mut text = String::new();
    process.stdout().read_to_string(&mut text).unwrap();
    assert!(process.wait(), "a worker failed");
    // The test harness has a line of its own before.
    let last = text.lines().last().unwrap_or_default();
    last.parse().expect("a worker tells a number")
}

#[async_test]
async fn four_processes_lose_no_increment() {
    let place = place();
    place.create().await;
    let id = place.id.to_hex();
    let mut workers: Vec<_> = (0..4)
        .map(|_| Process::start(&mut worker("increment", &place.path, &id, 500)))
        .collect();
    let counts: Vec<u64> = workers.iter_mut().map(output).collect();
    assert_eq!(counts, [500; 4]);
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(place.file()).unwrap()).unwrap();
    assert_eq!(record["values"]["count"], 2000);
    assert_eq!(place.names().len(), 1, "no temporary file is left");
}

#[async_test]
async fn writers_that_are_killed_never_leave_a_torn_session() {
    let place = place();
    place.create().await;
    let id = place.id.to_hex();
    let until = Instant::now() + Duration::from_secs(10);
    let (mut kills, mut reads) = (0, 0);
    while Instant::now() < until {
        let mut writers: Vec<_> = (0..2)
            .map(|_| Process::start(&mut worker("increment", &place.path, &id, 1_000_000)))
            .collect();
        // They have made a little more progress each time they are killed.
        for _ in 0..(kills % 100) * 10 {
            let stored = place
                .store
                .load_session(&place.id)
                .await
                .unwrap()
                .expect("it is there");
            let record: serde_json::Value =
                serde_json::from_slice(&stored.bytes).expect("it is whole");
            assert!(record["values"]["count"].is_u64());
            reads += 1;
        }
        for writer in &mut writers {
            writer.kill();
            kills += 1;
        }
    }
    assert!(
        kills > 20 && reads > 100,
        "{kills} kills and {reads} reads show nothing"
    );
    let stored = place
        .store
        .load_session(&place.id)
        .await
        .unwrap()
        .expect("it is there");
    let response = save(
        &place.store,
        &place.id,
        &bytes(2, "after"),
        Precondition::Revision(stored.revision),
    )
    .await;
    assert_eq!(
        response.unwrap(),
        Saved::Saved(Revision(2)),
        "a killed writer leaves no lock behind"
    );

    // Their unfinished files are not sessions, and are removed when they are old.
    let ids: Vec<_> = place.store.iter_sessions().try_collect().await.unwrap();
    assert_eq!(ids.len(), 1);
    let left: Vec<_> = place
        .names()
        .into_iter()
        .filter(|name| name.starts_with(".tmp-"))
        .collect();
    place.store.delete_old_sessions(60).await.unwrap();
    assert_eq!(
        place.names().len(),
        1 + left.len(),
        "a running process may still use them"
    );
    for name in &left {
        let file = fs::File::open(place.path.join(name)).unwrap();
        file.set_modified(SystemTime::now() - 2 * HOUR).unwrap();
    }
    place.store.delete_old_sessions(60).await.unwrap();
    assert_eq!(place.names(), [place.id.to_hex()]);
}

#[async_test]
async fn a_deleted_session_stays_deleted_while_others_wait_to_save_it() {
    let place = place();
    for _ in 0..20 {
        place.create().await;
        let id = place.id.to_hex();
        let mut writers: Vec<_> = (0..3)
            .map(|_| Process::start(&mut worker("increment", &place.path, &id, 1_000_000)))
            .collect();
        let first = place
            .store
            .load_session(&place.id)
            .await
            .unwrap()
            .unwrap()
            .revision;
        wait_until("a worker saves", || {
            RecordHeader::read(&fs::read(place.file()).unwrap())
                .unwrap()
                .revision
                != first
        });
        assert!(place.store.delete_session(&place.id).await.unwrap());
        // Each of them notices, and stops.
        writers
            .iter_mut()
            .for_each(|writer| assert!(output(writer) < 1_000_000));
        assert!(!place.file().exists(), "a deleted session is back");
    }
}

#[async_test]
async fn a_sweep_deletes_old_temporary_files_and_keeps_young_ones() {
    let place = place();
    place.create().await;
    let (old, young) = (place.path.join(".tmp-old"), place.path.join(".tmp-young"));
    for path in [&old, &young] {
        fs::write(path, "half a sess").unwrap();
    }
    fs::File::open(&old)
        .unwrap()
        .set_modified(SystemTime::now() - 2 * HOUR)
        .unwrap();
    let swept = place.store.delete_old_sessions(60).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (0, 1));
    assert!(!old.exists() && young.exists() && place.file().exists());
}

/// Puts a foreign file at the path of the session.
type Plant = fn(&Place, &Path);

fn plant_link(place: &Place, target: &Path) {
    symlink(target, place.file()).unwrap();
}

fn plant_dangling_link(place: &Place, _: &Path) {
    symlink(place.path.join("nowhere"), place.file()).unwrap();
}

fn plant_pipe(place: &Place, _: &Path) {
    assert!(
        Command::new("mkfifo")
            .arg(place.file())
            .status()
            .unwrap()
            .success()
    );
}

fn plant_socket(place: &Place, _: &Path) {
    drop(std::os::unix::net::UnixListener::bind(place.file()).unwrap());
}

fn plant_directory(place: &Place, _: &Path) {
    fs::create_dir(place.file()).unwrap();
}

fn plant_open_file(place: &Place, _: &Path) {
    fs::write(place.file(), bytes(1, "readable by all")).unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
}

fn plant_file_of_another(place: &Place, _: &Path) {
    fs::write(place.file(), bytes(1, "somebody else's")).unwrap();
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(place.file(), Some(65534), None).expect("the tests run as root");
}

fn plant_huge_file(place: &Place, _: &Path) {
    let mut file = fs::File::create(place.file()).unwrap();
    file.write_all(&bytes(1, "huge")).unwrap();
    file.write_all(&vec![b' '; 10_000_000]).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
}

#[async_test]
async fn foreign_files_are_refused_quickly_and_left_alone() {
    let plants: [(&str, Plant); 8] = [
        ("a link", plant_link),
        ("a dangling link", plant_dangling_link),
        ("a pipe", plant_pipe),
        ("a socket", plant_socket),
        ("a directory", plant_directory),
        ("an open file", plant_open_file),
        ("a file of another", plant_file_of_another),
        ("a huge file", plant_huge_file),
    ];
    for (what, plant) in plants {
        let place = place();
        let elsewhere = place._there.path().join("elsewhere");
        let original = bytes(1, "not a session");
        fs::write(&elsewhere, &original).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o600)).unwrap();
        plant(&place, &elsewhere);
        let looks = |path: &Path| {
            let metadata = fs::symlink_metadata(path).unwrap();
            (
                metadata.file_type(),
                metadata.ino(),
                metadata.len(),
                metadata.mode(),
                metadata.mtime_nsec(),
            )
        };
        let before = (looks(&place.file()), looks(&elsewhere));

        let started = Instant::now();
        let (store, id) = (&place.store, &place.id);
        assert_eq!(store.load_session(id).await.unwrap(), None, "{what}");
        assert!(!store.has_session(id).await.unwrap(), "{what}");
        let response = save(store, id, &bytes(2, "new"), Precondition::Absent)
            .await
            .unwrap();
        assert_eq!(response, Saved::Changed, "{what}");
        let response = save(
            store,
            id,
            &bytes(2, "new"),
            Precondition::Revision(Revision(1)),
        )
        .await
        .unwrap();
        assert_eq!(response, Saved::Gone, "{what}");
        assert!(!store.delete_session(id).await.unwrap(), "{what}");
        store.quarantine(id).await.unwrap();
        store.delete_old_sessions(0).await.unwrap();
        assert_eq!(
            store
                .iter_sessions()
                .try_collect::<Vec<_>>()
                .await
                .unwrap()
                .len(),
            0,
            "{what}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(2),
            "{what} took {:?}",
            started.elapsed()
        );
        assert_eq!(
            (looks(&place.file()), looks(&elsewhere)),
            before,
            "{what} was touched"
        );
        assert_eq!(fs::read(&elsewhere).unwrap(), original, "{what}");
        assert_eq!(before.0.0.is_fifo(), what == "a pipe", "{what} was planted");
    }
}

#[async_test]
async fn a_file_that_is_no_session_is_never_overwritten() {
    for garbage in ["", "{", "garbage", r#"{"rev":"x","#] {
        let place = place();
        fs::write(place.file(), garbage).unwrap();
        fs::set_permissions(place.file(), fs::Permissions::from_mode(0o600)).unwrap();
        for precondition in [
            Precondition::Absent,
            Precondition::Revision(Revision(0)),
            Precondition::Revision(Revision(1)),
        ] {
            let response = save(&place.store, &place.id, &bytes(2, "new"), precondition)
                .await
                .unwrap();
            assert_eq!(response, Saved::Changed, "{garbage}");
        }
        place.store.delete_old_sessions(1).await.unwrap();
        assert_eq!(fs::read_to_string(place.file()).unwrap(), garbage);
        let listed: Vec<_> = place.store.iter_sessions().try_collect().await.unwrap();
        assert!(listed[0].1.bytes == garbage.as_bytes(), "{garbage}");
    }
}

#[async_test]
async fn a_lock_on_a_replaced_file_protects_nothing() {
    let place = place();
    place.create().await;
    let id = place.id.to_hex();
    // This one opens the file, and is held up before it locks it. By then the other has replaced
    // it.
    let slow = worker("increment", &place.path, &id, 40);
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=flock",
        "-e",
        "inject=flock:delay_enter=20000",
    ]);
    strace
        .arg(slow.get_program())
        .args(slow.get_args())
        .stdout(Stdio::piped());
    let mut slow = Process::start(&mut strace);
    let mut quick = Process::start(&mut worker("increment", &place.path, &id, 2000));
    assert_eq!((output(&mut quick), output(&mut slow)), (2000, 40));
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(place.file()).unwrap()).unwrap();
    assert_eq!(record["values"]["count"], 2040);
}

#[async_test]
async fn a_file_that_becomes_a_link_again_and_again_is_never_followed() {
    let place = place();
    place.create().await;
    let secret = place._there.path().join("secret");
    let content = bytes(66, "secret");
    fs::write(&secret, &content).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let (link, file) = (place._there.path().join("link"), place.file());
    let original = fs::read(&file).unwrap();
    let swapping = std::thread::spawn({
        let (link, file, secret) = (link, file.clone(), secret.clone());
        move || {
            for n in 0..2000 {
                if n % 2 == 0 {
                    symlink(&secret, &link).unwrap();
                } else {
                    fs::write(&link, &original).unwrap();
                    fs::set_permissions(&link, fs::Permissions::from_mode(0o600)).unwrap();
                }
                fs::rename(&link, &file).unwrap();
            }
        }
    });
    while !swapping.is_finished() {
        if let Some(stored) = place.store.load_session(&place.id).await.unwrap() {
            assert_eq!(stored.revision, Revision(1), "a link was followed");
        }
        let response = save(
            &place.store,
            &place.id,
            &bytes(1, "first"),
            Precondition::Revision(Revision(66)),
        )
        .await;
        assert_ne!(
            response.unwrap(),
            Saved::Saved(Revision(1)),
            "a link was followed"
        );
    }
    swapping.join().unwrap();
    assert_eq!(fs::read(&secret).unwrap(), content);
}

#[async_test]
async fn files_with_names_similar_to_ids_are_not_sessions() {
    let place = place();
    place.create().await;
    let id = place.id.to_hex();
    for name in [
        format!("{id}*"),
        format!("{id}_"),
        format!("{id}.tmp"),
        format!("{id}.lock"),
        id.to_uppercase(),
        "README".into(),
    ] {
        fs::write(place.path.join(name), bytes(1, "foreign")).unwrap();
    }
    assert_eq!(
        place
            .store
            .iter_sessions()
            .try_collect::<Vec<_>>()
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(place.store.delete_old_sessions(0).await.unwrap().deleted, 1);
    assert_eq!(place.names().len(), 6);
}

#[async_test]
async fn an_invalid_session_file_is_quarantined() {
    let app_dir = tempfile::tempdir().unwrap();
    let mut server = crate::support::process::Server::start("hello", app_dir.path(), &[]);
    let directory = app_dir.path().join("sessions");
    for garbage in ["", "{", "garbage", &"x".repeat(5000)] {
        let (_, cookie, _) = server.get("/", None);
        let cookie = cookie.expect("a visitor gets a cookie");
        let file = fs::read_dir(&directory)
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| p.extension().is_none());
        let file = file.expect("there is one session");
        fs::write(&file, garbage).unwrap();
        let (status, fresh, body) = server.get("/", Some(&cookie));
        assert_eq!((status, &*body), (200, "visits: 1\n"));
        assert_ne!(fresh.expect("a fresh session has a cookie"), cookie);
        let aside = file.with_extension("corrupt");
        assert_eq!(fs::read_to_string(aside).unwrap(), garbage);
        assert!(!file.exists());
        for entry in fs::read_dir(&directory).unwrap().map(|e| e.unwrap().path()) {
            if entry.extension().is_none() {
                fs::remove_file(entry).unwrap();
            }
        }
    }
    let warnings = || server.log().matches("invalid record").count();
    wait_until("there is a warning for each", || warnings() >= 4);
    assert_eq!(warnings(), 4, "one warning each:\n{}", server.log());
    server.process().kill();
}

#[async_test]
async fn files_and_directory_are_private_under_every_umask() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("sessions");
    let id = SessionId::random().to_hex();
    let worker = worker("create", &path, &id, 1);
    assert!(
        Command::new("sh")
            .args(["-c", "umask 000; exec \"$@\"", "sh"])
            .arg(worker.get_program())
            .args(worker.get_args())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&path), mode(&path.join(&id))), (0o700, 0o600));
}

/// Lets a program of the system hold the lock on `file`, until its input ends.
fn lock(file: &Path) -> Child {
    let mut holder = Command::new("flock");
    let mut holder = holder
        .arg("--exclusive")
        .arg(file)
        .args(["sh", "-c", "echo held; cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux is installed");
    let mut line = String::new();
    std::io::BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    holder
}

#[async_test]
async fn a_lock_held_by_another_program_delays_only_saves() {
    let place = place();
    let revision = place.create().await;
    let other = SessionId::random();
    let revision_of_other = create(&place.store, &other).await;
    let mut holder = lock(&place.file());

    assert!(
        place.store.load_session(&place.id).await.unwrap().is_some(),
        "a load takes no lock"
    );
    let late = bytes(2, "late");
    let mut waiting = Box::pin(save(
        &place.store,
        &place.id,
        &late,
        Precondition::Revision(revision),
    ));
    let given_up = rocket::tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(given_up.is_err(), "a save waits for the lock");
    let quick = bytes(3, "other");
    let quick = save(
        &place.store,
        &other,
        &quick,
        Precondition::Revision(revision_of_other),
    );
    assert_eq!(
        quick.await.unwrap(),
        Saved::Saved(Revision(3)),
        "other sessions go on"
    );
    assert_eq!(
        place.store.delete_old_sessions(0).await.unwrap().remaining,
        1,
        "a sweep does not wait either"
    );

    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(waiting.await.unwrap(), Saved::Saved(Revision(2)));
}

#[async_test]
async fn a_cancelled_save_does_not_happen_later() {
    let place = place();
    let revision = place.create().await;
    let mut holder = lock(&place.file());
    let late = bytes(2, "late");
    let waiting = save(
        &place.store,
        &place.id,
        &late,
        Precondition::Revision(revision),
    );
    assert!(
        rocket::tokio::time::timeout(Duration::from_millis(50), waiting)
            .await
            .is_err()
    );
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(
        save(
            &place.store,
            &place.id,
            &bytes(3, "next"),
            Precondition::Revision(revision)
        )
        .await
        .unwrap(),
        Saved::Saved(Revision(3))
    );
}

#[async_test]
async fn six_hundred_saves_of_one_session_block_no_other_session() {
    let place = place();
    let revision = place.create().await;
    let other = SessionId::random();
    let many = join_all((0..600_u64).map(|n| {
        let place = &place;
        async move {
            save(
                &place.store,
                &place.id,
                &bytes(n + 2, "many"),
                Precondition::Revision(revision),
            )
            .await
            .unwrap()
        }
    }));
    let others = async {
        let started = Instant::now();
        create(&place.store, &other).await;
        started.elapsed()
    };
    let (many, elapsed) = join(many, others).await;
    assert_eq!(
        many.iter()
            .filter(|saved| matches!(saved, Saved::Saved(_)))
            .count(),
        1
    );
    assert!(
        elapsed < Duration::from_secs(5),
        "another session waited {elapsed:?}"
    );
}

#[async_test]
async fn a_file_size_limit_leaves_the_old_session() {
    let place = place();
    place.create().await;
    let before = fs::read(place.file()).unwrap();
    // The worker's sessions grow; beyond 8 blocks, a write fails as on a full disk.
    let worker = worker("increment", &place.path, &place.id.to_hex(), 1000);
    let worker = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .arg(worker.get_program())
        .args(worker.get_args())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&worker.stderr).into_owned();
    assert!(stderr.contains("File too large"), "{stderr}");
    assert!(!stderr.contains(&place.id.to_hex()), "{stderr}");
    let stored = place
        .store
        .load_session(&place.id)
        .await
        .unwrap()
        .expect("it is there");
    let record: serde_json::Value = serde_json::from_slice(&stored.bytes).expect("it is whole");
    assert!(record["values"]["count"].as_u64().unwrap() > 0 && stored.bytes != before);
    assert_eq!(place.names().len(), 1, "no half-written file is left");
}

#[async_test]
async fn a_full_disk_leaves_the_old_session() {
    let disk = SmallDisk::mount();
    let store = DirectoryStore::open(disk.path.join("sessions")).unwrap();
    let id = SessionId::random();
    let revision = create(&store, &id).await;
    let large = "x".repeat(100_000);
    for precondition in [Precondition::Revision(revision), Precondition::Absent] {
        let target = if precondition == Precondition::Absent {
            SessionId::random()
        } else {
            id
        };
        let error = save(&store, &target, &bytes(2, &large), precondition)
            .await
            .expect_err("the disk is full");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(!error.to_string().contains(&id.to_hex()), "{error}");
    }
    let stored = store
        .load_session(&id)
        .await
        .unwrap()
        .expect("the old session is there");
    assert_eq!(
        (stored.revision, stored.bytes),
        (revision, bytes(1, "first"))
    );
    assert_eq!(
        fs::read_dir(disk.path.join("sessions")).unwrap().count(),
        1,
        "no half-written file is left"
    );
    // After space is freed, it can be saved.
    let response = save(
        &store,
        &id,
        &bytes(3, "small"),
        Precondition::Revision(revision),
    )
    .await
    .unwrap();
    assert_eq!(response, Saved::Saved(Revision(3)));
}

#[async_test]
async fn a_full_disk_refuses_no_log_out() {
    let disk = SmallDisk::mount();
    let store = DirectoryStore::open(disk.path.join("sessions")).unwrap();
    let app = App::on(store, |figment| figment).await;
    let (visitor, other) = (app.known_visitor().await, app.known_visitor().await);
    visitor.get("/login/alice").await;
    other.get("/login/bob").await;
    let filling = fs::write(disk.path.join("filling"), vec![0; 1_000_000]);
    assert!(filling.is_err(), "the disk is full");
    assert_eq!(visitor.get("/set/a/1").await.status.code, 503);
    let response = visitor.get("/logout").await;
    assert_eq!(response.status.code, 200);
    assert!(response.removes_session());
    assert_eq!(visitor.get("/who").await.body, "nobody");
    // The log-out freed space for a tombstone or two.
    let filling = fs::write(disk.path.join("filling, too"), vec![0; 1_000_000]);
    assert!(filling.is_err(), "the disk is full");
    assert_eq!(app.sessions().end_all_of("bob", None).await.unwrap(), 1);
    assert_eq!(other.get("/who").await.body, "nobody");
}

/// A disk of 64 KiB.
struct SmallDisk {
    path: PathBuf,
    _unmount: Disk,
    _there: TempDir,
}

impl SmallDisk {
    fn mount() -> Self {
        let there = tempfile::tempdir().unwrap();
        let path = there.path().join("disk");
        fs::create_dir(&path).unwrap();
        Self {
            _unmount: Disk::mount(&path, "64k"),
            path,
            _there: there,
        }
    }
}

#[async_test]
async fn a_directory_that_vanished_is_an_error_and_no_empty_store() {
    let place = place();
    let revision = place.create().await;
    fs::rename(&place.path, place._there.path().join("away")).unwrap();
    assert_eq!(
        place
            .store
            .load_session(&place.id)
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::Unavailable
    );
    let response = save(
        &place.store,
        &place.id,
        &bytes(2, "x"),
        Precondition::Revision(revision),
    )
    .await;
    assert_eq!(response.unwrap_err().kind(), ErrorKind::Unavailable);
    let response = save(
        &place.store,
        &place.id,
        &bytes(2, "x"),
        Precondition::Absent,
    )
    .await;
    assert_eq!(response.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(place.store.delete_session(&place.id).await.is_err());
    assert!(
        place
            .store
            .iter_sessions()
            .try_collect::<Vec<_>>()
            .await
            .is_err()
    );
    fs::rename(place._there.path().join("away"), &place.path).unwrap();
    assert!(place.store.load_session(&place.id).await.unwrap().is_some());
}

#[async_test]
async fn every_durability_keeps_the_contract() {
    for durability in [Durability::None, Durability::Data, Durability::Full] {
        let place = place();
        let store = place.store.clone().sync(durability);
        let revision = create(&store, &place.id).await;
        let response = save(
            &store,
            &place.id,
            &bytes(2, "again"),
            Precondition::Revision(revision),
        )
        .await
        .unwrap();
        assert_eq!(response, Saved::Saved(Revision(2)));
        assert!(store.delete_session(&place.id).await.unwrap());
    }
}

/// The system calls of a worker, in this order.
fn disk(act: &str, place: &Place, sync: &str) -> Vec<&'static str> {
    let trace = place._there.path().join("trace");
    let worker = worker(act, &place.path, &place.id.to_hex(), 1);
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-y",
        "-e",
        "trace=/^(fsync|fdatasync|rename.*|link.*)$",
    ]);
    strace.arg("-o").arg(&trace).arg(worker.get_program());
    strace.args(worker.get_args()).env("SYNC", sync);
    assert!(strace.output().unwrap().status.success());
    let calls = fs::read_to_string(trace).unwrap();
    let calls = calls.lines().filter_map(|line| {
        let call = line.split_once(' ')?.1.trim_start();
        match call.split_once('(')?.0 {
            "fsync" if call.contains("/.tmp-") => Some("the file"),
            "fsync" if call.contains("/sessions>") => Some("the directory"),
            "fsync" | "fdatasync" => panic!("{call}"),
            _ => Some("the name"),
        }
    });
    calls.collect()
}

#[test]
fn a_save_syncs_as_its_durability_setting_asks() {
    for (sync, expected) in [
        ("none", &["the name"][..]),
        ("data", &["the file", "the name"]),
        ("full", &["the file", "the name", "the directory"]),
    ] {
        let place = place();
        assert_eq!(disk("create", &place, sync), expected, "{sync}");
        assert_eq!(disk("increment", &place, sync), expected, "{sync}");
    }
}

#[async_test]
async fn a_sweep_after_the_clock_was_set_back_deletes_nothing() {
    let there = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let store = DirectoryStore::open(there.path().join("sessions"))
        .unwrap()
        .clock(clock.clone());
    let id = SessionId::random();
    create(&store, &id).await;
    clock.set_back(24 * HOUR);
    assert_eq!(
        store.delete_old_sessions(1).await.unwrap().deleted,
        0,
        "a clock that was set back ends nothing"
    );
    assert!(store.has_session(&id).await.unwrap());
}

#[async_test]
async fn an_unusable_directory_is_refused_with_the_remedy() {
    let there = tempfile::tempdir().unwrap();
    let refused = |path: &Path, remedy: &str| {
        let error = DirectoryStore::open(path)
            .expect_err("it cannot work")
            .to_string();
        assert!(
            error.contains(remedy) && error.lines().count() == 1,
            "{error}"
        );
    };
    refused(
        &there.path().join("no/such/parent"),
        "parent does not exist; create that",
    );
    let file = there.path().join("file");
    fs::write(&file, "").unwrap();
    refused(&file, "not a directory; remove it");
    let open = there.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(&open, Some(65534), None).expect("the tests run as root");
    refused(&open, "chown");
    let read_only = there.path().join("read_only");
    fs::create_dir(&read_only).unwrap();
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o700)).unwrap();
    let bind = |options: &str| {
        Command::new("mount")
            .args(["-o", options])
            .arg(&read_only)
            .arg(&read_only)
            .status()
    };
    assert!(bind("bind").unwrap().success() && bind("remount,bind,ro").unwrap().success());
    let _unmount = Disk(read_only.clone());
    refused(&read_only, "cannot be written to");
    refused(&read_only.join("inside"), "cannot be created");
}

#[async_test]
async fn entries_are_files_of_their_own_beside_the_sessions() {
    let there = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let path = there.path().join("sessions");
    let store = DirectoryStore::open(&path).unwrap().clock(clock.clone());
    let namespace = Namespace::new("cache").unwrap();
    let (minute, hour) = (Duration::from_secs(60), HOUR);
    for (name, ttl) in [
        ("../../x", Some(minute)),
        ("/etc/passwd", Some(hour)),
        ("", None),
    ] {
        store.set(&namespace.key(name), b"x", ttl).await.unwrap();
    }
    let outside: Vec<_> = fs::read_dir(there.path()).unwrap().collect();
    assert_eq!(outside.len(), 1, "{outside:?}");
    let below = path.join("cache");
    assert_eq!(fs::metadata(&below).unwrap().mode() & 0o777, 0o700);
    let files = || fs::read_dir(&below).unwrap().map(Result::unwrap);
    assert_eq!(files().count(), 3);
    assert!(files().all(|file| file.metadata().unwrap().mode() & 0o777 == 0o600));
    let sessions: Vec<_> = store.iter_sessions().try_collect().await.unwrap();
    assert!(sessions.is_empty(), "an entry is no session");

    clock.advance(minute);
    let swept = store.delete_old_sessions(1).await.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (0, 0));
    assert_eq!(files().count(), 2, "the expired session is swept");
    assert!(
        store
            .get(&namespace.key("/etc/passwd"))
            .await
            .unwrap()
            .is_some()
    );
    assert!(store.get(&namespace.key("")).await.unwrap().is_some());
}

#[async_test]
async fn two_stores_on_one_directory_lose_no_increment_of_an_entry() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("sessions");
    let stores = [(); 2].map(|()| DirectoryStore::open(&path).unwrap());
    let key = Namespace::new("rate").unwrap().key("visitor");
    let count = async |store: &DirectoryStore| {
        for _ in 0..50 {
            let hour = Some(Duration::from_secs(3600));
            store.increment(&key, 1, hour).await.unwrap();
        }
    };
    join_all((0..8).map(|n| count(&stores[n % 2]))).await;
    assert_eq!(
        stores[0].get(&key).await.unwrap().as_deref(),
        Some(&b"400"[..])
    );
}

#[async_test]
async fn a_foreign_file_with_the_name_of_an_entry_is_left_alone() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("sessions");
    let store = DirectoryStore::open(&path).unwrap();
    let namespace = Namespace::new("cache").unwrap();
    store.set(&namespace.key("a"), b"x", None).await.unwrap();
    let secret = there.path().join("secret");
    fs::write(&secret, "0\nsecret").unwrap();
    symlink(&secret, path.join("cache/link")).unwrap();
    fs::create_dir(path.join("cache/dir")).unwrap();
    for name in ["link", "dir"] {
        let key = namespace.key(name);
        assert_eq!(store.get(&key).await.unwrap(), None);
        let error = store
            .set(&key, b"y", None)
            .await
            .expect_err("it is not the store's");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    assert_eq!(store.clear(&namespace).await.unwrap(), 1);
    assert_eq!(fs::read_to_string(&secret).unwrap(), "0\nsecret");
    assert!(path.join("cache/link").is_symlink() && path.join("cache/dir").is_dir());
    let key = namespace.key("large");
    let error = store.set(&key, &vec![0; 9_000_000], None).await;
    assert_eq!(error.expect_err("it is too large").kind(), ErrorKind::Limit);
}

#[async_test]
async fn a_recreated_entry_is_never_mistaken_for_a_foreign_file() {
    let there = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(there.path().join("sessions")).unwrap();
    let key = Namespace::new("rate").unwrap().key("visitor");
    let churn = async |n: u64| {
        for _ in 0..200 {
            store.increment(&key, n, Some(HOUR)).await.unwrap();
            store.take(&key).await.unwrap();
        }
    };
    join_all((1..=4).map(churn)).await;
}

/// A runtime with this many threads for blocking calls. When it is dropped, all of their work is done.
fn runtime(blocking: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).max_blocking_threads(blocking);
    builder.enable_all().build().unwrap()
}

/// Every file below `path`, with its content.
fn tree(path: &Path) -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => all.extend(tree(&entry.path())),
            false => all.push((entry.path(), fs::read_to_string(entry.path()).unwrap())),
        }
    }
    all.sort();
    all
}

#[test]
fn a_call_cancelled_before_it_has_a_thread_never_runs() {
    let runtime = runtime(1);
    runtime.block_on(async {
        let Place {
            store, path, id, ..
        } = &place();
        let revision = create(store, id).await;
        let namespace = Namespace::new("cache").unwrap();
        let (there, free) = (namespace.key("there"), namespace.key("free"));
        store.set(&there, b"1", None).await.unwrap();
        let before = tree(path);

        let (release, held) = std::sync::mpsc::channel::<()>();
        let holding = spawn_blocking(move || held.recv());
        let (next, new) = (bytes(2, "next"), SessionId::random());
        let given_up = [
            save(store, id, &next, Precondition::Revision(revision))
                .now_or_never()
                .is_none(),
            save(store, &new, &next, Precondition::Absent)
                .now_or_never()
                .is_none(),
            store.delete_session(id).now_or_never().is_none(),
            store
                .delete_session_if(id, revision)
                .now_or_never()
                .is_none(),
            store.quarantine(id).now_or_never().is_none(),
            store.delete_old_sessions(0).now_or_never().is_none(),
            store.set(&there, b"2", None).now_or_never().is_none(),
            store.set(&free, b"2", None).now_or_never().is_none(),
            store.increment(&there, 1, None).now_or_never().is_none(),
            store.take(&there).now_or_never().is_none(),
            store.clear(&namespace).now_or_never().is_none(),
        ];
        assert_eq!(given_up, [true; 11], "every thread is busy");
        drop(release);
        assert!(holding.await.unwrap().is_err());
        // Behind all abandoned calls.
        spawn_blocking(|| ()).await.unwrap();
        assert_eq!(tree(path), before);

        let saved = save(store, id, &next, Precondition::Revision(revision)).await;
        assert_eq!(saved.unwrap(), Saved::Saved(Revision(2)));
    });
}

#[test]
fn clears_waiting_for_a_lock_block_no_other_call() {
    let runtime = runtime(2);
    runtime.block_on(async {
        let place = place();
        let namespace = Namespace::new("cache").unwrap();
        let key = namespace.key("held");
        place.store.set(&key, b"x", None).await.unwrap();
        let held = fs::File::open(place.path.join("cache/held")).unwrap();
        fs2::FileExt::lock_exclusive(&held).unwrap();

        let clears = (0..16).map(|_| {
            let clear = place.store.clear(&namespace);
            timeout(Duration::from_secs(3), clear)
        });
        let mut clears = Box::pin(join_all(clears));
        assert!((&mut clears).now_or_never().is_none());
        timeout(Duration::from_secs(2), place.create())
            .await
            .expect("a session is saved meanwhile");
        let cleared = clears.await;
        assert!(
            cleared.iter().all(Result::is_err),
            "another process has the lock"
        );
        assert!(place.store.get(&key).await.unwrap().is_some());

        fs2::FileExt::unlock(&held).unwrap();
        assert_eq!(place.store.clear(&namespace).await.unwrap(), 1);
    });
}

#[test]
fn a_cancelled_clear_removes_nothing_more() {
    let runtime = runtime(4);
    let place = place();
    let namespace = Namespace::new("cache").unwrap();
    let files = || fs::read_dir(place.path.join("cache")).unwrap();
    runtime.block_on(async {
        let set = async |value: &[u8]| {
            for n in 0..200 {
                let key = namespace.key(format!("n{n}"));
                let set = place.store.set(&key, value, None);
                // Except the locked one.
                let _ = timeout(Duration::from_secs(2), set).await;
            }
        };
        set(b"before").await;
        // The first entry that a clear reaches.
        let held = fs::File::open(files().next().unwrap().unwrap().path()).unwrap();
        fs2::FileExt::lock_exclusive(&held).unwrap();
        let clear = place.store.clear(&namespace);
        assert!(timeout(Duration::from_millis(100), clear).await.is_err());
        set(b"after").await;
        fs2::FileExt::unlock(&held).unwrap();
    });
    drop(runtime);
    let is_new = |file: &PathBuf| fs::read(file).unwrap() == b"0\nafter";
    let left = files().map(|file| file.unwrap().path()).filter(is_new);
    assert_eq!(left.count(), 199);
}

#[async_test]
async fn the_sweep_of_one_application_leaves_the_sessions_of_another() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("sessions");
    let clock = Clock::manual();
    let launch = async |idle_timeout: u64, sweep_every: u64| {
        let figment = figment()
            .merge(("sessions.store", "directory"))
            .merge(("sessions.directory.path", &path))
            .merge(("sessions.idle_timeout", idle_timeout))
            .merge(("sessions.sweep_every", sweep_every));
        let rocket = rocket::custom(figment)
            .manage(clock.clone())
            .manage(Gates::default())
            .mount("/", routes())
            .attach(Sessions::fairing());
        Client::untracked(rocket).await.unwrap()
    };
    let (patient, hasty) = (launch(86_400, 0).await, launch(60, 1).await);
    let visitor = Visitor::new(&patient);
    visitor.get("/set/n/0").await;
    for round in 1..=2 {
        // Its removal shows that a sweep has run, and the second removal that a complete one has.
        Visitor::new(&hasty).get("/set_many/1/5000").await;
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "in round {round}");
        clock.advance(Duration::from_secs(61));
        wait_until("a sweep", || fs::read_dir(&path).unwrap().count() < 2);
    }
    assert_eq!(visitor.get("/keys").await.body, "n");
}

#[async_test]
async fn a_sweep_follows_the_record_header_and_ignores_file_times() {
    let place = place();
    let now = SystemTime::now();
    let expired = String::from_utf8(bytes(1, &"x".repeat(5000))).unwrap();
    let end = RecordHeader::read(expired.as_bytes()).unwrap().expires;
    let expired = expired.replace(&end.to_string(), &(end - 7200).to_string());
    for times in [now - 1000 * HOUR, now - Duration::from_secs(1)] {
        // As in a restored backup, or on a mount with `strictatime`.
        let times = fs::FileTimes::new().set_modified(times).set_accessed(times);
        let (gone, stays) = (SessionId::random(), SessionId::random());
        for (id, text) in [(gone, expired.as_bytes()), (stays, &bytes(1, "alive"))] {
            let path = place.path.join(id.to_hex());
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            fs::File::open(&path).unwrap().set_times(times).unwrap();
        }
        let swept = place.store.delete_old_sessions(u64::MAX).await.unwrap();
        assert_eq!((swept.deleted, swept.remaining), (1, 1));
        assert_eq!(place.names(), [stays.to_hex()]);
        fs::remove_file(place.path.join(stays.to_hex())).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[async_test]
async fn a_directory_that_was_open_to_others_is_closed_with_a_warning() {
    log::keep();
    let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for (open, full) in [
        (0o755, false),
        (0o755, true),
        (0o711, true),
        (0o750, true),
        (0o2750, true),
        (0o777, false),
        (0o1777, false),
        (0o2770, false),
    ] {
        let place = place();
        if full {
            place.create().await;
            let key = Namespace::new("cache").unwrap().key("a");
            place.store.set(&key, b"x", None).await.unwrap();
            let aside = format!("{}.corrupt", SessionId::random().to_hex());
            for name in [".tmp-x", &aside] {
                fs::write(place.path.join(name), "").unwrap();
                set(&place.path.join(name), 0o600).unwrap();
            }
        }
        set(&place.path, open).unwrap();
        let store = DirectoryStore::open(&place.path).expect("it can be closed");
        assert_eq!(mode(&place.path) & 0o777, 0o700, "{open:o}");
        assert_eq!(store.has_session(&place.id).await.unwrap(), full);
        let lines = log::lines_with(&place.path.display().to_string());
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("others than its owner"), "{lines:?}");
    }
}

#[async_test]
async fn an_open_directory_that_may_not_be_closed_is_left_as_it_is() {
    for (open, stranger) in [
        // It is a home directory, the root of the system, or `/tmp`.
        (0o755, Some("notes.txt")),
        (0o755, Some("notes")),
        (0o755, Some("bin/")),
        (0o755, Some("0123456789abcdef0123456789abcdef")),
        (0o1777, Some("x")),
        // Any user may have created its contents.
        (0o770, None),
        (0o777, None),
        (0o702, None),
    ] {
        let place = place();
        place.create().await;
        match stranger.map(|name| (name.strip_suffix('/'), name)) {
            Some((Some(directory), _)) => fs::create_dir(place.path.join(directory)).unwrap(),
            // The name of the file is foreign, though its mode is not.
            Some((None, file)) => {
                let file = place.path.join(file);
                fs::write(&file, "").unwrap();
                let strange = file.extension().is_some();
                let mode = if strange { 0o600 } else { 0o644 };
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            }
            None => {}
        }
        fs::set_permissions(&place.path, fs::Permissions::from_mode(open)).unwrap();
        let error = DirectoryStore::open(&place.path).expect_err("it is open to others");
        let error = error.to_string();
        assert!(error.contains("chmod 700"), "{error}");
        assert!(error.contains("a new directory inside it"), "{error}");
        assert_eq!(mode(&place.path), open);
        // The named remedy works.
        DirectoryStore::open(place.path.join("inside")).unwrap();
    }
}

/// Without a look beyond its cache, the system follows no link of this kind. So nothing is read at
/// once.
#[cfg(target_os = "linux")]
#[async_test]
async fn a_file_that_cannot_be_read_without_waiting_is_read_in_a_thread() {
    let there = tempfile::tempdir().unwrap();
    let inside = there.path().strip_prefix("/").unwrap();
    let path = Path::new("/proc/self/root").join(inside).join("sessions");
    let store = DirectoryStore::open(&path).unwrap();
    let id = SessionId::random();
    let revision = create(&store, &id).await;
    let stored = store.load_session(&id).await.unwrap();
    assert_eq!(stored.map(|stored| stored.revision), Some(revision));
    let key = Namespace::new("cache").unwrap().key("a");
    store.set(&key, b"value", Some(HOUR)).await.unwrap();
    let value = store.get(&key).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
}
