//! Requests that wait for another save of their session are saved together, and each counts once.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use rocket::futures::future::{join_all, poll_immediate};
use rocket::tokio::runtime::Handle;
use rocket::tokio::task::block_in_place;
use rocket::{State, async_test, get, routes};
use rocket_session_kit::testing::{Act, Gate};
use rocket_session_kit::{Notifications, Result, Session};

use crate::support::{App, Gates, Response, Visitor};

type Request<'a> = Pin<Box<dyn Future<Output = Response> + 'a>>;

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
    let responses = join_all(all).await;
    responses
        .iter()
        .map(|response| response.status.code)
        .collect()
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
async fn of_requests_that_meet_one_conflict_only_one_reads_again() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let mut late = wait_behind(&visitor, &["/add/count/1?gate=late"; 5]).await;
    assert_eq!(visitor.get("/add/count/1").await.status.code, 200);
    let saves = app.probe.gate(Act::Save);
    app.gate("late").open_for_all();
    for request in &mut late {
        assert!(poll_immediate(request).await.is_none(), "it saves");
    }
    app.probe.calls();
    for request in &mut late {
        saves.open();
        assert!(poll_immediate(request).await.is_none(), "it saves again");
    }
    saves.open_for_all();
    let answers = join_all(late).await;
    assert!(answers.iter().all(|answer| answer.status.code == 200));
    let calls = app.probe.calls();
    assert_eq!(
        (calls.load, calls.save),
        (1, 2),
        "its own, and one for all others"
    );
    assert_eq!(visitor.get("/get/count").await.body, "6");
}

/// A function for `Session::update` that waits when it runs for the second time, in a batch.
struct SlowFunction {
    runs: AtomicUsize,
    barrier: Barrier,
}

#[get("/slow")]
fn slow(session: &Session, function: &State<Arc<SlowFunction>>) -> Result<()> {
    let function = Arc::clone(function);
    session.update("count", move |count: &mut u32| {
        if function.runs.fetch_add(1, Ordering::SeqCst) == 1 {
            function.barrier.wait();
            function.barrier.wait();
        }
        *count += 1;
    })?;
    Ok(())
}

#[async_test]
async fn a_slow_function_in_a_batch_delays_no_other_session() {
    let function = Arc::new(SlowFunction {
        runs: AtomicUsize::new(0),
        barrier: Barrier::new(2),
    });
    let managed = Arc::clone(&function);
    let app = App::built(
        |f| f,
        |rocket| rocket.manage(managed).mount("/", routes![slow]),
    )
    .await;
    let (visitor, other) = (app.known_visitor().await, app.known_visitor().await);
    let contended = contend(&app, &visitor).await;
    let runtime = Handle::current();
    let other_was_served = block_in_place(|| {
        thread::scope(|threads| {
            let (served, is_served) = mpsc::channel();
            let slow = threads.spawn(|| runtime.block_on(visitor.get("/slow")));
            function.barrier.wait();
            contended.saves.open_for_all();
            let (runtime, other) = (&runtime, &other);
            threads.spawn(move || {
                let answer = runtime.block_on(other.get("/add/count/1"));
                let _ = served.send(answer.status.code == 200);
            });
            let other_was_served = is_served.recv_timeout(Duration::from_secs(20));
            function.barrier.wait();
            runtime.block_on(contended.leader);
            assert_eq!(slow.join().unwrap().status.code, 200);
            other_was_served
        })
    });
    assert_eq!(other_was_served, Ok(true));
    assert_eq!(visitor.get("/get/count").await.body, "3");
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
    // There is no value yet when the request reads it, and a text in the batch.
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
    let responses = join_all(others).await;
    assert!(
        responses.iter().all(|response| response.status.code == 200),
        "{responses:?}"
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
    let statuses = join_all(others).await;
    let unknown = statuses.iter().all(|response| response.status.code == 503);
    assert!(unknown, "the save may still arrive: {statuses:?}");
    assert_eq!(visitor.get("/get/count").await.body, "2");
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
    let responses = others.await;
    assert!(
        responses.iter().all(|response| response.status.code == 200),
        "{responses:?}"
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

#[async_test]
async fn a_batch_behind_a_leader_that_meets_a_conflict_is_made_again() {
    let app = App::launch().await;
    let elsewhere = app.again(|figment| figment).await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 5]).await;
    app.probe.gate(Act::Save).open_for_all();
    let other = visitor.copy_to(&elsewhere);
    assert_eq!(other.get("/add/count/100").await.status.code, 200);
    assert_eq!(finish(contended, others).await, [200; 6]);
    assert_eq!(visitor.get("/get/count").await.body, "107");
}

/// Lets the leader finish, and holds the batch before it is saved.
async fn stop_the_batch<'a>(contended: Contended<'a>, others: Vec<Request<'a>>) -> Stopped<'a> {
    let Contended { mut leader, saves } = contended;
    saves.open();
    assert_eq!((&mut leader).await.status.code, 200);
    let mut others: Stopped<'_> = Box::pin(join_all(others));
    assert!(poll_immediate(&mut others).await.is_none());
    saves.arrived().await;
    saves.open_for_all();
    others
}

type Stopped<'a> = Pin<Box<dyn Future<Output = Vec<Response>> + 'a>>;

#[async_test]
async fn a_batch_whose_response_is_lost_counts_once() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 3]).await;
    let others = stop_the_batch(contended, others).await;
    app.probe.fail_afterwards(Act::Save);
    let responses = others.await;
    app.probe.heal();
    assert!(
        responses.iter().all(|response| response.status.code == 503),
        "{responses:?}"
    );
    assert_eq!(
        visitor.get("/get/count").await.body,
        "5",
        "the store has it"
    );
}

#[async_test]
async fn a_batch_that_the_driver_sends_twice_counts_once() {
    let app = App::launch().await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add/count/1"; 3]).await;
    let others = stop_the_batch(contended, others).await;
    // The second response reports that another save came first.
    app.probe.repeat_next_save();
    let responses = others.await;
    assert!(
        responses.iter().all(|response| response.status.code == 200),
        "{responses:?}"
    );
    assert_eq!(visitor.get("/get/count").await.body, "5");
}

/// Counts and calls `save()`, waits, and leaves the uncertain change to the final save.
#[get("/add_and_save?<gate>")]
async fn add_and_save(gate: &str, session: &Session, gates: &State<Gates>) -> Result<()> {
    session.increment("count", 1)?;
    let _ = session.save().await;
    gates.wait(Some(gate)).await;
    Ok(())
}

#[async_test]
async fn a_save_that_may_have_been_in_a_batch_counts_once() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![add_and_save])).await;
    let visitor = app.known_visitor().await;
    let contended = contend(&app, &visitor).await;
    let others = wait_behind(&visitor, &["/add_and_save?gate=saved"]).await;
    let mut others = stop_the_batch(contended, others).await;
    app.probe.fail_afterwards(Act::Save);
    assert!(poll_immediate(&mut others).await.is_none());
    app.gate("saved").arrived().await;
    app.probe.heal();
    app.gate("saved").open();
    assert_eq!(others.await[0].status.code, 200);
    assert_eq!(visitor.get("/get/count").await.body, "3");
}

#[async_test]
async fn a_request_with_a_save_in_doubt_joins_no_batch() {
    let app = App::built(|f| f, |rocket| rocket.mount("/", routes![add_and_save])).await;
    let visitor = app.known_visitor().await;
    app.probe.fail_afterwards(Act::Save);
    let mut in_doubt: Request<'_> = Box::pin(visitor.get("/add_and_save?gate=doubt"));
    assert!(poll_immediate(&mut in_doubt).await.is_none());
    app.gate("doubt").arrived().await;
    app.probe.heal();
    let contended = contend(&app, &visitor).await;
    app.gate("doubt").open();
    app.probe.gate(Act::Save).open_for_all();
    let response = in_doubt.await;
    assert_eq!(
        response.status.code, 503,
        "others saved since, and nothing is sent again"
    );
    assert_eq!(finish(contended, Vec::new()).await, [200]);
    assert_eq!(visitor.get("/get/count").await.body, "3");
}

#[async_test]
async fn changes_for_an_ended_session_do_not_join_the_next_one_under_its_token() {
    let app = App::configured(|f| f.merge(("sessions.transport", "header"))).await;
    let token = "0123456789abcdef0123456789abcdef";
    let client = app.visitor().with("X-Auth-Token", token);
    assert_eq!(client.get("/add/count/1").await.status.code, 200);
    let mut old: Request<'_> = Box::pin(client.get("/set/old/1?gate=old"));
    assert!(poll_immediate(&mut old).await.is_none());
    app.gate("old").arrived().await;
    assert_eq!(client.get("/logout").await.status.code, 200);
    assert_eq!(client.get("/add/count/1").await.body, "1", "a new session");
    let contended = contend(&app, &client).await;
    app.gate("old").open();
    let waits = poll_immediate(&mut old).await.is_none();
    let others = if waits { vec![old] } else { Vec::new() };
    finish(contended, others).await;
    assert_eq!(client.get("/keys").await.body, "count");
}

/// Takes all messages.
#[get("/take")]
async fn take(notes: Notifications<'_>) -> Result<String> {
    Ok(notes.take_all().await?.len().to_string())
}

#[get("/notify")]
fn notify(notes: Notifications<'_>) -> Result<()> {
    notes.info("hello")
}

#[async_test]
async fn a_message_taken_in_a_batch_reaches_exactly_one_reader() {
    for leader_is_cancelled in [false, true] {
        let app = App::built(|f| f, |rocket| rocket.mount("/", routes![take, notify])).await;
        let visitor = app.known_visitor().await;
        visitor.get("/notify").await;
        let Contended { leader, saves } = contend(&app, &visitor).await;
        let mut readers = wait_behind(&visitor, &["/take", "/take", "/take"]).await;
        if leader_is_cancelled {
            drop(leader);
        } else {
            readers.push(leader);
        }
        saves.open_for_all();
        let responses = join_all(readers).await;
        let taken = responses[..3]
            .iter()
            .filter(|response| response.body == "1");
        assert_eq!(taken.count(), 1, "{responses:?}");
        assert_eq!(visitor.get("/take").await.body, "0");
    }
}
