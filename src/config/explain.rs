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
