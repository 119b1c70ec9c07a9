//! The pages about sessions: the visitor's own, a member's, and all.

use std::time::Duration;

use super::*;

#[test]
fn members_end_their_own_sessions_and_no_others() {
    let site = Site::new();
    let (ada, bob) = (site.member("ada"), site.member("bob"));
    let phone = site.browser();
    phone.sign_in("bob", PASSWORD);
    let page = bob.page("/sessions");
    assert_eq!(page.matches("this one").count(), 1);
    assert!(page.contains("Firefox on Linux") && page.contains("192.0.2.1"));

    let [of_ada] = &ada.handles("/sessions")[..] else {
        panic!("she is signed in once")
    };
    assert!(leads_to(
        &bob.send("/sessions/end", &[("handle", of_ada)]),
        "/sessions"
    ));
    assert!(
        bob.page("/sessions")
            .contains("None of your sessions has that name.")
    );
    assert_eq!(ada.get("/sessions").status(), Status::Ok);

    for handle in bob.handles("/sessions") {
        phone.send("/sessions/end", &[("handle", &handle)]);
    }
    assert_eq!(bob.get("/sessions").status(), Status::Unauthorized);
    assert_eq!(phone.get("/sessions").status(), Status::Unauthorized);
}

#[test]
fn members_end_all_their_other_sessions() {
    let site = Site::new();
    let ada = site.member("ada");
    let others = [site.browser(), site.browser()];
    for other in &others {
        other.sign_in("ada", PASSWORD);
    }
    assert_eq!(ada.handles("/sessions").len(), 3);
    assert!(leads_to(
        &ada.send("/sessions/end-others", &[]),
        "/sessions"
    ));
    assert!(
        ada.page("/sessions")
            .contains("You are signed out at 2 other places.")
    );
    for other in &others {
        let response = other.get("/sessions");
        assert_eq!(response.status(), Status::Unauthorized);
        let page = response.into_string().unwrap();
        assert!(page.contains("You were signed out from another place."));
    }
}

#[test]
fn the_administrator_finds_and_ends_sessions() {
    let site = Site::new();
    let (ada, bob, guest) = (site.member("ada"), site.member("bob"), site.browser());
    guest.page("/");
    let found = |query: &str| ada.handles(&format!("/admin/sessions?{query}")).len();
    let queries = [
        "",
        "q=BO",
        "q=x",
        "who=members",
        "who=guests",
        "who=guests&q=bob",
        "page=2",
    ];
    assert_eq!(queries.map(found), [3, 1, 0, 2, 1, 0, 0]);

    let end = |handle: &str| {
        ada.send("/admin/sessions/end", &[("handle", handle)])
            .status()
    };
    for query in ["who=guests", "q=bob", "q=ada"] {
        let handles = ada.handles(&format!("/admin/sessions?{query}"));
        assert_eq!(end(&handles[0]), Status::SeeOther);
    }
    assert_eq!(bob.get("/sessions").status(), Status::Unauthorized);
    assert!(guest.page("/").contains("You have been here 1 time."));
    assert!(
        ada.page("/admin/sessions")
            .contains("This is your own session.")
    );

    bob.sign_in("bob", PASSWORD);
    ada.send("/admin/sessions/end-all", &[("user", "bob")]);
    assert!(
        ada.page("/admin/sessions")
            .contains("Sessions of bob that have ended: 1.")
    );
    assert_eq!(bob.get("/sessions").status(), Status::Unauthorized);
}

#[test]
fn the_administrator_sees_sessions_page_by_page_and_no_id() {
    let site = Site::new();
    let ada = site.member("ada");
    for _ in 0..21 {
        let guest = site.browser();
        guest.page("/");
    }
    let first = ada.handles("/admin/sessions");
    let second = ada.handles("/admin/sessions?page=2");
    assert_eq!((first.len(), second.len()), (20, 2));
    assert!(first.iter().all(|handle| !second.contains(handle)));
    let page = ada.page("/admin/sessions?page=2&who=guests");
    assert!(
        page.contains("21 sessions.") && page.contains("Page 2 of 2"),
        "{page}"
    );
    assert!(
        page.contains("href=\"/admin/sessions?page=1&#38;q=&#38;who=guests\""),
        "{page}"
    );
    let id = with_session(&ada.0, |session| session.id().unwrap().to_hex());
    for path in ["/", "/session", "/sessions", "/admin/sessions"] {
        assert!(!ada.page(path).contains(&id), "{path}");
    }
}

#[test]
fn the_administrator_sweeps_old_sessions() {
    let site = Site::new();
    let (ada, bob) = (site.member("ada"), site.member("bob"));
    let remembered = [("password", PASSWORD), ("remember", "on")];
    for (browser, name) in [(&ada, "ada"), (&bob, "bob")] {
        browser.send("/sign-in", &[&[("name", name)], &remembered[..]].concat());
    }
    let three_days = Duration::from_secs(3 * 24 * 60 * 60);
    site.clock.advance(three_days);
    ada.get("/sessions");
    // The records of the first visits, before the log-ins, have expired.
    for (days, swept) in [("4", 4), ("2", 1)] {
        assert!(leads_to(
            &ada.send("/admin/sweep", &[("days", days)]),
            "/admin/sessions"
        ));
        let message = format!("had expired or were not used for {days} days: {swept}.");
        let page = ada.page("/admin/sessions");
        assert!(page.contains(&message), "{message}");
    }
    assert_eq!(bob.get("/sessions").status(), Status::Unauthorized);
    for days in ["0", "-1", "x", "99999999999999999999"] {
        let response = ada.send("/admin/sweep", &[("days", days)]);
        assert_eq!(response.status(), Status::UnprocessableEntity, "{days}");
    }
}

#[test]
fn a_record_is_shown_without_its_secrets() {
    let site = Site::new();
    assert!(
        site.browser()
            .page("/session")
            .contains("no session of yours yet")
    );
    let ada = site.member("ada");
    ada.page("/");
    let (once, tag) = with_session(&ada.0, |session| {
        session.insert("api_token", "swordfish").unwrap();
        session.insert("note", "<i>").unwrap();
        (session.create_form_token(), session.id().unwrap().to_hex())
    });
    let page = ada.page("/session");
    for secret in ["swordfish", &once, &tag] {
        assert!(!page.contains(secret));
    }
    for shown in [
        "values.visits",
        "values.api_token",
        "values.note",
        "&#60;i&#62;",
        "192.0.2.1",
        "expires",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(page.matches("masked: ").count() >= 5);
}
