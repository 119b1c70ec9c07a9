//! The name that a type of the configuration has in TOML, found by its `Deserialize`.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, SeqAccess, Visitor};

/// Returns the name of the TOML type of a `T`.
pub(super) fn type_name<T: DeserializeOwned>() -> String {
    match T::deserialize(TypeName) {
        Err(Name(name)) => name,
        Ok(_) => unreachable!("there is no value to deserialize"),
    }
}

/// A deserializer without a value. It fails with the name of the type that is requested.
struct TypeName;

#[derive(Debug)]
struct Name(String);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Name {}

impl de::Error for Name {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

macro_rules! names {
    ($($name:literal: $($method:ident)+;)+) => {$($(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Name> {
            Err(Name($name.into()))
        }
    )+)+};
}

impl<'de> de::Deserializer<'de> for TypeName {
    type Error = Name;

    names! {
        "boolean": deserialize_bool;
        "integer": deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64;
        // A secret key is a string, or bytes.
        "string": deserialize_str deserialize_string deserialize_char deserialize_any;
    }

    /// Figment deserializes a path as a struct.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Name> {
        Err(Name("string".into()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Name> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Name> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Name> {
        visitor.visit_seq(Self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Name> {
        let variants: Vec<_> = variants.iter().map(|name| format!("`{name:?}`")).collect();
        Err(Name(variants.join(", ")))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 bytes byte_buf unit unit_struct tuple tuple_struct map
        identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for TypeName {
    type Error = Name;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Name> {
        seed.deserialize(Self)
            .map(Some)
            .map_err(|Name(name)| Name(format!("array of {name}s")))
    }
}
