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

/// How a field is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Time,
    Seconds,
    Secret,
}

/// The fields of a record in the order of the page. What stands inside another field has both names.
const FIELDS: [(&str, Kind, &str); 20] = [
    ("user", Kind::Text, "who is signed in"),
    ("login.at", Kind::Time, "when the user signed in"),
    ("login.agent", Kind::Text, "by which browser"),
    ("created", Kind::Time, "when the session began"),
    (
        "accessed",
        Kind::Time,
        "when it was last used, up to a minute late",
    ),
    (
        "expires",
        Kind::Time,
        "when it ends if nobody uses it until then",
    ),
    (
        "lifetime.idle",
        Kind::Seconds,
        "how long it lives without a request",
    ),
    (
        "lifetime.absolute",
        Kind::Seconds,
        "how long it lives in any case",
    ),
    (
        "lifetime.max_age",
        Kind::Seconds,
        "how long the browser keeps the cookie",
    ),
    ("address", Kind::Text, "where the first request came from"),
    (
        "values",
        Kind::Text,
        "a value that the application has put there",
    ),
    ("notifications", Kind::Text, "messages for the next page"),
    (
        "tokens",
        Kind::Secret,
        "the tokens of forms, each for one use",
    ),
    (
        "csrf",
        Kind::Secret,
        "the secret behind the tokens that no other site knows",
    ),
    ("id", Kind::Secret, "the name of the session in the store"),
    (
        "tag",
        Kind::Secret,
        "a random number that stays when the id changes",
    ),
    (
        "forked",
        Kind::Text,
        "whether there are copies, made by log-ins at the same time",
    ),
    (
        "listed",
        Kind::Time,
        "until when the list of the user's sessions has it",
    ),
    (
        "rev",
        Kind::Text,
        "a random number that changes with each save",
    ),
    ("v", Kind::Text, "the version of the format"),
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
    let record = record(session, sessions).await?;
    let rows = record.map(rows).unwrap_or_default();
    page(&ThisSession { frame, rows })
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

/// Returns the rows for a record, in the order of [`FIELDS`].
fn rows(record: Map<String, Value>) -> Vec<Row> {
    let mut rows: Vec<(usize, Row)> = record.into_iter().flat_map(parts).map(row).collect();
    rows.sort_by_key(|(place, _)| *place);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Takes a field apart that consists of others.
fn parts((name, value): (String, Value)) -> Vec<(String, Value)> {
    match value {
        Value::Object(parts) => {
            let parts = parts.into_iter();
            parts
                .map(|(part, value)| (format!("{name}.{part}"), value))
                .collect()
        }
        value => vec![(name, value)],
    }
}

/// Returns the row for a field, and its place. A field that this page does not know may be a secret.
fn row((name, value): (String, Value)) -> (usize, Row) {
    let is_value = name.starts_with("values.");
    let known = if is_value { "values" } else { name.as_str() };
    let place = FIELDS.iter().position(|(field, ..)| *field == known);
    let (kind, meaning) = match place {
        Some(_) if is_value && hints_at_a_secret(&name) => {
            (Kind::Secret, "a value with a telling name")
        }
        Some(place) => (FIELDS[place].1, FIELDS[place].2),
        None => (Kind::Secret, "a field of another version"),
    };
    let row = Row {
        value: match kind {
            Kind::Secret => mask(&value),
            Kind::Seconds => duration(&value),
            Kind::Text | Kind::Time => text(&value),
        },
        moment: value
            .as_i64()
            .filter(|_| kind == Kind::Time)
            .map(Moment::at),
        is_masked: kind == Kind::Secret,
        meaning,
        name,
    };
    (place.unwrap_or(FIELDS.len()), row)
}

fn hints_at_a_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRETS.iter().any(|part| name.contains(part))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns a number of seconds as people read it.
fn duration(value: &Value) -> String {
    match value.as_u64() {
        Some(seconds) if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        Some(seconds) => format!("{seconds} seconds"),
        None => text(value),
    }
}

/// Returns dots in the place of each secret.
fn mask(value: &Value) -> String {
    const DOTS: &str = "••••••••";
    match value {
        Value::Array(secrets) if secrets.len() > 1 => format!("{} × {DOTS}", secrets.len()),
        _ => DOTS.to_owned(),
    }
}
