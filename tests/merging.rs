//! Requests of one visitor run at the same time, and none loses an update.

use rocket::futures::future::{join, join_all};
use rocket::{State, async_test, get, routes};
use rocket_session_kit::store::Saved;
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Result, Session};

use crate::support::{App, Gates, log};

/// Lets `first` and `second` load the same session, then lets them save in this order.
async fn race(app: &App, visitor: &crate::support::Visitor<'_>, first: &str, second: &str) {
    let (one, two) = (app.gate("one"), app.gate("two"));
    let (first, second) = (format!("{first}?gate=one"), format!("{second}?gate=two"));
    let second = async {
        let response = visitor.get(&second).await;
        assert_eq!(response.status.code, 200);
    };
    let first = async {
        let response = visitor.get(&first).await;
        assert_eq!(response.status.code, 200);
        two.open();
    };
    let both_loaded = async {
        one.arrived().await;
        two.arrived().await;
        one.open();
    };
    join(join(first, second), both_loaded).await;
}

#[async_test]
async fn concurrent_changes_of_different_values_are_both_kept() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/set/a/1", "/set/b/2").await;
    assert_eq!(visitor.get("/get/a").await.body, "\"1\"");
    assert_eq!(visitor.get("/get/b").await.body, "\"2\"");
}

/// Sets two values, one of them twice.
#[get("/set_two?<gate>")]
async fn set_two(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> Result<()> {
    gates.wait(gate).await;
    session.insert("a", 1)?;
    session.insert("b", 1)?;
    session.insert("b", 2)
}

#[async_test]
async fn every_value_that_one_request_sets_is_kept() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![set_two])).await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/set/c/3", "/set_two").await;
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "\"3\"")] {
        let there = visitor.get(&format!("/get/{name}")).await.body;
        assert_eq!(there, value, "{name}");
    }
}

#[async_test]
async fn concurrent_increments_add_up() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/add/count/2", "/add/count/3").await;
    assert_eq!(visitor.get("/get/count").await.body, "5");
}

#[async_test]
async fn an_update_is_reapplied_to_the_state_of_another_request() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/append/cart/tea", "/append/cart/milk").await;
    assert_eq!(visitor.get("/get/cart").await.body, r#"["tea","milk"]"#);
}

#[async_test]
async fn the_later_of_two_inserted_values_stays() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/set/a/first", "/set/a/second").await;
    assert_eq!(visitor.get("/get/a").await.body, "\"second\"");
}

#[get("/read_and_write/<key>?<gate>")]
async fn read_and_write(
    key: &str,
    gate: Option<&str>,
    session: &Session,
    gates: &State<Gates>,
) -> Result<()> {
    let count: u32 = session.get(key)?.unwrap_or(0);
    session.get::<u32>("n2")?;
    gates.wait(gate).await;
    session.insert(key, count + 1)?;
    session.insert("x", true)?;
    session.insert(key, count + 2)
}

#[async_test]
async fn an_overwritten_concurrent_change_is_logged_in_the_debug_profile() {
    const LOST: &str = "that change is overwritten";
    let count = || log::lines_with(LOST).len();
    for (profile, first, lines) in [
        ("debug", "/read_and_write/count", 1),
        ("debug", "/add/count/7", 1),
        ("debug", "/remove/count", 1),
        // Another value has changed.
        ("debug", "/set/other/1", 0),
        ("debug", "/add/n2/1", 0),
        ("debug", "/touch", 0),
        ("release", "/add/count/7", 0),
    ] {
        let app = App::built(
            |figment| {
                figment
                    .merge(("sessions.cookie.secure", false))
                    .select(profile)
            },
            |rocket| rocket.mount("/", routes![read_and_write]),
        )
        .await;
        let visitor = app.known_visitor().await;
        visitor.get("/add/count/10").await;
        let before = count();
        race(&app, &visitor, first, "/read_and_write/count").await;
        assert_eq!(count() - before, lines, "{profile} {first}");
        assert_eq!(
            visitor.get("/get/count").await.body,
            "12",
            "the later stays"
        );
    }
    // A change that reads nothing, or that is made to the newer value, loses nothing.
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let before = count();
    race(&app, &visitor, "/set/a/1", "/set/a/2").await;
    race(&app, &visitor, "/add/b/1", "/add/b/2").await;
    assert_eq!(count(), before);
    let said = log::lines_with(LOST);
    assert!(said.iter().all(|line| line.starts_with("WARN ")));
    assert!(said.iter().all(|line| line.contains("`session.update`")));
    assert!(said.iter().all(|line| !line.contains("count")), "{said:?}");
}

#[async_test]
async fn a_concurrent_save_does_not_undo_a_removal() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/set/a/1").await;
    race(&app, &visitor, "/remove/a", "/set/b/2").await;
    assert_eq!(visitor.get("/keys").await.body, "n,b");
    race(&app, &visitor, "/set/c/3", "/remove/b").await;
    assert_eq!(visitor.get("/keys").await.body, "n,c");
}

#[async_test]
async fn clearing_removes_concurrently_inserted_values() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    race(&app, &visitor, "/set/a/1", "/clear").await;
    assert_eq!(visitor.get("/keys").await.body, "");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn a_concurrent_reader_undoes_no_change() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/set/a/1", "/touch").await;
    assert_eq!(visitor.get("/get/a").await.body, "\"1\"");
}

#[async_test]
async fn a_hundred_requests_at_once_all_count() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("all");
    let requests = (0..100).map(|_| visitor.get("/add/count/1?gate=all"));
    let all_loaded = async {
        for _ in 0..100 {
            gate.arrived().await;
        }
        gate.open_for_all();
    };
    let (responses, ()) = join(join_all(requests), all_loaded).await;
    assert!(responses.iter().all(|response| response.status.code == 200));
    assert_eq!(visitor.get("/get/count").await.body, "100");
}

#[async_test]
async fn a_save_with_repeated_conflicts_succeeds() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    for _ in 0..20 {
        app.probe.stub_next_save(Saved::Changed);
    }
    assert_eq!(visitor.get("/add/count/1").await.status.code, 200);
    assert_eq!(visitor.get("/get/count").await.body, "1");
}

#[async_test]
async fn a_save_with_a_lost_response_counts_once() {
    // Some drivers repeat a command after a broken connection.
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let gate = app.probe.gate(Act::Save);
    let request = visitor.get("/add/count/1");
    let meddling = async {
        gate.arrived().await;
        // The store keeps the save, and responds as it would respond to its repetition.
        app.probe.repeat_next_save();
        gate.open_for_all();
    };
    let (response, ()) = join(request, meddling).await;
    assert_eq!(response.status.code, 200);
    assert_eq!(visitor.get("/get/count").await.body, "1");
}

#[async_test]
async fn an_increment_of_a_value_that_changed_its_type_is_an_error() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("one");
    let request = visitor.get("/add/count/1?gate=one");
    let meddling = async {
        gate.arrived().await;
        visitor.get("/set/count/many").await;
        gate.open();
    };
    let (response, ()) = join(request, meddling).await;
    assert_eq!(response.status.code, 500);
    assert_eq!(visitor.get("/get/count").await.body, "\"many\"");
}

#[async_test]
async fn an_equal_value_is_no_change() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/set/a/1").await;
    app.probe.calls();
    visitor.get("/set/a/1").await;
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
}
