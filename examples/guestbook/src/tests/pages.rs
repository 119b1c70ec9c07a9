//! What holds for every page: its layout, its headers, its forms, and a store that is down.

use super::*;

#[test]
fn a_form_of_another_site_does_nothing() {
    let site = Site::new();
    let ada = site.member("ada");
    let paths = [
        "/entries",
        "/sign-up",
        "/sign-in",
        "/sign-out",
        "/sessions/end",
        "/sessions/end-others",
        "/admin/sessions/end",
        "/admin/sessions/end-all",
        "/admin/sweep",
    ];
    for path in paths {
        let body = "name=bob&password=correct+horse&text=x&user=ada&days=1&handle=x";
        assert_eq!(
            ada.forge(path, body.into()).status(),
            Status::Forbidden,
            "{path}"
        );
    }
    assert_eq!(ada.get("/sessions").status(), Status::Ok);
    assert!(ada.page("/").contains("The book is empty."));
}

#[test]
fn every_page_has_the_layout_and_the_headers() {
    let site = Site::new();
    let (ada, guest) = (site.member("ada"), site.browser());
    let paths = [
        "/",
        "/live",
        "/session",
        "/sessions",
        "/admin/sessions",
        "/sign-up",
        "/sign-in",
        "/no",
    ];
    for (browser, path) in paths.iter().flat_map(|path| [(&ada, path), (&guest, path)]) {
        let response = browser.get(path);
        if response.status() == Status::SeeOther {
            continue;
        }
        let policy = response
            .headers()
            .get_one("Content-Security-Policy")
            .unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
        let page = response.into_string().unwrap();
        let layout = [
            "<title>",
            "<h1>",
            "<nav ",
            "<main id=\"main\"",
            "<aside id=\"latest\"",
            "class=\"skip\"",
        ];
        for part in layout {
            let times = page.matches(part).count();
            assert!(
                times == 1 || (part == "<nav " && times == 2),
                "{path}: {part}"
            );
        }
        assert!(
            !page.contains("style=\"") && !page.contains("<script>") && !page.contains("onclick")
        );
    }
}

#[test]
fn while_the_store_is_down_everybody_can_read() {
    const PAGES: [&str; 5] = ["/", "/sessions", "/session", "/live", "/admin/sessions"];
    let site = Site::new();
    let ada = site.member("ada");
    ada.write("Before the storm");
    let status = |path: &str| ada.get(path).status().code;
    for act in [
        Act::Load,
        Act::Save,
        Act::GetEntry,
        Act::KeepEntry,
        Act::RemoveEntry,
    ] {
        site.store.fail(act);
    }
    for path in PAGES {
        let response = ada.get(path);
        assert_eq!(response.status(), Status::ServiceUnavailable, "{path}");
        assert!(response.headers().get_one("Retry-After").is_some());
        let page = response.into_string().unwrap();
        assert!(
            page.contains("To read meanwhile") && page.contains("Before the storm"),
            "{path}"
        );
    }
    let page = ada.page("/admin/sessions?q=a");
    assert!(page.contains("href=\"/admin/sessions?q=a\">Try again"));
    assert_eq!(status("/nothing"), 404);
    assert_eq!(status("/static/style.css"), 200);
    // Somebody without a session needs no store to read along, and gets none.
    let guest = site.browser();
    assert_eq!(guest.get("/live").status(), Status::Ok);
    assert!(guest.page("/live").contains("Before the storm"));
    assert_eq!(guest.get("/").status(), Status::ServiceUnavailable);
    assert_eq!(guest.get("/sessions").status(), Status::Unauthorized);

    site.store.heal();
    assert_eq!(PAGES.map(status), [200; 5]);
}

#[test]
fn a_form_that_could_not_be_saved_is_a_503() {
    let site = Site::new();
    let ada = site.member("ada");
    let once = with_session(&ada.0, |session| session.create_form_token());
    let token = with_session(&ada.0, |session| session.csrf_token().to_string());
    site.store.fail(Act::Save);
    let response = ada.forge(
        "/entries",
        format!("csrf_token={token}&form_token={once}&text=x"),
    );
    assert_eq!(response.status(), Status::ServiceUnavailable);
    site.store.heal();
    assert!(ada.page("/").contains("The book is empty."));
}
