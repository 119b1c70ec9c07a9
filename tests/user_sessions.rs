//! A user sees where they are logged in, and ends any of these sessions.

use std::sync::Arc;
use std::time::Duration;

use rocket::figment::Figment;
use rocket::futures::future::{join, join_all};
use rocket::futures::{FutureExt, TryStreamExt};
use rocket::http::Method;
use rocket::tokio::task::yield_now;
use rocket::{Build, Rocket, async_test, get, post, routes};
use rocket_session_kit::store::{Key, KeyValue, Namespace, SessionStore};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{Result, Session, SessionHandle, Sessions, UserSession};

use crate::contested_ends::Stepwise;
use crate::support::App;

/// Shows one line for each session of a user: the handle, the browser, and whether it is this one.
#[get("/places/<user>")]
async fn places(user: &str, session: &Session, sessions: &Sessions) -> Result<String> {
    let places = sessions.of_user(user).await?;
    let line = |place: &UserSession| {
        let agent = place.user_agent().unwrap_or("none").to_owned();
        format!("{} {agent} {}", place.handle(), place.is_current(session))
    };
    Ok(places.iter().map(line).collect::<Vec<_>>().join("\n"))
}

#[post("/end/<handle>")]
async fn end_by(handle: SessionHandle, sessions: &Sessions) -> Result<String> {
    Ok(sessions.end_by(&handle).await?.to_string())
}

#[post("/end_others")]
async fn end_others(session: &Session) -> Result<String> {
    Ok(session.end_others().await?.to_string())
}

/// Ends all sessions of a user, among them perhaps that of this request.
#[post("/end_all/<user>")]
async fn end_all(user: &str, _session: &Session, sessions: &Sessions) -> Result<String> {
    Ok(sessions.end_all_of(user, None).await?.to_string())
}

/// The same, by a request that loads no session.
#[post("/end_all_unseen/<user>")]
async fn end_all_unseen(user: &str, sessions: &Sessions) -> Result<String> {
    Ok(sessions.end_all_of(user, None).await?.to_string())
}

/// Logs a user in, and saves that before the handler goes on.
#[post("/login_now/<user>")]
async fn log_in_now(user: &str, session: &Session) -> Result<()> {
    session.log_in(user);
    session.save().await
}

fn with_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    let routes = routes![
        places,
        end_by,
        end_others,
        end_all,
        end_all_unseen,
        log_in_now
    ];
    rocket.mount("/", routes)
}

async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(App) -> F) {
    App::on_every_store(with_routes, test).await;
}

/// Returns the sessions of `user`.
async fn of_user(app: &App, user: &str) -> Vec<UserSession> {
    let sessions = app.sessions().of_user(user).await;
    sessions.expect("the store is there")
}

#[async_test]
async fn a_list_shows_each_session_of_a_user_with_its_browser() {
    on_every_store(async |app| {
        let firefox = app.visitor().with("User-Agent", "Firefox");
        let curl = app.visitor().with("User-Agent", "curl\u{7f}/8");
        let (silent, other) = (app.visitor(), app.visitor());
        firefox.get("/set/n/1").await;
        firefox.get("/login/alice").await;
        app.clock.advance(Duration::from_secs(5));
        curl.send(Method::Post, "/login_now/alice", None).await;
        curl.get("/set/n/1").await;
        app.clock.advance(Duration::from_secs(5));
        silent.get("/set_user/alice").await;
        other.get("/login/alicent").await;
        let places = of_user(&app, "alice").await;
        let agents: Vec<_> = places.iter().map(UserSession::user_agent).collect();
        assert_eq!(agents, [None, Some("curl/8"), Some("Firefox")]);
        let log_ins: Vec<_> = places.iter().map(UserSession::logged_in_at).collect();
        assert_eq!(log_ins[0], None, "it was no log-in");
        let (later, earlier) = (log_ins[1].unwrap(), log_ins[2].unwrap());
        assert_eq!(later.duration_since(earlier).unwrap().as_secs(), 5);
        assert_eq!(places[2].created_at(), earlier);
        assert_eq!(places[2].accessed_at(), earlier);
        assert_eq!(places[2].remote_address(), Some([127, 0, 0, 1].into()));
        let shown = firefox.get("/places/alice").await.body;
        let here: Vec<_> = shown
            .lines()
            .filter(|line| line.ends_with(" true"))
            .collect();
        assert_eq!(here.len(), 1, "{shown}");
        assert!(here[0].contains(" Firefox "), "{shown}");
        assert!(of_user(&app, "nobody").await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_session_is_listed_once_after_renewals_and_for_all_its_copies() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let handle = of_user(&app, "alice").await[0].handle();
        for _ in 0..3 {
            assert!(visitor.get("/renew").await.sets_session());
        }
        let copy = visitor.copy();
        let gate = app.gate("slow");
        let both = async {
            gate.arrived().await;
            gate.arrived().await;
            gate.open();
            gate.open();
        };
        let log_ins = join(
            visitor.get("/login/alice?gate=slow"),
            copy.get("/login/alice?gate=slow"),
        );
        join(log_ins, both).await;
        let places = of_user(&app, "alice").await;
        assert_eq!(places.len(), 1);
        assert_eq!(places[0].handle(), handle, "a form of before still works");
        let ended = app.sessions().end_by(&handle).await;
        assert!(ended.unwrap());
        for visitor in [&visitor, &copy] {
            assert_eq!(visitor.get("/who").await.body, "nobody");
        }
        assert!(app.list().await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_handle_ends_one_session_and_opens_none() {
    on_every_store(async |app| {
        let (here, there) = (app.known_visitor().await, app.known_visitor().await);
        here.get("/login/alice").await;
        there.get("/login/alice").await;
        let shown = here.get("/places/alice").await.body;
        let other = shown.lines().find(|line| line.ends_with(" false"));
        let handle = other.expect("there are two").split(' ').next().unwrap();

        let thief = app.visitor();
        thief.set_cookie("id", handle);
        assert_eq!(thief.get("/who").await.body, "nobody");
        let path = format!("/end/{handle}");
        assert_eq!(here.send(Method::Post, &path, None).await.body, "true");
        assert_eq!(there.get("/who").await.body, "nobody");
        assert_eq!(here.get("/who").await.body, "alice");
        assert_eq!(here.send(Method::Post, &path, None).await.body, "false");
        assert_eq!(of_user(&app, "alice").await.len(), 1);
        for wrong in ["x", &"A".repeat(43), &"A".repeat(42), "..%2f..%2fetc"] {
            let response = here
                .send(Method::Post, &format!("/end/{wrong}"), None)
                .await;
            let refused = response.status.code == 422 || response.body == "false";
            assert!(refused, "{wrong}: {response:?}");
        }
    })
    .await;
}

/// Returns the handle of the only session.
async fn only_handle(app: &App) -> SessionHandle {
    let all: Vec<_> = app.sessions().iter_sessions().try_collect().await.unwrap();
    assert_eq!(all.len(), 1);
    all[0].1.handle().expect("this crate wrote it")
}

#[async_test]
async fn a_handle_ends_a_session_without_a_user() {
    on_every_store(async |app| {
        let (visitor, other) = (app.known_visitor().await, app.visitor());
        let handle = only_handle(&app).await;
        other.get("/set/n/1").await;
        assert!(app.sessions().end_by(&handle).await.unwrap());
        assert!(!app.sessions().end_by(&handle).await.unwrap());
        assert_eq!(visitor.get("/keys").await.body, "");
        assert_eq!(other.get("/keys").await.body, "n");
    })
    .await;
}

#[async_test]
async fn the_handle_of_an_anonymous_visitor_ends_their_session_after_a_log_in() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        let handle = only_handle(&app).await;
        visitor.get("/login/alice").await;
        let places = of_user(&app, "alice").await;
        assert_eq!(only_handle(&app).await, places[0].handle());
        assert_ne!(handle, places[0].handle(), "it names the user");
        assert!(app.sessions().end_by(&handle).await.unwrap());
        assert_eq!(visitor.get("/who").await.body, "nobody");
        assert!(of_user(&app, "alice").await.is_empty());
    })
    .await;
}

#[async_test]
async fn a_session_that_ended_or_changed_hands_leaves_the_list() {
    on_every_store(async |app| {
        let visitors: Vec<_> = (0..5).map(|_| app.visitor()).collect();
        for visitor in &visitors {
            visitor.get("/login/alice").await;
        }
        assert_eq!(of_user(&app, "alice").await.len(), 5);
        let [out, other, nobody, ended, stays] = &visitors[..] else {
            unreachable!("there are five")
        };
        let handle = |shown: &str| {
            let here = shown.lines().find(|line| line.ends_with(" true"));
            let handle = here.expect("it is this one").split(' ').next();
            handle.unwrap().parse::<SessionHandle>().unwrap()
        };
        let of_other = handle(&other.get("/places/alice").await.body);
        out.get("/logout").await;
        assert!(other.get("/login/bob").await.sets_session());
        nobody.get("/set_user/nobody").await;
        nobody.get("/set/n/1").await;
        ended.get("/end").await;
        assert_eq!(of_user(&app, "alice").await.len(), 1);
        assert_eq!(of_user(&app, "bob").await.len(), 1);
        // It was a session of Alice, and is not hers any more.
        assert!(!app.sessions().end_by(&of_other).await.unwrap());
        assert_eq!(other.get("/who").await.body, "bob");
        assert_eq!(app.sessions().end_all_of("alice", None).await.unwrap(), 1);
        assert_eq!(stays.get("/who").await.body, "nobody");
        assert_eq!(other.get("/who").await.body, "bob");
        app.clock.advance(Duration::from_secs(86_401));
        assert!(of_user(&app, "bob").await.is_empty());
    })
    .await;
}

#[async_test]
async fn all_others_end_and_this_session_stays() {
    on_every_store(async |app| {
        let visitors: Vec<_> = (0..4).map(|_| app.visitor()).collect();
        for visitor in &visitors {
            visitor.get("/login/alice").await;
        }
        let other = app.visitor();
        other.get("/login/bob").await;
        let ended = visitors[0].send(Method::Post, "/end_others", None).await;
        assert_eq!(ended.body, "3");
        assert!(ended.session_cookie().is_none());
        for (n, visitor) in visitors.iter().enumerate() {
            let user = ["nobody", "alice"][usize::from(n == 0)];
            assert_eq!(visitor.get("/who").await.body, user, "{n}");
        }
        assert_eq!(other.get("/who").await.body, "bob");
        let nobody = app.visitor().send(Method::Post, "/end_others", None).await;
        assert_eq!(nobody.body, "0");
    })
    .await;
}

#[async_test]
async fn a_request_that_ends_its_own_session_removes_its_cookie() {
    on_every_store(async |app| {
        for path in ["/end_all/alice", "/end_all_unseen/alice"] {
            let (here, other) = (app.visitor(), app.visitor());
            here.get("/login/alice").await;
            other.get("/login/bob").await;
            let response = other.send(Method::Post, path, None).await;
            assert_eq!(response.body, "1", "{path}");
            assert!(response.session_cookie().is_none(), "{path}");
            here.get("/login/alice").await;
            let response = here.send(Method::Post, path, None).await;
            assert!(response.removes_session(), "{path}");
            assert_eq!(response.header("Cache-Control"), Some("no-store"), "{path}");
            assert_eq!(here.cookie("id"), None, "{path}");
            assert_eq!(other.get("/who").await.body, "bob");
        }
        let visitor = app.visitor();
        visitor.get("/login/alice").await;
        let handle = of_user(&app, "alice").await[0].handle();
        let path = format!("/end/{handle}");
        let response = visitor.send(Method::Post, &path, None).await;
        assert!(response.removes_session());
    })
    .await;
}

fn three_allowed(figment: Figment) -> Figment {
    figment.merge(("sessions.max_sessions_per_user", 3))
}

#[async_test]
async fn of_twenty_log_ins_at_once_with_three_allowed_three_stay() {
    on_every_store(async |app| {
        let hosts = [
            app.again(three_allowed).await,
            app.again(three_allowed).await,
        ];
        let visitors: Vec<_> = (0..20).map(|n| hosts[n % 2].visitor()).collect();
        for (n, visitor) in visitors.iter().enumerate() {
            if n % 3 > 0 {
                visitor.get("/set/n/1").await;
            }
        }
        let log_ins = visitors.iter().map(|visitor| visitor.get("/login/alice"));
        for response in join_all(log_ins).await {
            assert_eq!(response.status.code, 200);
        }
        let mut live = 0;
        for visitor in &visitors {
            live += usize::from(visitor.get("/who").await.body == "alice");
        }
        assert_eq!(live, 3);
        assert_eq!(of_user(&hosts[0], "alice").await.len(), 3);
        assert_eq!(
            hosts[1].sessions().end_all_of("alice", None).await.unwrap(),
            3
        );
        for visitor in &visitors {
            assert_eq!(visitor.get("/who").await.body, "nobody");
        }
    })
    .await;
}

#[async_test]
async fn thousands_of_log_ins_of_one_user_leave_a_small_index() {
    let app = App::built(three_allowed, with_routes).await;
    let mut longest = 0;
    for n in 0..2000 {
        let visitor = app.visitor();
        assert_eq!(visitor.get("/login/alice").await.status.code, 200, "{n}");
        let (entries, keys) = indexes(&app).await;
        let index = entries.get(&keys[0]).await.unwrap().unwrap();
        longest = longest.max(index.len());
    }
    assert!(longest < 2000, "{longest} bytes");
    assert_eq!(of_user(&app, "alice").await.len(), 3);
}

#[async_test]
async fn one_log_in_too_many_ends_the_oldest() {
    on_every_store(async |app| {
        let app = app.again(three_allowed).await;
        let visitors: Vec<_> = (0..5).map(|_| app.visitor()).collect();
        for visitor in &visitors {
            app.clock.advance(Duration::from_secs(1));
            visitor.get("/login/alice").await;
            // A log-in in the same session is not one more.
            visitor.get("/login/alice").await;
            visitor.get("/renew").await;
        }
        for (n, visitor) in visitors.iter().enumerate() {
            let user = ["nobody", "alice"][usize::from(n > 1)];
            assert_eq!(visitor.get("/who").await.body, user, "{n}");
        }
        // One that logs out makes room.
        visitors[3].get("/logout").await;
        visitors[0].get("/login/alice").await;
        for n in [0, 2, 4] {
            assert_eq!(visitors[n].get("/who").await.body, "alice", "{n}");
        }
    })
    .await;
}

#[async_test]
async fn one_log_in_too_many_is_refused_if_the_settings_say_so() {
    on_every_store(async |app| {
        let refusing = |figment| three_allowed(figment).merge(("sessions.when_too_many", "refuse"));
        let app = app.again(refusing).await;
        let visitors: Vec<_> = (0..3).map(|_| app.visitor()).collect();
        for visitor in &visitors {
            assert!(visitor.get("/login/alice").await.sets_session());
        }
        let late = app.known_visitor().await;
        let before = late.cookie("id");
        for late in [&late, &app.visitor()] {
            let response = late.get("/login/alice").await;
            assert_eq!(response.status.code, 403);
            assert!(response.body.starts_with("403"), "{}", response.body);
            assert!(response.session_cookie().is_none());
            assert_eq!(late.get("/who").await.body, "nobody");
        }
        assert_eq!(late.cookie("id"), before);
        assert_eq!(late.get("/keys").await.body, "n", "the session goes on");
        assert_eq!(of_user(&app, "alice").await.len(), 3);
        assert!(late.get("/login/bob").await.sets_session());

        visitors[0].get("/logout").await;
        assert!(app.visitor().get("/login/alice").await.sets_session());
        // Expired sessions do not count.
        app.clock.advance(Duration::from_secs(86_401));
        assert!(app.visitor().get("/login/alice").await.sets_session());
    })
    .await;
}

#[async_test]
async fn a_log_in_at_the_moment_of_an_end_is_ended_or_listed() {
    let rounds = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    App::in_rounds(&rounds, with_routes, async |app, round| {
        for path in ["/login/alice", "/set_user/alice"] {
            let (new, known) = (app.visitor(), app.known_visitor().await);
            let log_ins = join(new.get(path), known.get(path));
            let end = async {
                for _ in 0..round {
                    yield_now().await;
                }
                app.sessions().end_all_of("alice", None).await.unwrap()
            };
            join(log_ins, end).await;
            let mut live = 0;
            for visitor in [&new, &known] {
                live += usize::from(visitor.get("/who").await.body == "alice");
            }
            assert_eq!(of_user(&app, "alice").await.len(), live, "{path}, {round}");
            let ended = app.sessions().end_all_of("alice", None).await.unwrap();
            assert_eq!(ended, live as u64, "{path}, round {round}");
        }
    })
    .await;
}

/// Sends `log_in`, holds it before it saves the session that it has entered into the index, and ends all
/// sessions of Alice meanwhile.
async fn ended_before_it_was_saved<T>(app: &App, log_in: impl Future<Output = T>) -> T {
    let saves = app.probe.gate(Act::Save);
    let end = async {
        saves.arrived().await;
        while !has_entry(app).await {
            yield_now().await;
        }
        // The saves of others pass.
        app.probe.gate(Act::Save).open_for_all();
        app.sessions().end_all_of("alice", None).await.unwrap();
        saves.open();
    };
    join(log_in, end).await.0
}

#[async_test]
async fn a_log_in_that_was_listed_and_not_saved_when_all_ended_begins_nothing() {
    App::in_rounds(&[false, true], with_routes, async |app, known| {
        let visitor = match known {
            false => app.visitor(),
            true => app.known_visitor().await,
        };
        let response = ended_before_it_was_saved(&app, visitor.get("/login/alice")).await;
        assert_eq!(response.status.code, 200);
        assert_eq!(visitor.get("/who").await.body, "nobody");
        let logged_in = app.list().await;
        assert!(logged_in.iter().all(|(_, record)| record.user().is_none()));
    })
    .await;
}

#[async_test]
async fn a_log_in_by_a_token_that_was_not_saved_when_all_ended_begins_nothing() {
    on_every_store(async |app| {
        let by_token = |figment: Figment| figment.merge(("sessions.transport", "header"));
        let app = app.again(by_token).await;
        let client = app.visitor().with("X-Auth-Token", &"7".repeat(32));
        let response = ended_before_it_was_saved(&app, client.get("/login/alice")).await;
        assert_eq!(response.status.code, 200);
        assert_eq!(client.get("/who").await.body, "nobody");
        assert!(app.list().await.is_empty());
    })
    .await;
}

/// Returns the keys of all indexes, and their store.
async fn indexes(app: &App) -> (Arc<dyn KeyValue>, Vec<Key>) {
    let entries = Arc::new(app.probe.clone()).key_value();
    let entries = entries.expect("this store keeps entries");
    let users = Namespace::new("users").unwrap();
    let names: Vec<Vec<u8>> = entries.keys(&users).try_collect().await.unwrap();
    let keys = names.iter().map(|name| users.key(name)).collect();
    (entries, keys)
}

/// Returns whether an index lists a session. An index from which the last one was removed stays for a second.
async fn has_entry(app: &App) -> bool {
    let (entries, keys) = indexes(app).await;
    for key in keys {
        let Some(index) = entries.get(&key).await.unwrap() else {
            continue;
        };
        let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
        if !index["sessions"].as_array().unwrap().is_empty() {
            return true;
        }
    }
    false
}

#[async_test]
async fn a_session_in_use_stays_listed_for_weeks() {
    on_every_store(async |app| {
        let visitor = app.visitor();
        visitor.get("/login/alice").await;
        // Past half of its idle timeout, it is extended when it is loaded, and nothing else is due.
        for round in 0..40 {
            app.clock.advance(Duration::from_secs(13 * 3600));
            assert_eq!(visitor.get("/who").await.body, "alice", "{round}");
        }
        // A log-in removes old entries from the index.
        app.visitor().get("/login/alice").await;
        assert_eq!(of_user(&app, "alice").await.len(), 2);
        assert_eq!(app.sessions().end_all_of("alice", None).await.unwrap(), 2);
        assert_eq!(visitor.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn a_session_is_entered_anew_when_the_clock_was_set_back() {
    let app = App::built(|figment| figment, with_routes).await;
    let visitor = app.visitor();
    visitor.get("/login/alice").await;
    app.probe.calls();
    for (back, entries) in [(3600, 0), (20_000, 2), (0, 0)] {
        app.clock.set_back(Duration::from_secs(back));
        visitor.get("/who").await;
        assert_eq!(app.probe.calls().entries, entries, "{back}");
    }
}

#[async_test]
async fn sessions_of_tokens_are_listed_limited_and_ended_like_others() {
    on_every_store(async |app| {
        let by_token = |figment| three_allowed(figment).merge(("sessions.transport", "header"));
        let app = app.again(by_token).await;
        let client = |n: usize| app.visitor().with("X-Auth-Token", &format!("{n:032}"));
        let clients: Vec<_> = (0..20).map(client).collect();
        // Some of them have a session already.
        for client in &clients[10..] {
            client.get("/set/n/1").await;
        }
        let log_ins = clients
            .iter()
            .enumerate()
            .map(|(n, client)| client.get(["/login/alice", "/set_user/alice"][n % 2]));
        for response in join_all(log_ins).await {
            assert_eq!(response.status.code, 200);
        }
        let mut live = Vec::new();
        for client in &clients {
            if client.get("/who").await.body == "alice" {
                live.push(client);
            }
        }
        assert_eq!(live.len(), 3);
        let places = of_user(&app, "alice").await;
        assert_eq!(places.len(), 3);
        assert!(app.sessions().end_by(&places[0].handle()).await.unwrap());
        assert_eq!(app.sessions().end_all_of("alice", None).await.unwrap(), 2);
        for client in live {
            assert_eq!(client.get("/who").await.body, "nobody");
            // The token begins another session.
            assert_eq!(client.get("/add/n/1").await.body, "1");
        }
    })
    .await;
}

#[async_test]
async fn a_clock_that_is_set_hides_no_session() {
    on_every_store(async |app| {
        for (ahead, back) in [(0, 3600), (7200, 7200), (90_000, 90_000), (0, 20_000)] {
            let visitor = app.visitor();
            visitor.get("/login/alice").await;
            app.clock.advance(Duration::from_secs(ahead));
            // A log-in edits the index by this clock, and a list looks at it.
            let other = app.visitor();
            other.get("/login/alice").await;
            of_user(&app, "alice").await;
            app.clock.set_back(Duration::from_secs(back));
            for _ in 0..30 {
                app.clock.advance(Duration::from_secs(3600));
                for visitor in [&visitor, &other] {
                    assert_eq!(visitor.get("/who").await.body, "alice", "{ahead}, {back}");
                }
            }
            assert_eq!(of_user(&app, "alice").await.len(), 2, "{ahead}, {back}");
            let ended = app.sessions().end_all_of("alice", None).await;
            assert_eq!(ended.unwrap(), 2, "{ahead}, {back}");
            assert_eq!(visitor.get("/who").await.body, "nobody");
        }
    })
    .await;
}

#[async_test]
async fn a_lost_or_damaged_index_hides_no_session() {
    on_every_store(async |app| {
        let visitors: Vec<_> = (0..3).map(|_| app.visitor()).collect();
        for visitor in &visitors {
            visitor.get("/login/alice").await;
        }
        let (entries, keys) = indexes(&app).await;
        assert_eq!(keys.len(), 1, "one user has one index");
        let hour = Some(Duration::from_secs(3600));
        for damaged in [&b"garbage"[..], b"", b"{}", b"\xff"] {
            entries.set(&keys[0], damaged, hour).await.unwrap();
            assert_eq!(of_user(&app, "alice").await.len(), 3);
        }
        // The next log-in makes it anew, and the others are still found.
        app.visitor().get("/login/alice").await;
        assert_eq!(of_user(&app, "alice").await.len(), 4);
        let mut live = 4;
        if entries.may_evict() {
            entries.remove(&keys[0]).await.unwrap();
            assert_eq!(of_user(&app, "alice").await.len(), 4);
            // This log-in begins an index that has none of the others.
            app.visitor().get("/login/alice").await;
            live += 1;
        }
        assert_eq!(
            app.sessions().end_all_of("alice", None).await.unwrap(),
            live
        );
        for visitor in &visitors {
            assert_eq!(visitor.get("/who").await.body, "nobody");
        }
    })
    .await;
}

#[async_test]
async fn a_user_with_more_sessions_than_an_index_holds_loses_none_of_them() {
    let app = App::built(|figment| figment, with_routes).await;
    for _ in 0..520 {
        app.visitor().get("/login/alice").await;
    }
    assert_eq!(of_user(&app, "alice").await.len(), 520);
    assert_eq!(app.sessions().end_all_of("alice", None).await.unwrap(), 520);
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn ten_of_many_sessions_cost_what_ten_cost() {
    on_every_store(async |app| {
        // Memcached may drop an index, so one that was just made is not trusted with an end.
        app.visitor().get("/login/alice").await;
        app.clock.advance(Duration::from_secs(2 * 86_400));
        for n in 0..40 {
            app.visitor().get(&format!("/login/user{n}")).await;
        }
        for _ in 0..10 {
            app.visitor().get("/login/alice").await;
        }
        app.probe.calls();
        assert_eq!(of_user(&app, "alice").await.len(), 10);
        let calls = app.probe.calls();
        assert_eq!((calls.tuple(), calls.entries), ((10, 0, 0, 0), 1));
        assert_eq!(app.sessions().end_all_of("alice", None).await.unwrap(), 10);
        let calls = app.probe.calls();
        assert_eq!((calls.tuple(), calls.entries), ((10, 10, 0, 0), 4));
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let calls = app.probe.calls();
        assert_eq!((calls.tuple(), calls.entries), ((1, 2, 0, 0), 2));
    })
    .await;
}

/// Returns how often `request` waits for calls of the store, where calls at the same time count as one.
async fn round_trips<T>(app: &App, request: impl Future<Output = T>) -> usize {
    let acts = [
        Act::Load,
        Act::Save,
        Act::Delete,
        Act::GetEntry,
        Act::KeepEntry,
    ];
    let gates = acts.map(|act| app.probe.gate(act));
    let mut request = std::pin::pin!(request);
    for rounds in 0.. {
        for _ in 0..100 {
            if request.as_mut().now_or_never().is_some() {
                gates.iter().for_each(Gate::open_for_all);
                return rounds;
            }
            yield_now().await;
        }
        for gate in &gates {
            while gate.arrived().now_or_never().is_some() {
                gate.open();
            }
        }
    }
    unreachable!("a request ends")
}

#[async_test]
async fn a_log_in_takes_four_round_trips_and_a_log_out_four() {
    let app = App::built(|figment| figment, with_routes).await;
    let visitor = app.known_visitor().await;
    assert_eq!(round_trips(&app, visitor.get("/get/n")).await, 1);
    assert_eq!(round_trips(&app, visitor.get("/login/alice")).await, 4);
    assert_eq!(round_trips(&app, visitor.get("/renew")).await, 4);
    assert_eq!(round_trips(&app, visitor.get("/logout")).await, 4);
}

#[async_test]
async fn a_store_without_entries_lists_all_its_sessions() {
    let app = App::built_on(Stepwise::default(), |figment| figment, with_routes).await;
    let (visitor, other) = (app.visitor(), app.visitor());
    visitor.get("/login/alice").await;
    other.get("/login/bob").await;
    let places = of_user(&app, "alice").await;
    assert_eq!(places.len(), 1);
    assert!(app.sessions().end_by(&places[0].handle()).await.unwrap());
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(other.get("/who").await.body, "bob");
}
