//! An end reaches its session, although others renew it meanwhile or the store is full.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rocket::async_test;
use rocket::futures::future::{Either, join, select};
use rocket::futures::stream::{self, BoxStream};
use rocket::futures::{TryFutureExt, TryStreamExt};
use rocket::tokio::task::yield_now;
use rocket_session_kit::store::{Revision, Save, Saved, SessionStore, Stored, Swept};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{MemoryStore, Result, SessionId};

use crate::support::{App, Visitor};

rocket::tokio::task_local! {
    /// Set in the task of an end whose loads wait at the gate.
    static STEPWISE: Gate;
}

/// A store in which an end goes step by step: a list waits at a gate once it is made, and the loads of
/// an end wait at theirs.
#[derive(Default)]
pub(crate) struct Stepwise {
    store: MemoryStore,
    listed: Arc<Mutex<Option<Gate>>>,
}

#[rocket::async_trait]
impl SessionStore for Stepwise {
    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        if let Ok(gate) = STEPWISE.try_with(Gate::clone) {
            gate.pass().await;
        }
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
            let all: Vec<_> = self.store.iter_sessions().try_collect().await?;
            let gate = self.listed.lock().unwrap().clone();
            if let Some(gate) = gate {
                gate.pass().await;
            }
            Ok(stream::iter(all.into_iter().map(Ok)))
        };
        Box::pin(list.try_flatten_stream())
    }
}

/// Returns after each other task has had its turn many times.
async fn many_turns() {
    for _ in 0..1000 {
        yield_now().await;
    }
}

#[async_test]
async fn an_end_catches_up_with_a_session_that_is_renewed_before_each_of_its_steps() {
    let app = App::on(Stepwise::default(), |figment| figment).await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let (id, _) = app.list().await.remove(0);
    let steps = Gate::new();
    let end = STEPWISE.scope(steps.clone(), app.sessions().end(&id));
    let renewals = async {
        for _ in 0..50 {
            steps.arrived().await;
            match select(pin!(visitor.get("/renew")), pin!(many_turns())).await {
                Either::Left((renewed, _)) => {
                    assert!(renewed.sets_session());
                    steps.open();
                }
                // The renewal waits for the end.
                Either::Right(((), renewal)) => {
                    steps.open_for_all();
                    assert!(!renewal.await.sets_session());
                    return;
                }
            }
        }
        panic!("the session stays a step ahead of its end");
    };
    let (ended, ()) = join(end, renewals).await;
    assert!(ended.unwrap());
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn end_all_of_a_user_ends_sessions_that_log_in_during_the_listing() {
    let store = Stepwise::default();
    let listed = Arc::clone(&store.listed);
    let app = App::on(store, |figment| figment).await;
    let (here, late) = (app.known_visitor().await, app.known_visitor().await);
    here.get("/login/alice").await;
    let gate = Gate::new();
    *listed.lock().unwrap() = Some(gate.clone());
    let log_in = async {
        gate.arrived().await;
        assert!(late.get("/login/alice").await.sets_session());
        gate.open_for_all();
    };
    let (ended, ()) = join(app.sessions().end_all_of("alice", None), log_in).await;
    assert_eq!(ended.unwrap(), 2);
    for visitor in [&here, &late] {
        assert_eq!(visitor.get("/who").await.body, "nobody");
    }
    assert!(app.list().await.is_empty());
}

#[async_test]
async fn a_log_out_from_a_full_store_follows_a_session_that_was_renewed_meanwhile() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            let old = visitor.copy();
            let log_out = app.held_at("logout", old.get("/logout?gate=logout"), async {
                assert!(visitor.get("/renew").await.sets_session());
                app.probe.fail(Act::Save);
            });
            let response = log_out.await;
            app.probe.heal();
            assert_eq!(response.status.code, 200);
            assert_eq!(visitor.get("/who").await.body, "nobody");
            assert!(app.list().await.is_empty());
        },
    )
    .await;
}

#[async_test]
async fn a_request_that_extends_its_session_sees_a_log_out_that_came_first() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            let thief = visitor.copy();
            // One second before the end of its idle timeout.
            app.clock.advance(Duration::from_secs(86_399));
            let extension = app.probe.gate(Act::Save);
            let log_out = async {
                extension.arrived().await;
                app.probe.gate(Act::Save).open_for_all();
                assert!(visitor.get("/logout").await.removes_session());
                extension.open();
            };
            let (response, ()) = join(thief.get("/who"), log_out).await;
            assert_eq!(response.body, "nobody");
            assert!(response.session_cookie().is_none());
            assert!(app.list().await.is_empty());
        },
    )
    .await;
}

#[async_test]
async fn a_renewal_does_not_survive_a_log_out_from_a_full_store() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let visitor = app.known_visitor().await;
            visitor.get("/login/alice").await;
            let renewing = visitor.copy();
            let renewal = app.probe.gate(Act::Save);
            let log_out = async {
                // The copy is made, and the tombstone at the old id is about to be.
                renewal.arrived().await;
                renewal.open();
                renewal.arrived().await;
                app.probe.gate(Act::Save).open_for_all();
                app.probe.fail(Act::Save);
                assert!(visitor.get("/logout").await.removes_session());
                app.probe.heal();
                renewal.open();
            };
            let (response, ()) = join(renewing.get("/renew"), log_out).await;
            assert!(response.session_cookie().is_none(), "{response:?}");
            assert_eq!(renewing.get("/who").await.body, "nobody");
            assert!(app.list().await.is_empty());
        },
    )
    .await;
}

/// Returns two visitors with copies of Alice's session, which concurrent log-ins made.
async fn copies(app: &App) -> [Visitor<'_>; 2] {
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let thief = visitor.copy();
    let gate = app.gate("copies");
    let both = async {
        gate.arrived().await;
        gate.arrived().await;
        gate.open_for_all();
    };
    let renewals = join(
        visitor.get("/login/alice?gate=copies"),
        thief.get("/login/alice?gate=copies"),
    );
    join(renewals, both).await;
    assert_eq!(app.list().await.len(), 2);
    [visitor, thief]
}

#[async_test]
async fn a_log_out_from_a_full_store_ends_its_own_copy_and_reports_the_others() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let [visitor, thief] = copies(&app).await;
            app.probe.fail(Act::Save);
            assert_eq!(visitor.get("/logout").await.status.code, 503);
            app.probe.heal();
            assert_eq!(visitor.get("/who").await.body, "nobody");
            assert_eq!(thief.get("/who").await.body, "alice", "it is a copy");
            assert_eq!(app.list().await.len(), 1);
        },
    )
    .await;
}

#[async_test]
async fn end_all_of_a_user_ends_copies_in_a_full_store() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            let copies = copies(&app).await;
            app.probe.fail(Act::Save);
            let ended = app.sessions().end_all_of("alice", None).await;
            app.probe.heal();
            assert_eq!(ended.unwrap(), 2);
            for visitor in copies {
                assert_eq!(visitor.get("/who").await.body, "nobody");
            }
            assert!(app.list().await.is_empty());
        },
    )
    .await;
}
