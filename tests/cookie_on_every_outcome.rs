//! Whatever the outcome of a request, the session is saved and its cookie is set, renewed or removed,
//! in addition to all other cookies.
//!
//! Rocket turns its jar into headers before response fairings run, and empties it before every
//! catcher.

use rocket::form::Form;
use rocket::http::{Cookie, CookieJar, Method, Status};
use rocket::request::{FlashMessage, FromRequest, Outcome};
use rocket::response::{Debug, Flash, Redirect, status};
use rocket::{FromForm, Request, async_test, catch, catchers, get, post, routes};
use rocket_session_kit::Session;

use crate::support::{App, Response, Visitor};

/// A guard that does the action in `?do=` to the session, so that it happens in every case, and sets a
/// cookie in the jar.
struct Acts;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Acts {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        let session = request
            .guard::<&Session>()
            .await
            .succeeded()
            .expect("the store is there");
        match request.query_value::<&str>("do").and_then(Result::ok) {
            Some("create") => session.insert("created", true).expect("it is small"),
            Some("renew") => session.renew(),
            Some("end") => session.end(),
            _ => {}
        }
        request.cookies().add(("other", "cookie"));
        Outcome::Success(Self)
    }
}

/// A guard that always fails.
struct Never;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Never {
    type Error = ();

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, ()> {
        match request.query_value::<&str>("never").and_then(Result::ok) {
            Some("error") => Outcome::Error((Status::ServiceUnavailable, ())),
            _ => Outcome::Forward(Status::NotFound),
        }
    }
}

#[derive(FromForm)]
struct Count {
    count: u8,
}

#[get("/ok")]
fn ok(_acts: Acts) {}

#[get("/conflict")]
fn conflict(_acts: Acts) -> Result<(), Status> {
    Err(Status::Conflict)
}

#[get("/none")]
fn none(_acts: Acts) -> Option<()> {
    None
}

#[get("/tuple")]
fn tuple(_acts: Acts) -> (Status, &'static str) {
    (Status::Conflict, "a page of its own")
}

#[get("/custom")]
fn custom(_acts: Acts) -> status::Conflict<&'static str> {
    status::Conflict("a page of its own")
}

#[get("/redirect")]
fn redirect(_acts: Acts) -> Redirect {
    Redirect::to("/ok")
}

#[get("/flash")]
fn flash(_acts: Acts) -> Flash<Redirect> {
    Flash::success(Redirect::to("/ok"), "flashed")
}

#[get("/flashed_conflict")]
fn flashed_conflict(_acts: Acts) -> Flash<status::Conflict<()>> {
    Flash::success(status::Conflict(()), "flashed")
}

#[get("/forwards")]
fn forwards(_acts: Acts, _never: Never) {}

#[get("/forwards", rank = 2)]
fn forwarded(cookies: &CookieJar<'_>) {
    cookies.add(("forwarded", "yes"));
}

#[get("/forwards_to_nobody")]
fn forwards_to_nobody(_acts: Acts, _never: Never) {}

#[get("/guard_fails")]
fn guard_fails(_acts: Acts, _never: Never) {}

#[post("/form", data = "<form>")]
fn form(_acts: Acts, form: Form<Count>) -> String {
    form.count.to_string()
}

#[get("/debug")]
fn debug(_acts: Acts) -> Result<(), Debug<std::fmt::Error>> {
    Err(Debug(std::fmt::Error))
}

#[get("/panic")]
fn panics(_acts: Acts) {
    panic!("as this test wants");
}

#[get("/catcher_fails")]
fn catcher_fails(_acts: Acts) -> Result<(), Status> {
    Err(Status::ImATeapot)
}

#[get("/flashed")]
fn flashed(message: Option<FlashMessage<'_>>) -> String {
    message.map_or("none".into(), |message| message.message().to_owned())
}

#[catch(404)]
async fn not_found(request: &Request<'_>) -> &'static str {
    request.cookies().add(Cookie::new("caught", "yes"));
    if request.uri().path() == "/acting_catcher" {
        request
            .guard::<Acts>()
            .await
            .succeeded()
            .expect("it always does");
    }
    "not found"
}

#[catch(418)]
fn teapot() -> Result<(), Status> {
    Err(Status::BadGateway)
}

/// (path, method, status) of every row that saves the session.
const KEPT: [(&str, Method, u16); 17] = [
    ("/ok", Method::Get, 200),
    ("/ok", Method::Head, 200),
    ("/conflict", Method::Get, 409),
    ("/none", Method::Get, 404),
    ("/tuple", Method::Get, 409),
    ("/custom", Method::Get, 409),
    ("/redirect", Method::Get, 303),
    ("/flash", Method::Get, 303),
    ("/flashed_conflict", Method::Get, 409),
    ("/forwards", Method::Get, 200),
    ("/forwards", Method::Head, 200),
    ("/forwards_to_nobody", Method::Get, 404),
    ("/guard_fails", Method::Get, 503),
    ("/form", Method::Post, 422),
    ("/acting_catcher", Method::Get, 404),
    ("/bad_gateway", Method::Get, 502),
    ("/acting_catcher", Method::Post, 404),
];

/// (path, status) of the rows in which the request failed half-way.
const FAILED: [(&str, u16); 3] = [("/debug", 500), ("/panic", 500), ("/catcher_fails", 500)];

#[get("/bad_gateway")]
fn bad_gateway(_acts: Acts) -> Result<(), Status> {
    Err(Status::BadGateway)
}

async fn app() -> App {
    let routes = routes![
        ok,
        conflict,
        none,
        tuple,
        custom,
        redirect,
        flash,
        flashed_conflict,
        forwards,
        forwarded,
        forwards_to_nobody,
        guard_fails,
        form,
        debug,
        panics,
        catcher_fails,
        flashed,
        bad_gateway
    ];
    App::built(
        |f| f.merge(("sessions.renewal_grace", 0)),
        |rocket| {
            rocket
                .mount("/", routes)
                .register("/", catchers![not_found, teapot])
        },
    )
    .await
}

async fn act(
    visitor: &Visitor<'_>,
    (path, method, status): (&str, Method, u16),
    act: &str,
) -> Response {
    let never = if path == "/guard_fails" {
        "&never=error"
    } else {
        ""
    };
    let body = (method == Method::Post).then_some("count=many");
    let response = visitor
        .send(method, &format!("{path}?do={act}{never}"), body)
        .await;
    assert_eq!(response.status.code, status, "{path}");
    response
}

#[async_test]
async fn a_new_session_sets_its_cookie_on_every_outcome() {
    let app = app().await;
    for row in KEPT {
        let visitor = app.visitor();
        let response = act(&visitor, row, "create").await;
        assert!(response.sets_session(), "{row:?}: {response:?}");
        assert_eq!(visitor.get("/get/created").await.body, "true", "{row:?}");
    }
}

#[async_test]
async fn a_renewed_session_sets_its_cookie_on_every_outcome() {
    let app = app().await;
    for row in KEPT {
        let visitor = app.known_visitor().await;
        let old = visitor.copy();
        let response = act(&visitor, row, "renew").await;
        assert!(response.sets_session(), "{row:?}: {response:?}");
        assert_ne!(visitor.cookie("id"), old.cookie("id"), "{row:?}");
        assert_eq!(visitor.get("/keys").await.body, "n", "{row:?}");
        assert_eq!(old.get("/keys").await.body, "", "{row:?}");
    }
}

#[async_test]
async fn an_ended_session_removes_its_cookie_on_every_outcome() {
    let app = app().await;
    let failed = FAILED.map(|(path, status)| (path, Method::Get, status));
    for row in KEPT.into_iter().chain(failed) {
        let visitor = app.known_visitor().await;
        let old = visitor.copy();
        let response = act(&visitor, row, "end").await;
        assert!(response.removes_session(), "{row:?}: {response:?}");
        assert!(!visitor.has_session());
        assert_eq!(old.get("/keys").await.body, "", "{row:?}");
    }
}

#[async_test]
async fn a_request_that_failed_half_way_saves_nothing() {
    let app = app().await;
    for (path, status) in FAILED {
        let visitor = app.visitor();
        let response = act(&visitor, (path, Method::Get, status), "create").await;
        assert!(response.session_cookie().is_none(), "{path}: {response:?}");

        let visitor = app.known_visitor().await;
        let response = act(&visitor, (path, Method::Get, status), "create").await;
        assert!(response.session_cookie().is_none(), "{path}: {response:?}");
        assert_eq!(visitor.get("/keys").await.body, "n", "{path}");

        let before = visitor.cookie("id");
        act(&visitor, (path, Method::Get, status), "renew").await;
        assert_eq!(visitor.cookie("id"), before, "{path}");
        assert_eq!(visitor.get("/keys").await.body, "n", "{path}");
    }
}

#[async_test]
async fn an_untouched_session_sends_no_cookie() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    for row in KEPT {
        let response = act(&visitor, row, "nothing").await;
        assert!(response.session_cookie().is_none(), "{row:?}: {response:?}");
    }
    for path in ["/no/such/page", "/bare", "/%"] {
        let response = visitor.get(path).await;
        assert!(response.session_cookie().is_none(), "{path}: {response:?}");
        assert_eq!(response.header("Vary"), None);
    }
}

#[async_test]
async fn foreign_cookies_are_left_alone() {
    let app = app().await;
    let others = |response: &Response| {
        let mut names: Vec<_> = response
            .headers("Set-Cookie")
            .into_iter()
            .filter_map(|cookie| cookie.split('=').next())
            .filter(|name| *name != "id")
            .map(str::to_owned)
            .collect();
        names.sort_unstable();
        names.join(" ")
    };
    for (row, expected) in [
        (("/ok", Method::Get, 200), "other"),
        (("/tuple", Method::Get, 409), "other"),
        (("/flash", Method::Get, 303), "_flash other"),
        (("/forwards", Method::Get, 200), "forwarded other"),
        // Here Rocket itself drops the cookies of the route's guards and handler.
        (("/none", Method::Get, 404), "caught"),
        (("/acting_catcher", Method::Get, 404), "caught other"),
        (("/conflict", Method::Get, 409), ""),
    ] {
        for what in ["create", "nothing"] {
            let response = act(&app.visitor(), row, what).await;
            assert_eq!(others(&response), expected, "{row:?}");
        }
    }
    let visitor = app.visitor();
    act(&visitor, ("/flash", Method::Get, 303), "create").await;
    assert_eq!(visitor.get("/flashed").await.body, "flashed");
}
