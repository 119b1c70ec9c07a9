//! Every page has its status, its title, one heading and the layout of the site.

use std::collections::HashSet;

use crate::support::{Book, Visitor, guided_tour};

/// Checks what all pages have in common, and returns the title.
fn has_the_layout(visitor: &Visitor<'_>, name: &str) -> String {
    let title = visitor.title();
    assert!(!title.trim().is_empty(), "{name} has no title");
    let headings = visitor.texts("h1");
    assert_eq!(headings.len(), 1, "{name}: {headings:?}");
    assert!(!headings[0].is_empty(), "{name} has an empty heading");
    for part in ["nav", "main#main", "a[href='#main']", "html[lang]"] {
        assert!(visitor.has_part(part), "{name} has no {part}");
    }
    title
}

#[test]
fn every_page_has_its_status_a_title_and_one_heading() {
    let mut titles = HashSet::new();
    let mut names = Vec::new();
    guided_tour(|visitor, name, status| {
        assert_eq!(visitor.status(), status, "{name}: {}", visitor.text());
        titles.insert(has_the_layout(visitor, name));
        names.push(name.to_owned());
    });
    assert!(names.len() >= 14, "{names:?}");
    assert!(
        titles.len() + 3 >= names.len(),
        "titles tell pages apart: {titles:?}"
    );
}

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
    has_the_layout(&ada, "404");
    ada.click("main a[href='/']");
    assert_eq!(ada.status(), 200);
}
