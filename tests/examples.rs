//! Each example does what its first lines promise.

use rocket::http::{ContentType, Header, Status};
use rocket::local::blocking::{Client, LocalResponse};
use rocket::{Build, Rocket};
use rocket_session_kit::testing::Subject;
use rocket_session_kit::{Clock, store_suite};

#[allow(dead_code, reason = "a test needs no `main`")]
#[path = "../examples/login.rs"]
mod login;
#[allow(dead_code, reason = "a test needs no `main`")]
#[path = "../examples/own_store.rs"]
mod own_store;
#[allow(dead_code, reason = "a test needs no `main`")]
#[path = "../examples/tokens.rs"]
mod tokens;
#[allow(dead_code, reason = "a test needs no `main`")]
#[path = "../examples/typed.rs"]
mod typed;

/// Returns a client of the example, whose sessions are in memory.
fn client(example: impl FnOnce() -> Rocket<Build>) -> Client {
    let ours = crate::support::figment().merge(("sessions.store", "memory"));
    let example = example();
    let figment = example.figment().clone().merge(ours);
    Client::tracked(example.configure(figment)).expect("the example launches")
}

fn text(response: LocalResponse<'_>) -> String {
    response.into_string().unwrap_or_default()
}

/// Returns the value of the hidden field `name` in a page.
fn field(page: &str, name: &str) -> String {
    let rest = page.split(&format!(r#"name="{name}" value=""#)).nth(1);
    let value = rest.and_then(|rest| rest.split('"').next());
    value.expect("the page has the field").to_owned()
}

#[test]
fn a_cart_is_one_typed_value_of_the_session() {
    let client = client(typed::rocket);
    for path in ["/cart/tea", "/cart/tea", "/cart/milk", "/gift"] {
        assert_eq!(client.post(path).dispatch().status(), Status::NoContent);
    }
    let cart = || text(client.get("/cart").dispatch());
    assert_eq!(cart(), "1 × milk\n2 × tea\nwrapped as a gift\n");
    client.delete("/cart/milk").dispatch();
    assert_eq!(cart(), "2 × tea\nwrapped as a gift\n");
    let session = |session: &rocket_session_kit::Session| session.keys();
    let names = rocket_session_kit::testing::with_session(&client, session);
    assert_eq!(names, ["cart"]);
}

#[test]
fn a_user_logs_in_and_out_and_guesses_are_limited() {
    let client = client(login::rocket);
    let page = || text(client.get("/").dispatch());
    let send = |path: &'static str, fields: &str| {
        let form = format!("csrf_token={}&{fields}", field(&page(), "csrf_token"));
        let request = client.post(path).header(ContentType::Form).body(form);
        request.dispatch().status().code
    };
    let forged = client.post("/login").header(ContentType::Form);
    let forged = forged.body("name=Ada&password=enigma").dispatch();
    assert_eq!(forged.status(), Status::Forbidden);
    assert_eq!(send("/login", "name=Ada&password=x"), 303);
    let told = page();
    assert!(
        told.contains("is wrong") && told.contains("Log in"),
        "{told}"
    );
    assert_eq!(send("/login", "name=Ada&password=enigma"), 303);
    assert!(page().contains("Hello, Ada."));
    assert_eq!(send("/logout", ""), 303);
    assert!(page().contains("<title>Log in"));
    for _ in 0..5 {
        assert_eq!(send("/login", "name=Ada&password=x"), 303);
    }
    assert_eq!(send("/login", "name=Ada&password=enigma"), 429);
}

#[test]
fn a_client_of_the_api_has_a_token_until_it_revokes_it() {
    let client = client(tokens::rocket);
    let log_in = |form: &str| {
        let request = client.post("/tokens").header(ContentType::Form).body(form);
        let response = request.dispatch();
        (response.status().code, text(response))
    };
    assert_eq!(log_in("name=ada&password=x").0, 403);
    let (status, token) = log_in("name=ada&password=enigma");
    assert_eq!(status, 201);
    let bearer = || Header::new("Authorization", format!("Bearer {token}"));
    for note in ["buy tea", "buy milk"] {
        let request = client.post("/notes").header(bearer());
        let request = request
            .header(ContentType::Form)
            .body(format!("text={note}"));
        assert_eq!(request.dispatch().status(), Status::Created);
    }
    let notes = || client.get("/notes").header(bearer()).dispatch();
    assert_eq!(text(notes()), "buy tea\nbuy milk");
    let revoked = client.delete("/tokens").header(bearer()).dispatch();
    assert_eq!(revoked.status(), Status::NoContent);
    assert_eq!(notes().status(), Status::Unauthorized);
    assert_eq!(
        client.get("/notes").dispatch().status(),
        Status::Unauthorized
    );
}

#[test]
fn the_store_of_the_example_serves_it() {
    let client = client(own_store::rocket);
    assert_eq!(text(client.get("/").dispatch()), "visits: 1\n");
    assert_eq!(text(client.get("/").dispatch()), "visits: 2\n");
}

async fn table() -> Subject {
    let clock = Clock::manual();
    let store = own_store::TableStore::new(clock.clone());
    Subject::new(store).clock(clock)
}

store_suite!(own_store_of_the_example, table());

#[test]
fn the_list_of_examples_names_each() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let list = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let named = match name.strip_suffix(".rs") {
            Some(name) => list.contains(&format!("--example {name}`")),
            None => name == "README.md" || list.contains(&format!("-p {name}`")),
        };
        assert!(named, "{name} is not in examples/README.md");
        count += 1;
    }
    assert!(count > 8);
}
