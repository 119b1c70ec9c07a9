//! The cookie is one of Rocket's private cookies, under the key that Rocket actually uses.

use rocket::figment::Figment;
use rocket::http::{Cookie, CookieJar};
use rocket::{async_test, get, routes};

use crate::support::{App, Visitor};

#[get("/rocket_reads/<name>")]
fn rocket_reads(name: &str, cookies: &CookieJar<'_>) -> String {
    cookies
        .get_private(name)
        .map_or("nothing".into(), |cookie| cookie.value().to_owned())
}

/// Encrypts the id of the only session in the store as Rocket itself would.
#[get("/rocket_writes/<name>/<value>")]
fn rocket_writes(name: String, value: String, cookies: &CookieJar<'_>) {
    cookies.add_private(Cookie::build((name, value)).secure(true));
}

async fn app(settings: impl FnOnce(Figment) -> Figment) -> App {
    App::built(settings, |rocket| {
        rocket.mount("/", routes![rocket_reads, rocket_writes])
    })
    .await
}

#[async_test]
async fn cookies_are_interchangeable_with_rocket_under_every_key_form() {
    use rocket::figment::value::Value;
    let keys: [Value; 7] = [
        Value::from(vec![9_u8; 64]),
        Value::from((0..48).collect::<Vec<u8>>()),
        Value::from((0..32).collect::<Vec<u8>>()),
        Value::from("itlYmFR2vYKrOmFhupMIn/hyB6lYCCTXz4yaQX89XVg="),
        Value::from("hPRYyVRiMyxpw5sBB1XeCMN1kFsDCqKvBi2QJxBVHQk="),
        Value::from("4e5a0fe1c6b1a7b0e4c3d8b9a7f6e5d4c3b2a1908f7e6d5c4b3a291807f6e5d4"),
        Value::from(
            "EtQIrO9+NFTBnJwnZ8BjotF6fJccXBUEvZyKVvjOqKWAQYmcKfGGCn2mqwHyKkvvKGuMVypDoT+P7WWeEkNJAw==",
        ),
    ];
    for key in keys.into_iter().map(Some).chain([None]) {
        // Without a key, Rocket generates one in the debug profile.
        let app = app(|figment| match key {
            Some(key) => figment.merge(("secret_key", key)),
            None => Figment::from(rocket::Config {
                log_level: rocket::config::LogLevel::Off,
                ..rocket::Config::debug_default()
            }),
        })
        .await;
        let visitor = app.known_visitor().await;
        let id = app.list().await.remove(0).0.to_hex();
        // A local client gives Rocket's jar no raw header, so the cookie is put into it.
        let ours = percent_encoding::percent_decode_str(&visitor.cookie("id").unwrap())
            .decode_utf8()
            .unwrap()
            .into_owned();
        let request = app.client.get("/rocket_reads/id").cookie(("id", ours));
        assert_eq!(request.dispatch().await.into_string().await.unwrap(), id);

        let other = app.visitor();
        other.get(&format!("/rocket_writes/id/{id}")).await;
        assert_eq!(other.get("/keys").await.body, "n");
    }
}

#[async_test]
async fn a_cookie_is_bound_to_its_name() {
    let app = app(|f| f).await;
    let visitor = app.known_visitor().await;
    let id = app.list().await.remove(0).0.to_hex();
    let thief = app.visitor();
    thief.get(&format!("/rocket_writes/other/{id}")).await;
    thief.set_cookie("id", &thief.cookie("other").unwrap());
    assert_eq!(thief.get("/keys").await.body, "");
    assert_eq!(visitor.get("/keys").await.body, "n");
}

#[async_test]
async fn an_id_alone_is_no_cookie() {
    let app = app(|f| f).await;
    app.known_visitor().await;
    let id = app.list().await.remove(0).0.to_hex();
    let thief = app.visitor();
    thief.set_cookie("id", &id);
    assert_eq!(thief.get("/keys").await.body, "");
}

#[async_test]
async fn cookies_of_a_previous_key_open_and_are_encrypted_again() {
    let old = app(|f| f.merge(("secret_key", vec![1_u8; 64]))).await;
    let visitor = old.known_visitor().await;
    let new = |f: Figment| f.merge(("secret_key", vec![2_u8; 64]));
    let without = old.again(new).await;
    let with = old
        .again(|f| {
            new(f).merge((
                "sessions.previous_secret_keys",
                vec![vec![3_u8; 32], vec![1_u8; 64]],
            ))
        })
        .await;

    let stranger = Visitor::new(&without.client);
    stranger.set_cookie("id", &visitor.cookie("id").unwrap());
    assert_eq!(
        stranger.get("/keys").await.body,
        "",
        "a key that was dropped opens nothing"
    );

    let known = Visitor::new(&with.client);
    known.set_cookie("id", &visitor.cookie("id").unwrap());
    let response = known.get("/touch").await;
    assert_eq!(response.body, "true");
    assert!(response.sets_session(), "it is encrypted with the new key");
    assert!(known.get("/touch").await.session_cookie().is_none(), "once");

    let again = Visitor::new(&without.client);
    again.set_cookie("id", &known.cookie("id").unwrap());
    assert_eq!(again.get("/keys").await.body, "n");
}

/// The three steps of the guide: each host knows the next key before any host uses it.
#[async_test]
async fn a_key_is_replaced_host_by_host_and_no_visitor_is_logged_out() {
    let keys = |own: u8, others: &'static [u8]| {
        move |f: Figment| {
            let others: Vec<_> = others.iter().map(|key| vec![*key; 64]).collect();
            f.merge(("secret_key", vec![own; 64]))
                .merge(("sessions.previous_secret_keys", others))
        }
    };
    let before = app(keys(1, &[])).await;
    let visitor = before.known_visitor().await;
    let mut cookie = visitor.cookie("id").unwrap();
    let (knows, uses) = (
        before.again(keys(1, &[2])).await,
        before.again(keys(2, &[1])).await,
    );
    // During each step, the requests of one visitor reach hosts before and after it.
    for host in [&before, &knows, &before, &knows, &uses, &knows, &uses] {
        let known = Visitor::new(&host.client);
        known.set_cookie("id", &cookie);
        assert_eq!(known.get("/touch").await.body, "true");
        cookie = known.cookie("id").unwrap();
    }
    let after = before.again(keys(2, &[])).await;
    let known = Visitor::new(&after.client);
    known.set_cookie("id", &cookie);
    assert_eq!(known.get("/keys").await.body, "n");
}

#[async_test]
async fn a_restart_with_another_key_makes_every_visitor_new() {
    let app = app(|f| f).await;
    let visitor = app.known_visitor().await;
    let other = app.again(|f| f.merge(("secret_key", vec![2_u8; 64]))).await;
    let again = Visitor::new(&other.client);
    again.set_cookie("id", &visitor.cookie("id").unwrap());
    let response = again.get("/keys").await;
    assert_eq!((response.status.code, &*response.body), (200, ""));
    assert!(response.session_cookie().is_none());
}

#[async_test]
async fn a_release_without_a_key_does_not_launch() {
    let figment = Figment::from(rocket::Config {
        log_level: rocket::config::LogLevel::Off,
        ..rocket::Config::release_default()
    });
    let rocket =
        rocket::custom(figment.select("release")).attach(rocket_session_kit::Sessions::fairing());
    let error = rocket.ignite().await.expect_err("there is no key");
    assert!(
        matches!(error.kind(), rocket::error::ErrorKind::InsecureSecretKey(_)),
        "{error:?}"
    );
}
