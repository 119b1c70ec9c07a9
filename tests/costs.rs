//! The number of calls to the store.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rocket::figment::Figment;
use rocket::http::Status;
use rocket::{async_test, get, routes};
use rocket_session_kit::{Result, Session, SessionId};

use crate::support::App;
use crate::support::process::{Process, worker};

#[async_test]
async fn a_request_that_uses_no_session_costs_nothing() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    for visitor in [visitor, app.visitor()] {
        let response = visitor.get("/bare").await;
        assert_eq!(
            (response.header("Vary"), response.header("Set-Cookie")),
            (None, None)
        );
        visitor.get("/nowhere").await;
    }
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn a_visitor_without_a_session_who_writes_nothing_costs_nothing() {
    let app = App::launch().await;
    for path in [
        "/touch",
        "/keys",
        "/get/a",
        "/existing",
        "/who",
        "/remove/a",
        "/age",
    ] {
        let response = app.visitor().get(path).await;
        assert!(response.session_cookie().is_none(), "{path}");
    }
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn a_read_is_one_call() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/get/n").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
}

#[async_test]
async fn a_read_and_a_write_are_two_calls() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/add/count/1").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    visitor.get("/set_many/50/10").await;
    assert_eq!(
        app.probe.calls().tuple(),
        (1, 1, 0, 0),
        "however much is written"
    );
}

/// Calls `save()`, and leaves one more change to the final save.
#[get("/save_and_add")]
async fn save_and_add(session: &Session) -> Result<()> {
    session.increment("a", 1)?;
    session.save().await?;
    session.increment("b", 1)?;
    Ok(())
}

#[async_test]
async fn a_second_save_in_a_request_needs_no_second_load() {
    let settings = |figment: Figment| figment.merge(("sessions.idle_timeout", 600));
    let app = App::built(settings, |rocket| rocket.mount("/", routes![save_and_add])).await;
    let visitor = app.known_visitor().await;
    visitor.get("/save_and_add").await;
    assert_eq!(app.probe.calls().tuple(), (1, 2, 0, 0));
    // Past half of the idle timeout, the session is saved when it is loaded, too.
    app.clock.advance(Duration::from_secs(301));
    visitor.get("/save_and_add").await;
    assert_eq!(app.probe.calls().tuple(), (1, 3, 0, 0));
    assert_eq!(visitor.get("/get/b").await.body, "2");
}

/// Makes a change, and fails.
#[get("/fails")]
fn fails(session: &Session) -> Status {
    let changed = session.increment("a", 1);
    // A panic would have the expected status too.
    changed.map_or(Status::ImATeapot, |_| Status::InternalServerError)
}

#[async_test]
async fn a_failed_request_saves_neither_changes_nor_its_access_time() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![fails])).await;
    let visitor = app.known_visitor().await;
    app.clock.advance(Duration::from_secs(120));
    assert_eq!(visitor.get("/fails").await.status.code, 500);
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    // A request that does not is due to save the time.
    visitor.get("/touch").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
}

#[async_test]
async fn a_new_session_is_one_call() {
    let app = App::launch().await;
    app.visitor().get("/set/a/1").await;
    assert_eq!(app.probe.calls().tuple(), (0, 1, 0, 0));
}

#[async_test]
async fn a_renewal_is_three_calls_and_an_end_two_after_the_load() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/renew").await;
    assert_eq!(app.probe.calls().tuple(), (1, 2, 0, 0));
    visitor.get("/logout").await;
    assert_eq!(app.probe.calls().tuple(), (1, 1, 1, 0));
}

#[async_test]
async fn an_end_of_a_users_session_by_its_id_is_two_calls_and_its_reason_none() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let (id, _) = app.list().await.remove(0);
    app.probe.calls();
    assert!(app.sessions().end(&id).await.expect("the store responds"));
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    visitor.get("/who").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
}

#[async_test]
async fn a_conflict_is_two_more_calls() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    app.probe
        .stub_next_save(rocket_session_kit::store::Saved::Changed);
    visitor.get("/add/count/1").await;
    assert_eq!(app.probe.calls().tuple(), (2, 2, 0, 0));
}

#[async_test]
async fn requests_of_robots_leave_no_sessions_behind() {
    // Unknown ids, and log-outs without a session.
    let app = App::launch().await;
    for n in 0..1000 {
        let visitor = app.visitor();
        visitor.set_cookie("id", &format!("{n:032x}"));
        visitor.get("/touch").await;
        visitor.set_cookie("id", &format!("{n:032x}"));
        visitor.get("/logout").await;
    }
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
    assert!(app.list().await.is_empty());
}

/// Runs the worker under strace, and returns how many system calls it makes to files.
fn system_calls(act: &str, directory: &std::path::Path, id: &str, times: u64) -> usize {
    let trace = directory.with_extension(format!("{act}.{times}"));
    let worker = worker(act, directory, id, times);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-o"])
        .arg(&trace)
        .arg(worker.get_program())
        .args(worker.get_args());
    let output = strace
        .output()
        .expect("strace is needed: apt-get install strace");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Calls that wake the runtime's threads, or by which a debug build checks its files, are not counted.
    const OTHERS: [&str; 13] = [
        "futex",
        "epoll_",
        "fcntl",
        "getrandom",
        "sched_",
        "mmap",
        "munmap",
        "mprotect",
        "madvise",
        "brk",
        "clone",
        "rseq",
        "sigaltstack",
    ];
    let calls = fs::read_to_string(trace).unwrap();
    let calls = calls
        .lines()
        .filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim_start()));
    let of_files = calls.filter(|call| {
        let wakes = call.starts_with("write(") && call.contains("\", 8)");
        let continued =
            call.starts_with("<...") || call.starts_with("+++") || call.starts_with("---");
        !wakes && !continued && !OTHERS.iter().any(|other| call.starts_with(other))
    });
    of_files.count()
}

#[test]
fn a_load_is_four_system_calls_and_a_save_eleven() {
    let there = tempfile::tempdir().unwrap();
    let directory = there.path().join("sessions");
    let id = SessionId::random().to_hex();
    assert!(Process::start(&mut worker("create", &directory, &id, 1)).wait());
    let each = |act| {
        let many = system_calls(act, &directory, &id, 120);
        let few = system_calls(act, &directory, &id, 20);
        // Threads start and end in one run and not in the other.
        ((many - few) as f64 / 100.0).round()
    };
    assert_eq!(each("load"), 4.0);
    assert_eq!(each("increment"), 4.0 + 11.0);
}
