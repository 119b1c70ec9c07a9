//! A notification carries data of any type, and can be taken by its level.

use rocket::futures::future::{join, join_all};
use rocket::http::Status;
use rocket::{Build, Rocket, State, async_test, get, routes};
use rocket_session_kit::store::SessionStore;
use rocket_session_kit::{ErrorKind, Level, Notification, Notifications, Notify, Result};
use serde::{Deserialize, Serialize};

use crate::support::{App, Gates, log};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    number: u64,
    items: Vec<String>,
}

#[get("/push/<queue>/<text>/<number>")]
fn push(queue: &str, text: &str, number: u64, notes: Notifications<'_>) -> Result<()> {
    let items = vec!["\"é\"".to_owned()];
    notes.push_with(queue, text, Order { number, items })
}

/// Pushes a message without data, unless an identical one waits.
#[get("/once/<text>")]
fn once(text: &str, notes: Notifications<'_>) -> Result<String> {
    Ok(notes.push_once("info", text)?.to_string())
}

#[get("/plain/<queue>/<text>")]
fn plain(queue: &str, text: &str, notes: Notifications<'_>) -> Result<()> {
    notes.push(queue, text)
}

#[get("/take?<gate>")]
async fn take(
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    shown(&notes.take_all().await?)
}

fn shown(notes: &[Notification]) -> Result<String> {
    let shown = notes.iter().map(|note| {
        let order: Option<Order> = note.data()?;
        let number = order.map_or("-".into(), |order| order.number.to_string());
        Ok(format!("{}:{note}:{number}", note.queue()))
    });
    Ok(shown.collect::<Result<Vec<_>>>()?.join(","))
}

#[get("/severe/<level>?<gate>")]
async fn severe(
    level: &str,
    gate: Option<&str>,
    notes: Notifications<'_>,
    gates: &State<Gates>,
) -> Result<String> {
    gates.wait(gate).await;
    let level = match level {
        "info" => Level::Info,
        "success" => Level::Success,
        "warning" => Level::Warning,
        _ => Level::Error,
    };
    let taken = notes.take_at_least(level).await?;
    assert!(taken.iter().all(|note| note.level() >= Some(level)));
    shown(&taken)
}

#[get("/peek")]
fn peek(notes: Notifications<'_>) -> Result<String> {
    shown(&notes.peek())
}

#[get("/template")]
async fn template(notes: Notifications<'_>) -> Result<String> {
    let notes = notes.take_all().await?;
    Ok(serde_json::to_string(&notes).expect("it has a form in JSON"))
}

/// Reads the data of the oldest message, as the right type or as another.
#[get("/oldest/<right>")]
fn oldest(right: bool, note: Notification) -> String {
    match right {
        true => note.data::<Order>().unwrap().unwrap().number.to_string(),
        false => {
            let error = note.data::<String>().expect_err("it is another type");
            assert_eq!(error.kind(), ErrorKind::Value);
            assert_eq!(note.level(), Some(Level::Info));
            error.to_string()
        }
    }
}

#[get("/oldest_without")]
fn oldest_without(note: Notification) -> String {
    format!("{:?}", note.data::<u8>().unwrap())
}

#[get("/notify")]
fn notify() -> Notify<&'static str> {
    Notify::warning("sent", "Look").with_data(None::<u8>)
}

#[get("/null")]
fn null(note: Notification) -> String {
    format!("{:?}", note.data::<Option<u8>>().unwrap())
}

/// A map without a form in JSON.
#[get("/unwritable?<by_guard>")]
fn unwritable(by_guard: bool, notes: Notifications<'_>) -> Result<Notify<&'static str>> {
    let map = std::collections::HashMap::from([((1, 2), 3)]);
    if by_guard {
        notes.push_with("info", "a", &map)?;
    }
    Ok(Notify::info("sent", "a").with_data(map))
}

#[get("/large/<text>/<data>")]
fn large(text: usize, data: usize, notes: Notifications<'_>) -> Result<()> {
    notes.push_with("info", "x".repeat(text), "y".repeat(data))
}

fn with_routes(rocket: Rocket<Build>) -> Rocket<Build> {
    rocket.mount(
        "/note",
        routes![
            push,
            once,
            plain,
            take,
            severe,
            peek,
            template,
            oldest,
            oldest_without,
            notify,
            null,
            unwritable,
            large
        ],
    )
}

async fn app() -> App {
    App::built(|f| f, with_routes).await
}

#[async_test]
async fn data_is_returned_with_its_message_to_exactly_one_of_many_requests() {
    App::on_every_store(with_routes, |app| async move {
        let visitor = app.known_visitor().await;
        visitor.get("/note/push/success/Thanks/4711").await;
        visitor.get("/note/plain/info/Hello").await;
        let waiting = "success:Thanks:4711,info:Hello:-";
        assert_eq!(visitor.get("/note/peek").await.body, waiting);
        let gate = app.gate("take");
        let requests = (0..10).map(|_| async {
            let copy = visitor.copy();
            copy.get("/note/take?gate=take").await.body
        });
        let all_loaded = async {
            for _ in 0..10 {
                gate.arrived().await;
            }
            gate.open_for_all();
        };
        let (mut taken, ()) = join(join_all(requests), all_loaded).await;
        taken.retain(|body| !body.is_empty());
        assert_eq!(taken, [waiting]);
        // Data survives a log-in with its message.
        visitor.get("/note/push/info/Again/1").await;
        visitor.get("/login/alice").await;
        assert_eq!(visitor.get("/note/take").await.body, "info:Again:1");
    })
    .await;
}

#[async_test]
async fn messages_are_taken_by_level_each_by_exactly_one_request() {
    App::on_every_store(with_routes, |app| async move {
        let visitor = app.known_visitor().await;
        for queue in ["error", "cart", "info", "warning", "success", "Error"] {
            visitor.get(&format!("/note/push/{queue}/a/1")).await;
        }
        let gates = [app.gate("error"), app.gate("warning")];
        let both = async {
            for gate in &gates {
                gate.arrived().await;
            }
            gates.iter().for_each(|gate| gate.open_for_all());
        };
        let [one, other] = [visitor.copy(), visitor.copy()];
        let requests = join(
            one.get("/note/severe/error?gate=error"),
            other.get("/note/severe/warning?gate=warning"),
        );
        let ((errors, problems), ()) = join(requests, both).await;
        let mut taken = vec![errors.body, problems.body];
        taken.retain(|body| !body.is_empty());
        taken.sort();
        let split = taken == ["error:a:1", "warning:a:1"];
        assert!(split || taken == ["error:a:1,warning:a:1"], "{taken:?}");
        let rest = "cart:a:1,info:a:1,success:a:1,Error:a:1";
        assert_eq!(visitor.get("/note/peek").await.body, rest);
        assert_eq!(
            visitor.get("/note/severe/success").await.body,
            "success:a:1"
        );
        assert_eq!(visitor.get("/note/severe/info").await.body, "info:a:1");
        assert_eq!(visitor.get("/note/take").await.body, "cart:a:1,Error:a:1");
    })
    .await;
}

#[async_test]
async fn a_take_by_level_is_one_save_and_none_if_there_is_no_message() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    visitor.get("/note/plain/info/a").await;
    app.probe.calls();
    assert_eq!(visitor.get("/note/severe/warning").await.body, "");
    assert_eq!(app.probe.calls().tuple(), (1, 0, 0, 0));
    for queue in ["error", "success", "warning"] {
        visitor.get(&format!("/note/plain/{queue}/b")).await;
    }
    app.probe.calls();
    let problems = visitor.get("/note/severe/warning").await.body;
    assert_eq!(problems, "error:b:-,warning:b:-");
    assert_eq!(app.probe.calls().tuple(), (1, 1, 0, 0));
}

#[async_test]
async fn the_record_holds_data_as_a_field_that_older_versions_preserve() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    visitor.get("/note/plain/info/one").await;
    visitor.get("/note/notify").await;
    let id = app.list().await[0].0;
    let stored = app.probe.load_session(&id).await.unwrap().unwrap();
    let stored = String::from_utf8(stored.bytes).unwrap();
    assert!(
        stored.contains(r#""queue":"info","value":"one"},"#),
        "{stored}"
    );
    assert!(
        stored.contains(r#""queue":"warning","value":"Look","data":null}]"#),
        "{stored}"
    );
    // A newer version adds a field, and this one preserves it beside the data.
    let newer = stored.replace(r#""data":null"#, r#""data":[1.50],"icon":"!""#);
    let revision = app.probe.load_session(&id).await.unwrap().unwrap().revision;
    let save = rocket_session_kit::store::Save {
        bytes: newer.as_bytes(),
        ttl: std::time::Duration::from_secs(60),
        precondition: rocket_session_kit::store::Precondition::Revision(revision),
    };
    app.probe.save_session(&id, save).await.unwrap();
    visitor.get("/note/severe/error").await;
    visitor.get("/set/b/1").await;
    let stored = app.probe.load_session(&id).await.unwrap().unwrap();
    let stored = String::from_utf8(stored.bytes).unwrap();
    assert!(stored.contains(r#""data":[1.50],"icon":"!""#), "{stored}");
}

#[async_test]
async fn data_of_another_type_is_an_error_and_leaves_the_message_unread() {
    let app = app().await;
    let visitor = app.known_visitor().await;
    visitor.get("/note/push/info/s3cr3t/4711").await;
    let text = visitor.get("/note/oldest/false").await.body;
    assert!(!text.contains("4711") && !text.contains("s3cr3t"), "{text}");
    // Reading the data counts as reading the message.
    assert_eq!(visitor.get("/note/oldest/true").await.body, "4711");
    assert_eq!(visitor.get("/note/peek").await.body, "");
    // A message without data is not read by asking for it.
    visitor.get("/note/plain/info/a").await;
    assert_eq!(visitor.get("/note/oldest_without").await.body, "None");
    assert_eq!(visitor.get("/note/peek").await.body, "info:a:-");
    assert!(log::lines_with("s3cr3t").is_empty());
}

#[async_test]
async fn null_is_data_too() {
    let app = app().await;
    let visitor = app.visitor();
    assert_eq!(visitor.get("/note/notify").await.body, "sent");
    assert_eq!(visitor.get("/note/null").await.body, "Some(None)");
    assert_eq!(visitor.get("/note/peek").await.body, "");
}

#[async_test]
async fn a_template_sees_the_data() {
    let app = app().await;
    let visitor = app.visitor();
    visitor.get("/note/push/info/a/1").await;
    visitor.get("/note/plain/info/b").await;
    let page = visitor.get("/note/template").await.body;
    let data = r#"{"number":1,"items":["\"é\""]}"#;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let expected = serde_json::json!([
        {"queue": "info", "message": "a", "data": data}, {"queue": "info", "message": "b"}
    ]);
    assert_eq!(page, expected);
}

#[async_test]
async fn messages_with_other_data_are_no_duplicates() {
    let app = app().await;
    let visitor = app.visitor();
    visitor.get("/note/push/info/a/1").await;
    assert_eq!(visitor.get("/note/once/a").await.body, "true");
    assert_eq!(visitor.get("/note/once/a").await.body, "false");
    assert_eq!(visitor.get("/note/take").await.body, "info:a:1,info:a:-");
}

#[async_test]
async fn the_limits_count_the_data() {
    let app = app().await;
    let visitor = app.visitor();
    // With the queue, and the quotes of two texts.
    let most = 65_536 - "info".len() - 4 - 10;
    let path = format!("/note/large/10/{}", most + 1);
    assert_eq!(visitor.get(&path).await.status, Status::InternalServerError);
    let path = format!("/note/large/10/{most}");
    assert_eq!(visitor.get(&path).await.status, Status::Ok);
    // The next one replaces it.
    assert_eq!(visitor.get("/note/plain/info/a").await.status, Status::Ok);
    assert_eq!(visitor.get("/note/take").await.body, "info:a:-");
}

#[async_test]
async fn data_that_cannot_be_written_is_an_error() {
    let app = app().await;
    let visitor = app.visitor();
    for path in ["/note/unwritable?by_guard=true", "/note/unwritable"] {
        let response = visitor.get(path).await;
        assert_eq!(response.status, Status::InternalServerError, "{path}");
        assert!(!visitor.has_session(), "{path}");
    }
}
