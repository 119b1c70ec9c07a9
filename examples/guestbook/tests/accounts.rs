//! Accounts: signing up, in and out, and being remembered.

use std::time::SystemTime;

use crate::support::{Book, PASSWORD};

#[test]
fn signing_up_makes_an_account_and_signs_in() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    assert!(ada.shows("#entry-form"), "members may write");
    assert!(ada.shows("#sign-out-form"));
}

#[test]
fn signing_out_takes_the_cookie_away() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    let before = ada.session_cookie().expect("a member has a session");
    ada.sign_out();
    ada.visit("/");
    let after = ada.session_cookie();
    assert!(after.is_none_or(|after| after.value() != before.value()));
    assert!(!ada.shows("#entry-form"));
}

#[test]
fn signing_in_leads_to_the_page_that_was_asked_for() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.sign_out();
    assert_eq!(ada.visit("/sessions"), 401);
    ada.click("main a[href*='/sign-in']");
    ada.fill_sign_in("ada", PASSWORD);
    assert_eq!((ada.path().as_str(), ada.status()), ("/sessions", 200));
}

#[test]
fn signing_in_leads_to_no_other_site() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    let origin = book.url("");
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/%5Cevil.example/",
        "/%09/evil.example/",
    ] {
        ada.visit("/");
        ada.sign_out();
        ada.visit(&format!("/sign-in?next={next}"));
        ada.fill_sign_in("ada", PASSWORD);
        assert_eq!(ada.run("return location.origin"), origin, "{next}");
        assert_eq!(ada.who().as_deref(), Some("ada"), "{next}");
    }
}

#[test]
fn signing_in_changes_the_cookie() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.sign_out();
    ada.visit("/");
    let before = ada.session_cookie().expect("the visits are counted");
    ada.sign_in("ada");
    let after = ada.session_cookie().expect("a member has a session");
    assert_ne!(after.value(), before.value());
}

#[test]
fn only_a_remembered_member_has_a_cookie_that_outlives_the_browser() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    for remembered in [false, true] {
        ada.sign_out();
        ada.visit("/sign-in");
        if remembered {
            ada.press("#sign-in-form [name=remember]");
        }
        ada.fill_sign_in("ada", PASSWORD);
        let cookie = ada.session_cookie().expect("a member has a session");
        let expires = cookie.expires_datetime().map(SystemTime::from);
        let left = expires.map(|expires| expires.duration_since(SystemTime::now()));
        let days = left.map(|left| left.expect("it lies in the future").as_secs() / 86_400);
        assert_eq!(days.is_some_and(|days| days >= 7), remembered, "{days:?}");
        assert_eq!(days.is_some(), remembered, "{days:?}");
    }
}

#[test]
fn a_wrong_password_signs_nobody_in_and_tells_no_names() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.sign_out();
    let pages = ["ada", "nobody-of-this-name"].map(|name| {
        ada.visit("/sign-in");
        ada.fill_sign_in(name, "not the password");
        assert_eq!(ada.who(), None);
        assert_eq!(ada.path(), "/sign-in");
        (ada.status(), ada.text_of("main").replace(name, ""))
    });
    assert_eq!(pages[0], pages[1]);
    assert_eq!(pages[0].0, 422);
}

#[test]
fn the_errors_of_a_form_stand_beside_their_fields() {
    let book = Book::start();
    let ada = book.visitor();
    ada.visit("/sign-up");
    let wrong = [
        ("name", "ada"),
        ("password", PASSWORD),
        ("password_again", "another"),
    ];
    // What the browser itself refuses is tested without its help.
    ada.run("document.querySelector('#sign-up-form').noValidate = true");
    ada.send("#sign-up-form", &wrong);
    assert_eq!(ada.status(), 422);
    assert!(!ada.error_of("password_again").is_empty());
    assert_eq!(ada.error_of("name"), "");
    assert_eq!(ada.value("[name=name]"), "ada", "nothing is typed twice");
    assert_eq!(
        ada.value("[name=password]"),
        "",
        "passwords are not sent back"
    );
}

#[test]
fn a_name_that_is_taken_is_refused_beside_its_field() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.sign_out();
    ada.visit("/sign-up");
    let taken = [
        ("name", "ada"),
        ("password", PASSWORD),
        ("password_again", PASSWORD),
    ];
    ada.send("#sign-up-form", &taken);
    assert_eq!(ada.status(), 422);
    assert!(ada.error_of("name").contains("taken"));
}

#[test]
fn too_many_attempts_to_sign_in_show_when_to_come_back() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.sign_out();
    let mut attempts = 0;
    loop {
        ada.visit("/sign-in");
        ada.fill_sign_in("ada", "not the password");
        attempts += 1;
        if ada.status() == 429 {
            break;
        }
        assert_eq!(ada.status(), 422);
        assert!(attempts < 30, "nothing limits the attempts");
    }
    assert!(attempts > 3, "a typing error is no attack");
    let text = ada.text_of("main");
    assert!(text.contains("second") || text.contains("minute"), "{text}");
    // The right password does not help now.
    ada.visit("/sign-in");
    ada.fill_sign_in("ada", PASSWORD);
    assert_eq!((ada.status(), ada.who()), (429, None));
}
