//! The list of one's sessions, and the administrator's list of all.

use crate::support::{Book, Visitor};

/// The rows of the table.
fn rows(visitor: &Visitor<'_>) -> Vec<String> {
    visitor.texts("#sessions tbody tr, #all-sessions tbody tr")
}

/// Ends the session whose row contains `text`.
fn end(visitor: &Visitor<'_>, text: &str) {
    let marked = visitor.run(&format!(
        "const rows = Array.from(document.querySelectorAll('tbody tr'));
         const fit = rows.filter(row => row.innerText.includes({text:?}) && row.querySelector('form.end'));
         if (fit.length) fit[0].querySelector('form.end button').id = 'the-one';
         return fit.length;"
    ));
    assert_eq!(marked, 1, "{text}: {:?}", rows(visitor));
    visitor.click("#the-one");
}

/// Two browsers of the same member.
fn two_of_one(book: &Book) -> [Visitor<'_>; 2] {
    let [here, there] = book.visitors();
    there.call_itself("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
    here.sign_up("ada");
    there.sign_in("ada");
    [here, there]
}

#[test]
fn my_sessions_lists_both_browsers_and_marks_this_one() {
    let book = Book::start();
    let [here, there] = two_of_one(&book);
    for (visitor, own, other) in [(&here, "Chrom", "Firefox"), (&there, "Firefox", "Chrom")] {
        assert_eq!(visitor.visit("/sessions"), 200);
        let rows = rows(visitor);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert!(rows.iter().all(|row| row.contains("127.0.0.1")), "{rows:?}");
        let this = rows.iter().find(|row| row.to_lowercase().contains("this"));
        let this = this.unwrap_or_else(|| panic!("none is marked: {rows:?}"));
        assert!(this.contains(own) && !this.contains(other), "{rows:?}");
    }
}

#[test]
fn ending_one_session_signs_that_browser_out_and_no_other() {
    let book = Book::start();
    let [here, there] = two_of_one(&book);
    here.visit("/sessions");
    end(&here, "Firefox");
    here.visit("/sessions");
    assert_eq!(rows(&here).len(), 1);
    assert_eq!(there.visit("/sessions"), 401);
    there.visit("/");
    assert_eq!(there.who(), None);
    assert_eq!(here.who().as_deref(), Some("ada"));
}

#[test]
fn ending_all_others_keeps_this_one() {
    let book = Book::start();
    let [here, there] = two_of_one(&book);
    here.visit("/sessions");
    here.click("#end-others-form button");
    here.visit("/sessions");
    assert_eq!(rows(&here).len(), 1);
    there.visit("/");
    assert_eq!(there.who(), None);
}

#[test]
fn nobody_ends_the_session_of_another_member() {
    let book = Book::start();
    let [ada, bob] = book.visitors();
    ada.sign_up("ada");
    ada.visit("/sessions");
    let handle = ada.value("form.end [name=handle]");
    bob.sign_up("bob");
    bob.visit("/sessions");
    bob.run(&format!(
        "document.querySelector('form.end [name=handle]').value = {handle:?}"
    ));
    bob.click("form.end button");
    ada.visit("/sessions");
    assert_eq!((ada.status(), rows(&ada).len()), (200, 1));
    bob.visit("/sessions");
    assert_eq!((bob.status(), rows(&bob).len()), (200, 1));
}

#[test]
fn the_administrator_ends_a_session_and_the_next_click_shows_it() {
    let book = Book::start();
    let [admin, bob] = book.visitors();
    admin.sign_up("admin");
    bob.sign_up("bob");
    bob.visit("/");
    assert_eq!(admin.visit("/admin/sessions"), 200);
    end(&admin, "bob");
    bob.click("nav a[href='/sessions']");
    assert_eq!((bob.status(), bob.who()), (401, None));
    admin.visit("/admin/sessions?q=bob");
    assert!(!rows(&admin).iter().any(|row| row.contains("bob")));
}

#[test]
fn the_administrator_searches_all_sessions() {
    let book = Book::start();
    let [admin, bob] = book.visitors();
    admin.sign_up("admin");
    bob.sign_up("bob");
    admin.visit("/admin/sessions");
    assert!(rows(&admin).len() >= 2);
    admin.type_in("[name=q]", "bob");
    admin.leave_by(|| admin.keys("\u{e007}"));
    let found = rows(&admin);
    assert!(found.len() == 1 && found[0].contains("bob"), "{found:?}");
}

#[test]
fn the_administrator_sweeps() {
    let book = Book::start();
    let admin = book.visitor();
    admin.sign_up("admin");
    admin.visit("/admin/sessions");
    admin.click("#sweep-form button");
    assert_eq!(admin.status(), 200);
    assert!(admin.shows(".notification"));
    assert_eq!(admin.who().as_deref(), Some("admin"));
}

#[test]
fn only_the_administrator_sees_all_sessions() {
    let book = Book::start();
    let [admin, bob] = book.visitors();
    admin.sign_up("admin");
    assert_eq!(bob.visit("/admin/sessions"), 401);
    bob.sign_up("bob");
    assert_eq!(bob.visit("/admin/sessions"), 403);
    assert!(!bob.shows("#all-sessions"));
}
