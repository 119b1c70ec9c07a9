//! Tests of the whole application with Rocket's local client.

use rocket::http::{ContentType, Header, Status};
use rocket::local::blocking::{Client, LocalResponse};
use rocket_session_kit::testing::{Act, Probe, with_session};
use rocket_session_kit::{MemoryStore, Sessions};
use tempfile::TempDir;

use crate::guestbook;

const KEY: &str = "xSKmDiDqWVcF0XUNoveYJc6I1fZORlg99tI8iQ0aFsE=";
const PASSWORD: &str = "correct horse";

/// The database and the store of one test.
struct Site {
    directory: TempDir,
    store: Probe,
    /// The limits by address, which are so low in few tests.
    sign_ins: u32,
}

impl Site {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            store: Probe::new(MemoryStore::new()),
            sign_ins: 1000,
        }
    }

    /// Returns a browser, with a process of its own behind it: they share the database and the store.
    fn browser(&self) -> Browser {
        let database = self.directory.path().join("guestbook.db");
        let figment = rocket::Config::figment()
            .merge(("secret_key", KEY))
            .merge(("log_level", "off"))
            .merge(("guestbook.database", database))
            .merge(("sessions.rate_limit.named.sign-ins.limit", self.sign_ins));
        let rocket = guestbook(rocket::custom(figment), Sessions::with(self.store.clone()));
        Browser(Client::tracked(rocket).unwrap())
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
            let value = rocket::http::RawStr::new(*value)
                .percent_encode()
                .to_string();
            body += &format!("&{name}={value}");
        }
        self.forge(path, body)
    }

    fn sign_up(&self, name: &str, password: &str) -> LocalResponse<'_> {
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

#[test]
fn the_first_account_is_the_administrator_s() {
    let site = Site::new();
    let ada = site.member("ada");
    let home = ada.page("/");
    assert!(home.contains("you are the administrator") && home.contains("All sessions"));
    assert!(home.contains("</span>ada</span>"));

    let bob = site.member("bob");
    assert!(!bob.page("/").contains("All sessions"));
    assert_eq!(ada.get("/admin/sessions").status(), Status::Ok);
    assert_eq!(bob.get("/admin/sessions").status(), Status::Forbidden);
    for path in ["sessions/end", "sessions/end-all", "sweep"] {
        let path = format!("/admin/{path}");
        let fields = [("handle", &*"A".repeat(43)), ("user", "ada"), ("days", "1")];
        assert_eq!(bob.send(&path, &fields).status(), Status::Forbidden);
    }
}

#[test]
fn a_mistake_stands_beside_its_field_and_the_name_stays() {
    let site = Site::new();
    let browser = site.browser();
    let fields = [
        ("name", "a<b"),
        ("password", "short"),
        ("password_again", "other"),
    ];
    let response = browser.send("/sign-up", &fields);
    assert_eq!(response.status(), Status::UnprocessableEntity);
    let page = response.into_string().unwrap();
    for id in ["name-error", "password-error", "password_again-error"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        assert!(page.contains(&format!("aria-describedby=\"{id}")), "{id}");
    }
    assert!(
        page.contains("value=\"a&#60;b\"") && !page.contains("short") && !page.contains("other")
    );
    for name in ["", "a", "1a", "a b", "ädä", &"a".repeat(25)] {
        let status = browser.sign_up(name, PASSWORD).status();
        assert_eq!(status, Status::UnprocessableEntity, "{name}");
    }
}

#[test]
fn a_taken_name_is_a_mistake_in_any_spelling() {
    let site = Site::new();
    site.member("ada");
    let other = site.browser();
    let response = other.sign_up("Ada", PASSWORD);
    assert_eq!(response.status(), Status::UnprocessableEntity);
}

#[test]
fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let site = Site::new();
    site.member("ada");
    let browser = site.browser();
    let page = |name, password| {
        let response = browser.sign_in(name, password);
        assert_eq!(response.status(), Status::UnprocessableEntity);
        let page = response.into_string().unwrap();
        let lines = page.lines().filter(|line| !line.contains("csrf_token"));
        lines.collect::<String>().replace(name, "NAME")
    };
    let wrong_password = page("ada", "wrong horse");
    assert!(wrong_password.contains("The name or the password is wrong."));
    assert_eq!(wrong_password, page("eve", "wrong horse"));
    assert!(leads_to(&browser.sign_in("ADA", PASSWORD), "/"));
    assert!(browser.page("/").contains("Welcome back, ada."));
}

#[test]
fn only_a_remembered_log_in_outlives_the_browser() {
    let site = Site::new();
    site.member("ada");
    let max_age = |fields: &[(&str, &str)]| {
        let browser = site.browser();
        let login = [&[("name", "ada"), ("password", PASSWORD)], fields].concat();
        let response = browser.send("/sign-in", &login);
        let cookie = response.headers().get_one("Set-Cookie").unwrap();
        cookie.contains("Max-Age=2592000")
    };
    assert!(!max_age(&[]));
    assert!(max_age(&[("remember", "on")]));
}

#[test]
fn the_sixth_wrong_password_of_an_account_is_refused() {
    let site = Site::new();
    site.member("ada");
    let browser = site.browser();
    let wrong = |name| browser.sign_in(name, "wrong horse").status().code;
    // A right password before the limit begins anew.
    assert_eq!([(); 4].map(|()| wrong("ada")), [422; 4]);
    assert!(leads_to(&browser.sign_in("ada", PASSWORD), "/"));
    assert_eq!([(); 5].map(|()| wrong("Ada")), [422; 5]);

    let refused = browser.sign_in("ada", PASSWORD);
    assert_eq!(refused.status(), Status::TooManyRequests);
    let page = refused.into_string().unwrap();
    assert!(page.contains("come back in 15 minutes"), "{page}");
    assert_eq!(wrong("bob"), 422);
}

#[test]
fn log_ins_from_one_address_are_limited() {
    let site = Site {
        sign_ins: 3,
        ..Site::new()
    };
    let browser = site.browser();
    let guess = |name| browser.sign_in(name, "wrong horse").status().code;
    assert_eq!(
        ["ada", "bob", "eve", "joe"].map(guess),
        [422, 422, 422, 429]
    );
}

#[test]
fn a_form_of_another_site_does_nothing() {
    let site = Site::new();
    let ada = site.member("ada");
    let paths = [
        "/entries",
        "/sign-up",
        "/sign-in",
        "/sign-out",
        "/sessions/end",
        "/sessions/end-others",
        "/admin/sessions/end",
        "/admin/sessions/end-all",
        "/admin/sweep",
    ];
    for path in paths {
        let body = "name=bob&password=correct+horse&text=x&user=ada&days=1&handle=x";
        assert_eq!(
            ada.forge(path, body.into()).status(),
            Status::Forbidden,
            "{path}"
        );
    }
    assert_eq!(ada.get("/sessions").status(), Status::Ok);
    assert!(ada.page("/").contains("The book is empty."));
}

#[test]
fn an_entry_that_is_sent_twice_counts_once() {
    let site = Site::new();
    let ada = site.member("ada");
    let once = with_session(&ada.0, |session| session.create_form_token());
    let fields = [("form_token", &*once), ("text", "Hello from <b>Lyon</b>")];
    for _ in 0..2 {
        assert!(leads_to(&ada.send("/entries", &fields), "/"));
    }
    let home = ada.page("/");
    assert!(home.contains("You sent that form already."));
    assert!(!home.contains("<b>Lyon"));
    let (main, aside) = home.split_once("<aside").unwrap();
    let count = |part: &str| part.matches("Hello from &#60;b&#62;Lyon").count();
    assert_eq!((count(main), count(aside)), (1, 1));
}

#[test]
fn an_entry_with_a_mistake_is_shown_again() {
    let site = Site::new();
    let ada = site.member("ada");
    assert_eq!(ada.write("  \r\n ").status(), Status::UnprocessableEntity);
    assert!(leads_to(&ada.write(&"é".repeat(1000)), "/"));
    let long = ada.write(&"ö".repeat(1001));
    assert_eq!(long.status(), Status::UnprocessableEntity);
    let page = long.into_string().unwrap();
    assert!(page.contains("1001 characters") && page.contains(&"ö".repeat(1001)));
    assert_eq!(site.browser().write("Hello").status(), Status::Unauthorized);
}

#[test]
fn the_latest_entries_are_cached_until_there_is_a_new_one() {
    let site = Site::new();
    let (ada, bob) = (site.member("ada"), site.member("bob"));
    let latest = |browser: &Browser| {
        browser
            .page("/live")
            .split_once("<aside")
            .unwrap()
            .1
            .to_owned()
    };
    assert!(latest(&bob).contains("Nothing to show"));
    ada.write("First");
    assert!(latest(&bob).contains("First"));
    // Something else than a new entry leaves the box as it was.
    site.store.calls();
    bob.page("/live");
    assert_eq!(
        site.store.calls().entries,
        2,
        "the value and the version of its tag"
    );
}

#[test]
fn entries_are_shown_ten_by_ten() {
    let site = Site::new();
    let ada = site.member("ada");
    for number in 1..=12 {
        ada.write(&format!("Entry {number}."));
    }
    let main = |path| ada.page(path).split_once("<aside").unwrap().0.to_owned();
    let first = main("/");
    assert!(
        first.contains("Entry 12.") && first.contains("Entry 3.") && !first.contains("Entry 2.")
    );
    assert!(first.contains("Page 1 of 2") && first.contains("href=\"/?page=2\""));
    let second = main("/?page=2");
    assert!(
        second.contains("Entry 2.") && second.contains("Entry 1.") && !second.contains("Entry 3.")
    );
    assert!(main("/?page=9").contains("There are no more entries."));
    assert!(main("/?page=4294967295").contains("There are no more entries."));
}

#[test]
fn visits_are_counted_for_each_visitor() {
    let site = Site::new();
    let (one, other) = (site.browser(), site.browser());
    assert!(one.page("/").contains("You have been here 1 time."));
    assert!(one.page("/").contains("You have been here 2 times."));
    assert!(other.page("/").contains("You have been here 1 time."));
}

#[test]
fn members_end_their_own_sessions_and_no_others() {
    let site = Site::new();
    let (ada, bob) = (site.member("ada"), site.member("bob"));
    let phone = site.browser();
    phone.sign_in("bob", PASSWORD);
    let page = bob.page("/sessions");
    assert_eq!(page.matches("this one").count(), 1);
    assert!(page.contains("Firefox on Linux") && page.contains("192.0.2.1"));

    let [of_ada] = &ada.handles("/sessions")[..] else {
        panic!("she is signed in once")
    };
    assert!(leads_to(
        &bob.send("/sessions/end", &[("handle", of_ada)]),
        "/sessions"
    ));
    assert!(
        bob.page("/sessions")
            .contains("None of your sessions has that name.")
    );
    assert_eq!(ada.get("/sessions").status(), Status::Ok);

    for handle in bob.handles("/sessions") {
        phone.send("/sessions/end", &[("handle", &handle)]);
    }
    assert_eq!(bob.get("/sessions").status(), Status::Unauthorized);
    assert_eq!(phone.get("/sessions").status(), Status::Unauthorized);
}

#[test]
fn members_end_all_their_other_sessions() {
    let site = Site::new();
    let ada = site.member("ada");
    let others = [site.browser(), site.browser()];
    others
        .each_ref()
        .map(|other| other.sign_in("ada", PASSWORD).status());
    assert_eq!(ada.handles("/sessions").len(), 3);
    assert!(leads_to(
        &ada.send("/sessions/end-others", &[]),
        "/sessions"
    ));
    assert!(
        ada.page("/sessions")
            .contains("You are signed out at 2 other places.")
    );
    for other in &others {
        let response = other.get("/sessions");
        assert_eq!(response.status(), Status::Unauthorized);
        let page = response.into_string().unwrap();
        assert!(page.contains("You were signed out from another place."));
    }
}

#[test]
fn a_log_in_leads_back_to_the_page_and_to_no_other_site() {
    let site = Site::new();
    site.member("ada");
    let browser = site.browser();
    let page = browser.page("/admin/sessions?q=a%26b");
    assert!(
        page.contains("href=\"/sign-in?next=/admin/sessions?q%3Da%2526b\""),
        "{page}"
    );
    let sign_in = |next: &str| {
        let browser = site.browser();
        let fields = [("name", "ada"), ("password", PASSWORD)];
        let response = browser.send(&format!("/sign-in?next={next}"), &fields);
        response.headers().get_one("Location").unwrap().to_owned()
    };
    assert_eq!(
        sign_in("/admin/sessions?q%3Da%2526b"),
        "/admin/sessions?q=a%26b"
    );
    assert_eq!(sign_in("https://evil.example/"), "/");
    assert_eq!(sign_in("//evil.example/"), "/evil.example/");
    assert_eq!(sign_in("/%5Cevil.example"), "/");
}

#[test]
fn a_log_out_ends_the_session() {
    let site = Site::new();
    let ada = site.member("ada");
    assert!(leads_to(&ada.send("/sign-out", &[]), "/"));
    let home = ada.page("/");
    assert!(home.contains("You are signed out.") && !home.contains("id=\"who\""));
    assert_eq!(ada.get("/sessions").status(), Status::Unauthorized);
}

#[test]
fn somebody_without_an_account_is_signed_out() {
    let site = Site::new();
    let ada = site.browser();
    // As if the database had been deleted, and the sessions had not.
    rocket_session_kit::testing::log_in(&ada.0, "ada");
    assert!(!ada.page("/").contains("id=\"who\""));
    assert_eq!(ada.get("/sessions").status(), Status::Unauthorized);
    assert!(with_session(&ada.0, |session| session.user().is_none()));
}

#[test]
fn the_administrator_finds_and_ends_sessions() {
    let site = Site::new();
    let (ada, bob, guest) = (site.member("ada"), site.member("bob"), site.browser());
    guest.page("/");
    let found = |query: &str| ada.handles(&format!("/admin/sessions?{query}")).len();
    let queries = [
        "",
        "q=BO",
        "q=x",
        "who=members",
        "who=guests",
        "who=guests&q=bob",
        "page=2",
    ];
    assert_eq!(queries.map(found), [3, 1, 0, 2, 1, 0, 0]);

    let end = |handle: &str| {
        ada.send("/admin/sessions/end", &[("handle", handle)])
            .status()
    };
    for query in ["who=guests", "q=bob", "q=ada"] {
        let handles = ada.handles(&format!("/admin/sessions?{query}"));
        assert_eq!(end(&handles[0]), Status::SeeOther);
    }
    assert_eq!(bob.get("/sessions").status(), Status::Unauthorized);
    assert!(guest.page("/").contains("You have been here 1 time."));
    assert!(
        ada.page("/admin/sessions")
            .contains("This is your own session.")
    );

    bob.sign_in("bob", PASSWORD);
    ada.send("/admin/sessions/end-all", &[("user", "bob")]);
    assert!(
        ada.page("/admin/sessions")
            .contains("Sessions of bob that have ended: 1.")
    );
    assert_eq!(bob.get("/sessions").status(), Status::Unauthorized);
}

#[test]
fn the_administrator_sees_sessions_page_by_page_and_no_id() {
    let site = Site::new();
    let ada = site.member("ada");
    for _ in 0..21 {
        let guest = site.browser();
        guest.page("/");
    }
    let first = ada.handles("/admin/sessions");
    let second = ada.handles("/admin/sessions?page=2");
    assert_eq!((first.len(), second.len()), (20, 2));
    assert!(first.iter().all(|handle| !second.contains(handle)));
    let page = ada.page("/admin/sessions?page=2&who=guests");
    assert!(
        page.contains("21 sessions.") && page.contains("Page 2 of 2"),
        "{page}"
    );
    assert!(
        page.contains("href=\"/admin/sessions?page=1&#38;q=&#38;who=guests\""),
        "{page}"
    );
    let id = with_session(&ada.0, |session| session.id().unwrap().to_hex());
    for path in ["/", "/session", "/sessions", "/admin/sessions"] {
        assert!(!ada.page(path).contains(&id), "{path}");
    }
}

#[test]
fn the_administrator_sweeps_old_sessions() {
    let site = Site::new();
    let ada = site.member("ada");
    assert!(leads_to(
        &ada.send("/admin/sweep", &[("days", "30")]),
        "/admin/sessions"
    ));
    let page = ada.page("/admin/sessions");
    assert!(page.contains("Sessions removed that were not used for 30 days: 0."));
    for days in ["0", "-1", "x", "99999999999999999999"] {
        let response = ada.send("/admin/sweep", &[("days", days)]);
        assert_eq!(response.status(), Status::UnprocessableEntity, "{days}");
    }
}

#[test]
fn a_record_is_shown_without_its_secrets() {
    let site = Site::new();
    assert!(
        site.browser()
            .page("/session")
            .contains("no session of yours yet")
    );
    let ada = site.member("ada");
    ada.page("/");
    let (once, tag) = with_session(&ada.0, |session| {
        session.insert("api_token", "swordfish").unwrap();
        session.insert("note", "<i>").unwrap();
        (session.create_form_token(), session.id().unwrap().to_hex())
    });
    let page = ada.page("/session");
    for secret in ["swordfish", &once, &tag] {
        assert!(!page.contains(secret));
    }
    for shown in [
        "values.visits",
        "values.api_token",
        "values.note",
        "&#60;i&#62;",
        "192.0.2.1",
        "expires",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(page.matches("masked: ").count() >= 5);
}

#[test]
fn while_the_store_is_down_everybody_can_read() {
    const PAGES: [&str; 5] = ["/", "/sessions", "/session", "/live", "/admin/sessions"];
    let site = Site::new();
    let ada = site.member("ada");
    ada.write("Before the storm");
    let status = |path: &str| ada.get(path).status().code;
    for act in [
        Act::Load,
        Act::Save,
        Act::GetEntry,
        Act::KeepEntry,
        Act::RemoveEntry,
    ] {
        site.store.fail(act);
    }
    for path in PAGES {
        let response = ada.get(path);
        assert_eq!(response.status(), Status::ServiceUnavailable, "{path}");
        assert!(response.headers().get_one("Retry-After").is_some());
        let page = response.into_string().unwrap();
        assert!(
            page.contains("Back in a moment") && page.contains("Before the storm"),
            "{path}"
        );
    }
    assert_eq!(status("/nothing"), 404);
    assert_eq!(status("/static/style.css"), 200);
    // Somebody without a session needs no store to read along, and gets none.
    let guest = site.browser();
    assert_eq!(guest.get("/live").status(), Status::Ok);
    assert!(guest.page("/live").contains("Before the storm"));
    assert_eq!(guest.get("/").status(), Status::ServiceUnavailable);
    assert_eq!(guest.get("/sessions").status(), Status::Unauthorized);

    site.store.heal();
    assert_eq!(PAGES.map(status), [200; 5]);
}

#[test]
fn a_form_that_could_not_be_saved_is_a_503() {
    let site = Site::new();
    let ada = site.member("ada");
    let once = with_session(&ada.0, |session| session.create_form_token());
    let token = with_session(&ada.0, |session| session.csrf_token().to_string());
    site.store.fail(Act::Save);
    let response = ada.forge(
        "/entries",
        format!("csrf_token={token}&form_token={once}&text=x"),
    );
    assert_eq!(response.status(), Status::ServiceUnavailable);
    site.store.heal();
    assert!(ada.page("/").contains("The book is empty."));
}

#[test]
fn every_page_has_the_layout_and_the_headers() {
    let site = Site::new();
    let (ada, guest) = (site.member("ada"), site.browser());
    let paths = [
        "/",
        "/live",
        "/session",
        "/sessions",
        "/admin/sessions",
        "/sign-up",
        "/sign-in",
        "/no",
    ];
    for (browser, path) in paths.iter().flat_map(|path| [(&ada, path), (&guest, path)]) {
        let response = browser.get(path);
        if response.status() == Status::SeeOther {
            continue;
        }
        let policy = response
            .headers()
            .get_one("Content-Security-Policy")
            .unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        let page = response.into_string().unwrap();
        let layout = [
            "<title>",
            "<h1>",
            "<nav ",
            "<main id=\"main\"",
            "<aside id=\"latest\"",
            "class=\"skip\"",
        ];
        for part in layout {
            let times = page.matches(part).count();
            assert!(
                times == 1 || (part == "<nav " && times == 2),
                "{path}: {part}"
            );
        }
        assert!(
            !page.contains("style=\"") && !page.contains("<script>") && !page.contains("onclick")
        );
    }
}

/// The live stream, on an asynchronous client, which reads it piece by piece.
mod live {
    use rocket::local::asynchronous::{Client, LocalResponse};
    use rocket::tokio::io::AsyncReadExt;
    use rocket_session_kit::testing::{log_in, with_session};

    use super::*;

    async fn listener(site: &Site) -> Client {
        // The blocking client has made the application; its parts are the same here.
        let database = site.directory.path().join("guestbook.db");
        let figment = rocket::Config::figment()
            .merge(("secret_key", KEY))
            .merge(("log_level", "off"))
            .merge(("guestbook.database", database));
        let rocket = guestbook(rocket::custom(figment), Sessions::with(site.store.clone()));
        Client::tracked(rocket).await.unwrap()
    }

    /// Reads `stream` until `text` has come.
    async fn read_until(stream: &mut LocalResponse<'_>, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text) {
            let mut bytes = [0; 1024];
            let length = stream.read(&mut bytes).await.unwrap();
            assert!(length > 0, "the stream ended without {text}: {read}");
            read.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
        read
    }

    async fn read_to_end(stream: &mut LocalResponse<'_>) -> String {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        rest
    }

    #[rocket::async_test]
    async fn new_entries_come_until_the_session_ends_anywhere() {
        let site = Site::new();
        let client = listener(&site).await;
        let database: &crate::database::Database = client.rocket().state().unwrap();
        database.add_account("ada", "").await.unwrap();
        log_in(&client, "ada").await;

        let mut stream = client.get("/live/events?after=0").dispatch().await;
        let hello = read_until(&mut stream, "\n\n").await;
        assert!(
            hello.contains("event:hello") && hello.contains("data:member"),
            "{hello}"
        );
        database.add_entry("ada", "Hello!").await.unwrap();
        let entry = read_until(&mut stream, "\n\n").await;
        assert!(
            entry.contains("event:entry") && entry.contains("Hello!") && entry.contains("id:1")
        );

        // Another process ends the session.
        let sessions: &Sessions = client.rocket().state().unwrap();
        sessions.end_all_of("ada", None).await.unwrap();
        assert!(read_to_end(&mut stream).await.contains("event:end"));
    }

    #[rocket::async_test]
    async fn a_stream_ends_quietly_when_the_server_stops() {
        let site = Site::new();
        let client = listener(&site).await;
        with_session(&client, |session| session.insert("visits", 1))
            .await
            .unwrap();
        let mut stream = client.get("/live/events?after=0").dispatch().await;
        let hello = read_until(&mut stream, "\n\n").await;
        assert!(hello.contains("data:guest"), "{hello}");
        client.rocket().shutdown().notify();
        assert!(!read_to_end(&mut stream).await.contains("event:end"));
    }

    #[rocket::async_test]
    async fn a_stream_pauses_while_the_store_is_down() {
        let site = Site::new();
        let client = listener(&site).await;
        with_session(&client, |session| session.insert("visits", 1))
            .await
            .unwrap();
        let mut stream = client.get("/live/events?after=0").dispatch().await;
        read_until(&mut stream, "\n\n").await;
        site.store.fail(Act::Load);
        assert!(!read_to_end(&mut stream).await.contains("event:end"));
    }
}
