//! The guest book: entries, the counter of visits, and the box with the latest entries.

use super::*;

#[test]
fn an_entry_that_is_sent_twice_counts_once() {
    let site = Site::new();
    let ada = site.member("ada");
    let once = with_session(&ada.0, |session| session.create_form_token());
    let fields = [("form_token", &*once), ("text", "Hello from <b>Lyon</b>")];
    for _ in 0..2 {
        assert!(leads_to(&ada.send("/entries", &fields), "/"));
    }
    let home = ada.page("/");
    assert!(home.contains("You sent that form already."));
    assert!(!home.contains("<b>Lyon"));
    let (main, aside) = home.split_once("<aside").unwrap();
    let count = |part: &str| part.matches("Hello from &#60;b&#62;Lyon").count();
    assert_eq!((count(main), count(aside)), (1, 1));
}

#[test]
fn an_entry_with_a_mistake_is_shown_again() {
    let site = Site::new();
    let ada = site.member("ada");
    assert_eq!(ada.write("  \r\n ").status(), Status::UnprocessableEntity);
    assert!(leads_to(&ada.write(&"é".repeat(1000)), "/"));
    let long = ada.write(&"ö".repeat(1001));
    assert_eq!(long.status(), Status::UnprocessableEntity);
    let page = long.into_string().unwrap();
    assert!(page.contains("1001 characters") && page.contains(&"ö".repeat(1001)));
    assert_eq!(site.browser().write("Hello").status(), Status::Unauthorized);
}

#[test]
fn the_latest_entries_are_cached_until_there_is_a_new_one() {
    let site = Site::new();
    let (ada, bob) = (site.member("ada"), site.member("bob"));
    let latest = |browser: &Browser| {
        browser
            .page("/live")
            .split_once("<aside")
            .unwrap()
            .1
            .to_owned()
    };
    assert!(latest(&bob).contains("Nothing to show"));
    ada.write("First");
    assert!(latest(&bob).contains("First"));
    // Something else than a new entry leaves the box as it was.
    site.store.calls();
    bob.page("/live");
    assert_eq!(
        site.store.calls().entries,
        2,
        "the value and the version of its tag"
    );
}

#[test]
fn entries_are_shown_ten_by_ten() {
    let site = Site::new();
    let ada = site.member("ada");
    for number in 1..=12 {
        ada.write(&format!("Entry {number}."));
    }
    let main = |path| ada.page(path).split_once("<aside").unwrap().0.to_owned();
    let first = main("/");
    assert!(
        first.contains("Entry 12.") && first.contains("Entry 3.") && !first.contains("Entry 2.")
    );
    assert!(first.contains("Page 1 of 2") && first.contains("href=\"/?page=2\""));
    let second = main("/?page=2");
    assert!(
        second.contains("Entry 2.") && second.contains("Entry 1.") && !second.contains("Entry 3.")
    );
    assert!(main("/?page=9").contains("There are no more entries."));
    assert!(main("/?page=4294967295").contains("There are no more entries."));
}

#[test]
fn visits_are_counted_for_each_visitor() {
    let site = Site::new();
    let (one, other) = (site.browser(), site.browser());
    assert!(one.page("/").contains("You have been here 1 time."));
    assert!(one.page("/").contains("You have been here 2 times."));
    assert!(other.page("/").contains("You have been here 1 time."));
}
