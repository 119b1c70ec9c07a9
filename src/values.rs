//! The values of one session, as JSON text that is parsed as late as possible.

use std::collections::HashSet;
use std::ops::Range;

/// The number of values beyond which a hash set finds duplicate names.
const FEW: usize = 32;

/// Bytes of replaced values that are kept.
const SLACK: usize = 1024;

/// Named JSON values, in the order in which they were inserted.
///
/// All of them are places in one text: the document from which they were read, with what a change
/// appended to it. So a session of any size takes two allocations, and reading it copies nothing.
#[derive(Clone, Default)]
pub(crate) struct Values {
    text: String,
    entries: Vec<Entry>,
    /// The size of names and values in bytes, without what is unused.
    size: usize,
}

/// The places of a name and its value in the text.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

impl Values {
    /// Returns the values at these places of `text`. `escaped` are the names that have escapes there,
    /// each with its place among the entries.
    pub(crate) fn in_text(
        text: String,
        entries: Vec<Entry>,
        escaped: Vec<(usize, String)>,
    ) -> Self {
        let mut values = Self {
            text,
            entries,
            size: 0,
        };
        for (at, name) in escaped {
            values.entries[at].name = values.append(&name);
        }
        let sizes = values.entries.iter();
        values.size = sizes
            .map(|entry| entry.name.len() + entry.value.len())
            .sum();
        if values.has_duplicates() {
            values.remove_duplicates();
        }
        values
    }

    /// Returns the JSON text under `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let entry = &self.entries[self.position(name)?];
        Some(&self.text[entry.value.clone()])
    }

    /// Puts `json`, a JSON text, under `name`.
    pub(crate) fn insert(&mut self, name: &str, json: &str) {
        let value = self.append(json);
        match self.position(name) {
            Some(at) => {
                let old = std::mem::replace(&mut self.entries[at].value, value);
                self.size -= old.len();
            }
            None => {
                let name = self.append(name);
                self.entries.push(Entry { name, value });
            }
        }
        if self.text.len() > 2 * self.size + SLACK {
            self.compact();
        }
    }

    /// Removes the value under `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(at) = self.position(name) {
            let Entry { name, value } = self.entries.remove(at);
            self.size -= name.len() + value.len();
        }
    }

    /// Returns each name with its JSON text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let at = |place: &Range<usize>| &self.text[place.clone()];
        self.entries
            .iter()
            .map(move |entry| (at(&entry.name), at(&entry.value)))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the size of names and values in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Appends them to `json` as a JSON object.
    pub(crate) fn write(&self, json: &mut Vec<u8>) {
        json.push(b'{');
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                json.push(b',');
            }
            write_name(json, name);
            json.push(b':');
            json.extend_from_slice(value.as_bytes());
        }
        json.push(b'}');
    }

    fn position(&self, name: &str) -> Option<usize> {
        let (text, name) = (self.text.as_bytes(), name.as_bytes());
        let mut names = self.entries.iter().map(|entry| &entry.name);
        names.position(|own| own.len() == name.len() && &text[own.clone()] == name)
    }

    fn append(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text.push_str(text);
        self.size += text.len();
        start..self.text.len()
    }

    /// Removes the text that is unused.
    fn compact(&mut self) {
        let mut text = String::with_capacity(self.size + SLACK);
        for Entry { name, value } in &mut self.entries {
            for place in [name, value] {
                let start = text.len();
                text.push_str(&self.text[place.clone()]);
                *place = start..text.len();
            }
        }
        self.text = text;
    }

    /// Removes all values under one name but the last.
    fn remove_duplicates(&mut self) {
        let mut unique = Self::default();
        for (name, value) in self.iter() {
            unique.insert(name, value);
        }
        *self = unique;
    }

    /// Returns whether two values have the same name.
    fn has_duplicates(&self) -> bool {
        if self.len() > FEW {
            let mut names = HashSet::with_capacity(self.len());
            return !self.iter().all(|(name, _)| names.insert(name));
        }
        let name = |entry: &Entry| &self.text.as_bytes()[entry.name.clone()];
        // Equal names have equal lengths and last bytes. Few others have, so few are compared.
        let mut seen = 0_u64;
        self.entries.iter().enumerate().any(|(at, entry)| {
            let own = name(entry);
            let bit = 1 << ((own.len() as u8 ^ own.last().unwrap_or(&0)) % 64);
            let may_be_duplicate = seen & bit != 0;
            seen |= bit;
            may_be_duplicate
                && self.entries[..at]
                    .iter()
                    .map(name)
                    .any(|other| own == other)
        })
    }
}

/// Appends `name` to `json` as a JSON string.
fn write_name(json: &mut Vec<u8>, name: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if name.bytes().all(is_plain) {
        json.push(b'"');
        json.extend_from_slice(name.as_bytes());
        json.push(b'"');
        return;
    }
    serde_json::to_writer(json, name).expect("a string has a form in JSON");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    /// Reads `json` as the values of a record.
    fn read(json: &str) -> Values {
        try_to_read(json).expect("it is an object")
    }

    fn try_to_read(json: &str) -> Option<Values> {
        let record = r#"{"rev":"0","expires":1,"v":1,"created":1,"accessed":1,"values":"#;
        let record = serde_json::from_str::<Record>(&format!("{record}{json}}}")).ok()?;
        Some(record.values)
    }

    fn written(values: &Values) -> String {
        let mut json = Vec::new();
        values.write(&mut json);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn values_are_written_as_they_were_read() {
        for json in [
            "{}",
            r#"{"a":1,"b":[1, 2],"c":{"a":3}}"#,
            r#"{"\u0000\n\"é":"\ud83d\ude00","":null,"z":1.10,"a":123456789012345678901234567890}"#,
            r#"{"z":1.10,"a":123456789012345678901234567890,"nested":{"y":1,"x":2}}"#,
        ] {
            let values = read(json);
            assert_eq!(written(&values), json);
            assert_eq!(values.is_empty(), json == "{}");
        }
        assert_eq!(
            written(&read(" { \"a\" : 1 , \"b\" : 2 } ")),
            r#"{"a":1,"b":2}"#
        );
    }

    #[test]
    fn the_last_value_under_a_name_counts() {
        assert_eq!(
            written(&read(r#"{"twice":1,"other":2,"twice":3}"#)),
            r#"{"twice":3,"other":2}"#
        );
        let many: Vec<String> = (0..200).map(|n| format!("\"{}\":{n}", n % 150)).collect();
        let values = read(&format!("{{{}}}", many.join(",")));
        assert_eq!(values.len(), 150);
        assert_eq!(
            (values.get("49"), values.get("50")),
            (Some("199"), Some("50"))
        );
    }

    #[test]
    fn the_size_follows_every_change() {
        let mut values = read(r#"{"a":1,"b":"text"}"#);
        assert_eq!(values.size(), 2 + 7);
        for (name, json, size) in [
            ("a", "12345", 13),
            ("a", "1", 9),
            ("new", "true", 16),
            ("b", "2", 11),
        ] {
            values.insert(name, json);
            assert_eq!(values.size(), size);
            assert_eq!(values.get(name), Some(json));
        }
        for (name, size) in [("new", 4), ("new", 4), ("b", 2), ("a", 0)] {
            values.remove(name);
            assert_eq!(values.size(), size);
            assert_eq!(values.get(name), None);
        }
    }

    #[test]
    fn replaced_values_do_not_pile_up() {
        let mut values = read(r#"{"kept":true}"#);
        for n in 0..100_000 {
            values.insert("count", &n.to_string());
        }
        assert_eq!(written(&values), r#"{"kept":true,"count":99999}"#);
        assert!(values.text.len() < 2 * SLACK, "{} bytes", values.text.len());
    }

    #[test]
    fn only_objects_are_accepted() {
        for no in ["[]", "1", "null", "\"{}\"", "{", "{\"a\"}", ""] {
            assert!(try_to_read(no).is_none(), "{no}");
        }
    }
}
