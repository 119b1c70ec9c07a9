//! Writes a record as the JSON document that stores keep.

use std::io::Write;

use serde::Serialize;

use super::{Record, VERSION};

const IS_ROOMY: &str = "a vector can always be written to";

impl Record {
    /// Appends the document to `json`.
    ///
    /// It is written by hand, because a serializer would parse every value again.
    pub(super) fn write(&self, json: &mut Vec<u8>) {
        let (rev, expires) = (self.rev, self.expires);
        write!(
            json,
            r#"{{"rev":"{rev:016x}","expires":{expires},"v":{VERSION}"#
        )
        .expect(IS_ROOMY);
        if let Some(id) = &self.id {
            write!(json, r#","id":"{}""#, id.digits()).expect(IS_ROOMY);
        }
        field(json, "created", &self.created);
        field(json, "accessed", &self.accessed);
        optional(json, "user", self.user.as_ref());
        optional(json, "address", self.address.as_ref());
        optional(json, "tag", self.tag.as_ref());
        optional(json, "forked", Some(&true).filter(|_| self.forked));
        if !self.values.is_empty() {
            json.extend_from_slice(br#","values":"#);
            self.values.write(json);
        }
        list(json, "notifications", &self.notifications);
        list(json, "tokens", &self.tokens);
        list(json, "csrf", &self.csrf);
        optional(json, "parting", self.tombstone.as_ref());
        for (name, value) in self.unknown.iter() {
            field(json, name, value);
        }
        json.push(b'}');
    }
}

fn optional<T: Serialize + ?Sized>(json: &mut Vec<u8>, name: &str, value: Option<&T>) {
    if let Some(value) = value {
        field(json, name, value);
    }
}

fn list<T: Serialize>(json: &mut Vec<u8>, name: &str, items: &[T]) {
    if !items.is_empty() {
        field(json, name, items);
    }
}

/// Appends a field that is not the first.
fn field<T: Serialize + ?Sized>(json: &mut Vec<u8>, name: &str, value: &T) {
    const IS_JSON: &str = "every field of a record has a form in JSON";
    json.push(b',');
    serde_json::to_writer(&mut *json, name).expect(IS_JSON);
    json.push(b':');
    serde_json::to_writer(json, value).expect(IS_JSON);
}
