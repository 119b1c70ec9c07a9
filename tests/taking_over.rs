//! A cookie that the application used before is taken over at the first visit: once, and never after an end.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rocket::fairing::{Fairing, Info, Kind};
use rocket::futures::future::{join_all, join3};
use rocket::http::{CookieJar, Status};
use rocket::{Build, Data, Request, Rocket, State, async_test, get, routes};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Clock, DirectoryStore, ErrorKind, Result, Session};

use crate::support::{App, Visitor};

const DAY: Duration = Duration::from_secs(86_400);

/// The end of the time in which old cookies count.
struct Until(SystemTime);

/// The recipe of the guide, with the name of the user in the old cookie.
struct OldCookies;

#[rocket::async_trait]
impl Fairing for OldCookies {
    fn info(&self) -> Info {
        let (name, kind) = ("Old cookies", Kind::Request);
        Info { name, kind }
    }

    async fn on_request(&self, request: &mut Request<'_>, _: &mut Data<'_>) {
        let _ = take_over(request).await;
    }
}

async fn take_over(request: &Request<'_>) -> Result<()> {
    let jar = request.cookies();
    let (Some(raw), Some(user)) = (jar.get("name"), jar.get_private("name")) else {
        return Ok(());
    };
    let session: &Session = match request.guard().await {
        rocket::outcome::Outcome::Success(session) => session,
        _ => return Ok(()),
    };
    let until: &Until = request.rocket().state().unwrap();
    let begin = |session: &Session| {
        session.log_in(user.value());
        session.insert("from", "before")
    };
    session.take_over(raw.value(), until.0, begin).await?;
    jar.remove_private("name");
    Ok(())
}

#[get("/before/<user>")]
fn before(user: &str, jar: &CookieJar<'_>) {
    jar.add_private(("name", user.to_owned()));
}

#[get("/fail")]
fn fail() -> Status {
    Status::InternalServerError
}

fn build(rocket: Rocket<Build>) -> Rocket<Build> {
    let clock: &Clock = rocket.state().unwrap();
    let until = Until(clock.now() + DAY);
    let rocket = rocket.manage(until).attach(OldCookies);
    rocket.mount("/", routes![before, fail])
}

/// A visitor with the old cookie of Ann.
async fn ann(app: &App) -> Visitor<'_> {
    // Only `/before` sets the cookie, so its request finds none.
    let visitor = app.visitor();
    visitor.get("/before/ann").await;
    assert!(visitor.cookie("name").is_some() && !visitor.has_session());
    app.probe.calls();
    visitor
}

async fn who(visitor: &Visitor<'_>) -> String {
    visitor.get("/who").await.body
}

#[async_test]
async fn the_first_visit_takes_the_old_cookie_over() {
    App::on_every_store(build, async |app| {
        let visitor = ann(&app).await;
        let response = visitor.get("/who").await;
        assert_eq!(response.body, "ann");
        assert!(response.sets_session());
        assert_eq!(visitor.cookie("name"), None);
        assert_eq!(visitor.get("/get/from").await.body, r#""before""#);
        assert_eq!(app.list().await.len(), 1);

        // Later visits cost what every visit costs.
        app.probe.calls();
        assert_eq!(who(&visitor).await, "ann");
        let calls = app.probe.calls();
        assert_eq!((calls.tuple(), calls.entries), ((1, 0, 0, 0), 0));
    })
    .await;
}

#[async_test]
async fn concurrent_first_visits_get_one_session_even_in_two_processes() {
    App::on_every_store(build, async |app| {
        let visitor = ann(&app).await;
        let other_host = app.again_built(|figment| figment, build).await;
        let (first, second) = (visitor.copy(), visitor.copy_to(&other_host));
        let saves = app.probe.gate(Act::Save);
        let both = async {
            // Each has found that nobody else has claimed the cookie.
            saves.arrived().await;
            saves.arrived().await;
            saves.open_for_all();
        };
        let (one, two, ()) = join3(first.get("/who"), second.get("/who"), both).await;
        assert_eq!((one.body.as_str(), two.body.as_str()), ("ann", "ann"));
        app.probe.heal();
        assert!(one.sets_session() && two.sets_session());
        app.holds(1).await;

        assert_eq!(first.get("/add/n/1").await.body, "1");
        assert_eq!(second.get("/add/n/1").await.body, "2");
    })
    .await;
}

#[async_test]
async fn for_a_minute_the_old_cookie_reaches_the_same_session() {
    App::on_every_store(build, async |app| {
        let visitor = ann(&app).await;
        let (lost, late) = (visitor.copy(), visitor.copy());
        assert_eq!(visitor.get("/add/n/1").await.body, "1");
        // For example after a response that never arrived.
        assert_eq!(lost.get("/add/n/1").await.body, "2");
        assert_eq!(lost.cookie("name"), None);
        assert_eq!(lost.get("/add/n/1").await.body, "3");

        // A script's request gets the page, which no shared cache may keep, and no cookie.
        let script = late.copy().with("Sec-Fetch-Mode", "cors");
        let response = script.get("/who").await;
        assert_eq!(
            (response.body.as_str(), response.sets_session()),
            ("ann", false)
        );
        assert_eq!(response.header("Cache-Control"), Some("private"));

        app.clock.advance(Duration::from_secs(61));
        assert_eq!(who(&late).await, "nobody");
        assert!(!late.has_session());
        assert_eq!(who(&visitor).await, "ann");
    })
    .await;
}

#[async_test]
async fn the_old_cookie_opens_nothing_after_the_log_out() {
    App::on_every_store(build, async |app| {
        let visitor = ann(&app).await;
        let thief = visitor.copy();
        assert_eq!(who(&visitor).await, "ann");
        assert!(visitor.get("/logout").await.removes_session());
        for pause in [0, 61, 3600] {
            app.clock.advance(Duration::from_secs(pause));
            let thief = thief.copy();
            assert_eq!(who(&thief).await, "nobody");
            assert!(!thief.has_session());
        }
        // The thief's browser can begin a session like any other.
        assert!(thief.get("/login/eve").await.sets_session());
        assert_eq!(who(&thief).await, "eve");
    })
    .await;
}

#[async_test]
async fn the_old_cookie_of_a_logged_in_visitor_is_used_up() {
    App::on_every_store(build, async |app| {
        let visitor = ann(&app).await;
        let thief = visitor.copy();
        let other = app.visitor();
        other.get("/login/bob").await;
        visitor.set_cookie("id", &other.cookie("id").unwrap());

        assert_eq!(who(&visitor).await, "bob");
        assert_eq!(visitor.cookie("name"), None);
        // A thief does not get into the session that was there.
        assert_eq!(who(&thief.copy()).await, "nobody");
        visitor.get("/logout").await;
        let again = thief.copy();
        assert_eq!(who(&again).await, "nobody");
        assert!(!again.has_session());
    })
    .await;
}

/// A visitor with the old cookie of Ann, and with a session in which nobody is logged in.
///
/// Browsers do not send a cookie with `SameSite=Strict`, such as a private cookie of Rocket, when a link
/// of another site is followed. So a session can begin before the old cookie arrives.
async fn anonymous_ann(app: &App) -> Visitor<'_> {
    let visitor = ann(app).await;
    let other = app.visitor();
    other.get("/set/cart/tea").await;
    visitor.set_cookie("id", &other.cookie("id").unwrap());
    app.probe.calls();
    visitor
}

#[async_test]
async fn an_anonymous_session_is_logged_in_under_a_new_id() {
    App::on_every_store(build, async |app| {
        let visitor = anonymous_ann(&app).await;
        let before = visitor.copy();
        assert_eq!(who(&visitor).await, "ann");
        assert_eq!(visitor.cookie("name"), None);
        assert_ne!(visitor.cookie("id"), before.cookie("id"));
        assert_eq!(visitor.get("/get/cart").await.body, r#""tea""#);
        assert_eq!(visitor.get("/get/from").await.body, r#""before""#);

        // The cookies of before open nothing, now and after the log-out.
        assert_eq!(who(&before.copy()).await, "nobody");
        visitor.get("/logout").await;
        app.holds(0).await;
        assert_eq!(who(&before).await, "nobody");
    })
    .await;
}

#[async_test]
async fn concurrent_visits_with_an_anonymous_session_log_it_in_once() {
    App::on_every_store(build, async |app| {
        let visitor = anonymous_ann(&app).await;
        let other_host = app.again_built(|figment| figment, build).await;
        let (first, second) = (visitor.copy(), visitor.copy_to(&other_host));
        let claims = app.probe.gate(Act::KeepEntry);
        let both = async {
            claims.arrived().await;
            claims.arrived().await;
            claims.open_for_all();
        };
        let (one, two, ()) = join3(first.get("/who"), second.get("/who"), both).await;
        let mut users = [one.body.as_str(), two.body.as_str()];
        users.sort();
        assert_eq!(users, ["ann", "nobody"]);
        let renewed = if one.body == "ann" { &first } else { &second };
        assert_eq!(who(renewed).await, "ann");
        assert!(one.sets_session() != two.sets_session());
        app.holds(1).await;
    })
    .await;
}

#[async_test]
async fn of_many_requests_in_one_process_one_saves_a_session() {
    App::on_every_store(build, async |app| {
        let visitor = ann(&app).await;
        let copies: Vec<_> = (0..8).map(|_| visitor.copy()).collect();
        let responses = join_all(copies.iter().map(|copy| copy.get("/who"))).await;
        for response in responses {
            assert_eq!(
                (response.body.as_str(), response.sets_session()),
                ("ann", true)
            );
        }
        // No session was saved and ended again.
        assert_eq!(app.probe.calls().delete, 0);
        assert_eq!(app.list().await.len(), 1);
    })
    .await;
}

#[async_test]
async fn a_session_that_ended_a_moment_ago_is_not_followed_by_another() {
    App::on_every_store(build, async |app| {
        let visitor = app.visitor();
        visitor.get("/login/bob").await;
        let ended = visitor.copy();
        let id = app.list().await[0].0;
        // A renewal leaves a tombstone at the id of this cookie.
        visitor.get("/renew").await;
        assert!(app.sessions().end(&id).await.unwrap());

        let old = ann(&app).await;
        ended.set_cookie("name", &old.cookie("name").unwrap());
        assert_eq!(who(&ended).await, "nobody");
        assert_eq!(who(&old).await, "nobody");
    })
    .await;
}

#[async_test]
async fn after_the_cut_off_no_old_cookie_counts() {
    let app = App::built(|figment| figment, build).await;
    let visitor = ann(&app).await;
    app.clock.advance(DAY);
    assert_eq!(who(&visitor).await, "nobody");
    assert!(!visitor.has_session());
    let calls = app.probe.calls();
    assert_eq!((calls.tuple(), calls.entries), ((0, 0, 0, 0), 0));
}

#[async_test]
async fn a_handler_that_fails_loses_no_log_in() {
    App::on_every_store(build, async |app| {
        let visitor = ann(&app).await;
        let response = visitor.get("/fail").await;
        assert_eq!(response.status, Status::InternalServerError);
        assert!(response.sets_session());
        // Rocket drops the removal of the old cookie with the error; the next response repeats it.
        assert!(visitor.cookie("name").is_some());
        assert_eq!(who(&visitor).await, "ann");
        assert_eq!(visitor.cookie("name"), None);
        app.holds(1).await;
    })
    .await;
}

#[async_test]
async fn a_store_that_fails_leaves_no_session_behind() {
    App::on_every_store(build, async |app| {
        for act in [Act::GetEntry, Act::Save, Act::KeepEntry] {
            let visitor = ann(&app).await;
            app.probe.fail(act);
            let response = visitor.get("/who").await;
            assert_eq!(
                (response.body.as_str(), visitor.has_session()),
                ("nobody", false)
            );
            app.probe.heal();
            assert_eq!(who(&visitor).await, "ann", "{act:?}");
            visitor.get("/logout").await;
            app.holds(0).await;
        }
        // If the response to a claim is lost, nobody knows whether the cookie is used up. A visitor with
        // a session claims it before anything is saved.
        let visitor = app.visitor();
        visitor.get("/set/n/0").await;
        visitor.get("/before/ann").await;
        app.probe.fail_afterwards(Act::KeepEntry);
        assert_eq!(who(&visitor).await, "nobody");
        app.probe.heal();
        assert_eq!(who(&visitor).await, "nobody");
        assert_eq!(app.list().await.len(), 1);
    })
    .await;
}

#[get("/begin/<name>")]
async fn begin(name: &str, clock: &State<Clock>, session: &Session) -> Result<String> {
    let fill = |session: &Session| match name {
        "nothing" => Ok(()),
        "large" => {
            session.log_in("ann");
            session.insert("large", "x".repeat(2_000_000))
        }
        name => session.insert("name", name),
    };
    let until = clock.now() + DAY;
    let begun = session.take_over(name, until, fill).await;
    let begun = begun.map_err(|error| error.kind());
    Ok(format!("{begun:?} {}", session.user().unwrap_or_default()))
}

#[async_test]
async fn a_function_that_fails_or_does_nothing_begins_no_session() {
    let build = |rocket: Rocket<Build>| rocket.mount("/", routes![begin]);
    let app = App::built(|figment| figment, build).await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/begin/nothing").await.body, "Ok(false) ");
    assert_eq!(visitor.get("/begin/large").await.body, "Err(Limit) ");
    assert!(!visitor.has_session());
    assert_eq!(app.list().await.len(), 0);
    assert_eq!(visitor.get("/begin/ann").await.body, "Ok(true) ");
    assert!(visitor.has_session());

    // Now there is a session in which nobody is logged in.
    app.probe.calls();
    assert_eq!(visitor.get("/begin/nothing").await.body, "Ok(false) ");
    assert_eq!(visitor.get("/begin/large").await.body, "Err(Limit) ");
    let calls = app.probe.calls();
    assert_eq!((calls.tuple(), calls.entries), ((2, 0, 0, 0), 2));
    assert_eq!(visitor.get("/get/name").await.body, r#""ann""#);
}

#[async_test]
async fn a_session_by_token_takes_nobody_over() {
    let build = |rocket: Rocket<Build>| rocket.mount("/", routes![begin]);
    let header =
        |figment: rocket::figment::Figment| figment.merge(("sessions.transport", "header"));
    let app = App::built(header, build).await;
    let unsupported = format!("Err({:?}) ", ErrorKind::Unsupported);
    assert_eq!(app.visitor().get("/begin/ann").await.body, unsupported);
    let client = app.visitor().with("X-Auth-Token", "0123456789abcdef");
    assert_eq!(client.get("/begin/ann").await.body, unsupported);
}

/// The names and contents of all files below `folder`.
fn everything_below(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        all += path.to_str().unwrap();
        all += &match path.is_dir() {
            true => everything_below(&path),
            false => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
        };
    }
    all
}

#[async_test]
async fn the_store_does_not_learn_the_credential() {
    let there = tempfile::tempdir().unwrap();
    let store = DirectoryStore::open(there.path().join("sessions")).unwrap();
    let app = App::built_on(store, |figment| figment, build).await;
    let visitor = ann(&app).await;
    let old = visitor.cookie("name").unwrap();
    let decoded = old
        .replace("%2F", "/")
        .replace("%2B", "+")
        .replace("%3D", "=");
    assert_eq!(who(&visitor).await, "ann");
    let all = everything_below(there.path());
    assert!(all.contains("taken-over") && !all.contains(&old) && !all.contains(&decoded));
}
