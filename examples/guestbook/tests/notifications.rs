//! Notifications, each of which is shown once.

use crate::support::{Book, Visitor};

/// Writes an entry in the background: its notification waits for the next page.
fn write_unseen(ada: &Visitor<'_>) {
    ada.visit("/");
    ada.type_in("#entry-form [name=text]", "unseen");
    let kind = ada.run_async(
        "const form = document.querySelector('#entry-form');
         const body = new URLSearchParams(new FormData(form));
         return (await fetch(form.action, {method: 'POST', body, redirect: 'manual'})).type;",
    );
    assert_eq!(kind, "opaqueredirect");
}

#[test]
fn a_notification_is_shown_on_the_next_page_and_on_no_other() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    assert!(!ada.shows(".notification"));
    ada.write("hello");
    assert_eq!(
        ada.texts("div[role=status].notifications .notification")
            .len(),
        1
    );
    ada.visit("/");
    assert!(!ada.shows(".notification"));
}

#[test]
fn a_notification_is_seen_in_exactly_one_of_two_tabs() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    write_unseen(&ada);
    let first = ada.tab();
    ada.new_tab();
    ada.visit("/");
    let here = ada.texts(".notification").len();
    ada.switch_to(&first);
    ada.visit("/");
    assert_eq!((here, ada.texts(".notification").len()), (1, 0));
}

#[test]
fn a_notification_is_seen_once_when_many_pages_load_at_the_same_time() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    for _ in 0..3 {
        write_unseen(&ada);
        let seen = ada.run_async(
            "const all = Array.from({length: 12}, () => fetch('/', {cache: 'no-store'}).then(response => response.text()));
             return (await Promise.all(all)).filter(text => text.includes('class=\"notification ')).length;",
        );
        assert_eq!(seen, 1);
    }
}
