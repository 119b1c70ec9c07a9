//! Every page while the store of the sessions is down, and when it is back.

use std::time::{Duration, Instant};

use crate::support::redis::Redis;
use crate::support::{Book, Visitor};

/// The longest time for a page: some calls to the store, each with its deadline, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

const PAGES: [&str; 8] = [
    "/",
    "/sign-up",
    "/sign-in",
    "/sessions",
    "/admin/sessions",
    "/session",
    "/live",
    "/no/such/page",
];

/// Visits every page: each is there soon, as itself or as the page for 503, in the layout of the site.
fn every_page_is_there(visitor: &Visitor<'_>) {
    for path in PAGES {
        let asked = Instant::now();
        let status = visitor.visit(path);
        assert!(asked.elapsed() < SOON, "{path} took {:?}", asked.elapsed());
        assert!([200, 404, 503].contains(&status), "{path}: {status}");
        assert!(
            visitor.has_part("nav") && visitor.has_part("main#main h1"),
            "{path}"
        );
        if status == 503 {
            assert!(
                visitor.text_of("main").contains("again"),
                "{}",
                visitor.text()
            );
        }
    }
    assert_eq!(
        visitor.visit("/sessions"),
        503,
        "it cannot tell who this is"
    );
}

fn every_page_is_back(visitor: &Visitor<'_>) {
    for path in PAGES {
        let status = if path.starts_with("/no") { 404 } else { 200 };
        assert_eq!(visitor.visit(path), status, "{path}");
    }
}

/// A member stays signed in, with the same cookie, while the store is `down` and when it is `back`.
fn a_member_stays_signed_in(mut redis: Redis, down: fn(&mut Redis), back: fn(&mut Redis)) {
    let book = Book::on(&redis, 1_000);
    let ada = book.visitor();
    ada.sign_up("ada");
    let before = ada.session_cookie().expect("a member has a session");
    down(&mut redis);
    every_page_is_there(&ada);
    back(&mut redis);
    ada.wait_until_well();
    every_page_is_back(&ada);
    assert_eq!(ada.who().as_deref(), Some("ada"));
    let after = ada.session_cookie().expect("a member has a session");
    assert_eq!(after.value(), before.value());
}

#[test]
fn while_the_store_hangs_every_page_is_there_and_afterwards_all_are_signed_in() {
    a_member_stays_signed_in(
        Redis::start(),
        |redis| redis.process().signal("STOP"),
        |redis| redis.process().signal("CONT"),
    );
}

#[test]
fn after_a_restart_of_a_store_that_keeps_its_data_all_are_signed_in() {
    a_member_stays_signed_in(
        Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]),
        |redis| redis.process().kill(),
        Redis::restart,
    );
}

#[test]
fn after_a_restart_of_a_store_that_keeps_nothing_all_can_sign_in_again() {
    let mut redis = Redis::start();
    let book = Book::on(&redis, 2_000);
    let ada = book.visitor();
    ada.sign_up("ada");
    redis.process().kill();
    every_page_is_there(&ada);
    redis.restart();
    ada.wait_until_well();
    ada.visit("/");
    assert_eq!(ada.who(), None);
    ada.sign_in("ada");
    every_page_is_back(&ada);
}

#[test]
fn a_form_that_is_sent_while_the_store_is_down_can_be_sent_again() {
    let mut redis = Redis::start();
    let book = Book::on(&redis, 2_000);
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    ada.type_in("#entry-form [name=text]", "patience");
    redis.process().signal("STOP");
    let send = "const form = document.querySelector('#entry-form');
         const body = new URLSearchParams(new FormData(form));
         return (await fetch(form.action, {method: 'POST', body})).status;";
    assert_eq!(ada.run_async(send), 503);
    redis.process().signal("CONT");
    ada.wait_until_well();
    assert_eq!(ada.run_async(send), 200);
    ada.visit("/");
    assert_eq!(ada.text_of("main").matches("patience").count(), 1);
}

#[test]
fn a_sign_out_while_the_store_is_down_does_not_look_like_one() {
    let mut redis = Redis::start();
    let book = Book::on(&redis, 2_000);
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    redis.process().signal("STOP");
    ada.click("#sign-out-form button");
    assert_eq!(ada.status(), 503);
    redis.process().signal("CONT");
    ada.wait_until_well();
    // The visitor is signed in still, and can sign out now.
    ada.visit("/");
    assert_eq!(ada.who().as_deref(), Some("ada"));
    ada.sign_out();
    assert_eq!(ada.visit("/sessions"), 401);
}
