//! What pages contain.

use crate::support::Book;

#[test]
fn nothing_fails_to_load_and_no_script_complains() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    for path in ["/", "/sessions", "/admin/sessions", "/session", "/live"] {
        ada.visit(path);
        let failed = ada.run(
            "return performance.getEntriesByType('resource')
                .filter(one => one.responseStatus >= 400).map(one => one.name);",
        );
        assert_eq!(failed.as_array().map(Vec::len), Some(0), "{path}: {failed}");
        let styled = ada.run("return document.styleSheets.length");
        assert!(styled.as_u64() >= Some(1), "{path} has no style");
    }
}

#[test]
fn the_record_of_a_session_is_shown_without_its_secrets() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    let csrf = ada.value("#entry-form [name=csrf_token]");
    let cookie = ada.session_cookie().expect("a member has a session");
    assert_eq!(ada.visit("/session"), 200);
    let text = ada.text_of("#record");
    assert!(text.contains("ada") && text.contains("visits"), "{text}");
    for secret in [csrf.as_str(), cookie.value()] {
        assert!(!text.contains(secret), "{text}");
    }
    // The id and the keys of a session are this long.
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
    let long = words.find(|word| word.len() >= 32);
    assert_eq!(long, None);
}

#[test]
fn a_page_that_does_not_exist_says_so_in_the_layout() {
    let book = Book::start();
    let ada = book.visitor();
    assert_eq!(ada.visit("/there/is/no/such/page"), 404);
    assert!(ada.has_part("nav"));
    ada.click("main a[href='/']");
    assert_eq!(ada.status(), 200);
}
