//! A real browser keeps, hides and deletes the cookie as the responses demand.

use rocket::http::SameSite;

use crate::support::browser::Browser;
use crate::support::served::Served;

#[test]
fn a_browser_keeps_a_session_through_log_in_and_log_out() {
    let browser = Browser::start();
    for (profile, name) in [("debug", "id"), ("release", "__Host-id")] {
        let site = Served::launch(|figment| figment.select(profile));
        assert_eq!(browser.open(&site.url("/add/visits/1")), "1");
        assert_eq!(browser.open(&site.url("/add/visits/1")), "2");
        let cookies = browser.cookies();
        assert_eq!(cookies.len(), 1, "{cookies:?}");
        let first = cookies[0].clone();
        assert_eq!(first.name(), name);
        assert_eq!(
            (first.http_only(), first.same_site(), first.path()),
            (Some(true), Some(SameSite::Lax), Some("/"))
        );
        assert_eq!(first.secure(), Some(profile == "release"));
        assert!(first.expires().is_none(), "it ends with the browser");
        assert_eq!(
            browser.run("return document.cookie"),
            "",
            "scripts do not see it"
        );

        browser.open(&site.url("/login/alice"));
        assert_ne!(browser.cookies()[0].value(), first.value());
        assert_eq!(browser.open(&site.url("/who")), "alice");
        assert_eq!(browser.open(&site.url("/add/visits/1")), "3");

        browser.open(&site.url("/logout"));
        let cookies = browser.cookies();
        assert!(cookies.is_empty(), "{profile}: the browser forgot it");
        assert_eq!(browser.open(&site.url("/who")), "nobody");
    }
}

#[test]
fn a_page_that_sends_many_requests_at_once_loses_none() {
    let browser = Browser::start();
    let site = Served::launch(|figment| figment);
    browser.open(&site.url("/add/visits/1"));
    let responses = browser.run_async(
        "const all = await Promise.all(Array.from({length: 60}, (_, n) => \
             fetch(n % 3 ? '/add/visits/1' : `/set/key${n}/x`).then(response => response.status)));
         return all.filter(status => status === 200).length;",
    );
    assert_eq!(responses, 60);
    assert_eq!(browser.open(&site.url("/get/visits")), "41");
    assert_eq!(browser.open(&site.url("/keys")).split(',').count(), 21);
}

#[test]
fn a_page_that_logs_in_while_it_loads_stays_logged_in() {
    // Requests with the old cookie are in flight, and arrive after the log-in.
    let browser = Browser::start();
    let site = Served::launch(|figment| figment);
    browser.open(&site.url("/add/visits/1"));
    for round in 1..=5 {
        let failed = browser.run_async(
            "const polls = Array.from({length: 10}, () => fetch('/add/visits/1'));
             const login = fetch('/login/alice');
             const more = Array.from({length: 10}, () => fetch('/touch'));
             const responses = await Promise.all([...polls, login, ...more]);
             const again = responses.filter(response => response.status === 503 && response.url.includes('add'));
             const repeated = await Promise.all(again.map(() => fetch('/add/visits/1')));
             return repeated.filter(response => response.status !== 200).length;",
        );
        assert_eq!(
            failed, 0,
            "a request that was refused at the log-in succeeds after it"
        );
        assert_eq!(browser.open(&site.url("/who")), "alice", "in round {round}");
        assert_eq!(
            browser.open(&site.url("/get/visits")),
            (1 + 10 * round).to_string()
        );
    }
}
