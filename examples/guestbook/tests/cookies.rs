//! The cookie as the browser holds it, and browsers that hold none.

use rocket::http::SameSite;

use crate::support::{Book, Kind, PASSWORD, Visitor};

fn has_cookie(visitor: &Visitor<'_>, name: &str, secure: bool) {
    let cookies = visitor.cookies();
    assert_eq!(cookies.len(), 1, "there is no other cookie: {cookies:?}");
    let cookie = &cookies[0];
    assert_eq!(cookie.name(), name);
    assert_eq!(cookie.secure(), Some(secure));
    assert_eq!(cookie.http_only(), Some(true));
    assert_eq!(cookie.same_site(), Some(SameSite::Lax));
    assert_eq!(cookie.path(), Some("/"));
    let domain = cookie.domain().expect("the browser tells its host");
    assert!(
        !domain.starts_with('.'),
        "{domain}: only this host receives it"
    );
    assert_eq!(
        visitor.run("return document.cookie"),
        "",
        "scripts do not see it"
    );
}

#[test]
fn a_developer_has_a_plain_cookie() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    has_cookie(&ada, "id", false);
}

#[test]
fn behind_tls_the_cookie_is_secure_and_bound_to_its_host() {
    let book = Book::behind_tls();
    let ada = book.visitor();
    ada.sign_up("ada");
    has_cookie(&ada, "__Host-id", true);
    ada.sign_out();
    assert_eq!(ada.visit("/sessions"), 401);
}

#[test]
fn a_browser_that_refuses_cookies_reads_every_public_page() {
    let book = Book::start();
    let ada = book.visitor_with(Kind::WithoutCookies);
    for path in ["/", "/sign-up", "/sign-in", "/live"] {
        assert_eq!(ada.visit(path), 200, "{path}");
        assert!(ada.shows("main#main h1"), "{path}");
    }
    assert!(ada.cookies().is_empty());
}

#[test]
fn a_form_without_cookies_says_that_they_are_needed() {
    let book = Book::start();
    let ada = book.visitor_with(Kind::WithoutCookies);
    ada.visit("/sign-up");
    let fields = [
        ("name", "ada"),
        ("password", PASSWORD),
        ("password_again", PASSWORD),
    ];
    ada.send("#sign-up-form", &fields);
    assert_eq!(ada.status(), 403);
    let text = ada.text_of("main").to_lowercase();
    assert!(text.contains("cookie"), "{text}");
    assert_eq!(ada.path(), "/sign-up", "it leads nowhere else");
}
