//! Reads a record from the JSON document that stores keep.

use serde::de::DeserializeOwned;

use super::document::Document;
use super::{Record, VERSION};
use crate::values::{Entry, Values};

/// The fields of a record. The first ones are required.
const FIELDS: [&str; 15] = [
    "rev",
    "expires",
    "v",
    "created",
    "accessed",
    "id",
    "user",
    "address",
    "tag",
    "forked",
    "values",
    "notifications",
    "tokens",
    "csrf",
    "parting",
];
const REQUIRED: usize = 5;

/// The number of values for which there is room at first.
const VALUES: usize = 16;

impl Record {
    /// Parses `json`. Returns `None` if it is not a record.
    ///
    /// The values stay in the text, and only their places are noted.
    pub(super) fn read(json: String) -> Option<Self> {
        let mut record = Self::new(0, None);
        let mut values = Vec::new();
        let mut seen = [false; FIELDS.len()];
        let mut document = Document::new(&json);
        document.object(|document, name| {
            let name = document.string(&name)?;
            let known = FIELDS.iter().position(|field| *field == name);
            // No store writes a field twice.
            if known.is_some_and(|known| std::mem::replace(&mut seen[known], true)) {
                return None;
            }
            if name == "values" {
                values = read_values(document)?;
                return Some(());
            }
            let place = document.value()?;
            let value = document.text(&place);
            match &*name {
                "rev" => record.rev = u64::from_str_radix(&document.string(&place)?, 16).ok()?,
                "expires" => record.expires = field(value)?,
                "v" => _ = field(value).filter(|version: &u8| *version == VERSION)?,
                "created" => record.created = field(value)?,
                "accessed" => record.accessed = field(value)?,
                "id" => record.id = Some(document.string(&place)?.parse().ok()?),
                "user" => record.user = field(value)?,
                "address" => record.address = field(value)?,
                "tag" => record.tag = field(value)?,
                "forked" => record.forked = field(value)?,
                "notifications" => record.notifications = serde_json::from_str(value).ok()?,
                "tokens" => record.tokens = field(value)?,
                "csrf" => record.csrf = field(value)?,
                "parting" => record.tombstone = serde_json::from_str(value).ok()?,
                _ => record.unknown.push(name.into_owned(), value)?,
            }
            Some(())
        })?;
        if !document.is_at_end() || seen[..REQUIRED].contains(&false) {
            return None;
        }
        record.values = Values::in_text(json, values);
        Some(record)
    }
}

/// Reads an object, and returns the places of its names and values.
fn read_values(document: &mut Document<'_>) -> Option<Vec<Entry>> {
    let mut values = Vec::with_capacity(VALUES);
    document.object(|document, name| {
        let value = document.value()?;
        values.push(Entry { name, value });
        Some(())
    })?;
    Some(values)
}

fn field<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}
