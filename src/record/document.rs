//! A JSON document, read from front to back without a copy of its parts.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

/// A JSON document, and the place up to which it was read.
///
/// It reads strings without escapes and whole numbers itself, and leaves every other value to
/// `serde_json`, so it accepts what `serde_json` accepts.
pub(super) struct Document<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Document<'a> {
    pub(super) fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// Reads an object, and calls `entry` with each name and its place. It must read the value.
    pub(super) fn object(
        &mut self,
        mut entry: impl FnMut(&mut Self, Cow<'a, str>, Range<usize>) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            let (place, is_plain_string) = self.next()?;
            let name = match is_plain_string {
                true => Cow::Borrowed(&self.json[place.start + 1..place.end - 1]),
                false => self.string(&place)?,
            };
            self.expect(b':')?;
            entry(self, name, place)?;
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }

    /// Reads a value, and returns its place.
    pub(super) fn value(&mut self) -> Option<Range<usize>> {
        self.next().map(|(place, _)| place)
    }

    /// Reads a value, and returns its place and whether it is a string without escapes.
    fn next(&mut self) -> Option<(Range<usize>, bool)> {
        let first = self.peek()?;
        let start = self.at;
        let rest = &self.json[start..];
        let (length, is_plain_string) = match first {
            b'"' => (plain_string(rest.as_bytes()), true),
            b'0'..=b'9' => (whole_number(rest.as_bytes()), false),
            _ => (None, false),
        };
        self.at += match length {
            Some(length) => length,
            None => any_value(rest)?,
        };
        Some((start..self.at, is_plain_string && length.is_some()))
    }

    /// Returns whether nothing more follows.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    pub(super) fn text(&self, place: &Range<usize>) -> &'a str {
        &self.json[place.clone()]
    }

    /// Returns the string at `place`, if it is one.
    pub(super) fn string(&self, place: &Range<usize>) -> Option<Cow<'a, str>> {
        let json = self.text(place);
        match plain_string(json.as_bytes()) {
            Some(_) => Some(Cow::Borrowed(&json[1..json.len() - 1])),
            None => serde_json::from_str(json).ok().map(Cow::Owned),
        }
    }

    /// Returns the next character that is not a space.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.json.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                other => return Some(*other),
            }
        }
    }

    /// Reads `byte`, if it is the next character.
    fn expect(&mut self, byte: u8) -> Option<()> {
        let found = self.peek()? == byte;
        self.at += usize::from(found);
        found.then_some(())
    }
}

/// Returns the length of the string at the start of `json`, if it is one without escapes and control
/// characters.
fn plain_string(json: &[u8]) -> Option<usize> {
    let (b'"', rest) = json.split_first()? else {
        return None;
    };
    let length = special_character(rest)?;
    (rest[length] == b'"').then_some(length + 2)
}

/// Returns the place of the first quote, backslash or control character.
///
/// It looks at eight bytes at a time, which halves the instructions for a record of short values. The
/// test for a zero byte is from Anderson, *Bit Twiddling Hacks*, "Determine if a word has a byte less
/// than n". A byte above the first match may match wrongly, and is not looked at.
fn special_character(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let less = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let equal = |word: u64, byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = (less(word, b' ') | equal(word, b'"') | equal(word, b'\\')) & HIGHS;
        if found != 0 {
            return Some(8 * at + found.trailing_zeros() as usize / 8);
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
    let at = rest.iter().position(is_special)?;
    Some(8 * words.len() + at)
}

/// Returns the length of the number at the start of `json`, if it is whole.
fn whole_number(json: &[u8]) -> Option<usize> {
    let length = json.iter().position(|byte| !byte.is_ascii_digit())?;
    let ends = matches!(json[length], b',' | b'}');
    let has_zeros = length > 1 && json[0] == b'0';
    (ends && !has_zeros).then_some(length)
}

/// Returns the length of the value at the start of `json`.
fn any_value(json: &str) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<&RawValue>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

    use super::*;

    type Entries = Vec<(String, String)>;

    /// Returns the entries of an object as texts, if the whole of `json` is one.
    fn entries(json: &str) -> Option<Entries> {
        let mut found = Vec::new();
        let mut document = Document::new(json);
        document.object(|document, name, _| {
            let value = document.value()?;
            found.push((name.into_owned(), document.text(&value).to_owned()));
            Some(())
        })?;
        document.is_at_end().then_some(found)
    }

    /// The same by `serde_json`.
    struct BySerde(Entries);

    impl<'de> Deserialize<'de> for BySerde {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Object;

            impl<'de> Visitor<'de> for Object {
                type Value = BySerde;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }

                fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<BySerde, M::Error> {
                    let mut found = Vec::new();
                    while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                        found.push((name, value.get().to_owned()));
                    }
                    Ok(BySerde(found))
                }
            }

            deserializer.deserialize_map(Object)
        }
    }

    fn by_serde(json: &str) -> Option<Entries> {
        let BySerde(found) = serde_json::from_str(json).ok()?;
        Some(found)
    }

    #[test]
    fn it_accepts_the_objects_that_serde_accepts() {
        for json in [
            "{}",
            " { } ",
            r#"{"a":1}"#,
            r#"{"a":01}"#,
            r#"{"a":00}"#,
            r#"{"a":0}"#,
            r#"{"a":-1,"b":1.5,"c":1e9,"d":-}"#,
            r#"{"a":-1,"b":1.5,"c":1e9}"#,
            r#"{"a":1x}"#,
            r#"{"a":1 }"#,
            r#"{"a":1"b":2}"#,
            r#"{"a":1,}"#,
            r#"{,"a":1}"#,
            r#"{"a":}"#,
            r#"{"a"}"#,
            r#"{a:1}"#,
            r#"{1:1}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"a":"\u0041\"","\u0041":"b\\"}"#,
            r#"{"a":"\x"}"#,
            r#"{"\x":1}"#,
            "{\"a\":\"line\nbreak\"}",
            "{\"a\nb\":1}",
            "{\n\t\"a\" : 1 ,\r \"b\" : [ 1 , { } ]\n}\n",
            "{\n\"a\":\"plain\"}",
            r#"{"a":true,"b":false,"c":null}"#,
            r#"{"a":tru}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":{"b":[{}]}}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} x"#,
            r#"{"a":"é😀"}"#,
            r#"{"a":"#,
            r#"{"a":"b"#,
            r#"{"a":12"#,
            r#"{"a"#,
            "{",
            "",
            "[]",
            "1",
        ] {
            assert_eq!(entries(json), by_serde(json), "{json}");
        }
    }

    proptest! {
        #[test]
        fn it_reads_a_damaged_object_as_serde_does(
            texts in prop::collection::vec("[ -~é\n\u{1f600}]{0,9}", 0..4),
            number in any::<i64>(),
            at in any::<prop::sample::Index>(),
            damage in "[-{}\\[\\]\",:0-9 \n\\\\tn.e\u{1}]{0,2}",
        ) {
            let json = serde_json::json!({ "texts": texts, "number": number, "é\"": texts.first() });
            let mut json: Vec<char> = json.to_string().chars().collect();
            let at = at.index(json.len());
            json.splice(at..at, damage.chars());
            let json: String = json.into_iter().collect();
            prop_assert_eq!(entries(&json), by_serde(&json), "{}", json);
        }
    }
}
