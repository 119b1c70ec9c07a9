//! A session gets a new id whenever its visitor gains privileges, and loses no data.

use rocket::futures::future::join;
use rocket::{State, async_test, get, routes};
use rocket_session_kit::testing::Act;
use rocket_session_kit::{Result, Session};

use crate::support::{App, Gates};

/// Removes the user, loads the session again, and waits.
#[get("/leave_and_reload")]
async fn leave_and_reload(session: &Session, gates: &State<Gates>) -> Result<String> {
    session.set_user(None);
    let goes_on = session.reload().await?;
    gates.wait(Some("slow")).await;
    Ok(goes_on.to_string())
}

#[async_test]
async fn logging_in_keeps_the_values_and_drops_the_old_id() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let thief = visitor.copy();
    let before = visitor.cookie("id");
    let response = visitor.get("/login/alice").await;
    assert!(response.sets_session());
    assert_ne!(visitor.cookie("id"), before);
    assert_eq!(visitor.get("/who").await.body, "alice");
    assert_eq!(visitor.get("/get/n").await.body, "\"0\"");

    let response = thief.get("/who").await;
    assert_eq!(response.body, "nobody");
    assert!(
        response.session_cookie().is_none(),
        "the visitor's new cookie must not be taken away"
    );
    assert_eq!(thief.get("/existing").await.status.code, 404);
    assert_eq!(app.list().await.len(), 1);
}

#[async_test]
async fn a_log_in_without_a_session_begins_a_session() {
    let app = App::launch().await;
    let visitor = app.visitor();
    assert!(visitor.get("/login/alice").await.sets_session());
    assert_eq!(visitor.get("/who").await.body, "alice");
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
}

#[async_test]
async fn a_log_in_shows_nothing_of_the_previous_user() {
    let app = App::launch().await;
    let visitor = app.visitor();
    visitor.get("/login/alice").await;
    visitor.get("/set/secret/hers").await;
    let hers = visitor.cookie("id");
    visitor.get("/login/bob").await;
    assert_ne!(visitor.cookie("id"), hers);
    assert_eq!(visitor.get("/keys").await.body, "");
    visitor.get("/set/own/his").await;
    visitor.get("/login/bob").await;
    assert_eq!(
        visitor.get("/keys").await.body,
        "own",
        "the same user again keeps what is theirs"
    );
}

#[async_test]
async fn an_update_in_flight_during_a_renewal_is_not_lost() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let slow = visitor.copy();
    let response = app
        .held_at("slow", slow.get("/add/count/5?gate=slow"), async {
            visitor.get("/login/alice").await;
        })
        .await;
    assert_eq!(response.status.code, 200);
    // A client with the old id may be somebody else, and does not learn the new id.
    assert!(response.session_cookie().is_none());
    assert_eq!(slow.get("/who").await.body, "nobody");
    assert_eq!(visitor.get("/get/count").await.body, "5");
    assert_eq!(visitor.get("/who").await.body, "alice");
}

#[async_test]
async fn an_update_is_carried_over_several_renewals() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let slow = visitor.copy();
    app.held_at("slow", slow.get("/add/count/5?gate=slow"), async {
        visitor.get("/renew").await;
        visitor.get("/renew").await;
        visitor.get("/login/alice").await;
    })
    .await;
    assert_eq!(visitor.get("/get/count").await.body, "5");
}

#[async_test]
async fn an_update_between_a_renewals_steps_is_not_lost() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let (renewing, saves) = (visitor.copy(), app.probe.gate(Act::Save));
    let renewal = async { renewing.get("/login/alice").await };
    let meddling = async {
        // The new session is about to be created. It is, and the request stops before the old one is replaced.
        saves.arrived().await;
        saves.open();
        saves.arrived().await;
        let writer = visitor.get("/add/count/5");
        let let_it = async {
            saves.arrived().await;
            saves.open_for_all();
        };
        let (response, ()) = join(writer, let_it).await;
        assert_eq!(response.status.code, 200);
    };
    join(renewal, meddling).await;
    assert_eq!(renewing.get("/get/count").await.body, "5");
    assert_eq!(renewing.get("/who").await.body, "alice");
    assert_eq!(app.list().await.len(), 1);
}

#[async_test]
async fn a_request_with_the_old_cookie_is_asked_to_retry() {
    // It was sent before the browser had the response to the log-in.
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let straggler = visitor.copy();
    visitor.get("/login/alice").await;
    let response = straggler.get("/add/count/1").await;
    assert_eq!(response.status.code, 503);
    assert_eq!(response.header("Retry-After"), Some("5"));
    assert!(
        response.session_cookie().is_none(),
        "a new session would log the visitor out"
    );
    assert_eq!(straggler.get("/get/count").await.body, "none");
    assert_eq!(app.list().await.len(), 1);
}

#[async_test]
async fn two_concurrent_log_ins_both_succeed() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let slow = visitor.copy();
    let response = app
        .held_at("slow", slow.get("/login/alice?gate=slow"), async {
            visitor.get("/login/alice").await;
        })
        .await;
    assert!(response.sets_session());
    for visitor in [&visitor, &slow] {
        assert_eq!(visitor.get("/who").await.body, "alice");
        assert_eq!(visitor.get("/get/n").await.body, "\"0\"");
    }
    // And a third renewal, with a slightly older cookie.
    let late = visitor.copy();
    visitor.get("/renew").await;
    assert!(late.get("/login/alice").await.sets_session());
    assert_eq!(late.get("/who").await.body, "alice");
}

#[async_test]
async fn a_user_set_during_a_renewal_does_not_reach_the_renewed_session() {
    // An attacker who knew the id before the log-in must not become the session's user after it.
    for attack in ["/login/mallory", "/set_user/mallory"] {
        let app = App::launch().await;
        let visitor = app.known_visitor().await;
        let attacker = visitor.copy();
        let attack = format!("{attack}?gate=slow");
        app.held_at("slow", attacker.get(&attack), async {
            visitor.get("/login/alice").await;
        })
        .await;
        assert_eq!(visitor.get("/who").await.body, "alice");
    }
}

#[async_test]
async fn an_old_id_is_forgotten_after_a_minute() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let (id, _) = app.list().await.remove(0);
    visitor.get("/renew").await;
    assert!(app.sessions().store().has_session(&id).await.unwrap());
    app.clock.advance(std::time::Duration::from_secs(61));
    assert!(!app.sessions().store().has_session(&id).await.unwrap());
    assert_eq!(visitor.get("/keys").await.body, "n");
}

#[async_test]
async fn a_renewal_that_fails_leaves_the_session_as_it_was() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    app.probe.fail(Act::Save);
    let response = visitor.get("/login/alice").await;
    assert_eq!(response.status.code, 503);
    assert!(response.session_cookie().is_none());
    app.probe.heal();
    assert_eq!(visitor.get("/who").await.body, "nobody");
    assert_eq!(visitor.get("/keys").await.body, "n");
}

#[async_test]
async fn an_existing_session_is_never_overwritten_by_a_renewal() {
    let app = App::launch().await;
    let visitor = app.visitor();
    app.probe
        .stub_next_save(rocket_session_kit::store::Saved::Changed);
    assert!(
        visitor.get("/set/a/1").await.sets_session(),
        "another id does it"
    );
    for _ in 0..3 {
        app.probe
            .stub_next_save(rocket_session_kit::store::Saved::Changed);
    }
    let response = app.visitor().get("/set/a/1").await;
    assert_eq!(response.status.code, 503);
    assert!(response.session_cookie().is_none());
}

#[async_test]
async fn a_removed_user_stays_removed_during_renewals() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            for renewal in ["/renew", "/renew?gate=late"] {
                let visitor = app.known_visitor().await;
                visitor.get("/login/alice").await;
                let slow = visitor.copy();
                app.held_at("slow", slow.get("/set_user/nobody?gate=slow"), async {
                    app.gate("late").open();
                    visitor.get(renewal).await;
                })
                .await;
                assert_eq!(visitor.get("/who").await.body, "nobody", "{renewal}");
                assert_eq!(visitor.get("/get/n").await.body, "\"0\"", "{renewal}");
            }
        },
    )
    .await;
}

#[async_test]
async fn a_renewal_under_way_logs_no_removed_user_in_again() {
    App::on_every_store(
        |rocket| rocket,
        async |app| {
            for copied in [false, true] {
                let visitor = app.known_visitor().await;
                visitor.get("/login/alice").await;
                let renewing = visitor.copy();
                let saves = app.probe.gate(Act::Save);
                let removal = async {
                    saves.arrived().await;
                    if copied {
                        // Only the tombstone is missing.
                        saves.open();
                        saves.arrived().await;
                    }
                    app.probe.gate(Act::Save).open_for_all();
                    assert_eq!(visitor.get("/set_user/nobody").await.status.code, 200);
                    saves.open();
                };
                let (response, ()) = join(renewing.get("/renew"), removal).await;
                assert!(response.sets_session(), "{response:?}");
                assert_eq!(renewing.get("/who").await.body, "nobody");
                assert_eq!(renewing.get("/get/n").await.body, "\"0\"");
            }
        },
    )
    .await;
}

#[async_test]
async fn a_user_removed_during_a_log_in_does_not_log_out_the_next_user() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let slow = visitor.copy();
    app.held_at("slow", slow.get("/set_user/nobody?gate=slow"), async {
        visitor.get("/login/bob").await;
    })
    .await;
    assert_eq!(visitor.get("/who").await.body, "bob");
}

#[async_test]
async fn a_user_removed_before_a_reload_does_not_log_out_the_next_user() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![leave_and_reload])).await;
    for (next, user) in [("bob", "bob"), ("alice", "nobody")] {
        let visitor = app.known_visitor().await;
        visitor.get("/login/alice").await;
        let slow = visitor.copy();
        let response = app
            .held_at("slow", slow.get("/leave_and_reload"), async {
                visitor.get(&format!("/login/{next}")).await;
            })
            .await;
        assert_eq!(response.body, "true");
        assert_eq!(visitor.get("/who").await.body, user);
    }
}

#[async_test]
async fn a_concurrent_change_is_kept_when_the_user_is_removed() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/login/alice").await;
    let slow = visitor.copy();
    app.held_at("slow", slow.get("/add/count/5?gate=slow"), async {
        visitor.get("/renew").await;
        visitor.get("/set_user/nobody").await;
    })
    .await;
    assert_eq!(visitor.get("/get/count").await.body, "5");
}
