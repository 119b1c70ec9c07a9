//! Figment's errors as one sentence, with the key and its origin and without the value.

use rocket::figment;
use rocket::figment::error::{Actual, Kind};

use super::TABLE;
use crate::error::Error;

/// Returns `error` as one about a key of `Rocket.toml`: its whole name, and the file or variable
/// that sets it.
pub(super) fn explain(mut error: figment::Error) -> Error {
    // `Figment::focus` cuts the table's name off.
    error.path.insert(0, TABLE.into());
    of_key(&error)
}

/// Returns `error` as one about a key outside of the table.
#[cfg(feature = "cli")]
pub(crate) fn of_rocket(error: &figment::Error) -> Error {
    of_key(error)
}

pub(super) fn of_key(error: &figment::Error) -> Error {
    let key = error.path.join(".");
    let place = match &error.metadata {
        Some(metadata) => match &metadata.source {
            Some(source) => format!("{key} in {source}"),
            None => format!("{key} in {}", metadata.name),
        },
        None => key,
    };
    Error::config(&place, problem(&error.kind))
}

/// Returns `error` as one about a file that cannot be read as TOML.
#[cfg(feature = "cli")]
pub(crate) fn of_file(error: &figment::Error) -> Error {
    let source = error
        .metadata
        .as_ref()
        .and_then(|from| from.source.as_ref());
    let place = source.map_or_else(|| "Rocket.toml".to_owned(), ToString::to_string);
    // The other lines show the text of the file.
    let text = error.kind.to_string();
    let first = text.lines().next().unwrap_or_default();
    let at = first.strip_prefix("TOML parse error at ");
    let at = at.map_or(String::new(), |at| format!(" at {at}"));
    Error::config(&place, format!("it is not TOML{at}; correct the line"))
}

/// Describes the problem without the value, which may be a secret.
fn problem(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("expected {expected}, found {}", type_of(found))
        }
        Kind::UnknownField(_, known) => format!("{kind}; the keys are {}", known.join(", ")),
        other => other.to_string(),
    }
}

/// Returns the name of a value's type in TOML.
pub(super) fn type_of(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) => "an integer",
        Actual::Float(_) => "a float",
        Actual::Char(_) | Actual::Str(_) => "a string",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "something else",
    }
}
