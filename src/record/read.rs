//! Reads a record from the JSON document that stores keep.

use serde::de::DeserializeOwned;

use super::document::Document;
use super::{Record, VERSION};
use crate::end_reason::EndReason;
use crate::values::{Entry, Values};

/// The fields of a record, in the order in which they are written.
const FIELDS: [&str; 20] = [
    "rev",
    "expires",
    "v",
    "id",
    "created",
    "accessed",
    "user",
    "login",
    "lifetime",
    "listed",
    "address",
    "tag",
    "forked",
    "values",
    "notifications",
    "tokens",
    "csrf",
    "parting",
    "grace",
    "ended",
];
const REQUIRED: [&str; 5] = ["rev", "expires", "v", "created", "accessed"];

/// The number of values for which there is room at first.
const VALUES: usize = 16;

impl Record {
    /// Parses `json`. Returns `None` if it is not a record.
    ///
    /// The values stay in the text, and only their places are noted.
    pub(super) fn read(json: String) -> Option<Self> {
        let mut record = Self::new(0, None);
        let mut values = Places::default();
        let mut seen = Seen::default();
        let mut document = Document::new(&json);
        document.object(|document, name| {
            let name = document.string(&name)?;
            seen.note(&name)?;
            if name == "values" {
                values = Places::read(document)?;
                return Some(());
            }
            let token = document.value()?;
            let value = document.text(&token);
            match &*name {
                "rev" => record.rev = u64::from_str_radix(&document.string(&token)?, 16).ok()?,
                "expires" => record.expires = number(value)?,
                "v" => _ = number(value).filter(|version| *version == u64::from(VERSION))?,
                "created" => record.created = number(value)?,
                "accessed" => record.accessed = number(value)?,
                "id" => record.id = Some(document.string(&token)?.parse().ok()?),
                "user" | "login" | "lifetime" | "address" | "tag" if value == "null" => {}
                "user" => record.user = Some(document.string(&token)?.into_owned()),
                "login" => record.log_in = field(value)?,
                "lifetime" => record.lifetime = field(value)?,
                "listed" => record.listed = number(value)?,
                "address" => record.address = Some(document.string(&token)?.parse().ok()?),
                "tag" => record.tag = Some(number(value)?),
                "forked" => record.forked = field(value)?,
                "notifications" => record.notifications = serde_json::from_str(value).ok()?,
                "tokens" => record.tokens = field(value)?,
                "csrf" => record.csrf = field(value)?,
                "parting" => record.tombstone = serde_json::from_str(value).ok()?,
                "grace" => record.grace = field(value)?,
                // A newer version may know more reasons.
                "ended" => {
                    record.ended = document
                        .string(&token)
                        .and_then(|name| EndReason::named(&name))
                }
                _ => record.unknown.push(name.into_owned(), value)?,
            }
            Some(())
        })?;
        if !document.is_at_end() || !seen.has_required() {
            return None;
        }
        record.values = Values::in_text(json, values.entries, values.escaped);
        Some(record)
    }
}

/// The places of the values in the document, and the names that are escaped there, each with the
/// number of its value.
#[derive(Default)]
struct Places {
    entries: Vec<Entry>,
    escaped: Vec<(usize, String)>,
}

impl Places {
    fn read(document: &mut Document<'_>) -> Option<Self> {
        let mut places = Self {
            entries: Vec::with_capacity(VALUES),
            ..Self::default()
        };
        document.object(|document, name| {
            if !name.is_plain {
                let unescaped = document.string(&name)?.into_owned();
                places.escaped.push((places.entries.len(), unescaped));
            }
            places.entries.push(Entry {
                name: name.place.start + 1..name.place.end - 1,
                value: document.value()?.place,
            });
            Some(())
        })?;
        Some(places)
    }
}

/// The known fields that were read.
#[derive(Default)]
struct Seen {
    fields: [bool; FIELDS.len()],
    /// The field that comes next in the usual order.
    next: usize,
}

impl Seen {
    /// Notes the field `name`. Returns `None` if it was read before: no store writes a field twice.
    fn note(&mut self, name: &str) -> Option<()> {
        let places = (self.next..FIELDS.len()).chain(0..self.next);
        let Some(at) = places.into_iter().find(|at| FIELDS[*at] == name) else {
            return Some(());
        };
        self.next = at + 1;
        (!std::mem::replace(&mut self.fields[at], true)).then_some(())
    }

    fn has_required(&self) -> bool {
        let mut fields = FIELDS.iter().zip(self.fields);
        fields.all(|(field, seen)| seen || !REQUIRED.contains(field))
    }
}

fn number(json: &str) -> Option<u64> {
    json.parse().ok()
}

fn field<T: DeserializeOwned>(json: &str) -> Option<T> {
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_with_a_reason_of_a_newer_version_is_a_tombstone() {
        let required = r#""rev":"1","expires":1,"v":1,"created":1,"accessed":1,"parting":"ended""#;
        for (reason, known) in [
            (r#","ended":"displaced""#, Some(EndReason::Displaced)),
            (r#","ended":"forgotten""#, None),
            (r#","ended":{"by":"somebody"}"#, None),
            ("", None),
        ] {
            let record = Record::read(format!("{{{required}{reason}}}"));
            let record = record.expect("it is a record");
            assert!(record.tombstone.is_some() && record.ended == known);
        }
    }

    #[test]
    fn a_field_that_is_null_is_as_if_missing() {
        let required = r#""rev":"1","expires":1,"v":1,"created":1,"accessed":1"#;
        let read = |more: &str| Record::read(format!("{{{required}{more}}}"));
        let record = read(r#","user":null,"address":null,"tag":null"#).expect("it is a record");
        assert_eq!(
            (record.user, record.address, record.tag),
            (None, None, None)
        );
        let record = read(r#","user":"null","address":"::1","tag":18446744073709551615"#);
        let record = record.expect("it is a record");
        assert_eq!(record.user.as_deref(), Some("null"));
        assert_eq!(
            record.address.map(|address| address.to_string()).as_deref(),
            Some("::1")
        );
        assert_eq!(record.tag, Some(u64::MAX));
        for field in [
            r#""user":1"#,
            r#""address":"nowhere""#,
            r#""tag":"1""#,
            r#""tag":-1"#,
        ] {
            assert!(read(&format!(",{field}")).is_none(), "{field}");
        }
    }
}
