//! Entries, and the forms that send them.

use crate::support::Book;

#[test]
fn an_entry_is_shown_to_everybody() {
    let book = Book::start();
    let [ada, bob] = book.visitors();
    ada.sign_up("ada");
    ada.write("A fine <b>place</b> & a \"good\" cup of tea");
    bob.visit("/");
    let text = bob.text_of("main");
    assert!(
        text.contains("A fine <b>place</b> & a \"good\" cup of tea"),
        "{text}"
    );
    assert!(text.contains("ada"), "{text}");
    assert!(
        bob.text_of("aside#latest").contains("A fine"),
        "{}",
        bob.text()
    );
}

#[test]
fn an_entry_without_its_csrf_token_is_refused() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    ada.run("document.querySelector('#entry-form [name=csrf_token]').remove()");
    ada.send("#entry-form", &[("text", "forged")]);
    assert_eq!(ada.status(), 403);
    assert!(
        ada.shows("nav") && ada.shows("main#main h1"),
        "{}",
        ada.text()
    );
    ada.visit("/");
    assert!(!ada.text().contains("forged"));
}

#[test]
fn a_double_click_makes_one_entry() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    ada.type_in("#entry-form [name=text]", "twice, and quickly");
    ada.double_click("#entry-form button");
    ada.visit("/");
    assert_eq!(ada.text_of("main").matches("twice, and quickly").count(), 1);
}

#[test]
fn a_form_that_is_sent_many_times_at_once_makes_one_entry() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    ada.type_in("#entry-form [name=text]", "many at once");
    let sent = ada.run_async(
        "const form = document.querySelector('#entry-form');
         const body = new URLSearchParams(new FormData(form));
         const all = Array.from({length: 10}, () => fetch(form.action, {method: 'POST', body}));
         return (await Promise.all(all)).filter(response => response.status === 200).length;",
    );
    assert_eq!(sent, 10, "each of them leads back to the page");
    ada.visit("/");
    assert_eq!(ada.text_of("main").matches("many at once").count(), 1);
}

#[test]
fn a_form_that_is_sent_again_makes_no_second_entry() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    ada.type_in("#entry-form [name=text]", "only once");
    let sent = ada.run_async(
        "const form = document.querySelector('#entry-form');
         const body = new URLSearchParams(new FormData(form));
         return (await fetch(form.action, {method: 'POST', body})).status;",
    );
    assert_eq!(sent, 200);
    ada.click("#entry-form button");
    let text = ada.text_of("main");
    assert_eq!(text.matches("only once").count(), 1, "{text}");
    assert!(text.contains("already"), "it says why: {text}");
}

#[test]
fn an_empty_entry_is_refused_beside_its_field() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    ada.run("document.querySelector('#entry-form').noValidate = true");
    ada.send("#entry-form", &[("text", "  ")]);
    assert_eq!(ada.status(), 422);
    assert!(!ada.error_of("text").is_empty());
    // The form is still good.
    ada.send("#entry-form", &[("text", "now with words")]);
    assert!(ada.text_of("main").contains("now with words"));
}

#[test]
fn a_visitor_who_is_not_signed_in_writes_nothing() {
    let book = Book::start();
    let bob = book.visitor();
    bob.visit("/");
    assert!(!bob.shows("#entry-form"));
    let status = bob.run_async(
        "const body = new URLSearchParams({text: 'from nobody'});
         return (await fetch('/entries', {method: 'POST', body})).status;",
    );
    assert!(status == 401 || status == 403, "{status}");
    bob.visit("/");
    assert!(!bob.text().contains("from nobody"));
}

#[test]
fn many_entries_take_several_pages() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    ada.visit("/");
    let written = ada.write_many(25);
    assert_eq!(written, 25);
    ada.visit("/");
    assert!(
        ada.text_of("main").contains("entry number 25."),
        "the newest is first"
    );
    assert!(!ada.text_of("main").contains("entry number 1."));
    ada.visit("/?page=2");
    assert!(!ada.text_of("main").contains("entry number 25."));
    let mut pages = 1;
    while !ada.text_of("main").contains("entry number 1.") {
        pages += 1;
        assert_eq!(ada.visit(&format!("/?page={pages}")), 200);
        assert!(pages < 30, "the first entry is nowhere");
    }
}

#[test]
fn the_counter_loses_no_visit_of_parallel_tabs() {
    let book = Book::start();
    let ada = book.visitor();
    ada.visit("/");
    assert_eq!(ada.visits(), 1);
    // Requests of one page, and tabs that load at the same time. Without `no-store`, Chromium sends equal requests one by one.
    let loaded = ada.run_async(
        "const all = Array.from({length: 40}, () => fetch('/', {cache: 'no-store'}).then(response => response.text()));
         for (let n = 0; n < 5; n += 1) window.open(`/?tab=${n}`, '_blank');
         return (await Promise.all(all)).filter(text => text.includes('id=\"visits\"')).length;",
    );
    assert_eq!(loaded, 40);
    ada.wait_for_tabs(6);
    ada.visit("/");
    assert_eq!(ada.visits(), 1 + 40 + 5 + 1);
}
