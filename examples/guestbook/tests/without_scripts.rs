//! Everything works without JavaScript; the live page is loaded again instead.

use crate::support::{Book, Kind};

#[test]
fn a_member_needs_no_scripts() {
    let book = Book::start();
    let ada = book.visitor_with(Kind::WithoutScripts);
    ada.sign_up("ada");
    ada.write("without scripts");
    assert!(ada.text_of("main").contains("without scripts"));
    assert!(ada.shows(".notification"));
    ada.visit("/");
    assert!(!ada.shows(".notification"));
    ada.sign_out();
    ada.sign_in("ada");
    for path in ["/sessions", "/admin/sessions", "/session"] {
        assert_eq!(ada.visit(path), 200, "{path}");
        assert!(ada.shows("main table"), "{path}");
    }
    ada.visit("/admin/sessions");
    ada.click("#sweep-form button");
    assert!(ada.shows(".notification"));
    ada.visit("/sessions");
    ada.click("form.end button");
    ada.visit("/");
    assert_eq!(ada.who(), None, "this was the session of this browser");
}

#[test]
fn the_live_page_without_scripts_is_loaded_again_by_the_browser() {
    let book = Book::start();
    let ada = book.visitor_with(Kind::WithoutScripts);
    ada.visit("/live");
    // The browser has the element only if it runs no scripts.
    let seconds = ada.run("return document.querySelector('meta[http-equiv=refresh]').content");
    let seconds: u32 = seconds
        .as_str()
        .unwrap_or_default()
        .parse()
        .expect("it is a number");
    assert!((1..=30).contains(&seconds), "{seconds}");
    ada.sign_up("ada");
    ada.write("seen without scripts");
    ada.visit("/live");
    assert!(ada.text_of("main").contains("seen without scripts"));
}
