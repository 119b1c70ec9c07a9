//! Customers and staff in one process: two applications, each with its cookie, its lifetimes and its sessions.

use std::time::Duration;

use rocket::async_test;
use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};
use rocket::local::asynchronous::Client;
use rocket_session_kit::testing::Probe;
use rocket_session_kit::{Clock, MemoryStore, Sessions};

use crate::support::{App, Backend, Gates, Visitor, figment, log, on_every_store, routes};

/// The settings of both, with those of the staff in a table of their own, as in the guide.
fn settings(backend: &Backend) -> Figment {
    let figment = backend.figment("");
    figment
        .merge(("staff.sessions.cookie.name", "staff"))
        .merge(("staff.sessions.idle_timeout", 900))
}

/// The settings of the staff: their own, and otherwise those of both.
fn staff(settings: &Figment) -> Figment {
    settings.clone().merge(settings.focus("staff"))
}

/// The same with the sessions of the staff in a place of their own.
fn separate(settings: &Figment) -> Figment {
    let path: Option<String> = settings.extract_inner("sessions.directory.path").ok();
    let path = path.unwrap_or_default() + "-of-staff";
    let settings = settings
        .clone()
        .merge(("staff.sessions.directory.path", path));
    settings
        .merge(("staff.sessions.redis.prefix", "staff:"))
        .merge(("staff.sessions.memcached.prefix", "staff:"))
        .merge(("staff.sessions.sql.table", "staff_sessions"))
}

async fn launch(figment: Figment, clock: &Clock) -> App {
    let rocket = rocket::custom(figment)
        .manage(clock.clone())
        .manage(Gates::default())
        .mount("/", routes())
        .attach(Sessions::fairing());
    App {
        client: Client::untracked(rocket).await.expect("it launches"),
        probe: Probe::new(MemoryStore::new()),
        clock: clock.clone(),
    }
}

async fn who(visitor: &Visitor<'_>) -> String {
    visitor.get("/who").await.body
}

async fn one_browser_has_a_session_in_each_and_neither_touches_the_other(backend: Backend) {
    let settings = separate(&settings(&backend));
    let clock = Clock::manual();
    let shop = launch(settings.clone(), &clock).await;
    let office = launch(staff(&settings), &clock).await;

    // One jar: the browser sends both cookies to both.
    let browser = shop.visitor();
    browser.get("/login/ann").await;
    let browser = browser.copy_to(&office);
    assert_eq!(who(&browser).await, "nobody");
    browser.get("/login/ann").await;
    browser.get("/set/n/7").await;
    assert!(browser.cookie("id").is_some() && browser.cookie("staff").is_some());
    let browser = browser.copy_to(&shop);
    assert_eq!(who(&browser).await, "ann");
    assert_eq!(browser.get("/get/n").await.body, "none");
    assert_eq!((shop.list().await.len(), office.list().await.len()), (1, 1));

    // The lifetimes differ.
    clock.advance(Duration::from_secs(1000));
    assert_eq!(who(&browser).await, "ann");
    let browser = browser.copy_to(&office);
    assert_eq!(who(&browser).await, "nobody");

    // A log-out from one is no log-out from the other.
    browser.get("/login/ann").await;
    let browser = browser.copy_to(&shop);
    browser.get("/logout").await;
    assert!(browser.cookie("id").is_none());
    let browser = browser.copy_to(&office);
    assert_eq!(who(&browser).await, "ann");

    // Neither is an end of all sessions of a user.
    assert_eq!(shop.sessions().end_all_of("ann", None).await.unwrap(), 0);
    assert_eq!(who(&browser).await, "ann");
}

async fn a_cookie_of_one_opens_no_session_of_the_other(backend: Backend) {
    let clock = Clock::manual();
    let one_place = settings(&backend);
    let own_places = separate(&one_place);
    let one_name = own_places
        .clone()
        .merge(("staff.sessions.cookie.name", "id"));
    // The secret key is always the same. The second pair shares a store too, the third a name.
    for (settings, name) in [
        (own_places, "staff"),
        (one_place, "staff"),
        (one_name, "id"),
    ] {
        let shop = launch(settings.clone(), &clock).await;
        let office = launch(staff(&settings), &clock).await;
        let (customer, clerk) = (shop.visitor(), office.visitor());
        customer.get("/login/ann").await;
        clerk.get("/login/bob").await;
        let (id, badge) = (customer.cookie("id").unwrap(), clerk.cookie(name).unwrap());

        clerk.set_cookie(name, &id);
        assert_eq!(who(&clerk).await, "nobody");
        customer.set_cookie("id", &badge);
        assert_eq!(who(&customer).await, "nobody");
        clerk.set_cookie(name, &badge);
        assert_eq!(who(&clerk).await, "bob");
    }
}

on_every_store! {
    one_browser_has_a_session_in_each_and_neither_touches_the_other
    a_cookie_of_one_opens_no_session_of_the_other
}

/// A file with settings of both, and of the staff.
const FILE: &str = r#"
[default.sessions]
store = "directory"
[default.sessions.directory]
path = "for-customers"
[default.staff.sessions.directory]
path = "for-staff"
[debug.staff.sessions]
idle_timeout = 900
[default.typo.sessions]
idle_timeouts = 900
"#;

#[async_test]
async fn a_table_in_a_file_keeps_its_paths_its_profiles_and_its_errors() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("Rocket.toml");
    std::fs::write(&path, FILE).unwrap();
    let settings = figment().merge(Toml::file(&path).nested());
    let rocket = |figment: Figment| rocket::custom(figment).attach(Sessions::fairing());
    let launched = Client::tracked(rocket(staff(&settings))).await.unwrap();
    let idle: u64 = launched
        .rocket()
        .figment()
        .extract_inner("sessions.idle_timeout")
        .unwrap();
    assert_eq!(idle, 900);
    assert!(there.path().join("for-staff").is_dir());
    assert!(!there.path().join("for-customers").exists());

    Client::tracked(rocket(settings.clone())).await.unwrap();
    assert!(there.path().join("for-customers").is_dir());

    let typo = settings.clone().merge(settings.focus("typo"));
    let refused = Client::tracked(rocket(typo)).await;
    // Rocket panics over an error that nobody looked at.
    let _ = refused.expect_err("an unknown key").kind();
    let said = log::lines_with("idle_timeouts").concat();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
}
