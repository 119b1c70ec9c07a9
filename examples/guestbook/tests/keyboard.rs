//! The keyboard alone is enough.

use crate::support::{Book, PASSWORD, Visitor};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// What has the focus: an id, a name, a link or a text.
fn focused(visitor: &Visitor<'_>) -> String {
    let focused = visitor.run(
        "const one = document.activeElement;
         return one.id || one.name || one.getAttribute('href') || one.innerText || one.tagName;",
    );
    focused.as_str().unwrap_or_default().to_owned()
}

#[test]
fn the_first_tab_leads_to_a_link_that_skips_to_the_content() {
    let book = Book::start();
    let ada = book.visitor();
    ada.visit("/");
    ada.keys(TAB);
    assert_eq!(focused(&ada), "#main");
    let visible = ada.run(
        "const {top, left, width, height} = document.activeElement.getBoundingClientRect();
         return top >= 0 && left >= 0 && width > 20 && height > 10;",
    );
    assert_eq!(visible, true, "it is visible while it has the focus");
    ada.keys(ENTER);
    ada.keys(TAB);
    let inside = ada.run("return document.querySelector('#main').contains(document.activeElement)");
    let first = ada.run(
        "const all = document.querySelectorAll('#main a, #main button, #main textarea, #main input');
         return all.length === 0 || document.activeElement === all[0];",
    );
    assert!(inside == true || first == true, "{}", focused(&ada));
}

#[test]
fn tab_reaches_everything_in_the_order_of_the_page() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    for path in ["/", "/sessions", "/admin/sessions", "/session", "/live"] {
        ada.visit(path);
        let all = ada.run(
            "const all = document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex=\"0\"]');
             return Array.from(all, (one, n) => one.dataset.n = n).length;",
        );
        ada.run("document.activeElement.blur()");
        for n in 0..all.as_u64().expect("it is a number") {
            ada.keys(TAB);
            let found = ada.run("return document.activeElement.dataset.n");
            assert_eq!(found, n.to_string(), "{path}: {}", focused(&ada));
        }
    }
}

#[test]
fn what_has_the_focus_is_visible() {
    let book = Book::start();
    let ada = book.visitor();
    ada.visit("/sign-in");
    for _ in 0..ada.texts("a[href], button, input:not([type=hidden])").len() {
        ada.keys(TAB);
        let outlined = ada.run(
            "const style = getComputedStyle(document.activeElement);
             return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0
                 || style.boxShadow !== 'none';",
        );
        assert_eq!(outlined, true, "{}", focused(&ada));
    }
}

#[test]
fn a_member_signs_in_writes_and_signs_out_by_keyboard_alone() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.sign_out();
    ada.visit("/sign-in");
    let to = |what: &str| {
        for _ in 0..40 {
            if focused(&ada) == what {
                return;
            }
            ada.keys(TAB);
        }
        panic!("Tab does not lead to {what}");
    };
    to("name");
    ada.keys("ada");
    to("password");
    ada.keys(PASSWORD);
    ada.leave_by(|| ada.keys(ENTER));
    assert_eq!(ada.who().as_deref(), Some("ada"));
    ada.visit("/");
    to("text");
    ada.keys("typed");
    ada.keys(TAB);
    ada.leave_by(|| ada.keys(ENTER));
    assert!(ada.text_of("main").contains("typed"));
}
