//! The fields of a JSON object that this version does not know, which are kept unchanged.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};
use serde_json::value::RawValue;

/// The fields that a newer version wrote, as JSON text.
#[derive(Clone, Default)]
pub(crate) struct UnknownFields(Vec<(String, Box<RawValue>)>);

impl UnknownFields {
    /// Adds a field. Returns `None` if `json` is not JSON.
    pub(crate) fn push(&mut self, name: String, json: &str) -> Option<()> {
        let value = RawValue::from_string(json.to_owned()).ok()?;
        self.0.push((name, value));
        Some(())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns their approximate size in bytes.
    pub(crate) fn size(&self) -> usize {
        let sizes = self
            .0
            .iter()
            .map(|(name, value)| name.len() + value.get().len() + 8);
        sizes.sum()
    }
}

impl Serialize for UnknownFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// A name in an object, borrowed if it contains no escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a struct by `read`, which gets the fields that the struct has. Returns it with all others.
pub(crate) fn split<'de, D: Deserializer<'de>, T>(
    source: D,
    read: impl FnOnce(SplitFields<'_, D>) -> Result<T, D::Error>,
) -> Result<(T, UnknownFields), D::Error> {
    let mut unknown = UnknownFields::default();
    let known = read(SplitFields {
        source,
        unknown: &mut unknown,
    })?;
    Ok((known, unknown))
}

/// A deserializer that gives a struct the fields that it has, and puts all others into `unknown`.
pub(crate) struct SplitFields<'a, D> {
    source: D,
    unknown: &'a mut UnknownFields,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for SplitFields<'_, D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.source.deserialize_map(SplitVisitor {
            fields,
            visitor,
            unknown: self.unknown,
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.source.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Passes the known fields of an object to the visitor of a struct.
struct SplitVisitor<'a, V> {
    fields: &'static [&'static str],
    visitor: V,
    unknown: &'a mut UnknownFields,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for SplitVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<V::Value, M::Error> {
        self.visitor.visit_map(KnownFields {
            map,
            fields: self.fields,
            unknown: self.unknown,
        })
    }
}

/// The known fields of an object.
struct KnownFields<'a, M> {
    map: M,
    fields: &'static [&'static str],
    unknown: &'a mut UnknownFields,
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for KnownFields<'_, M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, M::Error> {
        while let Some(Name(name)) = self.map.next_key()? {
            if self.fields.contains(&&*name) {
                return seed.deserialize(CowStrDeserializer::new(name)).map(Some);
            }
            self.unknown
                .0
                .push((name.into_owned(), self.map.next_value()?));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, M::Error> {
        self.map.next_value_seed(seed)
    }
}
