//! How often the store is asked.

use rocket::async_test;

use crate::support::App;

#[async_test]
async fn a_request_that_asks_for_no_session_costs_nothing() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    for visitor in [visitor, app.visitor()] {
        let answer = visitor.get("/bare").await;
        assert_eq!(
            (answer.header("Vary"), answer.header("Set-Cookie")),
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
        let answer = app.visitor().get(path).await;
        assert!(answer.session_cookie().is_none(), "{path}");
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
async fn a_conflict_is_two_more_calls() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    app.probe.answer(rocket_session_kit::Saved::Changed);
    visitor.get("/add/count/1").await;
    assert_eq!(app.probe.calls().tuple(), (2, 2, 0, 0));
}

#[async_test]
async fn robots_leave_nothing_behind() {
    // Unknown ids, and log-outs of nobody.
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
