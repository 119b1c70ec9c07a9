//! The common parts of the tests of servers: sessions that are saved without an application, and promises
//! that their stores keep.

use std::time::Duration;

use rocket::figment::Figment;
use rocket::tokio;
use rocket_session_kit::store::{
    KeyValue, Namespace, Precondition, Revision, Save, Saved, SessionStore,
};
use rocket_session_kit::testing::Gate;
use rocket_session_kit::{ErrorKind, SessionId};

use super::App;
use super::proxy::Proxy;

/// The longest time for a request of these tests: the limit of one call, and a lot for a slow machine.
pub(crate) const SOON: Duration = Duration::from_secs(8);

/// The time that a test waits for an event.
pub(crate) const PATIENT: Duration = Duration::from_secs(30);

pub(crate) fn brief(figment: Figment) -> Figment {
    figment.merge(("sessions.store_timeout", 400))
}

/// A session's bytes with `owner` in them.
pub(crate) fn session(owner: &str) -> Vec<u8> {
    filled_session(owner, 0)
}

/// The same, longer by this many bytes.
pub(crate) fn filled_session(owner: &str, filling: usize) -> Vec<u8> {
    let rev = SessionId::random().to_hex();
    let filling = "x".repeat(filling);
    format!(
        r#"{{"rev":"{}","expires":99999999999,"v":1,"created":1,"accessed":99999999999,"values":{{"owner":"{owner}","filling":"{filling}"}}}}"#,
        &rev[..16]
    )
    .into_bytes()
}

pub(crate) fn save(bytes: &[u8], precondition: Precondition) -> Save<'_> {
    Save {
        bytes,
        ttl: Duration::from_secs(60),
        precondition,
    }
}

/// Creates a session that lives for an hour.
pub(crate) async fn create(store: &impl SessionStore, owner: &str) -> SessionId {
    let id = SessionId::random();
    let save = Save {
        bytes: &session(owner),
        ttl: Duration::from_secs(3600),
        precondition: Precondition::Absent,
    };
    let saved = store.save_session(&id, save).await;
    assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
    id
}

/// Makes changes of every kind to sessions, and to entries of `store` with a lifetime.
pub(crate) async fn write_everything(app: &App, store: &impl KeyValue) {
    let visitor = app.known_visitor().await;
    for path in [
        "/login/alice",
        "/add/a/1",
        "/renew",
        "/clear",
        "/logout",
        "/set/a/1",
    ] {
        visitor.get(path).await;
    }
    let namespace = Namespace::new("test").unwrap();
    let [set, new, swap] = ["set", "new", "swap"].map(|key| namespace.key(key));
    let minute = Some(Duration::from_secs(60));
    store.set(&set, b"1", minute).await.unwrap();
    store.increment(&set, 1, None).await.unwrap();
    store.increment(&new, 1, minute).await.unwrap();
    store.swap(&swap, None, b"1", minute).await.unwrap();
    store.swap(&swap, Some(b"1"), b"2", minute).await.unwrap();
}

/// A store still works when the runtime in which it was first used is gone.
pub(crate) fn works_in_a_second_runtime(store: &(impl SessionStore + KeyValue)) {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().build().unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let id = first.block_on(create(store, "alice"));
    assert!(second.block_on(store.has_session(&id)).unwrap());
    drop(first);
    assert!(second.block_on(store.load_session(&id)).unwrap().is_some());
    drop(second);
    let last = runtime();
    assert!(last.block_on(store.delete_session(&id)).unwrap());
    let key = Namespace::new("test").unwrap().key("count");
    assert_eq!(last.block_on(store.increment(&key, 1, None)).unwrap(), 1);
    drop(last);
    assert_eq!(
        runtime().block_on(store.increment(&key, 1, None)).unwrap(),
        2
    );
}

/// The response to an abandoned call reaches no other call of `store`, which is behind `proxy`.
pub(crate) async fn keeps_responses_apart(store: &impl SessionStore, proxy: &Proxy) {
    let mut owners = Vec::new();
    for owner in ["alice", "bob", "carol"] {
        owners.push((owner, create(store, owner).await));
    }
    proxy.delay(Duration::from_millis(2));
    for round in 0..1000 {
        let (owner, id) = &owners[round % 3];
        let (_, other) = &owners[(round + 1) % 3];
        // Abandoned at every moment between the command and its response.
        let given_up = Duration::from_micros(round as u64 * 4);
        let _ = tokio::time::timeout(given_up, store.load_session(other)).await;
        let loaded = store.load_session(id).await.unwrap().expect("it is there");
        let text = String::from_utf8(loaded.bytes).unwrap();
        assert!(text.contains(owner), "{owner} got {text}");
    }
}

/// A sweep by `sweeping`, which waits at `deletions` before it deletes, spares sessions that were saved
/// after it listed them.
pub(crate) async fn spares_a_session_saved_meanwhile(
    sweeping: &impl SessionStore,
    direct: &impl SessionStore,
    deletions: Gate,
) {
    let id = create(direct, "old").await;
    let saves = async {
        deletions.arrived().await;
        let there = direct.load_session(&id).await.unwrap();
        let precondition = Precondition::Revision(there.expect("it is there").revision);
        let bytes = session("saved meanwhile");
        let saved = direct.save_session(&id, save(&bytes, precondition)).await;
        assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
        deletions.open_for_all();
    };
    // No session is younger than that.
    let (swept, ()) = tokio::join!(sweeping.delete_old_sessions(0), saves);
    let swept = swept.unwrap();
    assert_eq!((swept.deleted, swept.remaining), (0, 1));
    assert!(direct.has_session(&id).await.unwrap());
}

/// `loss` loses a save of the session by `store`, and waits until `store` is at `gate` to find out its
/// outcome. `direct` then saves the session: the first save is an error, and is not repeated.
pub(crate) async fn reports_a_lost_save_followed_by_another(
    store: &impl SessionStore,
    direct: &impl SessionStore,
    (id, revision): (SessionId, Revision),
    arrived: bool,
    gate: &Gate,
    loss: impl Future<Output = ()>,
) {
    let (ours, theirs) = (session("ours"), session("theirs"));
    let other = async {
        loss.await;
        let there = direct.load_session(&id).await.unwrap();
        let there = there.expect("it is there");
        assert_eq!(there.bytes == ours, arrived);
        let precondition = Precondition::Revision(there.revision);
        let saved = direct.save_session(&id, save(&theirs, precondition)).await;
        assert!(matches!(saved, Ok(Saved::Saved(_))), "{saved:?}");
        gate.open_for_all();
    };
    let precondition = Precondition::Revision(revision);
    let both = async { tokio::join!(store.save_session(&id, save(&ours, precondition)), other) };
    let both = tokio::time::timeout(PATIENT, both).await;
    let (saved, ()) = both.expect("a lost save is looked for");
    let error = saved.expect_err("the outcome of the save is unknown");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let there = direct.load_session(&id).await.unwrap();
    let there = there.expect("it is there");
    assert!(there.bytes == theirs, "the other's save was overwritten");
}
