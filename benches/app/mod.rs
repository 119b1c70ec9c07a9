//! The application whose requests are measured, and the bare routes next to it.

use rocket::http::Header;
use rocket::local::asynchronous::Client;
use rocket::{get, routes};
use rocket_session_kit::store::SessionStore;
use rocket_session_kit::{Result, Session, Sessions};

#[get("/")]
fn bare() -> &'static str {
    "hello"
}

/// Makes a session of ten values, of some 500 bytes.
#[get("/")]
fn begin(session: &Session) -> Result<()> {
    for n in 1..10 {
        session.insert(&format!("key{n}"), "x".repeat(38))?;
    }
    session.insert("visits", 1)
}

#[get("/")]
fn read(session: &Session) -> Result<&'static str> {
    session.get::<u32>("visits")?;
    Ok("hello")
}

#[get("/")]
fn write(session: &Session) -> Result<&'static str> {
    session.increment("visits", 1)?;
    Ok("hello")
}

/// An application with sessions, one without, and a visitor who has a session of ten values.
pub(crate) struct App {
    kit: Client,
    plain: Client,
    cookie: String,
}

/// The requests, from the cheapest to the most expensive. All of them have the same cookie.
#[allow(dead_code, reason = "the pinned routes are in a file")]
pub(crate) const ROUTES: [&str; 4] = ["bare", "untouched", "read", "write"];

impl App {
    pub(crate) async fn launch(store: impl SessionStore) -> Self {
        let figment = rocket::Config::figment()
            .merge(("log_level", "off"))
            .merge(("secret_key", vec![7_u8; 64]));
        let kit = rocket::custom(&figment)
            .mount("/bare", routes![bare])
            .mount("/begin", routes![begin])
            .mount("/read", routes![read])
            .mount("/write", routes![write])
            .attach(Sessions::with(store));
        let plain = rocket::custom(&figment).mount("/bare", routes![bare]);
        let kit = Client::untracked(kit).await.expect("it launches");
        let plain = Client::untracked(plain).await.expect("it launches");

        let response = kit.get("/begin").dispatch().await;
        let cookie = response
            .headers()
            .get_one("Set-Cookie")
            .expect("it sets a cookie");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        drop(response);
        Self { kit, plain, cookie }
    }

    /// Sends one request, and returns the result of `count` before and after it.
    pub(crate) async fn ask(&self, route: &str, count: impl Fn() -> u64) -> (u64, u64) {
        let (client, path) = match route {
            "bare" => (&self.plain, "/bare"),
            "untouched" => (&self.kit, "/bare"),
            "read" => (&self.kit, "/read"),
            "write" => (&self.kit, "/write"),
            other => panic!("there is no route {other}"),
        };
        let request = client
            .get(path)
            .header(Header::new("Cookie", self.cookie.clone()));
        let before = count();
        let response = request.dispatch().await;
        let after = count();
        assert_eq!(response.status().code, 200);
        (before, after)
    }
}
