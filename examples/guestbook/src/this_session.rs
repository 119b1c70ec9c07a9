//! The page that shows the record of the visitor's own session, with its secrets masked.

use askama::Template;
use rocket::get;
use rocket_session_kit::{Session, Sessions};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::layout::{Frame, Layout};
use crate::moment::Moment;
use crate::page::{Page, page};

/// Parts of the names of values that are not shown.
const SECRETS: [&str; 7] = [
    "password",
    "secret",
    "token",
    "key",
    "csrf",
    "credential",
    "code",
];

#[derive(Template)]
#[template(path = "this_session.html")]
struct ThisSession {
    frame: Frame,
    rows: Vec<Row>,
}

/// One field of the record.
struct Row {
    name: String,
    value: String,
    moment: Option<Moment>,
    meaning: &'static str,
    is_masked: bool,
}

#[get("/session")]
pub async fn show(session: &Session, sessions: &Sessions, layout: Layout<'_>) -> Result<Page> {
    let frame = layout.frame().await?;
    page(&ThisSession {
        rows: record(session, sessions)
            .await?
            .iter()
            .flat_map(rows)
            .collect(),
        frame,
    })
}

/// Returns the record of the session as the store keeps it: a JSON document. A visitor without a
/// session has none.
async fn record(session: &Session, sessions: &Sessions) -> Result<Option<Map<String, Value>>> {
    let Some(id) = session.id().filter(|_| !session.is_new()) else {
        return Ok(None);
    };
    let stored = sessions.store().load_session(&id).await?;
    Ok(stored.and_then(|stored| serde_json::from_slice(&stored.bytes).ok()))
}

/// Returns the rows for a record: one for each field, and one for each of its values.
fn rows(record: &Map<String, Value>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (field, value) in record {
        match value {
            Value::Object(values) if field == "values" => {
                rows.extend(values.iter().map(|(name, value)| value_row(name, value)));
            }
            value => rows.push(field_row(field, value)),
        }
    }
    rows
}

fn field_row(field: &str, value: &Value) -> Row {
    let (meaning, is_secret) = meaning(field);
    let is_time = matches!(field, "created" | "accessed" | "expires" | "listed");
    Row {
        name: field.to_owned(),
        value: if is_secret { mask(value) } else { text(value) },
        moment: value.as_i64().filter(|_| is_time).map(Moment::at),
        meaning,
        is_masked: is_secret,
    }
}

fn value_row(name: &str, value: &Value) -> Row {
    let is_secret = SECRETS
        .iter()
        .any(|part| name.to_lowercase().contains(part));
    Row {
        name: format!("values: {name}"),
        value: if is_secret { mask(value) } else { text(value) },
        moment: None,
        meaning: "a value that the application has put into the session",
        is_masked: is_secret,
    }
}

/// Returns what a field of the record is for, and whether it is a secret.
fn meaning(field: &str) -> (&'static str, bool) {
    match field {
        "rev" => ("changes with every save", false),
        "expires" => ("the store forgets the session then", false),
        "v" => ("the version of the format", false),
        "id" => (
            "the secret name of the session, which the cookie holds encrypted",
            true,
        ),
        "created" => ("when the session began", false),
        "accessed" => ("when it was last used, up to a minute late", false),
        "user" => ("who is signed in", false),
        "login" => ("when and by which browser the user signed in", false),
        "lifetime" => (
            "timeouts of this session alone, such as “remember me”",
            false,
        ),
        "listed" => ("until when the index of the user's sessions has it", false),
        "address" => ("where the first request came from", false),
        "tag" => ("stays the same when the id changes", true),
        "notifications" => ("messages for the next page", false),
        "tokens" => ("tokens of forms that are sent once", true),
        "csrf" => ("the secret of the tokens in forms", true),
        _ => ("", false),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns dots in the place of each secret.
fn mask(value: &Value) -> String {
    const DOTS: &str = "••••••••";
    match value {
        Value::Array(secrets) if secrets.len() != 1 => format!("{} × {DOTS}", secrets.len()),
        _ => DOTS.to_owned(),
    }
}
