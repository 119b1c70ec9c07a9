//! The visitor of a session, and the types of its values.

use rocket::async_test;
use rocket::{get, routes};
use rocket_session_kit::{ErrorKind, Result, Session};

use crate::support::App;

#[get("/address")]
fn address(session: &Session) -> Result<String> {
    session.increment("looks", 1)?;
    Ok(format!("{:?}", session.remote_address()))
}

#[get("/types")]
fn types(session: &Session) -> Result<()> {
    session.insert("number", 5)?;
    session.insert("none", None::<u8>)?;
    session.insert("list", [1, 2])?;
    assert_eq!(session.get::<u8>("number")?, Some(5));
    assert_eq!(session.get::<Option<u8>>("none")?, Some(None));
    assert_eq!(session.get::<Vec<u8>>("list")?, Some(vec![1, 2]));
    assert_eq!(session.get::<u8>("missing")?, None);
    for error in [
        session.get::<String>("number").unwrap_err(),
        session.get::<bool>("list").unwrap_err(),
        session.take::<String>("number").unwrap_err(),
        session.increment("list", 1).unwrap_err(),
        session
            .update("number", |text: &mut String| text.push('!'))
            .unwrap_err(),
        session
            .insert("bad", std::collections::BTreeMap::from([((1, 2), 3)]))
            .unwrap_err(),
        session.increment("number", i64::MAX).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Value, "{error}");
    }
    assert_eq!(session.take::<u8>("number")?, Some(5));
    assert_eq!(session.take::<u8>("number")?, None);
    assert_eq!(session.len(), 2);
    Ok(())
}

#[get("/wrong_type")]
fn wrong_type(session: &Session) -> Result<String> {
    session.insert("secret", "hunter2")?;
    Ok(session.get::<u8>("secret")?.unwrap_or_default().to_string())
}

async fn app() -> App {
    App::built(
        |f| f,
        |rocket| rocket.mount("/", routes![address, types, wrong_type]),
    )
    .await
}

#[async_test]
async fn a_value_keeps_its_type() {
    assert_eq!(app().await.visitor().get("/types").await.status.code, 200);
}

#[async_test]
async fn a_value_of_the_wrong_type_is_an_error_that_shows_no_data() {
    let app = app().await;
    let response = app.visitor().get("/wrong_type").await;
    assert_eq!(response.status.code, 500);
    assert!(
        !response.body.contains("hunter2") && !response.body.contains("secret"),
        "{}",
        response.body
    );
}

#[async_test]
async fn the_address_is_that_of_the_first_request_despite_any_header() {
    let app = app().await;
    let request = app
        .client
        .get("/address")
        .remote(([203, 0, 113, 7], 1).into());
    let response = request
        .header(rocket::http::Header::new("X-Real-IP", "8.8.8.8"))
        .dispatch()
        .await;
    let cookie = response
        .headers()
        .get_one("Set-Cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(response.into_string().await.unwrap(), "Some(203.0.113.7)");
    let request = app
        .client
        .get("/address")
        .remote(([198, 51, 100, 1], 1).into());
    let response = request
        .header(rocket::http::Header::new("Cookie", cookie))
        .dispatch()
        .await;
    assert_eq!(response.into_string().await.unwrap(), "Some(203.0.113.7)");
}

#[async_test]
async fn behind_a_trusted_proxy_the_address_is_the_one_that_it_reports() {
    let settings = |figment: rocket::figment::Figment| {
        figment
            .merge(("sessions.proxies", ["192.0.2.0/24"]))
            .merge(("sessions.ip_header", "X-Real-IP"))
    };
    let app = App::built(settings, |rocket| rocket.mount("/", routes![address])).await;
    let trusted = app.visitor().copy_at("192.0.2.1");
    let stranger = app.visitor().copy_at("198.51.100.1");
    for (visitor, shown) in [
        (trusted.copy(), "Some(192.0.2.1)"),
        (
            trusted.with("x-real-ip", "2001:db8::7"),
            "Some(2001:db8::7)",
        ),
        (stranger.with("X-Real-IP", "8.8.8.8"), "Some(198.51.100.1)"),
    ] {
        assert_eq!(visitor.get("/address").await.body, shown);
    }
}

#[async_test]
async fn a_user_can_be_set_without_a_new_id() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let before = visitor.cookie("id");
    visitor.get("/set_user/alice").await;
    assert_eq!(visitor.get("/who").await.body, "alice");
    assert_eq!(visitor.cookie("id"), before);
    app.probe.calls();
    visitor.get("/set_user/alice").await;
    assert_eq!(
        app.probe.calls().tuple(),
        (1, 0, 0, 0),
        "the same user is no change"
    );
    visitor.get("/set_user/nobody").await;
    assert_eq!(visitor.get("/who").await.body, "nobody");
}

#[async_test]
async fn a_user_without_values_is_enough_for_a_session() {
    let app = app().await;
    let visitor = app.visitor();
    assert!(visitor.get("/set_user/alice").await.sets_session());
    assert!(visitor.get("/set_user/nobody").await.removes_session());
}

#[async_test]
async fn thousands_of_concurrent_requests_never_mix_visitors() {
    let app = App::launch().await;
    let visitors = (0..100).map(|n| {
        let app = &app;
        async move {
            let visitor = app.visitor();
            for round in 0..20 {
                visitor.get(&format!("/set/own/{n}")).await;
                visitor.get(&format!("/add/count/{n}")).await;
                if round % 7 == 3 {
                    visitor.get(&format!("/login/user{n}")).await;
                }
                assert_eq!(visitor.get("/get/own").await.body, format!("\"{n}\""));
            }
            assert_eq!(visitor.get("/who").await.body, format!("user{n}"));
            assert_eq!(visitor.get("/get/count").await.body, (20 * n).to_string());
        }
    });
    rocket::futures::future::join_all(visitors).await;
    assert_eq!(app.list().await.len(), 100);
}

/// Reports, at each step, whether the value exists.
#[get("/there")]
fn there(session: &Session) -> Result<String> {
    let there = |name| session.contains_key(name);
    let mut told = vec![there("loaded"), there("new"), there("nothing")];
    session.insert("new", Option::<u8>::None)?;
    session.remove("loaded");
    told.extend([there("loaded"), there("new"), there("nothing")]);
    Ok(format!("{told:?}"))
}

#[async_test]
async fn a_value_exists_from_its_insert_to_its_removal() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![there])).await;
    let visitor = app.visitor();
    visitor.get("/set/loaded/1").await;
    assert_eq!(
        visitor.get("/there").await.body,
        "[true, false, false, false, true, false]"
    );
    assert_eq!(
        visitor.get("/there").await.body,
        "[false, true, false, false, true, false]"
    );
}

#[get("/contents?<act>")]
fn contents(act: Option<&str>, session: &Session) -> Result<String> {
    match act {
        Some("insert") => session.insert("a", 1)?,
        Some("log_in") => drop(session.log_in("alice")),
        _ => {}
    }
    Ok(format!(
        "{} {} {}",
        session.len(),
        session.is_empty(),
        session.has_info()
    ))
}

#[async_test]
async fn a_session_reports_whether_it_holds_values_or_anything() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![contents])).await;
    let visitor = app.visitor();
    for (path, expected) in [
        ("/contents", "0 true false"),
        ("/contents?act=log_in", "0 true true"),
        ("/contents", "0 true true"),
        ("/contents?act=insert", "1 false true"),
        ("/contents", "1 false true"),
    ] {
        assert_eq!(visitor.get(path).await.body, expected, "{path}");
    }
}
