//! The parts of arrays, hashes and enum variants, handed to serde's visitors one by one.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use super::error::Result;
use super::string::PerlString;
use super::value::{Elements, Entries, Value};
use super::walk::{Inside, Place};
use crate::decode_error::DecodeError;

impl<'de> Place<'_, 'de> {
    /// Hands the elements to `visitor`.
    pub(super) fn show_array<V: Visitor<'de>>(
        self,
        elements: Elements<'de>,
        visitor: V,
    ) -> Result<V::Value> {
        let length = elements.len();
        let mut array = Array::new(Inside::enter(self)?, elements);
        let value = visitor.visit_seq(&mut array)?;
        match array.left() {
            0 => Ok(value),
            _ => Err(DecodeError::invalid_length(length, &"fewer")),
        }
    }

    /// Hands the entries to `visitor`.
    pub(super) fn show_hash<V: Visitor<'de>>(
        self,
        entries: Entries<'de>,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_map(Hash::new(Inside::enter(self)?, entries))
    }

    /// Hands a hash with one entry to `visitor`, as the variant of an enum.
    pub(super) fn show_variant<V: Visitor<'de>>(
        self,
        mut entries: Entries<'de>,
        visitor: V,
    ) -> Result<V::Value> {
        match (entries.next(), entries.next()) {
            (Some((name, value)), None) => {
                let inside = Inside::enter(self)?;
                visitor.visit_enum(Variant {
                    inside,
                    name,
                    value,
                })
            }
            _ => Err(DecodeError::invalid_type(
                Unexpected::Map,
                &"a hash with one key",
            )),
        }
    }
}

/// The elements of an array that are not read yet.
struct Array<'w, 'de> {
    inside: Inside<'w, 'de>,
    elements: Elements<'de>,
}

impl<'w, 'de> Array<'w, 'de> {
    fn new(inside: Inside<'w, 'de>, elements: Elements<'de>) -> Self {
        Self { inside, elements }
    }

    /// Returns how many elements are not read yet.
    fn left(&self) -> usize {
        self.elements.len()
    }
}

impl<'de> SeqAccess<'de> for Array<'_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.elements
            .next()
            .map(|value| self.inside.read(value, seed))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

/// The entries of a hash that are not read yet.
struct Hash<'w, 'de> {
    inside: Inside<'w, 'de>,
    entries: Entries<'de>,
    /// The value whose key is read.
    value: Option<Value<'de>>,
}

impl<'w, 'de> Hash<'w, 'de> {
    fn new(inside: Inside<'w, 'de>, entries: Entries<'de>) -> Self {
        Self {
            inside,
            entries,
            value: None,
        }
    }
}

impl<'de> MapAccess<'de> for Hash<'_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        self.inside.read_key(key, seed).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value> {
        let value = self
            .value
            .take()
            .ok_or_else(|| DecodeError::custom("a value was read before its key"))?;
        self.inside.read(value, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant of an enum with data: a hash with one entry, whose key names the variant.
struct Variant<'w, 'de> {
    inside: Inside<'w, 'de>,
    name: PerlString<'de>,
    value: Value<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self)> {
        let name = self.inside.read_key(self.name, seed)?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<()> {
        Deserialize::deserialize(self.inside.place(self.value))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        self.inside.read(self.value, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value> {
        self.inside
            .place(self.value)
            .deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.inside.place(self.value).deserialize_any(visitor)
    }
}
