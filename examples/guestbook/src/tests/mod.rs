//! Tests of the whole application with Rocket's local client.

mod accounts;
mod book;
mod live;
mod pages;
mod sessions;

use rocket::http::{ContentType, Header, RawStr, Status};
use rocket::local::blocking::{Client, LocalResponse};
use rocket::{Build, Rocket};
use rocket_session_kit::testing::{Act, Probe, with_session};
use rocket_session_kit::{Clock, MemoryStore, Sessions};
use tempfile::TempDir;

use crate::guestbook;

const KEY: &str = "xSKmDiDqWVcF0XUNoveYJc6I1fZORlg99tI8iQ0aFsE=";
const PASSWORD: &str = "correct horse";

/// The database and the store of one test.
struct Site {
    directory: TempDir,
    clock: Clock,
    store: Probe,
    /// The limits by address, which are so low in few tests.
    sign_ins: u32,
}

impl Site {
    fn new() -> Self {
        let clock = Clock::manual();
        Self {
            store: Probe::new(MemoryStore::new().clock(clock.clone())),
            clock,
            directory: tempfile::tempdir().unwrap(),
            sign_ins: 1000,
        }
    }

    /// Returns the application, as a process of its own: all share the database and the store.
    fn process(&self) -> Rocket<Build> {
        let database = self.directory.path().join("guestbook.db");
        let figment = rocket::Config::figment()
            .merge(("secret_key", KEY))
            .merge(("log_level", "off"))
            .merge(("guestbook.database", database))
            .merge(("sessions.rate_limit.named.sign-ins.limit", self.sign_ins));
        let rocket = rocket::custom(figment).manage(self.clock.clone());
        guestbook(rocket, Sessions::with(self.store.clone()))
    }

    /// Returns a browser, with a process behind it.
    fn browser(&self) -> Browser {
        Browser(Client::tracked(self.process()).unwrap())
    }

    /// Returns a browser in which the new account `name` is signed in.
    fn member(&self, name: &str) -> Browser {
        let browser = self.browser();
        assert_eq!(browser.sign_up(name, PASSWORD).status(), Status::SeeOther);
        browser
    }
}

struct Browser(Client);

impl Browser {
    fn get<'c>(&'c self, path: &str) -> LocalResponse<'c> {
        let request = self.0.get(path.to_owned());
        request.remote("192.0.2.1:4000".parse().unwrap()).dispatch()
    }

    fn page(&self, path: &str) -> String {
        self.get(path).into_string().unwrap()
    }

    /// Sends a form without a CSRF token, as another site would.
    fn forge<'c>(&'c self, path: &str, body: String) -> LocalResponse<'c> {
        let request = self.0.post(path.to_owned()).header(ContentType::Form);
        let request = request.header(Header::new("User-Agent", "Firefox/130.0 (Linux)"));
        let request = request.remote("192.0.2.1:4000".parse().unwrap());
        request.body(body).dispatch()
    }

    fn send<'c>(&'c self, path: &str, fields: &[(&str, &str)]) -> LocalResponse<'c> {
        let token = with_session(&self.0, |session| session.csrf_token().to_string());
        let mut body = format!("csrf_token={token}");
        for (name, value) in fields {
            let value = RawStr::new(*value).percent_encode().to_string();
            body += &format!("&{name}={value}");
        }
        self.forge(path, body)
    }

    fn sign_up(&self, name: &str, password: &str) -> LocalResponse<'_> {
        self.get("/sign-up");
        let passwords = [("password", password), ("password_again", password)];
        self.send("/sign-up", &[&[("name", name)], &passwords[..]].concat())
    }

    fn sign_in(&self, name: &str, password: &str) -> LocalResponse<'_> {
        self.send("/sign-in", &[("name", name), ("password", password)])
    }

    fn write(&self, text: &str) -> LocalResponse<'_> {
        let once = with_session(&self.0, |session| session.create_form_token());
        self.send("/entries", &[("form_token", &once), ("text", text)])
    }

    /// Returns the handles in the forms of a page.
    fn handles(&self, path: &str) -> Vec<String> {
        let page = self.page(path);
        let fields = page.split("name=\"handle\" value=\"").skip(1);
        fields.map(|rest| rest[..43].to_owned()).collect()
    }
}

fn leads_to(response: &LocalResponse<'_>, path: &str) -> bool {
    response.status() == Status::SeeOther && response.headers().get_one("Location") == Some(path)
}
