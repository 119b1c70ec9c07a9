//! What a browser still has after sign-out opens nothing: a cookie, a page, a form.

use crate::support::Book;

#[test]
fn a_cookie_from_before_the_sign_out_opens_nothing() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    let cookie = ada.session_cookie().expect("a member has a session");
    ada.sign_out();
    ada.set_cookie(cookie.clone());
    assert_eq!(ada.visit("/sessions"), 401);
    ada.set_cookie(cookie);
    ada.visit("/");
    assert_eq!(ada.who(), None);
}

#[test]
fn a_remembered_cookie_from_before_the_sign_out_opens_nothing() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.sign_out();
    ada.visit("/sign-in");
    ada.press("#sign-in-form [name=remember]");
    ada.fill_sign_in("ada", crate::support::PASSWORD);
    let cookie = ada.session_cookie().expect("a member has a session");
    ada.sign_out();
    ada.set_cookie(cookie);
    assert_eq!(ada.visit("/sessions"), 401);
}

#[test]
fn a_cookie_from_before_the_sign_in_opens_nothing() {
    let book = Book::start();
    let [ada, mallory] = book.visitors();
    ada.visit("/");
    let cookie = ada.session_cookie().expect("the visits are counted");
    ada.sign_up("ada");
    mallory.visit("/");
    mallory.set_cookie(cookie);
    mallory.visit("/sessions");
    assert_eq!((mallory.status(), mallory.who()), (401, None));
}

#[test]
fn the_back_button_after_sign_out_shows_nothing_private() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("lovelace");
    for private in ["/sessions", "/session", "/admin/sessions", "/"] {
        if ada.who().is_none() {
            ada.sign_in("lovelace");
        }
        assert_eq!(ada.visit(private), 200);
        assert_eq!(ada.who().as_deref(), Some("lovelace"));
        ada.sign_out();
        ada.back();
        assert_eq!(ada.path(), private);
        assert_eq!(ada.who(), None, "{private}: {}", ada.text());
        assert!(
            !ada.text().contains("lovelace"),
            "{private}: {}",
            ada.text()
        );
        ada.visit("/");
    }
}

#[test]
fn a_form_of_an_old_tab_is_refused_after_another_sign_in() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    let old = ada.tab();
    ada.new_tab();
    ada.visit("/");
    ada.sign_out();
    ada.sign_up("bob");
    ada.switch_to(&old);
    ada.send("#entry-form", &[("text", "written as ada")]);
    assert_eq!(ada.status(), 403);
    ada.visit("/");
    assert!(!ada.text().contains("written as ada"));
    // With a new page it is possible.
    ada.write("written as bob");
    assert!(ada.text_of("main").contains("written as bob"));
}
