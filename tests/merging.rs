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
        let answer = visitor.get(&second).await;
        assert_eq!(answer.status.code, 200);
    };
    let first = async {
        let answer = visitor.get(&first).await;
        assert_eq!(answer.status.code, 200);
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
async fn two_requests_that_change_different_values_both_win() {
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
async fn increments_add_up() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/add/count/2", "/add/count/3").await;
    assert_eq!(visitor.get("/get/count").await.body, "5");
}

#[async_test]
async fn an_update_is_done_again_to_what_another_request_left() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    race(&app, &visitor, "/append/cart/tea", "/append/cart/milk").await;
    assert_eq!(visitor.get("/get/cart").await.body, r#"["tea","milk"]"#);
}

#[async_test]
async fn of_two_whole_values_the_later_stays() {
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
async fn a_value_that_was_read_and_overwritten_meanwhile_is_told_of_in_the_debug_profile() {
    const LOST: &str = "that change is overwritten";
    let count = || log::lines_with(LOST).len();
    for (profile, first, lines) in [
        ("debug", "/read_and_write/count", 1),
        ("debug", "/add/count/7", 1),
        ("debug", "/remove/count", 1),
        // What changed is another value.
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
    // What does not read, or builds on what is there, loses nothing.
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
async fn a_removal_stays_a_removal() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/set/a/1").await;
    race(&app, &visitor, "/remove/a", "/set/b/2").await;
    assert_eq!(visitor.get("/keys").await.body, "n,b");
    race(&app, &visitor, "/set/c/3", "/remove/b").await;
    assert_eq!(visitor.get("/keys").await.body, "n,c");
}

#[async_test]
async fn clearing_takes_what_came_meanwhile_too() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    race(&app, &visitor, "/set/a/1", "/clear").await;
    assert_eq!(visitor.get("/keys").await.body, "");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn a_reader_at_the_same_time_undoes_nothing() {
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
    let (answers, ()) = join(join_all(requests), all_loaded).await;
    assert!(answers.iter().all(|answer| answer.status.code == 200));
    assert_eq!(visitor.get("/get/count").await.body, "100");
}

#[async_test]
async fn a_save_that_meets_others_again_and_again_gets_through() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    for _ in 0..20 {
        app.probe.stub_next_save(Saved::Changed);
    }
    assert_eq!(visitor.get("/add/count/1").await.status.code, 200);
    assert_eq!(visitor.get("/get/count").await.body, "1");
}

#[async_test]
async fn a_save_whose_answer_got_lost_and_is_asked_again_counts_once() {
    // As a driver does that repeats a command after a broken connection.
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let gate = app.probe.gate(Act::Save);
    let request = visitor.get("/add/count/1");
    let meddling = async {
        gate.arrived().await;
        // The store keeps the save, and answers as it would answer its repetition.
        app.probe.repeat_next_save();
        gate.open_for_all();
    };
    let (answer, ()) = join(request, meddling).await;
    assert_eq!(answer.status.code, 200);
    assert_eq!(visitor.get("/get/count").await.body, "1");
}

#[async_test]
async fn a_value_that_changed_its_type_meanwhile_is_an_error_and_stays() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("one");
    let request = visitor.get("/add/count/1?gate=one");
    let meddling = async {
        gate.arrived().await;
        visitor.get("/set/count/many").await;
        gate.open();
    };
    let (answer, ()) = join(request, meddling).await;
    assert_eq!(answer.status.code, 500);
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
