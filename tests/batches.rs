//! Requests that wait for another save of their session are saved together, and each counts once.

use std::pin::{Pin, pin};

use rocket::async_test;
use rocket::futures::future::{join_all, poll_immediate};
use rocket_session_kit::testing::{Act, Gate};

use crate::support::{Answer, App, Visitor};

type Request<'a> = Pin<Box<dyn Future<Output = Answer> + 'a>>;

/// A request that met a conflict, and repeats its save at a gate.
struct Contended<'a> {
    leader: Request<'a>,
    saves: Gate,
}

/// Lets a request of `visitor` meet a conflict, and stops it before it saves again.
async fn contend<'a>(app: &'a App, visitor: &'a Visitor<'_>) -> Contended<'a> {
    let mut leader: Request<'_> = Box::pin(visitor.get("/add/count/1?gate=leader"));
    assert!(poll_immediate(&mut leader).await.is_none(), "it waits");
    app.gate("leader").arrived().await;
    assert_eq!(visitor.get("/add/count/1").await.status.code, 200);
    let saves = app.probe.gate(Act::Save);
    app.gate("leader").open();
    assert!(poll_immediate(&mut leader).await.is_none(), "it saves");
    saves.arrived().await;
    // Its first save meets the conflict. The next one waits.
    saves.open();
    assert!(
        poll_immediate(&mut leader).await.is_none(),
        "it saves again"
    );
    saves.arrived().await;
    app.probe.calls();
    Contended { leader, saves }
}

/// Sends `paths` at once, until each request waits for the leader.
async fn wait_behind<'a>(visitor: &'a Visitor<'_>, paths: &[&'a str]) -> Vec<Request<'a>> {
    let mut requests = Vec::new();
    for path in paths {
        let mut request: Request<'_> = Box::pin(visitor.get(path));
        assert!(poll_immediate(&mut request).await.is_none(), "{path} waits");
        requests.push(request);
    }
    requests
}

/// Opens the gate, and returns the statuses of the leader and of the others.
async fn finish(contended: Contended<'_>, others: Vec<Request<'_>>) -> Vec<u16> {
    contended.saves.open_for_all();
    let all = std::iter::once(contended.leader).chain(others);
    let answers = join_all(all).await;
    answers.iter().map(|answer| answer.status.code).collect()
}

#[async_test]
async fn requests_that_wait_for_a_save_are_saved_together() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 20]).await;
    assert_eq!(app.probe.calls().save, 0, "they wait");
    assert_eq!(finish(contended, others).await, [200; 21]);
    let calls = app.probe.calls();
    assert_eq!((calls.load, calls.save), (0, 1), "all twenty in one save");
    assert_eq!(visitor.get("/get/count").await.body, "22");
}

#[async_test]
async fn different_changes_in_one_batch_are_all_kept() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    visitor.get("/set/old/1").await;
    let contended = contend(&app, &visitor).await;
    let paths = [
        "/set/a/1",
        "/append/text/x",
        "/remove/old",
        "/append/text/y",
        "/set_user/ann",
    ];
    let others = wait_behind(&visitor, &paths).await;
    assert_eq!(finish(contended, others).await, [200; 6]);
    assert_eq!(visitor.get("/get/a").await.body, "\"1\"");
    assert_eq!(visitor.get("/get/text").await.body, r#"["x","y"]"#);
    assert_eq!(visitor.get("/get/old").await.body, "none");
    assert_eq!(visitor.get("/get/count").await.body, "2");
    assert_eq!(visitor.get("/who").await.body, "ann");
}

#[async_test]
async fn a_change_that_fails_does_not_spoil_its_batch() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let mut others = wait_behind(&visitor, &["/set/n/text"]).await;
    // There is no value yet where the request looks, and a text in the batch.
    assert_eq!(visitor.get("/add/n/1").await.status.code, 500);
    others.extend(wait_behind(&visitor, &["/add/new/6"]).await);
    assert_eq!(finish(contended, others).await, [200; 3]);
    assert_eq!(visitor.get("/get/new").await.body, "6");
    assert_eq!(visitor.get("/get/n").await.body, "\"text\"");
}

#[async_test]
async fn a_batch_without_its_first_request_is_saved_all_the_same() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let mut others = wait_behind(
        &visitor,
        &["/add/count/100", "/add/count/1", "/add/count/1"],
    )
    .await;
    drop(others.remove(0));
    others.extend(wait_behind(&visitor, &["/add/count/1"]).await);
    assert_eq!(finish(contended, others).await, [200; 4]);
    assert_eq!(visitor.get("/get/count").await.body, "5");
}

#[async_test]
async fn a_batch_behind_a_cancelled_request_is_saved_all_the_same() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let Contended { leader, saves } = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 3]).await;
    drop(leader);
    saves.open_for_all();
    let answers = join_all(others).await;
    assert!(
        answers.iter().all(|answer| answer.status.code == 200),
        "{answers:?}"
    );
    assert_eq!(visitor.get("/get/count").await.body, "4");
}

#[async_test]
async fn a_cancelled_save_of_a_batch_counts_nothing_twice() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let Contended { mut leader, saves } = contend(&app, &visitor).await;
    let mut others = wait_behind(&visitor, &["/add/count/1"; 3]).await;
    saves.open();
    assert_eq!((&mut leader).await.status.code, 200);
    // The first of the three leads now, and is cancelled while it saves.
    let mut first = others.remove(0);
    assert!(poll_immediate(&mut first).await.is_none());
    saves.arrived().await;
    drop(first);
    saves.open_for_all();
    let answers = join_all(others).await;
    let kept = answers.iter().filter(|answer| answer.status.code == 200);
    let expected = 2 + kept.count();
    assert!(
        answers
            .iter()
            .all(|answer| [200, 503].contains(&answer.status.code))
    );
    assert_eq!(visitor.get("/get/count").await.body, expected.to_string());
}

#[async_test]
async fn a_batch_fails_with_the_store_and_leaves_nothing() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 3]).await;
    app.probe.fail(Act::Save);
    assert_eq!(finish(contended, others).await, [503; 4]);
    assert!(
        app.probe.calls().save <= 2,
        "no request waits for the store again"
    );
    app.probe.heal();
    assert_eq!(visitor.get("/get/count").await.body, "1");
    assert_eq!(visitor.get("/add/count/1").await.body, "2");
}

#[async_test]
async fn a_batch_that_meets_another_hosts_save_is_made_again() {
    let app = App::launch().await;
    let elsewhere = app.again(|figment| figment).await;
    let visitor = app.known_visitor().await;
    let other = visitor.copy_to(&elsewhere);
    let Contended { mut leader, saves } = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 5]).await;
    saves.open();
    assert_eq!((&mut leader).await.status.code, 200);
    let mut others = pin!(join_all(others));
    assert!(
        poll_immediate(&mut others).await.is_none(),
        "the batch is about to be saved"
    );
    saves.arrived().await;
    app.probe.gate(Act::Save).open_for_all();
    assert_eq!(other.get("/add/count/100").await.status.code, 200);
    saves.open_for_all();
    let answers = others.await;
    assert!(
        answers.iter().all(|answer| answer.status.code == 200),
        "{answers:?}"
    );
    assert_eq!(visitor.get("/get/count").await.body, "107");
}

#[async_test]
async fn a_batch_brings_no_ended_session_back() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 3]).await;
    let elsewhere = app.again(|figment| figment).await;
    let (id, _) = app.list().await.remove(0);
    app.probe.gate(Act::Save).open_for_all();
    assert!(
        elsewhere
            .sessions()
            .end(&id)
            .await
            .expect("the store works")
    );
    finish(contended, others).await;
    app.holds(0).await;
    assert_eq!(visitor.get("/get/count").await.body, "none");
}
