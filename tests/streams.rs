//! Streams and panics: the session after the response's head has been sent.

use rocket::futures::future::join;
use rocket::response::stream::TextStream;
use rocket::{State, async_test, get, routes};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{ErrorKind, Session};

use crate::support::{App, Gates, log};

#[get("/stream?<what>")]
fn stream<'r>(what: &'r str, session: &'r Session) -> TextStream![String + 'r] {
    TextStream! {
        match what {
            "add" => {
                session.increment("streamed", 1).expect("it is a number");
                yield saved(session).await;
            }
            "end" => {
                session.end();
                yield saved(session).await;
            }
            "login" => {
                session.log_in("alice");
                yield saved(session).await;
            }
            _ => {
                session.increment("lost", 1).expect("it is a number");
                yield "not saved".to_owned();
            }
        }
    }
}

async fn saved(session: &Session) -> String {
    match session.save().await {
        Ok(()) => "saved".into(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
            error.to_string()
        }
    }
}

#[get("/panicking_update")]
fn panicking_update(session: &Session) {
    session
        .update("n", |value: &mut String| {
            assert!(value.as_str() == "0", "the second time it panics");
            value.push('!');
        })
        .expect("it is a text");
}

async fn app() -> App {
    App::built(
        |f| f,
        |rocket| rocket.mount("/", routes![stream, panicking_update]),
    )
    .await
}

#[async_test]
async fn a_stream_can_save_its_changes() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    assert_eq!(visitor.get("/stream?what=add").await.body, "saved");
    assert_eq!(visitor.get("/get/streamed").await.body, "1");
    assert_eq!(visitor.get("/stream?what=end").await.body, "saved");
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn unsaved_changes_of_a_stream_are_logged() {
    const LOST: &str = "a session was changed after its response was sent";
    let app = app().await;
    let visitor = app.known_visitor().await;
    // A concurrent test may lose something, too.
    let before = log::lines_with(LOST).len();
    assert_eq!(visitor.get("/stream?what=nothing").await.body, "not saved");
    assert!(log::lines_with(LOST).len() > before);
    assert_eq!(visitor.get("/keys").await.body, "n");
}

#[async_test]
async fn a_change_that_needs_a_cookie_is_refused_after_the_headers() {
    let app = app().await;
    let stranger = app.visitor();
    assert!(
        stranger
            .get("/stream?what=add")
            .await
            .body
            .contains("cookie")
    );
    assert!(
        stranger
            .get("/stream?what=login")
            .await
            .body
            .contains("cookie")
    );
    let visitor = app.known_visitor().await;
    assert!(
        visitor
            .get("/stream?what=login")
            .await
            .body
            .contains("cookie")
    );
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(app.list().await.len(), 1);
}

#[async_test]
async fn an_update_that_panics_when_reapplied_is_an_error() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let gate = app.probe.gate(Act::Save);
    let request = visitor.get("/panicking_update");
    let other = visitor.copy();
    let meddling = async {
        gate.arrived().await;
        app.probe.gate(Act::Save).open_for_all();
        other.get("/set/n/1").await;
        gate.open();
    };
    let (response, ()) = join(request, meddling).await;
    assert_eq!(response.status.code, 500, "{response:?}");
    assert_eq!(visitor.get("/get/n").await.body, "\"1\"");
    assert_eq!(
        visitor.get("/set/n/2").await.status.code,
        200,
        "the session is not stuck"
    );
}

/// Yields the session's contents each time the test opens its gate, until the session ends.
#[get("/watch")]
fn watch<'r>(session: &'r Session, gates: &'r State<Gates>) -> TextStream![String + 'r] {
    TextStream! {
        session.insert("own", 1).expect("it is small");
        loop {
            gates.wait(Some("watch")).await;
            match session.reload().await {
                Ok(true) => yield format!("{};", session.keys().join(",")),
                Ok(false) => break,
                Err(error) => yield format!("{:?};", error.kind()),
            }
        }
        // Nothing remains, and nothing comes back.
        assert!(session.user().is_none() && session.is_empty());
        session.save().await.expect_err("it is over");
        yield "over".to_owned();
    }
}

#[async_test]
async fn a_stream_sees_changes_of_others_and_the_end_of_its_session() {
    App::on_every_store(
        |rocket| rocket.mount("/", routes![watch]),
        async |app| {
            for (end, path) in ["/logout", "/login/alice", "/remove/n"].iter().enumerate() {
                let visitor = app.known_visitor().await;
                let watcher = visitor.copy();
                let gate = app.gate("watch");
                let others = async {
                    gate.arrived().await;
                    visitor.get("/set/theirs/1").await;
                    gate.open();
                    gate.arrived().await;
                    app.probe.fail(Act::Load);
                    gate.open();
                    gate.arrived().await;
                    app.probe.heal();
                    visitor.get("/remove/theirs").await;
                    visitor.get(path).await;
                    gate.open();
                };
                let (response, ()) = join(watcher.get("/watch"), others).await;
                // The stream's own change is there, although it was not saved.
                assert_eq!(response.body, "n,theirs,own;Unavailable;over", "{path}");
                if end != 1 {
                    assert!(app.list().await.is_empty(), "{path}");
                } else {
                    visitor.get("/logout").await;
                }
            }
        },
    )
    .await;
}

#[async_test]
async fn a_stream_follows_its_session_through_renewals_and_can_save_there() {
    App::on_every_store(
        |rocket| rocket.mount("/", routes![watch, watch_and_save]),
        async |app| {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            let watcher = visitor.copy();
            let gate = app.gate("watch");
            let others = async {
                for name in ["first", "second"] {
                    gate.arrived().await;
                    assert!(visitor.get("/renew").await.sets_session());
                    visitor.get(&format!("/set/{name}/1")).await;
                    gate.open();
                }
                gate.arrived().await;
                assert_eq!(visitor.get("/get/saved").await.body, "2");
                visitor.get("/login/bob").await;
                gate.open();
            };
            let (response, ()) = join(watcher.get("/watch_and_save"), others).await;
            assert_eq!(response.body, "alice first;alice first,second;");
        },
    )
    .await;
}

/// Yields the user and the names of the session's values each time the test opens its gate, and counts that.
#[get("/watch_and_save")]
fn watch_and_save<'r>(session: &'r Session, gates: &'r State<Gates>) -> TextStream![String + 'r] {
    TextStream! {
        loop {
            gates.wait(Some("watch")).await;
            if !session.reload().await.expect("the store is there") {
                break;
            }
            let names = session.keys().into_iter().filter(|name| name != "n" && name != "saved");
            let names = names.collect::<Vec<_>>().join(",");
            yield format!("{} {names};", session.user().unwrap_or_default());
            session.increment("saved", 1).expect("it is a number");
            session.save().await.expect("it is saved under the new id");
        }
    }
}

#[async_test]
async fn a_stream_that_is_late_after_a_renewal_is_over() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![watch])).await;
    let visitor = app.known_visitor().await;
    let watcher = visitor.copy();
    let gate = app.gate("watch");
    let others = async {
        gate.arrived().await;
        visitor.get("/renew").await;
        app.clock.advance(std::time::Duration::from_secs(11));
        gate.open();
    };
    let (response, ()) = join(watcher.get("/watch"), others).await;
    assert_eq!(response.body, "over");
}
