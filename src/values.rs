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
    Map(IndexMap<String, Box<RawValue>>),
}

impl Values {
    pub(crate) fn new() -> Self {
        Self::Map(IndexMap::new())
    }

    /// Returns the JSON text under `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        match self {
            Self::Map(map) => map.get(name).map(|value| &**value),
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

    /// Calls `f` with every name and JSON text.
    pub(crate) fn for_each<'a>(&'a self, mut f: impl FnMut(Cow<'a, str>, &'a RawValue)) {
        match self {
            Self::Map(map) => map
                .iter()
                .for_each(|(name, value)| f(Cow::Borrowed(name), value)),
            Self::Text(text) => for_each(text, f),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Map(map) => map.is_empty(),
            Self::Text(text) => text.get()[1..].trim_ascii_start() == "}",
        }
    }

    /// Returns the values as a map, which they are from here on.
    pub(crate) fn as_map(&mut self) -> &mut IndexMap<String, Box<RawValue>> {
        if let Self::Text(text) = self {
            let mut map = IndexMap::new();
            for_each(text, |name, value| {
                drop(map.insert(name.into_owned(), value.to_owned()))
            });
            *self = Self::Map(map);
        }
        match self {
            Self::Map(map) => map,
            Self::Text(_) => unreachable!("it was made a map just now"),
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

    /// A name, borrowed where it holds no escape.
    #[derive(Deserialize)]
    struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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
    fn text_and_map_tell_the_same() {
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
            let mut names = Vec::new();
            written.for_each(|name, value| names.push((name.into_owned(), value.get().to_owned())));
            for (name, value) in &names {
                assert_eq!(read.get(name).unwrap().get(), value, "{json}");
            }
            assert!(read.get("missing").is_none());
        }
    }

    #[test]
    fn what_is_not_touched_is_written_as_it_was_read() {
        let json = r#"{"z":1.10,"a":123456789012345678901234567890,"nested":{"y":1,"x":2}}"#;
        let mut values = text(json);
        assert_eq!(serde_json::to_string(&values).unwrap(), json);
        values.as_map();
        assert_eq!(serde_json::to_string(&values).unwrap(), json);
    }

    #[test]
    fn nothing_but_an_object_is_taken() {
        for no in ["[]", "1", "null", "\"{}\"", "{", "{\"a\"}", ""] {
            assert!(serde_json::from_str::<Values>(no).is_err(), "{no}");
        }
    }
}
