//! What is no session is kept aside, and its visitor starts anew.

use std::time::Duration;

use rocket::async_test;
use rocket_session_kit::{Expect, Head, Save, SessionId, SessionStore, Stored};

use crate::support::App;

/// Puts `bytes` where the one session is.
async fn replace(app: &App, bytes: &[u8]) -> SessionId {
    let (id, _) = app.list().await.remove(0);
    let revision = app.probe.load_session(&id).await.unwrap().unwrap().revision;
    let save = Save {
        bytes,
        ttl: Duration::from_secs(3600),
        expect: Expect::Revision(revision),
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
        r#""v":1,"created":1,"accessed":99999999999,"values":{"n":1},"unknown":1}"#,
        r#""v":1,"created":1,"accessed":99999999999,"values":{"n":1}} and more"#,
        r#""v":1,"created":-1,"accessed":99999999999,"values":{}}"#,
    ] {
        let app = App::launch().await;
        let visitor = app.known_visitor().await;
        let text = format!("{head}{rest}");
        let id = replace(&app, text.as_bytes()).await;

        let before = visitor.cookie("id");
        let answer = visitor.get("/set/a/1").await;
        assert_eq!(answer.status.code, 200, "{rest}");
        assert!(answer.sets_session(), "{rest}");
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
async fn what_a_request_does_not_touch_survives_it_to_the_byte() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let now = app
        .clock
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
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
async fn a_value_nested_beyond_reason_is_an_error_where_it_is_read() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let now = app
        .clock
        .now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
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
async fn every_record_begins_with_a_head_of_fixed_width() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    let mut revisions = std::collections::HashSet::new();
    for n in 0..50 {
        visitor.get(&format!("/set/n/{n}x")).await;
        let stored = app.probe.load_session(&id).await.unwrap().unwrap();
        let head = Head::read(&stored.bytes).expect("it has a head");
        assert!(stored.bytes[..Head::MAX_LEN].contains(&b','));
        assert!(
            revisions.insert(head.revision),
            "two saves have one revision"
        );
    }
}
