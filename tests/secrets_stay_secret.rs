//! No id, key, cookie or value appears in a log, an error or the output of `Debug`.

use std::time::Duration;

use rocket::async_test;
use rocket_session_kit::store::{Precondition, RecordHeader, Revision, Save, SessionStore, Stored};
use rocket_session_kit::testing::{Act, Probe};
use rocket_session_kit::{Clock, DirectoryStore, Error, ErrorKind, MemoryStore};

use crate::support::{App, log};

#[async_test]
async fn no_log_line_and_no_response_holds_a_secret() {
    let app = App::configured(|f| f.merge(("sessions.store_timeout", 50))).await;
    let visitor = app.visitor();
    let secret = "s3cr3tvalu3";
    let key = "s3cr3tkey";
    visitor.get(&format!("/set/{key}/{secret}")).await;
    visitor.get("/login/s3cr3tuser").await;
    let mut secrets = vec![secret.to_owned(), key.to_owned(), "s3cr3tuser".to_owned()];
    let mut bodies = Vec::new();
    for act in [Act::Load, Act::Save, Act::Delete] {
        for fault in [Probe::fail, Probe::hang, Probe::panic] {
            fault(&app.probe, act);
            for path in [
                "/touch",
                "/set/a/1",
                "/add/s3cr3tkey/1",
                "/renew",
                "/login/other",
                "/logout",
            ] {
                let visitor = visitor.copy();
                let response = visitor.get(path).await;
                bodies.push(response.body);
            }
            app.probe.heal();
            // The log-outs above may have succeeded.
            visitor.get(&format!("/set/{key}/{secret}")).await;
            visitor.get("/login/s3cr3tuser").await;
            secrets.extend(visitor.cookie("id"));
            secrets.extend(app.list().await.iter().map(|(id, _)| id.to_hex()));
        }
    }
    // A record that cannot be read.
    let (id, _) = app.list().await.pop().expect("there is one");
    let revision = app.probe.load_session(&id).await.unwrap().unwrap().revision;
    let bytes = format!(r#"{{"rev":"9f86d081884c7d65","expires":99999999999,"{secret}":1}}"#);
    let save = Save {
        bytes: bytes.as_bytes(),
        ttl: Duration::from_secs(60),
        precondition: Precondition::Revision(revision),
    };
    app.probe.save_session(&id, save).await.unwrap();
    visitor.get("/touch").await;
    app.list().await;

    assert!(!log::lines_with("store").is_empty(), "something was logged");
    for secret in secrets {
        let lines = log::lines_with(&secret);
        assert!(lines.is_empty(), "a log tells a secret: {lines:?}");
        let leaks: Vec<_> = bodies
            .iter()
            .filter(|body| body.contains(&secret))
            .collect();
        assert!(leaks.is_empty(), "a response holds a secret: {leaks:?}");
    }
}

#[async_test]
async fn a_store_that_stays_down_is_logged_once_a_second_and_not_once_a_request() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Load);
    let count = || log::lines_with("cannot reach the store: a test says so").len();
    let before = count();
    for _ in 0..50 {
        visitor.get("/touch").await;
    }
    // Other tests of this binary log too, but not fifty times.
    assert!(count() - before < 25, "{} lines", count() - before);
}

#[async_test]
async fn debug_output_shows_no_session_data() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", rocket::routes![debug])).await;
    let visitor = app.visitor();
    visitor.get("/set/s3cr3tkey/s3cr3tvalu3").await;
    visitor.get("/login/s3cr3tuser").await;
    let (id, record) = app.list().await.remove(0);
    let stored = app.probe.load_session(&id).await.unwrap().unwrap();
    let head = RecordHeader::read(&stored.bytes).unwrap();
    let save = Save {
        bytes: &stored.bytes,
        ttl: Duration::ZERO,
        precondition: Precondition::Absent,
    };
    let there = tempfile::tempdir().unwrap();
    let directory = DirectoryStore::open(there.path().join("sessions")).unwrap();
    let memory = MemoryStore::new();
    let bytes = br#"{"rev":"9f86d081884c7d65","expires":99999999999,"values":{"s3cr3tkey":1}}"#;
    memory
        .save_session(&id, Save { bytes, ..save })
        .await
        .unwrap();
    let shown = [
        visitor.get("/debug").await.body,
        format!("{id:?} {record:?} {stored:?} {head:?} {save:?} {directory:?} {memory:?}"),
        format!(
            "{:?} {:?} {:?}",
            Stored::new(bytes.to_vec()),
            Revision(1),
            Clock::system()
        ),
        format!(
            "{:?} {:?}",
            app.sessions(),
            Error::new(ErrorKind::Value, "do it").at("a place")
        ),
    ];
    let cookie = visitor.cookie("id").unwrap();
    for secret in ["s3cr3t", &id.to_hex(), &cookie, &cookie[..20]] {
        assert!(!shown.iter().any(|text| text.contains(secret)), "{shown:?}");
    }
}

#[rocket::get("/debug")]
fn debug(session: &rocket_session_kit::Session) -> String {
    session
        .insert("s3cr3tother", "s3cr3tother")
        .expect("it is small");
    format!("{session:?}")
}

#[async_test]
async fn no_store_holds_a_cookie() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let cookie = visitor.cookie("id").unwrap();
    for (id, _) in app.list().await {
        let stored = app.probe.load_session(&id).await.unwrap().unwrap();
        let text = String::from_utf8(stored.bytes).unwrap();
        assert!(!text.contains(&cookie) && !text.contains(&cookie[..20]));
    }
}
