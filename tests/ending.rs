//! A session that ended never comes back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocket::futures::future::join;
use rocket::futures::stream::{self, BoxStream};
use rocket::futures::{TryFutureExt, TryStreamExt};
use rocket::{async_test, get, routes};
use rocket_session_kit::store::{Revision, Save, Saved, SessionStore, Stored, Swept};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{
    MemcachedStore, MemoryStore, RedisStore, Result, Session, SessionId, Sessions,
};

use crate::support::App;
use crate::support::memcached::Memcached;
use crate::support::redis::Redis;

const DAY: Duration = Duration::from_secs(86_400);

#[async_test]
async fn logging_out_ends_the_session_and_takes_the_cookie_away() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let thief = visitor.copy();
    let response = visitor.get("/logout").await;
    assert!(response.removes_session(), "{response:?}");
    assert!(!visitor.has_session());
    assert!(app.list().await.is_empty());
    assert_eq!(thief.get("/who").await.body, "nobody");
    assert_eq!(thief.get("/keys").await.body, "");
}

#[async_test]
async fn a_clock_that_is_set_back_revives_no_session_that_was_logged_out() {
    // These stores expire sessions by their own time; this one uses the clock, and hides expired sessions.
    App::on_every_store(|rocket| rocket, log_out_in_a_leap).await;
    log_out_in_a_leap(App::launch().await).await;
}

async fn log_out_in_a_leap(app: App) {
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let thief = visitor.copy();
    let gate = app.gate("slow");
    let leap = async {
        gate.arrived().await;
        // The log-out loads the session again, which has expired by then.
        assert_eq!(thief.get("/set/n/1").await.status.code, 200);
        app.clock.advance(100 * DAY);
        gate.open();
    };
    let (response, ()) = join(visitor.get("/logout?gate=slow"), leap).await;
    assert_eq!(response.status.code, 200);
    app.clock.set_back(100 * DAY);
    for visitor in [&visitor, &thief] {
        assert_eq!(visitor.get("/who").await.body, "nobody");
    }
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn a_session_that_has_expired_is_ended_by_its_id_and_counts_as_none() {
    App::on_every_store(|rocket| rocket, end_in_a_leap).await;
    end_in_a_leap(App::launch().await).await;
}

async fn end_in_a_leap(app: App) {
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    app.clock.advance(100 * DAY);
    let ended = app.sessions().end(&id).await.unwrap();
    assert!(!ended, "it was over already");
    app.clock.set_back(100 * DAY);
    assert_eq!(visitor.get("/keys").await.body, "");
    assert!(app.list().await.is_empty());
}

/// A request that is in flight when the visitor logs out brings nothing back.
async fn nothing_comes_back_from(path: &str) {
    nothing_comes_back_on(&App::launch().await, path).await;
}

async fn nothing_comes_back_on(app: &App, path: &str) {
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    // So that a touch is due too.
    app.clock.advance(Duration::from_secs(120));
    let (slow, thief) = (visitor.copy(), visitor.copy());
    let gate = app.gate("slow");
    let slow = async { slow.get(&format!("{path}?gate=slow")).await };
    let logout = async {
        gate.arrived().await;
        assert!(visitor.get("/logout").await.removes_session());
        gate.open();
    };
    let (response, ()) = join(slow, logout).await;
    assert!(
        response.session_cookie().is_none(),
        "the cookie of the next log-in may be there by now: {path}: {response:?}"
    );
    assert_eq!(thief.get("/who").await.body, "nobody", "{path}");
    assert!(app.list().await.is_empty(), "{path}");
}

#[async_test]
async fn an_ended_session_stays_ended_on_every_server() {
    let (redis, memcached) = (Redis::start(), Memcached::start());
    let on_redis = RedisStore::open(&redis.url()).expect("this is its URL");
    let on_memcached = MemcachedStore::open([memcached.address()]).expect("this is its address");
    let apps = [
        App::on(on_redis, |figment| figment).await,
        App::on(on_memcached, |figment| figment).await,
    ];
    for app in &apps {
        for path in [
            "/set/a/1",
            "/add/a/1",
            "/remove/n",
            "/clear",
            "/touch",
            "/get/n",
            "/renew",
        ] {
            nothing_comes_back_on(app, path).await;
        }
    }
}

#[async_test]
async fn a_slow_writer_revives_no_ended_session() {
    nothing_comes_back_from("/set/a/1").await;
    nothing_comes_back_from("/add/a/1").await;
    nothing_comes_back_from("/append/a/1").await;
    nothing_comes_back_from("/remove/n").await;
    nothing_comes_back_from("/clear").await;
}

#[async_test]
async fn a_slow_reader_revives_no_ended_session() {
    nothing_comes_back_from("/touch").await;
    nothing_comes_back_from("/get/n").await;
}

#[async_test]
async fn a_slow_renewal_or_log_in_revives_no_ended_session() {
    nothing_comes_back_from("/renew").await;
    nothing_comes_back_from("/login/alice").await;
    nothing_comes_back_from("/login/bob").await;
}

#[async_test]
async fn a_second_log_out_finds_no_session() {
    nothing_comes_back_from("/logout").await;
}

/// A log-out in flight while the session is changed, at every step of the log-out.
#[async_test]
async fn a_log_out_wins_over_concurrent_saves() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let thief = visitor.copy();
    let (gate, saves) = (app.gate("slow"), app.gate("logout"));
    let logout = async {
        let response = visitor.copy().get("/logout?gate=logout").await;
        assert_eq!(response.status.code, 200);
    };
    let writer = async {
        let response = visitor.get("/set/a/1?gate=slow").await;
        assert_eq!(response.status.code, 200);
        // The log-out now finds another revision of the session than it loaded.
        saves.open();
    };
    let both_loaded = async {
        saves.arrived().await;
        gate.arrived().await;
        gate.open();
    };
    join(join(logout, writer), both_loaded).await;
    assert_eq!(thief.get("/keys").await.body, "");
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn a_log_out_follows_a_session_that_was_renewed_meanwhile() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("logout");
    let old = visitor.copy();
    let logout = async { old.get("/logout?gate=logout").await };
    let renewal = async {
        gate.arrived().await;
        assert!(visitor.get("/login/alice").await.sets_session());
        gate.open();
    };
    join(logout, renewal).await;
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn an_emptied_session_ends() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let thief = visitor.copy();
    assert!(visitor.get("/remove/n").await.removes_session());
    assert!(app.list().await.is_empty());
    assert!(!visitor.has_session());
    assert_eq!(thief.get("/keys").await.body, "");
    assert_eq!(thief.get("/existing").await.status.code, 404);
    app.clock.advance(Duration::from_secs(61));
    app.sessions().delete_old_sessions(60).await.unwrap();
    assert_eq!(
        app.sessions().delete_old_sessions(0).await.unwrap().deleted,
        0,
        "nothing is left"
    );
}

#[async_test]
async fn a_value_inserted_while_the_session_is_emptied_is_kept() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let gate = app.gate("slow");
    let slow = visitor.copy();
    let writer = async { slow.get("/set/a/1?gate=slow").await };
    let emptied = async {
        gate.arrived().await;
        assert!(visitor.get("/remove/n").await.removes_session());
        gate.open();
    };
    let (response, ()) = join(writer, emptied).await;
    assert!(response.sets_session(), "the visitor has its cookie again");
    assert_eq!(slow.get("/keys").await.body, "a");
}

#[async_test]
async fn an_insert_after_the_end_begins_a_new_session() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let before = visitor.cookie("id");
    let thief = visitor.copy();
    let response = visitor.get("/end?then=goodbye").await;
    assert!(response.sets_session());
    assert_ne!(visitor.cookie("id"), before);
    assert_eq!(visitor.get("/keys").await.body, "then");
    assert_eq!(thief.get("/keys").await.body, "");
    assert_eq!(app.list().await.len(), 1);
}

#[async_test]
async fn ending_an_absent_session_touches_no_store_and_no_cookie() {
    let app = App::launch().await;
    for path in ["/logout", "/end", "/renew", "/clear", "/remove/a"] {
        let response = app.visitor().get(path).await;
        assert_eq!(response.status.code, 200);
        assert!(response.session_cookie().is_none(), "{path}");
    }
    assert_eq!(app.probe.calls().tuple(), (0, 0, 0, 0));
}

#[async_test]
async fn an_administrator_ends_any_session() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let (id, record) = app.list().await.remove(0);
    assert_eq!(record.get::<String>("n").unwrap().as_deref(), Some("0"));
    assert!(app.sessions().end(&id).await.unwrap());
    assert!(!app.sessions().end(&id).await.unwrap());
    let response = visitor.get("/keys").await;
    assert_eq!(response.body, "");
    assert!(response.session_cookie().is_none());
}

#[async_test]
async fn an_administrator_ends_a_session_that_is_being_renewed() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    visitor.get("/login/alice").await;
    assert!(
        app.sessions().end(&id).await.unwrap(),
        "its old id still leads to it for a minute"
    );
    assert_eq!(visitor.get("/who").await.body, "nobody");
}

/// Logs the visitor's user out everywhere else.
#[get("/only_here?<renew>&<user>")]
async fn only_here(
    renew: bool,
    user: Option<&str>,
    session: &Session,
    sessions: &Sessions,
) -> Result<String> {
    if renew {
        session.renew();
    }
    if let Some(user) = user {
        session.log_in(user);
    }
    // An application may have stored the id.
    session.id();
    let user = session.user().unwrap_or_default();
    Ok(sessions.end_all_of(&user, Some(session)).await?.to_string())
}

async fn on_every_store<F: Future<Output = ()>>(test: impl Fn(App) -> F) {
    App::on_every_store(|rocket| rocket.mount("/", routes![only_here]), test).await;
}

#[async_test]
async fn end_all_of_a_user_can_spare_the_current_session() {
    on_every_store(async |app| {
        for path in [
            "/only_here?renew=false",
            "/only_here?renew=true",
            "/only_here?renew=false&user=alice",
        ] {
            let alices = [app.visitor(), app.visitor(), app.visitor()];
            for visitor in &alices {
                visitor.get("/login/alice").await;
            }
            let [here, there, elsewhere] = &alices;
            let other = app.visitor();
            other.get("/login/alicent").await;
            let response = here.get(path).await;
            assert_eq!(
                (response.status.code, &*response.body),
                (200, "2"),
                "{path}"
            );
            assert_eq!(here.get("/who").await.body, "alice", "{path}");
            assert_eq!(there.get("/who").await.body, "nobody", "{path}");
            assert_eq!(elsewhere.get("/who").await.body, "nobody", "{path}");
            assert_eq!(other.get("/who").await.body, "alicent", "{path}");
            assert_eq!(app.sessions().end_all_of("alice", None).await.unwrap(), 1);
            assert_eq!(here.get("/who").await.body, "nobody", "{path}");
        }
    })
    .await;
}

#[async_test]
async fn end_all_of_a_user_ends_copies_of_the_spared_session() {
    on_every_store(async |app| {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let thief = visitor.copy();
        let gate = app.gate("slow");
        let both = async {
            gate.arrived().await;
            gate.arrived().await;
            gate.open();
            gate.open();
        };
        let log_ins = join(
            visitor.get("/login/alice?gate=slow"),
            thief.get("/login/alice?gate=slow"),
        );
        join(log_ins, both).await;
        assert_eq!(visitor.get("/only_here?renew=false").await.body, "1");
        assert_eq!(visitor.get("/who").await.body, "alice");
        assert_eq!(thief.get("/who").await.body, "nobody");
    })
    .await;
}

#[async_test]
async fn end_all_of_a_user_ends_a_constantly_renewed_session() {
    on_every_store(async |app| {
        let others: Vec<_> = (0..5).map(|_| app.visitor()).collect();
        for visitor in &others {
            visitor.get("/login/bob").await;
        }
        for round in 0..8 {
            let visitor = app.visitor();
            visitor.get("/login/alice").await;
            let renewals = async { while visitor.get("/renew").await.sets_session() {} };
            let end = async {
                // At every moment of the renewals.
                for _ in 0..round {
                    rocket::tokio::task::yield_now().await;
                }
                let ended = app.sessions().end_all_of("alice", None).await;
                assert!(ended.unwrap() > 0, "round {round}");
                assert_eq!(visitor.get("/who").await.body, "nobody", "round {round}");
            };
            let both = join(renewals, end);
            let done = rocket::tokio::time::timeout(Duration::from_secs(30), both).await;
            assert!(done.is_ok(), "round {round}: the session goes on");
        }
    })
    .await;
}

#[async_test]
async fn a_log_out_that_cannot_be_stored_is_no_success() {
    for act in [Act::Save, Act::Load] {
        let app = App::launch().await;
        let visitor = app.known_visitor().await;
        app.probe.fail(act);
        app.probe.fail(Act::Delete);
        let response = visitor.get("/logout").await;
        assert_eq!(response.status.code, 503);
        assert!(response.session_cookie().is_none());
        app.probe.heal();
        assert_eq!(
            visitor.get("/keys").await.body,
            "n",
            "it is there, and the visitor has its cookie"
        );
        assert!(visitor.get("/logout").await.removes_session());
        assert!(app.list().await.is_empty());
    }
}

#[async_test]
async fn a_session_ends_even_when_its_tombstone_cannot_be_deleted() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let thief = visitor.copy();
    app.probe.fail(Act::Delete);
    let response = visitor.get("/logout").await;
    assert_eq!(response.status.code, 200);
    assert!(response.removes_session());
    assert_eq!(thief.get("/keys").await.body, "");
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn a_session_ends_even_when_its_tombstone_cannot_be_saved() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            for renewed in [false, true] {
                let visitor = app.known_visitor().await;
                let thief = visitor.copy();
                if renewed {
                    visitor.get("/login/alice").await;
                }
                app.probe.fail(Act::Save);
                let response = visitor.get("/logout").await;
                app.probe.heal();
                assert_eq!(response.status.code, 200);
                assert!(response.removes_session());
                assert_eq!(thief.get("/keys").await.body, "");
                assert!(app.list().await.is_empty());
            }
        },
    )
    .await;
}

#[async_test]
async fn a_renewal_does_not_survive_a_log_out_without_a_tombstone() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            let renewing = visitor.copy();
            let saves = app.probe.gate(Act::Save);
            let renewal = async { renewing.get("/renew").await };
            let log_out = async {
                // The copy is made, and the next step is the tombstone at the old id.
                saves.arrived().await;
                saves.open();
                saves.arrived().await;
                let meanwhile = async {
                    saves.arrived().await;
                    app.probe.fail(Act::Save);
                    saves.open();
                    // One of the two saves failed. Either way, both are repeated or complete.
                    saves.open_for_all();
                };
                let (response, ()) = join(visitor.get("/logout"), meanwhile).await;
                app.probe.heal();
                response
            };
            let (renewed, ended) = join(renewal, log_out).await;
            assert_eq!(ended.status.code, 200, "{ended:?}");
            for browser in [&visitor, &renewing] {
                assert_eq!(browser.get("/who").await.body, "nobody", "{renewed:?}");
            }
            app.holds(0).await;
        },
    )
    .await;
}

#[async_test]
async fn requests_that_revive_an_emptied_session_share_one_session() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let visitor = app.known_visitor().await;
            let (slow, straggler) = (visitor.copy(), visitor.copy());
            let gate = app.gate("slow");
            let others = async {
                gate.arrived().await;
                assert!(visitor.get("/remove/n").await.removes_session());
                // It was sent before the browser had that response.
                assert!(straggler.get("/set/b/1").await.sets_session());
                gate.open();
            };
            let (response, ()) = join(slow.get("/set/a/1?gate=slow"), others).await;
            assert_eq!(response.status.code, 200);
            let mut keys: Vec<_> = app
                .list()
                .await
                .iter()
                .flat_map(|(_, r)| r.keys())
                .collect();
            keys.sort_unstable();
            assert_eq!(keys, ["a", "b"]);
            assert_eq!(app.list().await.len(), 1, "one session has both");
            assert_eq!(straggler.get("/get/a").await.body, "\"1\"");
        },
    )
    .await;
}

/// A store whose list contains one of the sessions last, after a gate. Meanwhile other requests renew
/// sessions that the list has passed.
struct ListsLast {
    store: MemoryStore,
    last: Arc<Mutex<Option<SessionId>>>,
    gate: Gate,
}

#[rocket::async_trait]
impl SessionStore for ListsLast {
    fn is_multiprocess_safe(&self) -> bool {
        self.store.is_multiprocess_safe()
    }

    fn is_thread_safe(&self) -> bool {
        self.store.is_thread_safe()
    }

    async fn setup(&self) -> Result<()> {
        self.store.setup().await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        self.store.has_session(id).await
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        self.store.load_session(id).await
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        self.store.save_session(id, save).await
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        self.store.delete_session(id).await
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        self.store.delete_session_if(id, revision).await
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        self.store.delete_old_sessions(minutes).await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let list = async {
            let mut all: Vec<_> = self.store.iter_sessions().try_collect().await?;
            let last = *self.last.lock().unwrap();
            if let Some(last) = last {
                all.retain(|(id, _)| *id != last);
                self.gate.pass().await;
                let there = self.store.load_session(&last).await?;
                all.extend(there.map(|there| (last, there)));
            }
            Ok(stream::iter(all.into_iter().map(Ok)))
        };
        Box::pin(list.try_flatten_stream())
    }
}

#[async_test]
async fn end_all_of_a_user_ends_sessions_renewed_during_the_listing() {
    for renewals in 1..=3 {
        let (last, gate) = (Arc::new(Mutex::new(None)), Gate::new());
        let store = ListsLast {
            store: MemoryStore::new(),
            last: Arc::clone(&last),
            gate: gate.clone(),
        };
        let app = App::on(store, |figment| figment).await;
        let [alice, bob] = [app.visitor(), app.visitor()];
        bob.get("/login/bob").await;
        for (visitor, name) in [(&bob, "bob"), (&alice, "alice")] {
            alice.get("/login/alice").await;
            let sessions = app.list().await;
            let renewed = sessions
                .iter()
                .find(|(_, record)| record.user() == Some(name));
            let (id, _) = renewed.expect("both are logged in");
            *last.lock().unwrap() = Some(*id);
            let end = app.sessions().end_all_of("alice", None);
            let renew = async {
                gate.arrived().await;
                for _ in 0..renewals {
                    assert!(visitor.get("/renew").await.sets_session());
                }
                *last.lock().unwrap() = None;
                gate.open();
            };
            let (ended, ()) = join(end, renew).await;
            assert_eq!(ended.unwrap(), 1, "{name} {renewals}");
            assert_eq!(alice.get("/who").await.body, "nobody", "{name} {renewals}");
            assert_eq!(bob.get("/who").await.body, "bob", "{name} {renewals}");
        }
    }
}
