//! Writes a record as the JSON document that stores keep.

use serde::Serialize;

use super::{Record, VERSION};
use crate::end_reason::EndReason;

impl Record {
    /// Appends the document to `json`.
    ///
    /// It is written by hand, because a serializer would parse every value again.
    pub(super) fn write(&self, json: &mut Vec<u8>) {
        json.extend_from_slice(br#"{"rev":""#);
        hex(json, self.rev);
        json.push(b'"');
        field(json, "expires", &self.expires);
        field(json, "v", &VERSION);
        if let Some(id) = &self.id {
            json.extend_from_slice(br#","id":""#);
            json.extend_from_slice(id.hex(&mut [0; 32]).as_bytes());
            json.push(b'"');
        }
        field(json, "created", &self.created);
        field(json, "accessed", &self.accessed);
        optional(json, "user", self.user.as_ref());
        optional(json, "login", self.log_in.as_ref());
        optional(json, "lifetime", self.lifetime.as_ref());
        optional(
            json,
            "listed",
            Some(&self.listed).filter(|until| **until > 0),
        );
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
        optional(json, "grace", self.grace.as_ref());
        optional(json, "ended", self.ended.map(EndReason::name));
        for (name, value) in self.unknown.iter() {
            json.push(b',');
            write_json(json, name);
            json.push(b':');
            write_json(json, value);
        }
        json.push(b'}');
    }
}

fn optional<T: Serialize + ?Sized>(json: &mut Vec<u8>, name: &'static str, value: Option<&T>) {
    if let Some(value) = value {
        field(json, name, value);
    }
}

fn list<T: Serialize>(json: &mut Vec<u8>, name: &'static str, items: &[T]) {
    if !items.is_empty() {
        field(json, name, items);
    }
}

/// Appends a field that is not the first. Its `name` needs no escape.
fn field<T: Serialize + ?Sized>(json: &mut Vec<u8>, name: &'static str, value: &T) {
    json.extend_from_slice(b",\"");
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(b"\":");
    write_json(json, value);
}

fn write_json<T: Serialize + ?Sized>(json: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(json, value).expect("every field of a record has a form in JSON");
}

/// Appends the 16 hex digits of `number`. The formatter of the standard library takes six times the
/// instructions.
fn hex(json: &mut Vec<u8>, number: u64) {
    let digit = |at: u32| b"0123456789abcdef"[(number >> (4 * at)) as usize % 16];
    json.extend((0..16).rev().map(digit));
}
