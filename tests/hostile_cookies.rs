//! Data from a client never becomes a path or a key, and no client gets a session of somebody else.

use rocket::async_test;
use rocket::http::Header;

use crate::support::{App, Visitor};

/// Sends the raw header, and returns the names of the values in the session that it opened.
async fn keys(app: &App, cookie: impl Into<String>) -> String {
    let request = app
        .client
        .get("/keys")
        .header(Header::new("Cookie", cookie.into()));
    let response = request.dispatch().await;
    assert_eq!(response.status().code, 200);
    response.into_string().await.unwrap()
}

#[async_test]
async fn a_plain_cookie_value_never_reaches_the_store() {
    let app = App::launch().await;
    app.known_visitor().await;
    let id = app.list().await.remove(0).0.to_hex();
    let long = "A".repeat(5000);
    for value in [
        "",
        " ",
        "\"\"",
        "..",
        "../../etc/passwd",
        "..%2f..%2fx",
        "/etc/passwd",
        "\\",
        "CON",
        "x%0d%0aset evil 0 0 1%0d%0a1",
        "\\015\\012",
        "%00",
        "%ff%fe",
        "%",
        "null",
        "0",
        &id,
        &id.to_uppercase(),
        &format!("{id}*"),
        &long,
        "é",
        "\u{202e}",
    ] {
        assert_eq!(keys(&app, format!("id={value}")).await, "", "{value:.40}");
    }
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn a_tampered_cookie_opens_nothing() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let cookie = visitor.cookie("id").unwrap();
    assert_eq!(keys(&app, format!("id={cookie}")).await, "n");
    app.probe.calls();
    for at in 0..cookie.len() {
        let other = if cookie.as_bytes()[at] == b'x' {
            'y'
        } else {
            'x'
        };
        let forged = format!("{}{other}{}", &cookie[..at], &cookie[at + 1..]);
        assert_eq!(
            keys(&app, format!("id={forged}")).await,
            "",
            "changed at {at}"
        );
        assert_eq!(
            keys(&app, format!("id={}", &cookie[..at])).await,
            "",
            "cut at {at}"
        );
    }
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn an_unknown_id_is_not_adopted() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    app.sessions().end(&id).await.unwrap();
    let before = visitor.cookie("id").unwrap();
    assert!(visitor.get("/set/a/1").await.sets_session());
    assert_ne!(visitor.cookie("id").unwrap(), before);
    assert_ne!(app.list().await.remove(0).0, id);
}

#[async_test]
async fn only_the_exact_cookie_name_counts() {
    let app = App::configured(|figment| figment.select("release")).await;
    let visitor = app.visitor();
    visitor.get("/set/n/1").await;
    let good = visitor.cookie("__Host-id").unwrap();
    let evil = app.visitor();
    evil.get("/set/evil/1").await;
    let evil = evil.cookie("__Host-id").unwrap();
    assert_eq!(keys(&app, format!("__Host-id={good}")).await, "n");
    for name in [
        "%5F%5FHost-id",
        "__host-id",
        "__HOST-ID",
        "__Host-id ",
        " __Host-id x",
        "$__Host-id",
        "__Host%2Did",
        "__Host-id%20",
        "id",
        "x__Host-id",
        "__Host-idx",
        "\"__Host-id\"",
        "$Version=1; $Path=/; x__Host-id",
    ] {
        if name.trim() != "__Host-id" {
            assert_eq!(keys(&app, format!("{name}={evil}")).await, "", "{name}");
        }
        if name != "__Host-id " {
            assert_eq!(
                keys(&app, format!("{name}={evil}; __Host-id={good}")).await,
                "n",
                "{name}"
            );
            assert_eq!(
                keys(&app, format!("__Host-id={good}; {name}={evil}")).await,
                "n",
                "{name}"
            );
        }
    }
}

#[async_test]
async fn the_first_of_several_cookies_that_opens_a_session_counts() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let good = visitor.cookie("id").unwrap();
    let dead = {
        let other = app.known_visitor().await;
        let cookie = other.cookie("id").unwrap();
        other.get("/logout").await;
        cookie
    };
    assert_eq!(keys(&app, format!("id=forged; id={good}")).await, "n");
    assert_eq!(keys(&app, format!("id={good}; id=forged")).await, "n");
    assert_eq!(keys(&app, format!("id={dead}; id={good}")).await, "n");
    assert_eq!(
        keys(&app, format!("id={dead}; id={dead}; id={good}")).await,
        "n"
    );
    app.probe.calls();
    keys(&app, format!("id={dead}; id={dead}; id={dead}; id={good}")).await;
    assert_eq!(app.probe.calls().load, 2, "the same cookie is tried once");
    // Of many planted cookies, only a few are tried.
    app.probe.calls();
    assert_eq!(
        keys(&app, format!("id=a; id=b; id=c; id=d; id={good}")).await,
        ""
    );
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn a_session_cookie_is_found_among_thousands_of_others() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let many = "a=;".repeat(2700);
    let good = visitor.cookie("id").unwrap();
    assert_eq!(keys(&app, format!("{many} id={good}")).await, "n");
    assert_eq!(keys(&app, format!("id={good};{many}")).await, "n");
}

#[async_test]
async fn several_cookie_headers_are_read() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let good = visitor.cookie("id").unwrap();
    let request = app.client.get("/keys").header(Header::new("Cookie", "a=b"));
    let response = request
        .header(Header::new("Cookie", format!("id={good}")))
        .dispatch()
        .await;
    assert_eq!(response.into_string().await.unwrap(), "n");
}

#[async_test]
async fn an_id_counts_only_in_the_cookie() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let good = visitor.cookie("id").unwrap();
    for name in ["X-Auth-Token", "Authorization", "id", "Session"] {
        let request = app
            .client
            .get("/keys")
            .header(Header::new(name, good.clone()));
        assert_eq!(
            request.dispatch().await.into_string().await.unwrap(),
            "",
            "{name}"
        );
    }
    let stranger = app.visitor();
    assert_eq!(stranger.get(&format!("/keys?id={good}")).await.body, "");
}

#[async_test]
async fn a_session_of_one_application_is_unknown_to_another() {
    // They share a store and a key, and differ in the name of the cookie.
    let one = App::launch().await;
    let visitor = one.known_visitor().await;
    let other = one
        .again(|f| f.merge(("sessions.cookie.name", "admin")))
        .await;
    let swapped = Visitor::new(&other.client);
    swapped.set_cookie("admin", &visitor.cookie("id").unwrap());
    assert_eq!(swapped.get("/keys").await.body, "");
}
