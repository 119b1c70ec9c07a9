//! An invalid record opens no session and is never overwritten, and its visitor gets a new session.

use std::time::Duration;

use rocket::async_test;
use rocket::futures::TryStreamExt;
use rocket_session_kit::SessionId;
use rocket_session_kit::store::{Precondition, RecordHeader, Save, SessionStore, Stored};

use crate::support::App;

/// Replaces the bytes of the only session.
async fn replace(app: &App, bytes: &[u8]) -> SessionId {
    let (id, _) = app.list().await.remove(0);
    let revision = app.probe.load_session(&id).await.unwrap().unwrap().revision;
    let save = Save {
        bytes,
        ttl: Duration::from_secs(3600),
        precondition: Precondition::Revision(revision),
    };
    app.probe.save_session(&id, save).await.unwrap();
    app.probe.calls();
    id
}

fn bytes(stored: &Stored) -> &str {
    std::str::from_utf8(&stored.bytes).unwrap()
}

#[async_test]
async fn a_record_that_cannot_be_read_is_never_overwritten() {
    let head = r#"{"rev":"9f86d081884c7d65","expires":99999999999,"#;
    for rest in [
        "",
        "garbage",
        r#""v":1,"created":1,"accessed":1"#,
        r#""v":1}"#,
        r#""v":2,"created":1,"accessed":99999999999,"values":{"n":1}}"#,
        r#""v":1,"created":1,"accessed":99999999999,"values":[]}"#,
        r#""v":1,"created":1,"accessed":99999999999,"values":{"n":1},"values":{"n":2}}"#,
        r#""v":1,"created":1,"accessed":99999999999,"notifications":[{"id":"1"}]}"#,
        r#""v":1,"created":1,"accessed":99999999999,"id":"no id"}"#,
        r#""v":1,"created":1,"accessed":99999999999,"new":tru}"#,
        r#""v":1,"created":1,"accessed":99999999999,"values":{"n":1}} and more"#,
        r#""v":1,"created":-1,"accessed":99999999999,"values":{}}"#,
    ] {
        let app = App::launch().await;
        let visitor = app.known_visitor().await;
        let text = format!("{head}{rest}");
        let id = replace(&app, text.as_bytes()).await;

        let before = visitor.cookie("id");
        let response = visitor.get("/set/a/1").await;
        assert_eq!(response.status.code, 200, "{rest}");
        assert!(response.sets_session(), "{rest}");
        assert_ne!(visitor.cookie("id"), before, "{rest}");
        assert_eq!(visitor.get("/keys").await.body, "a", "{rest}");
        let left = app
            .probe
            .load_session(&id)
            .await
            .unwrap()
            .expect("it was left alone");
        assert_eq!(bytes(&left), text);
        assert_eq!(app.list().await.len(), 1, "{rest}");
    }
}

#[async_test]
async fn untouched_values_survive_a_request_byte_for_byte() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let now = now(&app);
    let values = r#""big":123456789012345678901234567890,"exact":1.10,"deep":{"z":1,"a":[ 1 , 2 ]},"é\u0000\"":"\ud83d\ude00""#;
    let text = format!(
        r#"{{"rev":"9f86d081884c7d65","expires":99999999999,"v":1,"created":{now},"accessed":{now},"values":{{{values}}}}}"#
    );
    let id = replace(&app, text.as_bytes()).await;
    visitor.get("/add/count/1").await;
    let stored = app.probe.load_session(&id).await.unwrap().unwrap();
    assert!(bytes(&stored).contains(values), "{}", bytes(&stored));
    assert!(
        bytes(&stored).ends_with(r#","count":1}}"#),
        "{}",
        bytes(&stored)
    );
}

#[async_test]
async fn a_too_deeply_nested_value_is_an_error_when_it_is_read() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let now = now(&app);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let text = format!(
        r#"{{"rev":"9f86d081884c7d65","expires":99999999999,"v":1,"created":{now},"accessed":{now},"values":{{"deep":{deep},"n":1}}}}"#
    );
    replace(&app, text.as_bytes()).await;
    assert_eq!(visitor.get("/get/n").await.body, "1");
    assert_eq!(visitor.get("/get/deep").await.status.code, 500);
    assert_eq!(visitor.get("/add/n/1").await.body, "2");
}

#[async_test]
async fn every_record_begins_with_a_header_of_fixed_width() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    let mut revisions = std::collections::HashSet::new();
    for n in 0..50 {
        visitor.get(&format!("/set/n/{n}x")).await;
        let stored = app.probe.load_session(&id).await.unwrap().unwrap();
        let head = RecordHeader::read(&stored.bytes).expect("it has a header");
        assert!(stored.bytes[..RecordHeader::MAX_LEN].contains(&b','));
        assert!(
            revisions.insert(head.revision),
            "two saves have one revision"
        );
    }
}

/// The seconds since 1970 by the clock of `app`.
fn now(app: &App) -> u64 {
    let since = app.clock.now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// Returns the only session with a user or values: its id and its
/// bytes.
async fn the_session(app: &App) -> (SessionId, String) {
    let (id, _) = app.list().await.remove(0);
    let stored = app.probe.load_session(&id).await.unwrap().unwrap();
    (id, bytes(&stored).to_owned())
}

#[async_test]
async fn fields_that_a_newer_version_added_survive_saves_touches_and_renewals() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let now = now(&app);
    let added = [
        r#""number":123456789012345678901234567890.10"#,
        r#""deep":{"z":[1, 2],"a":null}"#,
        r#""\u0041ttached":"x""#,
    ];
    let notice = r#"{"id":"00000000000000aa","queue":"info","value":"hi","icon":{"of":1.10}}"#;
    let text = format!(
        r#"{{"rev":"9f86d081884c7d65","expires":99999999999,{},"v":1,{},"created":{now},"accessed":{now},"values":{{"n":1}},{},"notifications":[{notice}]}}"#,
        added[0], added[1], added[2]
    );
    let before = replace(&app, text.as_bytes()).await;
    let unchanged_id = async |act: &str| {
        let (id, text) = the_session(&app).await;
        assert!(text.contains(r#""icon":{"of":1.10}"#), "{act}: {text}");
        for field in [added[0], added[1], r#""Attached":"x""#] {
            assert_eq!(text.matches(field).count(), 1, "{act}: {text}");
        }
        assert!(
            RecordHeader::read(text.as_bytes()).is_some(),
            "{act}: {text}"
        );
        id
    };
    assert_eq!(visitor.get("/add/n/1").await.body, "2");
    assert_eq!(unchanged_id("a save").await, before);
    app.clock.advance(Duration::from_secs(61));
    visitor.get("/touch").await;
    assert_eq!(unchanged_id("a touch").await, before);
    app.probe
        .stub_next_save(rocket_session_kit::store::Saved::Changed);
    assert_eq!(visitor.get("/add/n/1").await.body, "3");
    assert_eq!(unchanged_id("a save that was done again").await, before);
    visitor.get("/renew").await;
    assert_ne!(unchanged_id("a renewal").await, before);
    visitor.get("/logout").await;
    assert!(app.list().await.is_empty(), "it ends with the session");
}

#[async_test]
async fn a_record_copied_to_another_id_opens_no_session() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let (alice, bob) = (app.visitor(), app.visitor());
            alice.get("/login/alice").await;
            let (of_alice, record) = the_session(&app).await;
            bob.get("/login/bob").await;
            let mut all = app.list().await;
            all.retain(|(id, _)| *id != of_alice);
            let of_bob = all[0].0;
            let there = app.probe.load_session(&of_bob).await.unwrap().unwrap();
            let save = Save {
                bytes: record.as_bytes(),
                ttl: Duration::from_secs(3600),
                precondition: Precondition::Revision(there.revision),
            };
            app.probe.save_session(&of_bob, save).await.unwrap();

            assert_eq!(bob.get("/who").await.body, "nobody");
            assert_eq!(alice.get("/who").await.body, "alice");
            let listed: Vec<_> = app.list().await.into_iter().map(|(id, _)| id).collect();
            assert_eq!(listed, [of_alice]);
            assert!(bob.get("/set/a/1").await.sets_session());
            assert_eq!(bob.get("/keys").await.body, "a");
            assert_eq!(alice.get("/keys").await.body, "");
        },
    )
    .await;
}

#[async_test]
async fn a_record_without_its_id_is_read_and_gains_it_on_save() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let now = now(&app);
    let text = format!(
        r#"{{"rev":"9f86d081884c7d65","expires":99999999999,"v":1,"created":{now},"accessed":{now},"values":{{"n":1}}}}"#
    );
    let id = replace(&app, text.as_bytes()).await;
    assert_eq!(visitor.get("/add/n/1").await.body, "2");
    let names = |id: SessionId| format!(r#""id":"{}""#, id.to_hex());
    let (there, text) = the_session(&app).await;
    assert!(there == id && text.contains(&names(id)), "{text}");
    visitor.get("/renew").await;
    let (there, text) = the_session(&app).await;
    assert!(there != id && text.contains(&names(there)), "{text}");
    let stored = app.probe.load_session(&id).await.unwrap().unwrap();
    assert!(bytes(&stored).contains(&names(id)), "{}", bytes(&stored));
}

#[async_test]
async fn unreadable_records_and_tombstones_are_not_listed() {
    let app = App::launch().await;
    let garbage = app.known_visitor().await;
    replace(&app, br#"{"rev":"9f86d081884c7d65","expires":99999999999,"#).await;
    assert!(app.list().await.is_empty());
    app.known_visitor().await.get("/renew").await;
    app.known_visitor().await.get("/remove/n").await;
    let kept = app.probe.iter_sessions().try_collect::<Vec<_>>().await;
    assert_eq!(
        kept.unwrap().len(),
        4,
        "garbage, two that renewed, one empty"
    );
    let listed = app.list().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.keys(), ["n"]);
    assert_eq!(garbage.get("/keys").await.body, "");
}
