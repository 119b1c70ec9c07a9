//! The live page, whose stream ends with its session.

use crate::support::process::wait_until;
use crate::support::{Book, Visitor};

/// Opens the live page, and waits until its stream is there.
fn watch(visitor: &Visitor<'_>) {
    assert_eq!(visitor.visit("/live"), 200);
    wait_until("the stream is there", || {
        visitor.text_of("#live-state") == "connected"
    });
}

#[test]
fn an_entry_appears_in_another_browser_at_once() {
    let book = Book::start();
    let [ada, reader] = book.visitors();
    ada.sign_up("ada");
    watch(&reader);
    let loaded = reader.run("return window.loaded = performance.timeOrigin");
    ada.write("live <i>from</i> ada");
    reader.wait_for("main", "live <i>from</i> ada");
    let still = reader.run("return window.loaded");
    assert_eq!(still, loaded, "the page was not loaded again");
}

#[test]
fn a_sign_out_in_another_tab_ends_the_stream() {
    let book = Book::start();
    let ada = book.visitor();
    ada.sign_up("ada");
    watch(&ada);
    let live = ada.tab();
    ada.new_tab();
    ada.visit("/");
    ada.sign_out();
    ada.switch_to(&live);
    ada.wait_for("#live-state", "signed out");
}

#[test]
fn the_stream_of_a_session_that_is_ended_elsewhere_ends_and_shows_no_more_entries() {
    let book = Book::start();
    let [here, there] = book.visitors();
    here.sign_up("ada");
    there.sign_in("ada");
    watch(&there);
    here.visit("/sessions");
    here.click("#end-others-form button");
    there.wait_for("#live-state", "signed out");
    here.write("after the end");
    here.visit("/live");
    here.wait_for("main", "after the end");
    assert!(!there.text().contains("after the end"));
}
