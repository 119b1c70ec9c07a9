//! A form is processed once, and only if the application's own page sent it.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::data::Capped;
use rocket::figment::Figment;
use rocket::form::{Contextual, Strict};
use rocket::fs::TempFile;
use rocket::futures::future::{join, join_all, join3};
use rocket::http::{ContentType, Header, Method};
use rocket::local::blocking::Client;
use rocket::response::content::RawHtml;
use rocket::{
    Build, FromForm, Rocket, State, async_test, delete, get, options, patch, post, put, routes,
};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{CsrfForm, CsrfToken, Result, Session};

use crate::support::browser::Browser;
use crate::support::process::Server;
use crate::support::served::Served;
use crate::support::{App, Gates, Visitor, remove_token};

#[allow(dead_code, reason = "a test needs no `main`")]
#[path = "../examples/form.rs"]
mod example;

#[get("/token?<gate>")]
async fn token(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.create_form_token()
}

/// Renews the session and returns a token.
#[get("/renew_and_token?<gate>")]
async fn renew_and_token(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.renew();
    session.create_form_token()
}

#[get("/tokens/<count>")]
fn tokens(count: usize, session: &Session) -> String {
    let tokens: Vec<_> = (0..count).map(|_| session.create_form_token()).collect();
    tokens.join(",")
}

#[get("/has/<token>")]
fn has(token: &str, session: &Session) -> String {
    session.has_form_token(token).to_string()
}

#[get("/own")]
async fn own(session: &Session) -> Result<String> {
    let token = session.create_form_token();
    let used = session.remove_form_token(&token).await?;
    Ok(format!("{used} {}", session.has_form_token(&token)))
}

#[get("/csrf?<gate>")]
async fn csrf(gate: Option<&str>, session: &Session, gates: &State<Gates>) -> String {
    gates.wait(gate).await;
    session.csrf_token().to_string()
}

#[get("/page")]
fn page(token: CsrfToken) -> String {
    format!("{token} {token:?}")
}

#[options("/page")]
fn page_options(_token: CsrfToken) {}

#[put("/page")]
fn page_put(_token: CsrfToken) {}

#[delete("/page")]
fn page_delete(_token: CsrfToken) {}

#[patch("/page")]
fn page_patch(_token: CsrfToken) {}

#[post("/like")]
fn like(_token: CsrfToken, session: &Session) -> Result<()> {
    session.increment("likes", 1).map(drop)
}

#[derive(FromForm)]
struct Entry<'r> {
    text: &'r str,
    stars: Option<u8>,
}

#[post("/entry", data = "<entry>")]
fn entry(entry: CsrfForm<Entry<'_>>) -> String {
    format!("{} {:?}", entry.text, entry.stars)
}

#[post("/shown_again", data = "<entry>")]
fn shown_again(entry: CsrfForm<Contextual<'_, Entry<'_>>>) -> String {
    let errors = entry.context.field_errors("text").count();
    format!("{} {errors}", entry.value.is_some())
}

#[derive(FromForm)]
struct Upload<'r> {
    text: &'r str,
    file: Capped<TempFile<'r>>,
}

#[post("/upload", data = "<upload>")]
fn upload(upload: CsrfForm<Upload<'_>>) -> String {
    format!("{} {}", upload.text, upload.file.len())
}

#[post("/strict", data = "<entry>")]
fn strict(entry: CsrfForm<Strict<Entry<'_>>>) -> String {
    entry.text.to_owned()
}

#[put("/entry", data = "<entry>")]
fn put_entry(entry: CsrfForm<Entry<'_>>) -> String {
    format!("put {}", entry.text)
}

/// A form with a button and no fields.
#[post("/button", data = "<_form>")]
fn button(_form: CsrfForm) -> &'static str {
    "pressed"
}

fn with_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    let routes = routes![
        token,
        renew_and_token,
        tokens,
        has,
        remove_token,
        own,
        csrf,
        page,
        page_options,
        page_put,
        page_delete,
        page_patch,
        like,
        entry,
        shown_again,
        upload,
        strict,
        put_entry,
        button
    ];
    rocket.mount("/", routes)
}

async fn app() -> App {
    App::built(|f| f, with_routes).await
}

/// Sends a request with headers of its own, and returns the status.
async fn send(visitor: &Visitor<'_>, app: &App, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut request = app.client.req(Method::Post, path.to_owned());
    request.add_header(Header::new("Cookie", visitor.cookies()));
    for (name, value) in headers {
        request.add_header(Header::new((*name).to_owned(), (*value).to_owned()));
    }
    request.dispatch().await.status().code
}

#[async_test]
async fn a_form_token_is_used_up_by_exactly_one_of_many_requests() {
    App::on_every_store(with_routes, |app| async move {
        let visitor = app.known_visitor().await;
        let token = visitor.get("/token").await.body;
        assert_eq!(visitor.get(&format!("/has/{token}")).await.body, "true");
        let gate = app.gate("use");
        let path = format!("/use/{token}?gate=use");
        let requests = (0..20).map(|_| async { visitor.copy().get(&path).await.body });
        let all_loaded = async {
            for _ in 0..20 {
                gate.arrived().await;
            }
            gate.open_for_all();
        };
        let (bodies, ()) = join(join_all(requests), all_loaded).await;
        let used = bodies.iter().filter(|body| *body == "true").count();
        assert_eq!((used, bodies.len()), (1, 20));
        assert_eq!(visitor.get(&format!("/has/{token}")).await.body, "false");
        assert_eq!(visitor.get("/keys").await.body, "n");
    })
    .await;
}

#[async_test]
async fn a_form_token_counts_once_across_copies_of_concurrent_renewals() {
    // Only renewals without a grace make copies that have form tokens.
    let settings = |f: Figment| f.merge(("sessions.renewal_grace", 0));
    App::on_every_store_with(settings, with_routes, |app| async move {
        let visitor = app.known_visitor().await;
        let token = visitor.get("/token").await.body;
        let copies = [visitor.copy(), visitor.copy()];
        let gate = app.gate("renewal");
        let path = "/renew?gate=renewal";
        let both = async {
            gate.arrived().await;
            gate.arrived().await;
            gate.open_for_all();
        };
        join3(copies[0].get(path), copies[1].get(path), both).await;
        let path = format!("/use/{token}");
        let used = [
            copies[0].get(&path).await.body,
            copies[1].get(&path).await.body,
        ];
        assert!(
            used == ["true", "false"] || used == ["false", "true"],
            "{used:?}"
        );
        for copy in &copies {
            // From now on the copy keeps its own data.
            let token = copy.get("/token").await.body;
            assert_eq!(copy.get(&format!("/use/{token}")).await.body, "true");
            assert_eq!(copy.get("/keys").await.body, "n");
        }
    })
    .await;
}

#[async_test]
async fn a_form_token_issued_with_a_renewal_is_valid_in_the_copy() {
    // Only renewals without a grace make copies that have form tokens.
    let settings = |f: Figment| f.merge(("sessions.renewal_grace", 0));
    App::on_every_store_with(settings, with_routes, |app| async move {
        let visitor = app.known_visitor().await;
        let old = visitor.get("/token").await.body;
        let slow = visitor.copy();
        let first = async {
            app.gate("renewal").arrived().await;
            assert!(visitor.get("/renew").await.sets_session());
            app.gate("renewal").open();
        };
        let (response, ()) = join(slow.get("/renew_and_token?gate=renewal"), first).await;
        assert!(response.sets_session(), "{response:?}");
        for (token, good) in [(&old, "false"), (&response.body, "true")] {
            let used = slow.get(&format!("/use/{token}")).await.body;
            assert_eq!(used, good);
        }
    })
    .await;
}

#[async_test]
async fn there_are_at_most_32_form_tokens_and_the_oldest_goes() {
    let app = app().await;
    let visitor = app.visitor();
    let body = visitor.get("/tokens/33").await.body;
    let tokens: Vec<_> = body.split(',').collect();
    assert_eq!(
        visitor.get(&format!("/use/{}", tokens[0])).await.body,
        "false"
    );
    app.probe.calls();
    assert_eq!(
        visitor.get(&format!("/use/{}", tokens[1])).await.body,
        "true"
    );
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
    assert_eq!(
        visitor.get(&format!("/use/{}", tokens[32])).await.body,
        "true"
    );
    assert_eq!(visitor.get("/own").await.body, "true false");
}

#[async_test]
async fn a_form_token_counts_once_when_a_store_response_is_lost() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let token = visitor.get("/token").await.body;
    app.probe.fail_afterwards(Act::Save);
    let path = format!("/use/{token}");
    assert_eq!(visitor.get(&path).await.status.code, 503);
    app.probe.heal();
    assert_eq!(visitor.get(&path).await.body, "false");
}

#[async_test]
async fn a_request_needs_the_token_of_its_own_session() {
    let app = app().await;
    let (visitor, other) = (app.visitor(), app.visitor());
    let token = visitor.get("/csrf").await.body;
    let page = visitor.get("/page").await.body;
    assert!(page.ends_with(" CsrfToken { .. }"), "{page}");
    let again = page.split(' ').next().unwrap();
    assert_ne!(token, again, "it is masked anew");
    let others = other.get("/csrf").await.body;
    let short = &token[..20];
    for (sent, status) in [
        (token.as_str(), 200),
        (again, 200),
        (others.as_str(), 403),
        (short, 403),
        ("", 403),
        ("ä", 403),
    ] {
        let headers = [("X-CSRF-Token", sent)];
        assert_eq!(
            send(&visitor, &app, "/like", &headers).await,
            status,
            "{sent}"
        );
    }
    assert_eq!(send(&visitor, &app, "/like", &[]).await, 403);
    assert_eq!(visitor.get("/get/likes").await.body, "2");
    assert_eq!(
        app.visitor()
            .send(Method::Post, "/like", None)
            .await
            .status
            .code,
        403
    );
}

#[async_test]
async fn a_request_from_another_site_is_refused_even_with_the_token() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let token = ("X-CSRF-Token", token.as_str());
    let host = ("Host", "app.example");
    for (header, status) in [
        (("Sec-Fetch-Site", "same-origin"), 200),
        (("Sec-Fetch-Site", "none"), 200),
        (("Sec-Fetch-Site", "same-site"), 403),
        (("Sec-Fetch-Site", "cross-site"), 403),
        (("Origin", "https://app.example"), 200),
        (("Origin", "https://evil.example"), 403),
        (("Origin", "https://app.example.evil"), 403),
        (("Origin", "null"), 403),
        (("Origin", ""), 403),
        (("Origin", "https://app.example@evil.example"), 403),
        (("Origin", "https://app.example:8443"), 403),
        (("Origin", "app.example"), 403),
        (("Sec-Fetch-Site", ""), 403),
        (("Sec-Fetch-Site", "Same-Origin"), 403),
    ] {
        let found = send(&visitor, &app, "/like", &[token, host, header]).await;
        assert_eq!(found, status, "{header:?}");
    }
    // Of a repeated header, the worse value counts, and `Sec-Fetch-Site` takes precedence.
    for (one, other, status) in [
        (
            ("Sec-Fetch-Site", "same-origin"),
            ("Sec-Fetch-Site", "cross-site"),
            403,
        ),
        (
            ("Origin", "https://app.example"),
            ("Origin", "https://evil.example"),
            403,
        ),
        (("Sec-Fetch-Site", "same-origin"), ("Origin", "null"), 200),
        (
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "https://app.example"),
            403,
        ),
    ] {
        let found = send(&visitor, &app, "/like", &[token, host, one, other]).await;
        assert_eq!(found, status, "{one:?} {other:?}");
    }
    // Without a host, no origin matches.
    let own = ("Origin", "https://app.example");
    assert_eq!(send(&visitor, &app, "/like", &[token, own]).await, 403);
}

#[async_test]
async fn a_trusted_origin_may_send_requests_with_the_token() {
    let trusted = ["https://shop.example", "http://localhost:5173"];
    let app = App::built(
        |figment| figment.merge(("sessions.csrf.trusted_origins", trusted)),
        with_routes,
    )
    .await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let token = ("X-CSRF-Token", token.as_str());
    let host = ("Host", "app.example");
    let same_site = ("Sec-Fetch-Site", "same-site");
    let cross_site = ("Sec-Fetch-Site", "cross-site");
    for (headers, status) in [
        (&[("Origin", "https://shop.example"), same_site][..], 200),
        (&[("Origin", "https://shop.example"), cross_site], 200),
        (&[("Origin", "https://shop.example")], 200),
        (&[("Origin", "https://Shop.Example:443")], 200),
        (&[("Origin", "http://localhost:5173"), cross_site], 200),
        (&[("Origin", "https://app.example")], 200),
        // Another scheme, port or name is another origin.
        (&[("Origin", "http://shop.example"), same_site], 403),
        (&[("Origin", "https://shop.example:8443")], 403),
        (&[("Origin", "https://a.shop.example"), same_site], 403),
        (&[("Origin", "https://shop.example.evil")], 403),
        (&[("Origin", "https://shop.example@evil.example")], 403),
        (&[("Origin", "http://localhost"), cross_site], 403),
        (&[("Origin", "null"), cross_site], 403),
        // A value that names no origin is never trusted.
        (&[cross_site], 403),
        (&[same_site], 403),
        (&[("Referer", "https://shop.example/"), same_site], 403),
        (
            &[
                ("Origin", "https://shop.example"),
                ("Origin", "https://evil.example"),
            ],
            403,
        ),
    ] {
        let headers = [&[token, host][..], headers].concat();
        let found = send(&visitor, &app, "/like", &headers).await;
        assert_eq!(found, status, "{headers:?}");
    }
    // The token is still required.
    let shop = ("Origin", "https://shop.example");
    assert_eq!(send(&visitor, &app, "/like", &[host, shop]).await, 403);
    let wrong = ("X-CSRF-Token", "wrong");
    assert_eq!(
        send(&visitor, &app, "/like", &[host, shop, wrong]).await,
        403
    );
    // An origin that is not listed is not trusted.
    let app = self::app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let headers = [("X-CSRF-Token", token.as_str()), host, shop];
    assert_eq!(send(&visitor, &app, "/like", &headers).await, 403);
}

#[async_test]
async fn a_form_without_fields_needs_only_its_token() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    for (form, status, body) in [
        (format!("csrf_token={token}"), 200, "pressed"),
        (
            format!("button=Go&csrf_token={token}&a[b].c=1"),
            200,
            "pressed",
        ),
        (String::new(), 403, ""),
        ("csrf_token=wrong".to_owned(), 403, ""),
    ] {
        let response = visitor.send(Method::Post, "/button", Some(&form)).await;
        assert_eq!(response.status.code, status, "{form}");
        if status == 200 {
            assert_eq!(response.body, body);
        }
    }
    let header = ("X-CSRF-Token", token.as_str());
    let no_form = send(&visitor, &app, "/button", &[header]).await;
    assert!((400..500).contains(&no_form), "it is no form: {no_form}");
}

#[async_test]
async fn a_log_in_makes_every_token_new() {
    let app = app().await;
    let visitor = app.visitor();
    let (csrf, form) = (
        visitor.get("/csrf").await.body,
        visitor.get("/token").await.body,
    );
    visitor.get("/renew").await;
    assert_eq!(
        send(&visitor, &app, "/like", &[("X-CSRF-Token", &csrf)]).await,
        200
    );
    visitor.get("/login/alice").await;
    assert_eq!(
        send(&visitor, &app, "/like", &[("X-CSRF-Token", &csrf)]).await,
        403
    );
    assert_eq!(visitor.get(&format!("/use/{form}")).await.body, "false");
    let csrf = visitor.get("/csrf").await.body;
    assert_eq!(
        send(&visitor, &app, "/like", &[("X-CSRF-Token", &csrf)]).await,
        200
    );
}

#[async_test]
async fn a_token_with_one_changed_bit_is_refused() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    assert_eq!(bytes.len() % 2, 0);
    let mut wrong = vec![
        bytes[1..].to_vec(),
        bytes[..bytes.len() - 2].to_vec(),
        vec![],
    ];
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        wrong.push(other);
    }
    // Shorter halves, and longer ones.
    let (mask, masked) = bytes.split_at(bytes.len() / 2);
    wrong.push([&mask[..1], &masked[..1]].concat());
    wrong.push([mask, &[0], masked, &[0]].concat());
    for wrong in wrong {
        let wrong = URL_SAFE_NO_PAD.encode(wrong);
        let headers = [("X-CSRF-Token", wrong.as_str())];
        assert_eq!(send(&visitor, &app, "/like", &headers).await, 403);
        let form = format!("text=a&csrf_token={wrong}");
        let response = visitor.send(Method::Post, "/entry", Some(&form)).await;
        assert_eq!(response.status.code, 403);
    }
    let headers = [("X-CSRF-Token", token.as_str())];
    assert_eq!(send(&visitor, &app, "/like", &headers).await, 200);
}

#[async_test]
async fn a_token_is_masked_differently_on_every_page() {
    let app = app().await;
    let visitor = app.visitor();
    let mut seen = HashSet::new();
    for _ in 0..50 {
        let token = URL_SAFE_NO_PAD
            .decode(visitor.get("/csrf").await.body)
            .unwrap();
        let (mask, masked) = token.split_at(token.len() / 2);
        assert!(seen.insert(mask.to_vec()) && seen.insert(masked.to_vec()));
    }
}

#[async_test]
async fn only_safe_methods_need_no_token() {
    let app = app().await;
    let visitor = app.visitor();
    visitor.get("/csrf").await;
    for (method, path, status) in [
        (Method::Get, "/page", 200),
        (Method::Head, "/page", 200),
        (Method::Options, "/page", 200),
        (Method::Put, "/page", 403),
        (Method::Delete, "/page", 403),
        (Method::Patch, "/page", 403),
        (Method::Post, "/like", 403),
        (Method::Head, "/like", 404),
        (Method::Get, "/like", 404),
        (Method::Options, "/like", 404),
    ] {
        let response = visitor.send(method, path, None).await;
        assert_eq!(response.status.code, status, "{method} {path}");
    }
    // A link from another site to a page is not refused either.
    let mut request = app.client.get("/page");
    request.add_header(Header::new("Sec-Fetch-Site", "cross-site"));
    assert_eq!(request.dispatch().await.status().code, 200);
}

#[test]
fn secrets_are_compared_in_constant_time() {
    // A clock cannot measure this reliably, so the test reads the source.
    for (source, allowed) in [
        (
            include_str!("../src/csrf/token.rs"),
            "mask.len() == masked.len()",
        ),
        (
            include_str!("../src/session/form_tokens.rs"),
            "state.inactive == Some(Inactive::Gone)",
        ),
    ] {
        assert!(source.contains(".ct_eq("));
        for line in source.lines().filter(|line| !line.trim().starts_with("//")) {
            let compares = line.contains("==") || line.contains("!=") || line.contains(".eq(");
            let fine = line.contains(allowed);
            assert!(!compares || fine, "{line}");
        }
    }
}

#[async_test]
async fn the_default_port_is_optional_in_host_and_origin() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let token = ("X-CSRF-Token", token.as_str());
    for (host, origin, status) in [
        ("app.example:443", "https://app.example", 200),
        ("app.example:80", "http://app.example", 200),
        ("app.example", "https://app.example:443", 200),
        ("app.example:80", "https://app.example", 403),
        ("app.example:443", "http://app.example", 403),
        ("app.example:8000", "http://app.example:8000", 200),
        ("app.example:8000", "http://app.example", 403),
        ("app.example:8000", "http://app.example:8001", 403),
        ("[::1]:443", "https://[::1]", 200),
        ("[::1]:8000", "https://[::1]:8000", 200),
        ("App.Example", "https://app.example", 200),
    ] {
        let headers = [token, ("Host", host), ("Origin", origin)];
        let found = send(&visitor, &app, "/like", &headers).await;
        assert_eq!(found, status, "{host} {origin}");
    }
}

#[async_test]
async fn a_token_from_before_a_log_in_is_invalid_afterwards() {
    // Nor is a token valid that was made during the log-in by a client with the old cookie.
    App::on_every_store(with_routes, |app| async move {
        let visitor = app.known_visitor().await;
        let thief = visitor.copy();
        let gates = ["csrf", "token"].map(|name| app.gate(name));
        let pages = join(thief.get("/csrf?gate=csrf"), thief.get("/token?gate=token"));
        let login = async {
            for gate in &gates {
                gate.arrived().await;
            }
            visitor.get("/login/alice").await;
            for gate in &gates {
                gate.open();
            }
        };
        let ((csrf, form), ()) = join(pages, login).await;
        assert!(csrf.session_cookie().is_none() && form.session_cookie().is_none());
        assert_eq!(visitor.get("/who").await.body, "alice");
        let headers = [("X-CSRF-Token", csrf.body.as_str())];
        assert_eq!(send(&visitor, &app, "/like", &headers).await, 403);
        let path = format!("/use/{}", form.body);
        assert_eq!(visitor.get(&path).await.body, "false");
    })
    .await;
}

#[async_test]
async fn two_concurrent_first_tokens_are_both_valid() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("csrf");
    let pages = [
        visitor.get("/csrf?gate=csrf"),
        visitor.get("/csrf?gate=csrf"),
    ];
    let both_loaded = async {
        gate.arrived().await;
        gate.arrived().await;
        gate.open_for_all();
    };
    for page in join(join_all(pages), both_loaded).await.0 {
        let headers = [("X-CSRF-Token", page.body.as_str())];
        assert_eq!(send(&visitor, &app, "/like", &headers).await, 200);
    }
    app.probe.calls();
    visitor.get("/csrf").await;
    assert_eq!(
        app.probe.calls().tuple(),
        (1, 0, 0, 0),
        "once there, it is only read"
    );
}

#[async_test]
async fn a_form_field_carries_the_token() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    for (path, form, status, body) in [
        (
            "/entry",
            format!("text=a&stars=2&csrf_token={token}"),
            200,
            "a Some(2)",
        ),
        (
            "/entry",
            format!("csrf_token={token}&text=a"),
            200,
            "a None",
        ),
        ("/entry", "text=a".into(), 403, ""),
        ("/entry", format!("csrf_token={token}"), 422, ""),
        ("/entry", "stars=many".into(), 403, ""),
        (
            "/shown_again",
            format!("stars=1&csrf_token={token}"),
            200,
            "false 1",
        ),
    ] {
        let response = visitor.send(Method::Post, path, Some(&form)).await;
        assert_eq!(response.status.code, status, "{form}");
        if status == 200 {
            assert_eq!(response.body, body);
        }
    }
}

/// The example, with a memory store.
fn example() -> Rocket<Build> {
    let figment = crate::support::figment().merge(("sessions.store", "memory"));
    example::rocket().configure(figment)
}

/// A page of another site: a form whose target is `to`.
#[get("/?<to>&<csrf>&<form>")]
fn another_site(to: &str, csrf: &str, form: &str) -> RawHtml<String> {
    RawHtml(format!(
        r#"<form method="post" action="{to}"><input name="csrf_token" value="{csrf}">
        <input name="form" value="{form}"><input name="cups" value="100"><button>Win</button></form>"#
    ))
}

#[test]
fn a_form_without_scripts_works_once_and_only_from_its_own_site() {
    let browser = Browser::without_scripts();
    let site = Served::of(example());
    let other = rocket::custom(crate::support::figment()).mount("/", routes![another_site]);
    let other = Served::of(other);
    assert!(browser.open(&site.url("/")).contains("Cups ordered: 0"));
    browser.type_in("[name=cups]", "2");
    let form = browser.value("[name=form]");
    browser.click("button");
    let thanks = browser.text();
    assert!(
        thanks.contains("Thank you.") && thanks.contains("ordered: 2"),
        "{thanks}"
    );

    // The same form again, as from a second open window.
    let again = browser.run(&format!(
        "return document.querySelector('[name=form]').value = '{form}'"
    ));
    assert_eq!(again, form.as_str());
    browser.click("button");
    let again = browser.text();
    assert!(
        again.contains("already") && again.contains("ordered: 2"),
        "{again}"
    );

    // A page with valid tokens. With another port it belongs to the same site, so the cookie is sent;
    // with another name it does not.
    for host in ["localhost", "127.0.0.1"] {
        browser.open(&site.url("/"));
        let (csrf, form) = (
            browser.value("[name=csrf_token]"),
            browser.value("[name=form]"),
        );
        let to = site.url("/");
        let page = format!(
            "http://{host}:{}/?to={to}&csrf={csrf}&form={form}",
            other.port
        );
        browser.open(&page);
        browser.click("button");
        let refused = browser.text();
        assert!(refused.contains("403"), "{host}: {refused}");
        assert!(browser.open(&to).contains("ordered: 2"), "{host}");
    }
}

#[test]
fn a_form_sent_over_tcp_is_accepted_only_from_its_own_page() {
    let there = tempfile::tempdir().unwrap();
    let server = Server::start("form", there.path(), &[]);
    let (status, cookie, page) = server.get("/", None);
    assert_eq!(status, 200);
    let cookie = cookie.unwrap();
    let field = |name: &str| {
        let rest = page.split(&format!(r#"name="{name}" value=""#)).nth(1);
        rest.unwrap().split('"').next().unwrap()
    };
    let form = format!(
        "csrf_token={}&form={}&cups=2",
        field("csrf_token"),
        field("form")
    );
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .new_agent();
    let send = |form: &str, cookie: &str, origin: &str| {
        let request = agent
            .post(server.url("/"))
            .content_type("application/x-www-form-urlencoded");
        let request = request.header("Cookie", cookie).header("Origin", origin);
        request.send(form).unwrap().status().as_u16()
    };
    let own = server.url("");
    let other = own.replace("127.0.0.1", "localhost");
    for (form, cookie, origin, status) in [
        (form.as_str(), cookie.as_str(), other.as_str(), 403),
        (form.as_str(), cookie.as_str(), "null", 403),
        (form.as_str(), "", own.as_str(), 403),
        ("form=x&cups=2", cookie.as_str(), own.as_str(), 403),
        (form.as_str(), cookie.as_str(), own.as_str(), 303),
        (form.as_str(), cookie.as_str(), own.as_str(), 303),
    ] {
        assert_eq!(send(form, cookie, origin), status, "{origin}");
    }
    let page = server.get("/", Some(&cookie)).2;
    assert!(
        page.contains("Cups ordered: 2") && page.contains("Thank you."),
        "{page}"
    );
}

/// Sends a form with files, and returns the status and the body.
async fn send_parts(
    visitor: &Visitor<'_>,
    app: &App,
    parts: &[(&str, &str, &str)],
) -> (u16, String) {
    let mut body = String::new();
    for (disposition, content_type, value) in parts {
        body += &format!("--X\r\nContent-Disposition: form-data; {disposition}\r\n");
        if !content_type.is_empty() {
            body += &format!("Content-Type: {content_type}\r\n");
        }
        body += &format!("\r\n{value}\r\n");
    }
    body += "--X--\r\n";
    send_multipart(visitor, app, "/upload", body).await
}

async fn send_multipart(
    visitor: &Visitor<'_>,
    app: &App,
    path: &str,
    body: String,
) -> (u16, String) {
    let mut request = app.client.post(path.to_owned()).body(body);
    request.add_header(Header::new("Cookie", visitor.cookies()));
    request.add_header(Header::new(
        "Content-Type",
        "multipart/form-data; boundary=X",
    ));
    let response = request.dispatch().await;
    let status = response.status().code;
    (status, response.into_string().await.unwrap_or_default())
}

#[async_test]
async fn a_form_truncated_in_an_optional_field_is_refused() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let part = |name: &str, value: &str| {
        format!("--X\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}")
    };
    let [token, text, stars] = [
        part("csrf_token", &token),
        part("text", "a"),
        part("stars", "5"),
    ];
    let whole = format!("{token}\r\n{text}\r\n{stars}\r\n--X--\r\n");
    let sent = send_multipart(&visitor, &app, "/entry", whole).await;
    assert_eq!(sent, (200, "a Some(5)".into()));
    let without = format!("{token}\r\n{text}\r\n--X--\r\n");
    let sent = send_multipart(&visitor, &app, "/entry", without).await;
    assert_eq!(sent, (200, "a None".into()));
    let cut = format!("{token}\r\n{text}\r\n{stars}");
    let (status, _) = send_multipart(&visitor, &app, "/entry", cut).await;
    assert!((400..500).contains(&status), "{status}");
}

#[async_test]
async fn a_multipart_form_may_carry_its_token_in_any_position() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    let text = (r#"name="text""#, "", "a");
    let file = (r#"name="file"; filename="f.txt""#, "text/plain", "12345");
    let own = (r#"name="csrf_token""#, "", token.as_str());
    let typed = (r#"name="csrf_token""#, "text/plain", token.as_str());
    for parts in [[own, text, file], [text, own, file], [text, file, own]] {
        let sent = send_parts(&visitor, &app, &parts).await;
        assert_eq!(sent, (200, "a 5".into()), "{parts:?}");
    }
    let other = app.visitor().get("/csrf").await.body;
    let others = (r#"name="csrf_token""#, "", other.as_str());
    let named = (r#"name="csrf_token[0]""#, "", token.as_str());
    for parts in [
        &[text, file][..],
        &[text, file, others],
        &[text, file, named],
    ] {
        assert_eq!(send_parts(&visitor, &app, parts).await.0, 403, "{parts:?}");
    }
    // Some clients send this for every field.
    let sent = send_parts(&visitor, &app, &[typed, text, file]).await;
    assert_eq!(sent.0, 200);
    assert_eq!(send_parts(&visitor, &app, &[own, text]).await.0, 422);
}

#[async_test]
async fn a_token_counts_only_in_the_form_and_the_header() {
    let app = app().await;
    let visitor = app.visitor();
    let token = visitor.get("/csrf").await.body;
    visitor.set_cookie("csrf_token", &token);
    for (path, form, status) in [
        (
            format!("/entry?csrf_token={token}"),
            "text=a".to_owned(),
            403,
        ),
        (format!("/like?csrf_token={token}"), String::new(), 403),
        (
            "/entry".into(),
            format!("text=a&csrf_token={token}&csrf_token=no"),
            403,
        ),
        ("/entry".into(), format!("text=a&CSRF_TOKEN={token}"), 403),
        (
            "/entry".into(),
            format!("text=a&csrf_token={token}%00"),
            403,
        ),
        ("/entry".into(), format!("text=a&csrf_token={token}="), 403),
        ("/strict".into(), format!("text=a&csrf_token={token}"), 200),
        (
            "/strict".into(),
            format!("text=a&b=c&csrf_token={token}"),
            422,
        ),
        // In Rocket, a form can contain its method.
        (
            "/entry".into(),
            format!("_method=put&text=a&csrf_token={token}"),
            200,
        ),
        ("/entry".into(), "_method=put&text=a".into(), 403),
        ("/entry".into(), "_method=get&text=a".into(), 404),
        // More than the limit for forms.
        (
            "/entry".into(),
            format!("csrf_token={token}&text={}", "a".repeat(40_000)),
            413,
        ),
    ] {
        let response = visitor.send(Method::Post, &path, Some(&form)).await;
        assert_eq!(response.status.code, status, "{path} {form:.60}");
    }
}

#[test]
fn the_example_accepts_an_order_once_and_only_from_its_own_page() {
    let there = tempfile::tempdir().unwrap();
    let figment =
        crate::support::figment().merge(("sessions.directory.path", there.path().join("sessions")));
    let client = Client::tracked(example::rocket().configure(figment)).unwrap();
    let page = || client.get("/").dispatch().into_string().unwrap();
    let order = |form: &str| {
        let request = client.post("/").header(ContentType::Form).body(form);
        request.dispatch().status().code
    };
    let field = |page: &str, name: &str| {
        let rest = page.split(&format!(r#"name="{name}" value=""#)).nth(1);
        rest.unwrap().split('"').next().unwrap().to_owned()
    };
    let first = page();
    let (csrf, form) = (field(&first, "csrf_token"), field(&first, "form"));
    let sent = format!("csrf_token={csrf}&form={form}&cups=2");
    assert_eq!(order(&format!("form={form}&cups=2")), 403);
    assert_eq!(order(&sent), 303);
    let thanks = page();
    assert!(
        thanks.contains("Thank you.") && thanks.contains("Cups ordered: 2"),
        "{thanks}"
    );
    assert_eq!(order(&sent), 303);
    let again = page();
    assert!(
        again.contains("already") && again.contains("Cups ordered: 2"),
        "{again}"
    );
}

#[async_test]
async fn at_most_eight_concurrent_first_tokens_are_kept() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("loaded");
    let pages = join_all((0..12).map(|_| visitor.get("/csrf?gate=loaded")));
    let together = async {
        for _ in 0..12 {
            gate.arrived().await;
        }
        gate.open_for_all();
    };
    let (pages, ()) = join(pages, together).await;
    let mut taken = 0;
    for page in &pages {
        let browser = visitor.copy().with("X-CSRF-Token", &page.body);
        taken += usize::from(browser.send(Method::Post, "/like", None).await.status.code == 200);
    }
    assert_eq!(taken, 8);
}
