//! The values of one session, as JSON text that is looked into as little as possible.

use std::borrow::Cow;
use std::fmt;

use indexmap::IndexMap;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// Named JSON values, in the order in which they came.
///
/// A session that is only read stays the text that it was loaded as; one that is written becomes a
/// map.
#[derive(Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Values {
    /// A JSON object.
    Text(Box<RawValue>),
    Map(Map),
}

/// Values that were taken out of their text.
#[derive(Clone, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Map {
    entries: IndexMap<String, Box<RawValue>>,
    /// How many bytes names and values take.
    #[serde(skip)]
    size: usize,
}

impl Values {
    pub(crate) fn new() -> Self {
        Self::Map(Map::default())
    }

    /// Returns the JSON text under `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        match self {
            Self::Map(map) => map.entries.get(name).map(|value| &**value),
            Self::Text(text) => {
                let mut found = None;
                for_each(text, |key, value| {
                    // The last of several, as in a map.
                    if key == name {
                        found = Some(value);
                    }
                });
                found
            }
        }
    }

    /// Puts `value` under `name`.
    pub(crate) fn insert(&mut self, name: &str, value: Box<RawValue>) {
        self.as_map().insert(name, value);
    }

    /// Removes what is under `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        let map = self.as_map();
        if let Some(old) = map.entries.shift_remove(name) {
            map.size -= name.len() + old.get().len();
        }
    }

    /// Returns the names.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.for_each(|name, _| names.push(name.to_owned()));
        names
    }

    pub(crate) fn len(&self) -> usize {
        let mut len = 0;
        match self {
            Self::Map(map) => len = map.entries.len(),
            Self::Text(_) => self.for_each(|_, _| len += 1),
        }
        len
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Map(map) => map.entries.is_empty(),
            Self::Text(text) => text.get()[1..].trim_ascii_start() == "}",
        }
    }

    /// Returns how many bytes names and values take.
    pub(crate) fn size(&self) -> usize {
        let mut size = 0;
        match self {
            Self::Map(map) => size = map.size,
            Self::Text(_) => self.for_each(|name, value| size += name.len() + value.get().len()),
        }
        size
    }

    fn for_each(&self, mut f: impl FnMut(&str, &RawValue)) {
        match self {
            Self::Map(map) => map.entries.iter().for_each(|(name, value)| f(name, value)),
            Self::Text(text) => for_each(text, |name, value| f(&name, value)),
        }
    }

    /// Returns the values as a map, which they are from here on.
    fn as_map(&mut self) -> &mut Map {
        if let Self::Text(text) = self {
            let mut map = Map::default();
            for_each(text, |name, value| map.insert(&name, value.to_owned()));
            *self = Self::Map(map);
        }
        match self {
            Self::Map(map) => map,
            Self::Text(_) => unreachable!("it was made a map just now"),
        }
    }
}

impl Map {
    fn insert(&mut self, name: &str, value: Box<RawValue>) {
        self.size += value.get().len();
        match self.entries.get_mut(name) {
            Some(place) => self.size -= std::mem::replace(place, value).get().len(),
            None => {
                self.size += name.len();
                self.entries.insert(name.to_owned(), value);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        if text.get().starts_with('{') {
            Ok(Self::Text(text))
        } else {
            Err(D::Error::custom("values are an object"))
        }
    }
}

/// A name in an object, borrowed where it holds no escape.
#[derive(Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Calls `f` with every name and JSON text of `object`.
fn for_each<'a>(object: &'a RawValue, f: impl FnMut(Cow<'a, str>, &'a RawValue)) {
    struct Each<F>(F);

    impl<'a, F: FnMut(Cow<'a, str>, &'a RawValue)> Visitor<'a> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'a>>(mut self, mut map: M) -> Result<(), M::Error> {
            while let Some(Name(name)) = map.next_key()? {
                (self.0)(name, map.next_value()?);
            }
            Ok(())
        }
    }

    serde_json::Deserializer::from_str(object.get())
        .deserialize_map(Each(f))
        .expect("it was found to be a JSON object when it was loaded");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Values {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn text_and_map_forms_hold_the_same_values() {
        for json in [
            "{}",
            " { } ",
            r#"{"a":1,"b":[1, 2],"c":{"a":3}}"#,
            r#"{"\u0000\n\"é":"\ud83d\ude00","":null,"z":1.10,"a":123456789012345678901234567890}"#,
            r#"{"twice":1,"other":2,"twice":3}"#,
        ] {
            let read = text(json);
            let mut written = read.clone();
            written.as_map();
            assert_eq!(read.is_empty(), written.is_empty(), "{json}");
            assert_eq!(read.names().len(), read.len(), "{json}");
            let mut names = Vec::new();
            written.for_each(|name, value| names.push((name.to_owned(), value.get().to_owned())));
            assert_eq!(names.len(), written.len());
            assert_eq!(
                written.size(),
                names
                    .iter()
                    .map(|(name, value)| name.len() + value.len())
                    .sum::<usize>()
            );
            for (name, value) in &names {
                assert_eq!(read.get(name).unwrap().get(), value, "{json}");
            }
            assert!(read.get("missing").is_none());
        }
    }

    #[test]
    fn untouched_values_are_written_byte_for_byte() {
        let json = r#"{"z":1.10,"a":123456789012345678901234567890,"nested":{"y":1,"x":2}}"#;
        let mut values = text(json);
        assert_eq!(serde_json::to_string(&values).unwrap(), json);
        values.as_map();
        assert_eq!(serde_json::to_string(&values).unwrap(), json);
    }

    #[test]
    fn the_size_follows_every_change() {
        let mut values = text(r#"{"a":1,"b":"text"}"#);
        assert_eq!(values.size(), 2 + 7);
        let raw = |json: &str| RawValue::from_string(json.into()).unwrap();
        for (name, json, size) in [
            ("a", "12345", 13),
            ("a", "1", 9),
            ("new", "true", 16),
            ("b", "2", 11),
        ] {
            values.insert(name, raw(json));
            assert_eq!(values.size(), size);
        }
        for (name, size) in [("new", 4), ("new", 4), ("b", 2), ("a", 0)] {
            values.remove(name);
            assert_eq!(values.size(), size);
        }
    }

    #[test]
    fn only_json_objects_parse_as_values() {
        for no in ["[]", "1", "null", "\"{}\"", "{", "{\"a\"}", ""] {
            assert!(serde_json::from_str::<Values>(no).is_err(), "{no}");
        }
    }
}
