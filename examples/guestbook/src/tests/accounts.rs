//! Sign-up, sign-in and sign-out, and the limits for those who guess.

use super::*;

#[test]
fn the_first_account_is_the_administrator_s() {
    let site = Site::new();
    let ada = site.member("ada");
    let home = ada.page("/");
    assert!(home.contains("you are the administrator") && home.contains("All sessions"));
    assert!(home.contains("</span>ada</span>"));

    let bob = site.member("bob");
    assert!(!bob.page("/").contains("All sessions"));
    assert_eq!(ada.get("/admin/sessions").status(), Status::Ok);
    assert_eq!(bob.get("/admin/sessions").status(), Status::Forbidden);
    for path in ["sessions/end", "sessions/end-all", "sweep"] {
        let path = format!("/admin/{path}");
        let fields = [("handle", &*"A".repeat(43)), ("user", "ada"), ("days", "1")];
        assert_eq!(bob.send(&path, &fields).status(), Status::Forbidden);
    }
}

#[test]
fn a_mistake_stands_beside_its_field_and_the_name_stays() {
    let site = Site::new();
    let browser = site.browser();
    let fields = [
        ("name", "a<b"),
        ("password", "short"),
        ("password_again", "other"),
    ];
    let response = browser.send("/sign-up", &fields);
    assert_eq!(response.status(), Status::UnprocessableEntity);
    let page = response.into_string().unwrap();
    for id in ["name-error", "password-error", "password_again-error"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        assert!(page.contains(&format!("aria-describedby=\"{id}")), "{id}");
    }
    assert!(
        page.contains("value=\"a&#60;b\"") && !page.contains("short") && !page.contains("other")
    );
    for name in ["", "a", "1a", "a b", "ädä", &"a".repeat(25)] {
        let status = browser.sign_up(name, PASSWORD).status();
        assert_eq!(status, Status::UnprocessableEntity, "{name}");
    }
}

#[test]
fn a_taken_name_is_a_mistake_in_any_spelling() {
    let site = Site::new();
    site.member("ada");
    let other = site.browser();
    let response = other.sign_up("Ada", PASSWORD);
    assert_eq!(response.status(), Status::UnprocessableEntity);
}

#[test]
fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let site = Site::new();
    site.member("ada");
    let browser = site.browser();
    let page = |name, password| {
        let response = browser.sign_in(name, password);
        assert_eq!(response.status(), Status::UnprocessableEntity);
        let page = response.into_string().unwrap();
        let lines = page.lines().filter(|line| !line.contains("csrf_token"));
        lines.collect::<String>().replace(name, "NAME")
    };
    let wrong_password = page("ada", "wrong horse");
    assert!(wrong_password.contains("The name or the password is wrong."));
    assert_eq!(wrong_password, page("nobody", "wrong horse"));
    assert!(leads_to(&browser.sign_in("ADA", PASSWORD), "/"));
    assert!(browser.page("/").contains("Welcome back, ada."));
}

#[test]
fn only_a_remembered_log_in_outlives_the_browser() {
    let site = Site::new();
    site.member("ada");
    let max_age = |fields: &[(&str, &str)]| {
        let browser = site.browser();
        let login = [&[("name", "ada"), ("password", PASSWORD)], fields].concat();
        let response = browser.send("/sign-in", &login);
        let cookie = response.headers().get_one("Set-Cookie").unwrap();
        cookie.contains("Max-Age=2592000")
    };
    assert!(!max_age(&[]));
    assert!(max_age(&[("remember", "on")]));
}

#[test]
fn the_sixth_wrong_password_of_an_account_is_refused() {
    let site = Site::new();
    site.member("ada");
    let browser = site.browser();
    let wrong = |name| browser.sign_in(name, "wrong horse").status().code;
    // A right password before the limit begins anew.
    assert_eq!([(); 4].map(|()| wrong("ada")), [422; 4]);
    assert!(leads_to(&browser.sign_in("ada", PASSWORD), "/"));
    assert_eq!([(); 5].map(|()| wrong("Ada")), [422; 5]);

    let refused = browser.sign_in("ada", PASSWORD);
    assert_eq!(refused.status(), Status::TooManyRequests);
    let page = refused.into_string().unwrap();
    assert!(page.contains("come back in 15 minutes"), "{page}");
    assert_eq!(wrong("bob"), 422);
}

#[test]
fn log_ins_from_one_address_are_limited() {
    let site = Site {
        sign_ins: 3,
        ..Site::new()
    };
    let browser = site.browser();
    let guess = |name| browser.sign_in(name, "wrong horse").status().code;
    assert_eq!(
        ["ada", "bob", "eve", "joe"].map(guess),
        [422, 422, 422, 429]
    );
}

#[test]
fn a_log_in_leads_back_to_the_page_and_to_no_other_site() {
    let site = Site::new();
    site.member("ada");
    let browser = site.browser();
    let page = browser.page("/admin/sessions?q=a%26b");
    assert!(
        page.contains("href=\"/sign-in?next=%2Fadmin%2Fsessions%3Fq%3Da%2526b\""),
        "{page}"
    );
    let sign_in = |next: &str| {
        let browser = site.browser();
        let fields = [("name", "ada"), ("password", PASSWORD)];
        let response = browser.send(&format!("/sign-in?next={next}"), &fields);
        response.headers().get_one("Location").unwrap().to_owned()
    };
    assert_eq!(
        sign_in("/admin/sessions?q%3Da%2526b"),
        "/admin/sessions?q=a%26b"
    );
    assert_eq!(sign_in("https://evil.example/"), "/");
    assert_eq!(sign_in("//evil.example/"), "/evil.example");
    assert_eq!(sign_in("/%5Cevil.example"), "/");
}

#[test]
fn a_log_out_ends_the_session() {
    let site = Site::new();
    let ada = site.member("ada");
    assert!(leads_to(&ada.send("/sign-out", &[]), "/"));
    let home = ada.page("/");
    assert!(home.contains("You are signed out.") && !home.contains("id=\"who\""));
    assert_eq!(ada.get("/sessions").status(), Status::Unauthorized);
}

#[test]
fn somebody_without_an_account_is_signed_out() {
    let site = Site::new();
    let ada = site.browser();
    // As if the database had been deleted, and the sessions had not.
    rocket_session_kit::testing::log_in(&ada.0, "ada");
    assert!(!ada.page("/").contains("id=\"who\""));
    assert_eq!(ada.get("/sessions").status(), Status::Unauthorized);
    assert!(with_session(&ada.0, |session| session.user().is_none()));
}
