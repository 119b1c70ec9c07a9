//! The headers of a response about its session, for caches and browsers.

use rocket::http::Header;
use rocket::response::Responder;
use rocket::{async_test, get, routes};
use rocket_session_kit::{Result, Session};

use crate::support::App;

#[derive(Responder)]
struct Says(&'static str, Header<'static>);

#[get("/says/<what>/<name>/<value>")]
fn says(what: &str, name: String, value: String, session: &Session) -> Result<Says> {
    if what == "set" {
        session.increment("n", 1)?;
    }
    Ok(Says("said", Header::new(name, value)))
}

/// One route for every way of reading a session.
#[get("/look/<how>")]
async fn look(how: u8, session: &Session) -> Result<String> {
    Ok(match how {
        0 => session.get::<u8>("m")?.is_some().to_string(),
        1 => session.contains_key("m").to_string(),
        2 => session.len().to_string(),
        3 => session.is_empty().to_string(),
        4 => session.keys().join(","),
        5 => session.user().unwrap_or_default(),
        6 => session.has_info().to_string(),
        7 => format!("{:?} {:?}", session.created_at(), session.accessed_at()),
        8 => format!("{:?} {:?}", session.age(), session.idle_for()),
        9 => format!("{:?}", session.remote_address()),
        10 => session.is_new().to_string(),
        11 => session.id().is_some().to_string(),
        12 => session.take::<u8>("m")?.is_some().to_string(),
        13 => session.remove("m").to_string(),
        14 => format!("{session:?}"),
        _ => session.save().await.map(|()| String::new())?,
    })
}

async fn app() -> App {
    App::built(|f| f, |rocket| rocket.mount("/", routes![says, look])).await
}

#[async_test]
async fn a_response_varies_by_cookie_when_the_session_was_consulted() {
    let app = app().await;
    for visitor in [app.visitor(), app.known_visitor().await] {
        for how in 0..16 {
            let response = visitor.get(&format!("/look/{how}")).await;
            assert_eq!(response.header("Vary"), Some("Cookie"), "{how}");
            // Some shared caches do not know what `Vary: Cookie` means.
            let private = visitor.has_session().then_some("private");
            assert_eq!(response.header("Cache-Control"), private, "{how}");
        }
        assert_eq!(
            visitor.get("/existing").await.header("Vary"),
            Some("Cookie")
        );
        assert_eq!(visitor.get("/bare").await.header("Vary"), None);
    }
}

#[async_test]
async fn the_vary_header_of_a_handler_is_kept() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    for (said, expected) in [
        ("Accept-Encoding", "Accept-Encoding, Cookie"),
        ("Accept, Origin", "Accept, Origin, Cookie"),
        ("cookie", "cookie"),
        ("Accept,COOKIE", "Accept,COOKIE"),
        ("*", "*"),
    ] {
        let path = format!("/says/nothing/Vary/{}", said.replace(' ', "%20"));
        assert_eq!(visitor.get(&path).await.header("Vary"), Some(expected));
    }
}

#[async_test]
async fn a_response_that_sets_the_cookie_is_not_cacheable() {
    let app = app().await;
    for (said, expected) in [
        ("", "no-store"),
        ("private", "no-store, private"),
        ("no-store", "no-store"),
        ("No-Store, private", "no-store, private"),
        ("public, max-age=3600", "no-store"),
        (
            "public, immutable, s-maxage=60, no-transform",
            "no-store, no-transform",
        ),
        (
            "no-cache=\"Set-Cookie\"",
            "no-store, no-cache=\"Set-Cookie\"",
        ),
    ] {
        let escaped = said.replace(' ', "%20").replace('"', "%22");
        let path = if said.is_empty() {
            "/set/a/1".to_owned()
        } else {
            format!("/says/set/Cache-Control/{escaped}")
        };
        let response = app.visitor().get(&path).await;
        assert!(response.sets_session());
        assert_eq!(response.header("Cache-Control"), Some(expected), "{said:?}");
        assert_eq!(response.header("Vary"), Some("Cookie"));
    }
}

#[async_test]
async fn a_response_that_used_a_session_is_private() {
    let app = app().await;
    let member = app.visitor();
    member.get("/login/alice").await;
    for (path, expected) in [
        ("/who", Some("private")),
        ("/keys", Some("private")),
        // A 404 of a catcher without guards, and a page that does not read the session.
        ("/nowhere", None),
        ("/bare", None),
        // The headers of the handler take precedence.
        (
            "/says/nothing/Cache-Control/public,max-age=60",
            Some("public,max-age=60"),
        ),
        ("/says/nothing/Cache-Control/no-cache", Some("no-cache")),
        ("/says/nothing/Cache-Control/no-store", Some("no-store")),
        ("/says/nothing/Expires/0", Some("private")),
        // A change of a session whose cookie the visitor already has.
        ("/set/a/1", Some("private")),
    ] {
        let response = member.get(path).await;
        assert_eq!(response.header("Cache-Control"), expected, "{path}");
    }
    let stranger = app.visitor();
    assert_eq!(stranger.get("/who").await.header("Cache-Control"), None);
    stranger.set_cookie("id", "forged");
    let forged = stranger.get("/says/nothing/X/1").await;
    assert_ne!(forged.header("Cache-Control"), Some("private"));
}

#[async_test]
async fn a_response_without_a_cookie_may_be_cached_by_the_browser() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let response = visitor
        .get("/says/nothing/Cache-Control/private,%20max-age=60")
        .await;
    assert_eq!(
        response.header("Cache-Control"),
        Some("private, max-age=60")
    );
}

#[async_test]
async fn a_response_that_removes_the_cookie_is_not_cacheable() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let response = visitor.get("/logout").await;
    assert!(response.removes_session());
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
}

#[async_test]
async fn the_cookie_is_http_only_same_site_and_ends_with_the_browser() {
    let app = app().await;
    let response = app.visitor().get("/set/a/1").await;
    let cookie = response.session_cookie().unwrap();
    assert_eq!(cookie.http_only(), Some(true));
    assert_eq!(cookie.same_site(), Some(cookie::SameSite::Lax));
    assert_eq!(cookie.path(), Some("/"));
    assert_eq!(
        (cookie.domain(), cookie.secure(), cookie.max_age()),
        (None, None, None)
    );
    assert!(cookie.expires().is_none());
}

#[async_test]
async fn every_cookie_setting_appears_in_the_cookie_and_its_removal() {
    let app = App::configured(|figment| {
        figment
            .merge(("sessions.cookie.name", "PYCKET_ID"))
            .merge(("sessions.cookie.path", "/shop"))
            .merge(("sessions.cookie.domain", "example.com"))
            .merge(("sessions.cookie.secure", true))
            .merge(("sessions.cookie.http_only", false))
            .merge(("sessions.cookie.same_site", "Strict"))
            .merge(("sessions.cookie.max_age", 600))
    })
    .await;
    let visitor = app.visitor();
    let given = visitor.get("/set/a/1").await;
    let removed = visitor.get("/logout").await;
    for (response, age) in [(given, 600), (removed, 0)] {
        let cookie =
            cookie::Cookie::parse(response.header("Set-Cookie").unwrap().to_owned()).unwrap();
        assert_eq!(cookie.name(), "__Secure-PYCKET_ID");
        assert_eq!(
            (cookie.path(), cookie.domain(), cookie.secure()),
            (Some("/shop"), Some("example.com"), Some(true))
        );
        assert_eq!(cookie.http_only(), None);
        assert_eq!(cookie.same_site(), Some(cookie::SameSite::Strict));
        assert_eq!(cookie.max_age().map(|age| age.whole_seconds()), Some(age));
    }
}

#[async_test]
async fn the_cookie_is_secure_and_bound_to_its_host_outside_debug() {
    let app = App::configured(|figment| figment.select("release")).await;
    let visitor = app.visitor();
    let response = visitor.get("/set/a/1").await;
    let cookie = response.header("Set-Cookie").unwrap();
    assert!(cookie.starts_with("__Host-id="), "{cookie}");
    assert!(
        cookie.contains("; Secure") && cookie.contains("; Path=/"),
        "{cookie}"
    );
    let removal = visitor.get("/logout").await;
    let removal = removal.header("Set-Cookie").unwrap();
    assert!(
        removal.starts_with("__Host-id=;") && removal.contains("; Secure"),
        "{removal}"
    );
    assert!(visitor.cookie("__Host-id").is_none());
}

#[async_test]
async fn the_cookie_has_the_prefix_that_is_set() {
    for prefix in ["__Host-", "__Secure-", ""] {
        let app = App::configured(|f| {
            f.merge(("sessions.cookie.secure", true))
                .merge(("sessions.cookie.prefix", prefix))
        })
        .await;
        let response = app.visitor().get("/set/a/1").await;
        let cookie = response.header("Set-Cookie").unwrap_or_default();
        assert!(cookie.starts_with(&format!("{prefix}id=")), "{cookie}");
    }
}
