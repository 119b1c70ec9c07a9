//! A change that would exceed a limit is refused, and the stored session stays as it was.

use rocket::async_test;
use rocket::futures::future::join;
use rocket::{get, routes};
use rocket_session_kit::{ErrorKind, Session};

use crate::support::App;

#[get("/try/<length>/<size>")]
fn tries(length: usize, size: usize, session: &Session) -> String {
    let name = "k".repeat(length);
    let error = session
        .insert(&name, "x".repeat(size))
        .expect_err("it is too much");
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(!error.to_string().contains("kkk") && !error.to_string().contains("xxx"));
    error.to_string()
}

#[get("/login_with/<length>")]
fn login_with(length: usize, session: &Session) {
    session.log_in(&"a".repeat(length));
}

async fn app() -> App {
    let settings = |f: rocket::figment::Figment| {
        f.merge(("sessions.limits.size", 1000))
            .merge(("sessions.limits.keys", 5))
            .merge(("sessions.limits.key_length", 10))
    };
    App::built(settings, |rocket| {
        rocket.mount("/", routes![tries, login_with])
    })
    .await
}

#[async_test]
async fn an_exceeded_limit_is_an_error_that_names_the_limit() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    assert!(
        visitor
            .get("/try/3/2000")
            .await
            .body
            .contains("sessions.limits.size")
    );
    assert!(
        visitor
            .get("/try/11/1")
            .await
            .body
            .contains("sessions.limits.key_length")
    );
    visitor.get("/set_many/4/10").await;
    assert!(
        visitor
            .get("/try/3/1")
            .await
            .body
            .contains("sessions.limits.keys")
    );
    assert_eq!(visitor.get("/keys").await.body, "n,key0,key1,key2,key3");
}

#[async_test]
async fn a_request_that_exceeds_a_limit_leaves_the_stored_session() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let before = app.list().await.remove(0).1;
    assert_eq!(visitor.get("/set_many/5/10").await.status.code, 500);
    assert_eq!(visitor.get("/set_many/3/400").await.status.code, 500);
    let after = app.list().await.remove(0).1;
    assert_eq!(
        (after.keys(), after.accessed_at()),
        (before.keys(), before.accessed_at())
    );
}

#[async_test]
async fn a_value_may_be_replaced_in_a_full_session() {
    let app = app().await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/set_many/5/180").await.status.code, 200);
    assert_eq!(visitor.get("/set/key0/small").await.status.code, 200);
    assert_eq!(visitor.get("/set_many/1/180").await.status.code, 200);
    assert_eq!(visitor.get("/set_many/1/400").await.status.code, 500);
}

#[async_test]
async fn concurrent_requests_cannot_exceed_a_limit_together() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("slow");
    let name = |c: &str| c.repeat(10);
    let slow = visitor.copy();
    let path = format!("/set/{}/{}?gate=slow", name("a"), "x".repeat(600));
    let slow = async { slow.get(&path).await };
    let quick = async {
        gate.arrived().await;
        let response = visitor
            .get(&format!("/set/{}/{}", name("b"), "x".repeat(600)))
            .await;
        assert_eq!(response.status.code, 200);
        gate.open();
    };
    let (response, ()) = join(slow, quick).await;
    assert_eq!(
        response.status.code, 500,
        "it gets an error, because it was not saved"
    );
    assert_eq!(visitor.get("/keys").await.body, format!("n,{}", name("b")));
}

#[async_test]
async fn an_overlong_user_name_is_not_kept() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    assert_eq!(visitor.get("/login_with/100000").await.status.code, 500);
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(visitor.get("/login_with/100").await.status.code, 200);
}

#[async_test]
async fn a_session_may_grow_up_to_its_limits() {
    let app = app().await;
    // The name and two quotation marks count, too.
    for (length, code) in [(998, 500), (997, 200)] {
        let path = format!("/set/a/{}", "x".repeat(length));
        assert_eq!(app.visitor().get(&path).await.status.code, code, "{length}");
    }
    let path = format!("/set/{}/x", "k".repeat(10));
    assert_eq!(app.visitor().get(&path).await.status.code, 200);
    // Without the user there is space for the next value.
    let visitor = app.visitor();
    for (user, code) in [
        ("a".repeat(1000), 200),
        ("b".repeat(1000), 200),
        ("c".repeat(1001), 500),
    ] {
        let path = format!("/set_user/{user}");
        assert_eq!(visitor.get(&path).await.status.code, code);
    }
    assert_eq!(visitor.get("/who").await.body, "b".repeat(1000));
}

#[async_test]
async fn a_raised_limit_allows_many_values() {
    let app = App::configured(|f| {
        f.merge(("sessions.limits.keys", 20_000))
            .merge(("sessions.limits.size", 4 * 1024 * 1024))
            .merge(("sessions.limits.notifications_size", 1024 * 1024))
    })
    .await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/set_many/20000/10").await.status.code, 200);
    assert_eq!(visitor.get("/keys").await.body.split(',').count(), 20_000);
}
