//! The guest book with its sessions in a database, by configuration alone.

use crate::support::sql_server::{Kind, new_database};
use crate::support::{Book, Visitor};

/// A member signs up and in, writes, sees both sessions, and ends one of them. The program restarts meanwhile.
fn a_member_uses_the_guest_book(settings: &str) {
    let sessions = format!("{{store_timeout=20000,{settings}}}");
    let mut book = Book::with(&[("ROCKET_SESSIONS", &sessions)]);
    let (before, elsewhere) = {
        let [ada, other] = book.visitors();
        ada.sign_up("ada");
        ada.write("The tea was hot.");
        assert!(ada.text().contains("The tea was hot."));
        other.sign_in("ada");
        assert_eq!(sessions_of(&ada), 2);
        let cookie = |visitor: &Visitor<'_>| visitor.session_cookie().expect("it is set");
        (cookie(&ada), cookie(&other))
    };
    book.restart(&[("ROCKET_SESSIONS", &sessions)]);
    let [ada, other] = book.visitors();
    for (visitor, cookie) in [(&ada, before), (&other, elsewhere)] {
        visitor.visit("/sign-in");
        visitor.set_cookie(cookie);
        visitor.visit("/");
        assert_eq!(visitor.who().as_deref(), Some("ada"));
    }
    assert_eq!(sessions_of(&ada), 2);
    ada.click("#end-others-form button");
    assert_eq!(sessions_of(&ada), 1);
    other.visit("/");
    assert_eq!(other.who(), None);
    ada.visit("/admin/sessions");
    assert_eq!(ada.status(), 200, "the first account lists all sessions");
    ada.sign_out();
}

/// Returns how many sessions the page of the member lists.
fn sessions_of(visitor: &Visitor<'_>) -> usize {
    visitor.visit("/sessions");
    visitor.texts("#sessions tbody tr").len()
}

#[test]
fn sessions_in_a_file_of_their_own() {
    a_member_uses_the_guest_book(r#"store="sqlite""#);
}

#[test]
fn sessions_in_the_file_of_the_guest_book() {
    a_member_uses_the_guest_book(r#"store="sqlite",sql={url="sqlite:guestbook.db"}"#);
}

#[test]
fn sessions_in_postgres() {
    let url = new_database(Kind::Postgres);
    a_member_uses_the_guest_book(&format!(r#"store="postgres",sql={{url="{url}"}}"#));
}

#[test]
fn sessions_in_mariadb() {
    let url = new_database(Kind::MariaDb);
    a_member_uses_the_guest_book(&format!(r#"store="mysql",sql={{url="{url}"}}"#));
}
