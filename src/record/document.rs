//! A JSON document, read from front to back without a copy of its parts.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

/// A JSON document, and the place up to which it was read.
///
/// It reads strings without escapes and whole numbers itself, and leaves every other value to
/// `serde_json`, so it accepts what `serde_json` accepts.
///
/// Functions are inlined where each is called for every value: a record takes a tenth fewer
/// instructions to read.
pub(super) struct Document<'a> {
    json: &'a str,
    at: usize,
}

/// A name or a value in a document.
pub(super) struct Token {
    pub(super) place: Range<usize>,
    /// Whether it is a string without escapes.
    pub(super) is_plain: bool,
}

impl<'a> Document<'a> {
    pub(super) fn new(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// Reads an object, and calls `entry` with each name. It must read the value.
    pub(super) fn object(
        &mut self,
        mut entry: impl FnMut(&mut Self, Token) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            return self.expect(b'}');
        }
        loop {
            let name = self.name()?;
            self.expect(b':')?;
            entry(self, name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads the name of an entry.
    #[inline(always)]
    fn name(&mut self) -> Option<Token> {
        (self.peek()? == b'"').then_some(())?;
        self.value()
    }

    /// Reads a value.
    #[inline(always)]
    pub(super) fn value(&mut self) -> Option<Token> {
        let first = self.peek()?;
        let start = self.at;
        let is_plain = first == b'"' && self.plain_string();
        let is_read = is_plain || first.is_ascii_digit() && self.whole_number();
        if !is_read {
            self.any_value()?;
        }
        Some(Token {
            place: start..self.at,
            is_plain,
        })
    }

    /// Returns whether nothing more follows.
    pub(super) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    pub(super) fn text(&self, token: &Token) -> &'a str {
        &self.json[token.place.clone()]
    }

    /// Returns the string that `token` is, if it is one.
    pub(super) fn string(&self, token: &Token) -> Option<Cow<'a, str>> {
        let json = self.text(token);
        match token.is_plain {
            true => Some(Cow::Borrowed(&json[1..json.len() - 1])),
            false => serde_json::from_str(json).ok().map(Cow::Owned),
        }
    }

    /// Returns the next character that is not a space.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match *self.json.as_bytes().get(self.at)? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                other => return Some(other),
            }
        }
    }

    /// Reads the next character that is not a space.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        let found = self.peek()?;
        self.at += 1;
        Some(found)
    }

    /// Reads `byte`, which must be the next character that is not a space.
    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Reads a string, if the next one is without escapes and control characters.
    #[inline(always)]
    fn plain_string(&mut self) -> bool {
        let text = &self.json.as_bytes()[self.at + 1..];
        match special_character(text) {
            Some(length) if text[length] == b'"' => {
                self.at += length + 2;
                true
            }
            _ => false,
        }
    }

    /// Reads a number, if it is whole.
    #[inline(always)]
    fn whole_number(&mut self) -> bool {
        let rest = &self.json.as_bytes()[self.at..];
        let Some(length) = rest.iter().position(|byte| !byte.is_ascii_digit()) else {
            return false;
        };
        let has_zeros = length > 1 && rest[0] == b'0';
        let is_whole = matches!(rest[length], b',' | b'}') && !has_zeros;
        if is_whole {
            self.at += length;
        }
        is_whole
    }

    /// Reads a value of any kind.
    #[cold]
    fn any_value(&mut self) -> Option<()> {
        let rest = &self.json[self.at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(())
    }
}

/// Returns the place of the first quote, backslash or control character.
///
/// It looks at eight bytes at a time, which halves the instructions for a record of short values. The
/// test for a zero byte is from Anderson, *Bit Twiddling Hacks*, "Determine if a word has a byte less
/// than n". A byte above the first match may match wrongly, and is not looked at.
#[inline(never)]
fn special_character(text: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    let less = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word;
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // With this bit turned over, the quote follows right after the control characters.
        let quote_or_control = less(word ^ (ONES * 2), b'!');
        let backslash = less(word ^ (ONES * u64::from(b'\\')), 1);
        let found = (quote_or_control | backslash) & HIGHS;
        if found != 0 {
            return Some(8 * at + found.trailing_zeros() as usize / 8);
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
    let at = rest.iter().position(is_special)?;
    Some(8 * words.len() + at)
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
        document.object(|document, name| {
            let value = document.value()?;
            let name = document.string(&name)?.into_owned();
            found.push((name, document.text(&value).to_owned()));
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

    #[test]
    fn a_string_ends_at_the_first_character_that_is_not_plain() {
        for length in [1, 8, 19] {
            for (at, byte) in (0..length).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
                let mut text = vec![b'a'; length];
                text[at] = byte;
                let is_special = byte < b' ' || byte == b'"' || byte == b'\\';
                let found = is_special.then_some(at);
                assert_eq!(
                    special_character(&text),
                    found,
                    "{byte} at {at} of {length}"
                );
            }
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
