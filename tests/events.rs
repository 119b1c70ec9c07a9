//! Listeners learn of every event in the life of a session, and a visitor learns why a session ended.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocket::figment::Figment;
use rocket::futures::future::join;
use rocket::futures::{StreamExt, TryStreamExt};
use rocket::http::Status;
use rocket::local::asynchronous::Client;
use rocket::{Request, async_test, catch, catchers, get, routes};
use rocket_session_kit::store::{Precondition, Save};
use rocket_session_kit::testing::{Act, Gate, Probe};
use rocket_session_kit::{
    Clock, LoggedIn, MemoryStore, Session, SessionEvent, SessionEvents, SessionId, Sessions,
    SessionsFairing, StoreCall,
};

use crate::support::{
    Backend, Gates, Visitor, figment, log, on_every_shared_store, on_every_store, push, routes,
    take,
};

/// A listener that keeps what it hears, one line for each event.
#[derive(Clone, Default)]
struct Heard {
    events: Arc<Mutex<Vec<String>>>,
    calls: Arc<Mutex<Vec<StoreCall>>>,
    shown: Arc<Mutex<String>>,
}

impl Heard {
    /// The events since the last call of this method.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock())
    }
}

impl SessionEvents for Heard {
    fn on_event(&self, event: &SessionEvent<'_>) {
        let words = [
            Some(event.kind.name().to_owned()),
            event.kind.reason().map(str::to_owned),
            event.user.map(|user| format!("of {user}")),
            event.address.map(|address| format!("at {address}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        self.events.lock().push(words.join(" "));
        self.shown.lock().push_str(&format!("{event:?}\n"));
    }

    fn on_store_call(&self, call: &StoreCall) {
        self.calls.lock().push(*call);
        self.shown.lock().push_str(&format!("{call:?}\n"));
    }
}

/// An application with a listener.
struct Site {
    client: Client,
    clock: Clock,
    heard: Heard,
}

impl Site {
    async fn on(backend: &Backend, settings: &str) -> Self {
        Self::of(Sessions::fairing(), backend.figment(settings)).await
    }

    /// An application in memory, and the probe before its store.
    async fn probed(settings: impl FnOnce(Figment) -> Figment) -> (Self, Probe) {
        let probe = Probe::new(MemoryStore::new());
        let fairing = Sessions::with(probe.clone());
        (Self::of(fairing, settings(figment())).await, probe)
    }

    async fn of(fairing: SessionsFairing, figment: Figment) -> Self {
        let (clock, heard) = (Clock::manual(), Heard::default());
        let rocket = rocket::custom(figment)
            .manage(clock.clone())
            .manage(Gates::default())
            .mount("/", routes())
            .mount("/", routes![why, account, stay, push, take])
            .register("/", catchers![signed_out])
            .attach(fairing.events(heard.clone()));
        let client = Client::untracked(rocket).await.expect("it launches");
        Self {
            client,
            clock,
            heard,
        }
    }

    fn visitor(&self) -> Visitor<'_> {
        Visitor::new(&self.client)
    }

    async fn logged_in(&self, user: &str) -> Visitor<'_> {
        let visitor = self.visitor();
        visitor.get(&format!("/login/{user}")).await;
        self.heard.take();
        visitor
    }

    fn sessions(&self) -> &Sessions {
        self.client.rocket().state().expect("it is managed")
    }

    fn gate(&self, name: &str) -> Gate {
        let gates: &Gates = self.client.rocket().state().expect("it is managed");
        gates.named(name)
    }

    /// The ids of all sessions.
    async fn ids(&self) -> Vec<SessionId> {
        let all = self.sessions().iter_sessions();
        let all = all.map_ok(|(id, _)| id).try_collect();
        all.await.expect("the store lists")
    }

    /// The number of records in the store, with tombstones.
    async fn records(&self) -> usize {
        self.sessions().store().iter_sessions().count().await
    }

    /// Ends all sessions of `user`, as an administrator does.
    async fn end_all_of(&self, user: &str) -> u64 {
        let ended = self.sessions().end_all_of(user, None).await;
        ended.expect("the store responds")
    }
}

/// Why the session ended, and the user.
#[get("/why")]
fn why(session: &Session) -> String {
    let why = session.ended_because().map_or("unknown", |end| end.name());
    format!("{why} {}", session.user().unwrap_or_default())
}

#[get("/account")]
fn account(member: LoggedIn<'_>) -> String {
    member.user().to_owned()
}

/// Inserts a value and renews the session, both at once.
#[get("/stay?<gate>")]
async fn stay(
    gate: Option<&str>,
    session: &Session,
    gates: &rocket::State<Gates>,
) -> rocket_session_kit::Result<()> {
    gates.wait(gate).await;
    session.renew();
    session.insert("stayed", true)
}

#[catch(401)]
async fn signed_out(request: &Request<'_>) -> String {
    let session = request.guard::<&Session>().await.succeeded();
    let why = session.and_then(Session::ended_because);
    format!("signed out: {why:?}")
}

on_every_store! {
    the_events_of_a_life_are_heard_in_their_order
    a_cookie_that_opens_nothing_is_heard_with_its_fault
    an_unreadable_record_is_heard
    saves_that_meet_are_heard_as_a_conflict
    limits_that_are_reached_are_heard
    a_timeout_is_heard_and_named_while_the_store_keeps_the_session
    a_visitor_whose_session_was_ended_learns_why_and_begins_a_new_one
    a_client_with_a_token_learns_why_its_session_ended
    the_copies_of_an_ended_session_learn_why
    a_request_in_flight_brings_no_session_back_that_was_ended_elsewhere
    ends_that_need_no_reason_leave_nothing_behind
}

on_every_shared_store! {
    a_process_tells_why_another_process_ended_a_session
}

async fn a_process_tells_why_another_process_ended_a_session(backend: Backend) {
    let (one, other) = (Site::on(&backend, "").await, Site::on(&backend, "").await);
    let visitor = one.logged_in("alice").await;
    assert_eq!(other.end_all_of("alice").await, 1);
    assert_eq!(other.heard.take(), ["ended ended_elsewhere of alice"]);
    assert_eq!(one.heard.take(), [""; 0]);
    assert_eq!(visitor.get("/why").await.body, "ended_elsewhere ");
    assert_eq!(visitor.get("/set/n/1").await.status, Status::Ok);
}

async fn the_events_of_a_life_are_heard_in_their_order(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let visitor = site.visitor();
    visitor.get("/touch").await;
    assert_eq!(site.heard.take(), [""; 0]);
    visitor.get("/set/n/1").await;
    assert_eq!(site.heard.take(), ["created at 127.0.0.1"]);
    visitor.get("/set/n/2").await;
    assert_eq!(site.heard.take(), [""; 0]);
    let visitor = visitor.copy_at("192.0.2.7");
    visitor.get("/login/alice").await;
    let log_in = [
        "renewed of alice at 192.0.2.7",
        "logged_in of alice at 192.0.2.7",
    ];
    assert_eq!(site.heard.take(), log_in);
    visitor.get("/renew").await;
    assert_eq!(site.heard.take(), ["renewed of alice at 192.0.2.7"]);
    visitor.get("/logout").await;
    let log_out = ["ended logged_out of alice at 192.0.2.7"];
    assert_eq!(site.heard.take(), log_out);
    // A log-in without a session begins one.
    visitor.get("/login/bob").await;
    let log_in = [
        "created of bob at 192.0.2.7",
        "logged_in of bob at 192.0.2.7",
    ];
    assert_eq!(site.heard.take(), log_in);
    visitor.get("/set_user/carol").await;
    assert_eq!(site.heard.take(), ["logged_in of carol at 192.0.2.7"]);
    let id = site.ids().await[0];
    assert!(site.sessions().end(&id).await.expect("the store responds"));
    assert_eq!(site.heard.take(), ["ended ended_elsewhere of carol"]);
    assert!(!site.sessions().end(&id).await.expect("the store responds"));
    assert_eq!(site.heard.take(), [""; 0], "a session ends once");
    let visitor = site.visitor();
    visitor.get("/set/n/1").await;
    visitor.get("/remove/n").await;
    visitor.get("/set/n/1").await;
    let emptied = [
        "created at 127.0.0.1",
        "ended emptied at 127.0.0.1",
        "created at 127.0.0.1",
    ];
    assert_eq!(site.heard.take(), emptied);
    visitor.get("/set_user/dora").await;
    visitor.get("/remove/n").await;
    site.heard.take();
    visitor.get("/set_user/nobody").await;
    let emptied = ["ended emptied of dora at 127.0.0.1"];
    assert_eq!(site.heard.take(), emptied);
    // So does a session whose last message is taken.
    visitor.get("/push/hello").await;
    visitor.get("/take").await;
    let emptied = ["created at 127.0.0.1", "ended emptied at 127.0.0.1"];
    assert_eq!(site.heard.take(), emptied);
}

async fn a_cookie_that_opens_nothing_is_heard_with_its_fault(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let visitor = site.visitor();
    visitor.set_cookie("id", "invented");
    visitor.get("/touch").await;
    let rejected = |fault| [format!("cookie_rejected {fault} at 127.0.0.1")];
    assert_eq!(site.heard.take(), rejected("undecryptable"));
    let visitor = site.logged_in("alice").await;
    let old = visitor.copy();
    // After a log-in, the old id reaches the session no longer.
    visitor.get("/login/alice").await;
    site.heard.take();
    old.get("/touch").await;
    assert_eq!(site.heard.take(), rejected("renewed"));
    let old = visitor.copy();
    visitor.get("/logout").await;
    site.heard.take();
    old.get("/touch").await;
    assert_eq!(site.heard.take(), rejected("unknown"));
    let visitor = site.logged_in("bob").await;
    site.end_all_of("bob").await;
    site.heard.take();
    visitor.get("/touch").await;
    assert_eq!(site.heard.take(), rejected("ended"));
    // A request without a guard of this crate reads no cookie.
    visitor.get("/bare").await;
    assert_eq!(site.heard.take(), [""; 0]);
}

async fn an_unreadable_record_is_heard(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let visitor = site.logged_in("alice").await;
    let id = site.ids().await[0];
    let store = site.sessions().store();
    let stored = store.load_session(&id).await.unwrap().unwrap();
    let save = Save {
        bytes: br#"{"rev":"9f86d081884c7d65","expires":99999999999,"v":2}"#,
        ttl: Duration::from_secs(600),
        precondition: Precondition::Revision(stored.revision),
    };
    store.save_session(&id, save).await.unwrap();
    visitor.get("/touch").await;
    let heard = site.heard.take();
    let expected = ["record_unreadable", "cookie_rejected unknown at 127.0.0.1"];
    assert_eq!(heard, expected);
}

async fn saves_that_meet_are_heard_as_a_conflict(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let visitor = site.visitor();
    visitor.get("/set/n/1").await;
    site.heard.take();
    let (slow, gate) = (visitor.copy(), site.gate("slow"));
    let meanwhile = async {
        gate.arrived().await;
        visitor.get("/add/a/1").await;
        assert_eq!(site.heard.take(), [""; 0]);
        gate.open();
    };
    join(slow.get("/add/a/1?gate=slow"), meanwhile).await;
    assert_eq!(site.heard.take(), ["conflict"]);
    assert_eq!(visitor.get("/get/a").await.body, "2");
}

async fn limits_that_are_reached_are_heard(backend: Backend) {
    let limits = r#"limits={size=1000},rate_limit={limit=3}"#;
    let site = Site::on(&backend, limits).await;
    let visitor = site.visitor();
    assert_eq!(visitor.get("/set_many/2/600").await.status.code, 500);
    assert_eq!(site.heard.take(), ["session_full at 127.0.0.1"]);
    visitor.get("/bare").await;
    visitor.get("/bare").await;
    assert_eq!(site.heard.take(), [""; 0]);
    assert_eq!(visitor.get("/bare").await.status.code, 429);
    assert_eq!(site.heard.take(), ["rate_limited app at 127.0.0.1"]);
}

async fn a_timeout_is_heard_and_named_while_the_store_keeps_the_session(backend: Backend) {
    let settings = "idle_timeout=600,absolute_timeout=1000,keep_expired=3600";
    let site = Site::on(&backend, settings).await;
    let (idle, thief) = (site.logged_in("alice").await, site.logged_in("bob").await);
    let anonymous = site.visitor();
    anonymous.get("/set/n/1").await;
    site.heard.take();
    site.clock.advance(Duration::from_secs(599));
    assert_eq!(thief.get("/why").await.body, "unknown bob");
    site.clock.advance(Duration::from_secs(401));
    assert_eq!(idle.get("/why").await.body, "idle_timeout ");
    assert_eq!(thief.get("/why").await.body, "absolute_timeout ");
    let expired = [
        "expired idle_timeout of alice at 127.0.0.1",
        "expired absolute_timeout of bob at 127.0.0.1",
    ];
    assert_eq!(site.heard.take(), expired);
    assert_eq!(site.ids().await.len(), 0);
    // The sessions are over: nothing counts or ends them, and their visitors begin new ones.
    assert_eq!(site.end_all_of("alice").await, 0);
    assert_eq!(idle.get("/set/n/1").await.status.code, 200);
    assert_eq!(idle.get("/keys").await.body, "n");
    assert_eq!(idle.get("/why").await.body, "unknown ");
    site.heard.take();
}

async fn a_visitor_whose_session_was_ended_learns_why_and_begins_a_new_one(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let (visitor, other) = (site.logged_in("alice").await, site.logged_in("bob").await);
    assert_eq!(visitor.get("/why").await.body, "unknown alice");
    let members = visitor.copy();
    assert_eq!(site.end_all_of("alice").await, 1);
    assert_eq!(site.heard.take(), ["ended ended_elsewhere of alice"]);
    let why = visitor.get("/why").await;
    assert_eq!(why.body, "ended_elsewhere ");
    assert_eq!(why.header("Cache-Control"), Some("private"));
    assert!(why.session_cookie().is_none(), "{why:?}");
    let page = members.get("/account").await;
    assert_eq!(page.status, Status::Unauthorized);
    assert_eq!(page.body, "signed out: Some(EndedElsewhere)");
    // The tombstone is no session.
    assert_eq!(site.ids().await.len(), 1);
    assert_eq!(site.end_all_of("alice").await, 0);
    // The visitor begins a new session at once, and the reason is gone with the old cookie.
    let log_in = visitor.get("/login/alice").await;
    assert_eq!(log_in.status, Status::Ok);
    assert!(log_in.sets_session());
    assert_eq!(visitor.get("/why").await.body, "unknown alice");
    assert_eq!(members.get("/set/n/1").await.status, Status::Ok);
    assert_eq!(members.get("/why").await.body, "unknown ");
    assert_eq!(other.get("/why").await.body, "unknown bob");
    // A log-out with the cookie of an ended session finds nothing.
    let left = site.logged_in("carol").await;
    site.end_all_of("carol").await;
    site.heard.take();
    assert!(!left.get("/logout").await.removes_session());
    assert_eq!(site.heard.take(), ["cookie_rejected ended at 127.0.0.1"]);
}

async fn a_client_with_a_token_learns_why_its_session_ended(backend: Backend) {
    let settings = r#"transport="header",idle_timeout=600,keep_expired=3600"#;
    let site = Site::on(&backend, settings).await;
    let client = site
        .visitor()
        .with("X-Auth-Token", "0123456789abcdef0123456789abcdef");
    client.get("/login/alice").await;
    let log_in = [
        "created of alice at 127.0.0.1",
        "logged_in of alice at 127.0.0.1",
    ];
    assert_eq!(site.heard.take(), log_in);
    assert_eq!(site.end_all_of("alice").await, 1);
    assert_eq!(client.get("/why").await.body, "ended_elsewhere ");
    assert_eq!(
        client.get("/account").await.body,
        "signed out: Some(EndedElsewhere)"
    );
    site.heard.take();
    // The token begins its next session in the place of the tombstone.
    client.get("/login/alice").await;
    assert_eq!(site.heard.take(), log_in);
    assert_eq!(client.get("/why").await.body, "unknown alice");
    client.get("/logout").await;
    assert_eq!(
        site.heard.take(),
        ["ended logged_out of alice at 127.0.0.1"]
    );
    assert_eq!(client.get("/why").await.body, "logged_out ");
    // A first visit is no fault, and two first visits at the same time begin one session.
    let first = site.visitor().with("X-Auth-Token", &"f".repeat(32));
    first.get("/touch").await;
    assert_eq!(site.heard.take(), [""; 0]);
    let (second, gate) = (first.copy(), site.gate("second"));
    let meanwhile = async {
        gate.arrived().await;
        first.get("/set/a/1").await;
        gate.open();
    };
    join(second.get("/set/b/1?gate=second"), meanwhile).await;
    assert_eq!(site.heard.take(), ["created at 127.0.0.1"]);
    assert_eq!(first.get("/keys").await.body, "a,b");
    // A session that timed out is replaced by the next one of its token.
    first.get("/login/bob").await;
    site.clock.advance(Duration::from_secs(600));
    assert_eq!(first.get("/why").await.body, "idle_timeout ");
    first.get("/set/c/1").await;
    assert_eq!(first.get("/keys").await.body, "c");
    assert_eq!(first.get("/why").await.body, "unknown ");
}

async fn the_copies_of_an_ended_session_learn_why(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let visitor = site.logged_in("alice").await;
    let (copy, gate) = (visitor.copy(), site.gate("copy"));
    let first = async {
        gate.arrived().await;
        visitor.get("/renew").await;
        gate.open();
    };
    join(copy.get("/stay?gate=copy"), first).await;
    assert_eq!(copy.get("/who").await.body, "alice", "there are two copies");
    assert_ne!(copy.cookie("id"), visitor.cookie("id"));
    let id = site.ids().await[0];
    assert!(site.sessions().end(&id).await.unwrap());
    for visitor in [&visitor, &copy] {
        assert_eq!(visitor.get("/why").await.body, "ended_elsewhere ");
    }
}

async fn a_request_in_flight_brings_no_session_back_that_was_ended_elsewhere(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let paths = [
        "/set/n/1",
        "/add/a/1",
        "/renew",
        "/login/alice",
        "/login/bob",
        "/logout",
    ];
    for path in paths {
        let visitor = site.logged_in("alice").await;
        let (slow, gate) = (visitor.copy(), site.gate(path));
        let end = async {
            gate.arrived().await;
            assert_eq!(site.end_all_of("alice").await, 1, "{path}");
            gate.open();
        };
        let path = format!("{path}?gate={path}");
        let (response, ()) = join(slow.get(&path), end).await;
        assert!(!response.sets_session(), "{path}: {response:?}");
        assert_eq!(site.ids().await.len(), 0, "{path}");
        assert_eq!(visitor.get("/why").await.body, "ended_elsewhere ", "{path}");
        let ended = site.heard.take();
        let ended = ended.iter().filter(|event| event.starts_with("ended"));
        assert_eq!(ended.count(), 1, "{path}");
    }
}

async fn ends_that_need_no_reason_leave_nothing_behind(backend: Backend) {
    let site = Site::on(&backend, "").await;
    let visitor = site.logged_in("alice").await;
    let copy = visitor.copy();
    visitor.get("/logout").await;
    assert_eq!(copy.get("/why").await.body, "unknown ");
    let anonymous = site.visitor();
    anonymous.get("/set/n/1").await;
    let id = site.ids().await[0];
    assert!(site.sessions().end(&id).await.unwrap());
    assert_eq!(anonymous.get("/why").await.body, "unknown ");
    assert_eq!(site.records().await, 0, "no tombstone stays");
}

#[async_test]
async fn a_reason_is_kept_for_the_idle_timeout_and_at_most_a_day() {
    for (idle, kept) in [(7200, 7200), (30, 60), (1_000_000, 86_400)] {
        let settings = format!("idle_timeout={idle}");
        let site = Site::on(&Backend::memory(), &settings).await;
        let visitor = site.logged_in("alice").await;
        site.end_all_of("alice").await;
        site.clock.advance(Duration::from_secs(kept - 1));
        assert_eq!(visitor.get("/why").await.body, "ended_elsewhere ");
        site.clock.advance(Duration::from_secs(1));
        assert_eq!(visitor.get("/why").await.body, "unknown ");
        assert_eq!(site.records().await, 0);
    }
}

#[async_test]
async fn without_keep_expired_a_timeout_has_no_name() {
    let site = Site::on(&Backend::memory(), "idle_timeout=600").await;
    let visitor = site.logged_in("alice").await;
    site.clock.advance(Duration::from_secs(600));
    assert_eq!(visitor.get("/why").await.body, "unknown ");
    assert_eq!(site.heard.take(), ["cookie_rejected unknown at 127.0.0.1"]);
    assert_eq!(site.records().await, 0);
}

#[async_test]
async fn reasons_take_no_room_from_sessions_in_memory() {
    let site = Site::on(&Backend::memory(), "memory={capacity=3}").await;
    for user in ["alice", "bob", "carol"] {
        site.logged_in(user).await;
    }
    for user in ["alice", "bob", "carol"] {
        assert_eq!(site.end_all_of(user).await, 1);
    }
    // The empty indexes of these users leave the store.
    site.clock.advance(Duration::from_secs(1));
    let again = site.logged_in("dora").await;
    assert_eq!(again.get("/who").await.body, "dora");
    for user in ["eve", "fred"] {
        let visitor = site.logged_in(user).await;
        assert_eq!(visitor.get("/who").await.body, user);
    }
    assert_eq!(site.visitor().get("/login/gus").await.status.code, 503);
    let swept = site.sessions().delete_old_sessions(u64::MAX).await;
    assert_eq!(swept.unwrap().remaining, 3);
}

#[async_test]
async fn old_tombstones_are_swept_with_old_sessions() {
    let backend = Backend::directory();
    let site = Site::on(&backend, "").await;
    site.logged_in("alice").await;
    site.end_all_of("alice").await;
    assert_eq!(site.records().await, 1);
    site.clock.advance(Duration::from_secs(3600));
    site.sessions().delete_old_sessions(60).await.unwrap();
    assert_eq!(site.records().await, 0);
}

#[async_test]
async fn a_store_that_fails_is_heard_and_what_it_refused_is_not() {
    let settings = |f: Figment| f.merge(("sessions.store_timeout", 50));
    let (site, probe) = Site::probed(settings).await;
    let visitor = site.logged_in("alice").await;
    // Sessions whose creation is uncertain are undone in the background, which fails as well.
    let all_failed = |act: &str| {
        let failed = site.heard.take();
        let expected = format!("store_failed {act}");
        let all_failed = failed
            .iter()
            .all(|event| event.starts_with("store_failed "));
        assert!(all_failed && failed.contains(&expected), "{failed:?}");
    };
    for fault in [Probe::fail, Probe::hang, Probe::panic] {
        fault(&probe, Act::Load);
        assert_eq!(visitor.get("/touch").await.status.code, 503);
        all_failed("load a session");
        probe.heal();
        fault(&probe, Act::Save);
        assert_eq!(site.visitor().get("/login/bob").await.status.code, 503);
        all_failed("save a session");
        probe.heal();
    }
    visitor.get("/touch").await;
    let calls = std::mem::take(&mut *site.heard.calls.lock());
    assert!(calls.iter().all(|call| call.store == "memory"));
    let hung = |call: &&StoreCall| call.failed && call.took >= Duration::from_millis(50);
    assert!(calls.iter().any(|call| hung(&call)), "{calls:?}");
    assert!(
        calls
            .iter()
            .any(|call| !call.failed && call.act == "load a session")
    );
}

#[async_test]
async fn a_log_out_that_is_sent_again_is_one_event() {
    let (site, probe) = Site::probed(|f| f).await;
    let visitor = site.logged_in("alice").await;
    probe.fail_afterwards(Act::Save);
    let again = visitor.copy();
    assert_eq!(visitor.get("/logout").await.status.code, 200);
    probe.heal();
    let ended = site.heard.take();
    let ended: Vec<_> = ended
        .iter()
        .filter(|event| event.starts_with("ended"))
        .collect();
    assert_eq!(ended, ["ended logged_out of alice at 127.0.0.1"]);
    // The tombstone that was thought lost is there.
    again.get("/logout").await;
    assert_eq!(site.heard.take(), ["cookie_rejected ended at 127.0.0.1"]);
}

#[async_test]
async fn a_failed_sweep_is_heard() {
    let (_, probe) = Site::probed(|f| f).await;
    probe.fail(Act::Sweep);
    let heard = Heard::default();
    let figment = figment().merge(("sessions.sweep_every", 1));
    let fairing = Sessions::with(probe).events(heard.clone());
    let client = Client::untracked(rocket::custom(figment).attach(fairing)).await;
    let client = client.expect("it launches");
    let hears = async {
        while heard.events.lock().is_empty() {
            rocket::tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let hears = rocket::tokio::time::timeout(Duration::from_secs(20), hears);
    hears.await.expect("the sweep fails within a second");
    assert_eq!(heard.take()[0], "store_failed delete old sessions");
    drop(client);
}

/// Panics at every event and every call.
struct Panics;

impl SessionEvents for Panics {
    fn on_event(&self, _: &SessionEvent<'_>) {
        panic!("a test demands it");
    }

    fn on_store_call(&self, _: &StoreCall) {
        panic!("a test demands it");
    }
}

#[async_test]
async fn a_listener_that_panics_breaks_no_request_and_all_listeners_hear() {
    let second = Heard::default();
    let copy = second.clone();
    let by_function = move |event: &SessionEvent<'_>| copy.on_event(event);
    let fairing = Sessions::with(MemoryStore::new()).events(Panics);
    let site = Site::of(fairing.events(by_function), figment()).await;
    let visitor = site.visitor();
    assert_eq!(visitor.get("/login/alice").await.status.code, 200);
    assert_eq!(visitor.get("/who").await.body, "alice");
    visitor.get("/logout").await;
    let heard = site.heard.take();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert_eq!(second.take(), heard);
    assert!(!log::lines_with("listener for the events of sessions panicked").is_empty());
}

#[async_test]
async fn nothing_that_a_listener_shows_opens_a_session() {
    let (site, probe) = Site::probed(|f| f).await;
    let visitor = site.visitor();
    let mut secrets = vec!["s3cr3t".to_owned()];
    for path in [
        "/set/s3cr3tkey/s3cr3tvalue",
        "/login/s3cr3tuser",
        "/renew",
        "/logout",
    ] {
        visitor.get(path).await;
        secrets.extend(visitor.cookie("id"));
        secrets.extend(site.ids().await.iter().map(SessionId::to_hex));
    }
    visitor.set_cookie("id", "s3cr3tcookie");
    visitor.get("/touch").await;
    probe.fail(Act::Load);
    site.logged_in("s3cr3tuser").await.get("/touch").await;
    let fairing = Sessions::fairing().events(site.heard.clone());
    let shown = format!(
        "{}{fairing:?}{}",
        site.heard.shown.lock(),
        site.heard.take().join("\n")
    );
    let shown = shown.replace("of s3cr3tuser", "");
    assert!(shown.contains("LoggedIn") && secrets.len() > 5, "{shown}");
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret}: {shown}");
    }
}
