//! The conversion of a scalar to a Rust value.
//!
//! By its last use, a Perl scalar is a string or a number, so each becomes the other if the Rust type
//! needs it.

use std::borrow::Cow;
use std::slice;

use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::error::{Result, invalid};
use super::number::{exact_integer, format_double, parse_double, parse_integer};
use super::value::Kind;
use crate::decode_error::{DecodeError, DecodeErrorKind};

/// A scalar or a hash key that becomes a Rust value.
pub(super) struct Scalar<'de> {
    pub(super) kind: Kind<'de>,
    pub(super) offset: usize,
    /// How many more wrappers, such as `Some`, may be around it.
    pub(super) levels_left: usize,
}

impl<'de> Scalar<'de> {
    /// Returns the scalar as Perl prints it: `None` for undef.
    fn text(&self) -> Result<Option<Cow<'de, str>>> {
        let no_text = || invalid(DecodeErrorKind::Text, self.offset);
        Ok(Some(match &self.kind {
            Kind::Boolean(true) => Cow::Borrowed("1"),
            Kind::Boolean(false) => Cow::Borrowed(""),
            Kind::Integer(integer) => Cow::Owned(integer.to_string()),
            Kind::Double(double) => Cow::Owned(format_double(*double)),
            Kind::String(string) => string.text().ok_or_else(no_text)?,
            Kind::Regexp { pattern, flags } => {
                let pattern = pattern.text().ok_or_else(no_text)?;
                let flags = flags.text().ok_or_else(no_text)?;
                Cow::Owned(format!("(?^{flags}:{pattern})"))
            }
            Kind::Undef | Kind::Reference(_) | Kind::Array(_) | Kind::Hash(_) => return Ok(None),
        }))
    }

    /// Returns the scalar as an integer, if it is one, or the string of one.
    fn integer(&self) -> Option<i128> {
        match &self.kind {
            Kind::Boolean(boolean) => Some(i128::from(*boolean)),
            Kind::Integer(integer) => Some(i128::from(*integer)),
            Kind::Double(double) => exact_integer(*double),
            Kind::String(string) => parse_integer(&string.text()?),
            _ => None,
        }
    }

    /// Returns the scalar as a floating-point number, if it is a number, or the string of one.
    fn double(&self) -> Option<f64> {
        match &self.kind {
            Kind::Integer(integer) => Some(*integer as f64),
            Kind::Double(double) => Some(*double),
            Kind::String(string) => parse_double(&string.text()?),
            _ => None,
        }
    }

    /// Returns the scalar as a boolean, if it is one, or a value that older Perls write for one.
    fn boolean(&self) -> Option<bool> {
        match &self.kind {
            Kind::Boolean(boolean) => Some(*boolean),
            Kind::Integer(0) => Some(false),
            Kind::Integer(1) => Some(true),
            Kind::String(string) => match string.bytes() {
                b"" | b"0" => Some(false),
                b"1" => Some(true),
                _ => None,
            },
            _ => None,
        }
    }

    fn wrapped(mut self) -> Result<Self> {
        let left = self.levels_left.checked_sub(1);
        self.levels_left = left.ok_or_else(|| invalid(DecodeErrorKind::Depth, self.offset))?;
        Ok(self)
    }

    fn visit_number<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let Some(integer) = self.integer() else {
            return self.deserialize_any(visitor);
        };
        match (u64::try_from(integer), i64::try_from(integer)) {
            (Ok(integer), _) => visitor.visit_u64(integer),
            (_, Ok(integer)) => visitor.visit_i64(integer),
            _ => visitor.visit_i128(integer),
        }
    }

    fn visit_double<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.double() {
            Some(double) => visitor.visit_f64(double),
            None => self.deserialize_any(visitor),
        }
    }

    fn visit_text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.text()? {
            Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Some(Cow::Owned(text)) => visitor.visit_string(text),
            None => self.deserialize_any(visitor),
        }
    }

    fn visit_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match &self.kind {
            Kind::String(string) => visitor.visit_borrowed_bytes(string.bytes()),
            _ => match self.text()? {
                Some(text) => visitor.visit_byte_buf(text.into_owned().into_bytes()),
                None => self.deserialize_any(visitor),
            },
        }
    }

    /// Hands a string to `visitor` as a sequence of its bytes.
    fn visit_sequence<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let Kind::String(string) = &self.kind else {
            return self.deserialize_any(visitor);
        };
        let mut bytes = Bytes(string.bytes().iter());
        let value = visitor.visit_seq(&mut bytes)?;
        match bytes.0.len() {
            0 => Ok(value),
            _ => Err(DecodeError::invalid_length(string.bytes().len(), &"fewer")),
        }
    }
}

/// Defines methods of a `Deserializer` that call the same function.
macro_rules! alike {
    ($same:ident: $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.$same(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Scalar<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.kind {
            Kind::Boolean(boolean) => visitor.visit_bool(boolean),
            Kind::Integer(_) => self.visit_number(visitor),
            Kind::Double(double) => visitor.visit_f64(double),
            Kind::String(_) | Kind::Regexp { .. } => self.visit_text(visitor),
            Kind::Undef | Kind::Reference(_) | Kind::Array(_) | Kind::Hash(_) => {
                visitor.visit_unit()
            }
        }
    }

    alike!(visit_number:
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128);
    alike!(visit_double: deserialize_f32 deserialize_f64);
    alike!(visit_text: deserialize_char deserialize_str deserialize_string deserialize_identifier);
    alike!(visit_bytes: deserialize_bytes deserialize_byte_buf);
    alike!(visit_sequence: deserialize_seq);

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.boolean() {
            Some(boolean) => visitor.visit_bool(boolean),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.kind {
            Kind::Undef => visitor.visit_none(),
            _ => visitor.visit_some(self.wrapped()?),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self.wrapped()?)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value> {
        self.visit_sequence(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.visit_sequence(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.text()? {
            Some(text) => visitor.visit_enum(CowStrDeserializer::new(text)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit unit_struct map struct }
}

/// The bytes of a string, for a type that is a sequence of bytes.
struct Bytes<'de>(slice::Iter<'de, u8>);

impl<'de> SeqAccess<'de> for Bytes<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        self.0
            .next()
            .map(|byte| seed.deserialize(Byte(*byte)))
            .transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// A byte of a string. It becomes only a `u8`, because a string is not an array of other types.
struct Byte(u8);

impl<'de> Deserializer<'de> for Byte {
    type Error = DecodeError;

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_u8(self.0)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value> {
        Err(DecodeError::invalid_type(Unexpected::Str(""), &"an array"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
