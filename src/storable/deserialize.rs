//! The conversion of an image to a Rust value.
//!
//! References are followed, objects become their data, and shared values are repeated.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::cost;
use super::error::Result;
use super::image::Image;
use super::value::{Kind, Value};
use super::walk::{Place, Walk};
use crate::decode_error::DecodeError;

impl Image<'_> {
    /// Returns the outermost value as a `T`.
    ///
    /// # Errors
    ///
    /// When the data does not fit the type or contains itself, and when it is nested deeper or takes
    /// more memory than the [`Options`](super::Options) allow.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::Image;
    ///
    /// let image = Image::parse(b"\x05\x0b\x02\0\0\0\x02\x08\x81\x0a\x012")?;
    ///
    /// assert_eq!(image.deserialize::<[u8; 2]>()?, [1, 2]);
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn deserialize<'de, T: Deserialize<'de>>(&'de self) -> Result<T, DecodeError> {
        self.root().deserialize()
    }
}

impl<'de> Value<'de> {
    /// Returns this value, with everything inside, as a `T`.
    ///
    /// # Errors
    ///
    /// As [`Image::deserialize`].
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::Image;
    ///
    /// // The output of `nfreeze({ user => "ann", cart => [7] })`. Only the cart is read.
    /// let image = b"\x05\x0b\x03\0\0\0\x02\x0a\x03ann\0\0\0\x04user\x04\x02\0\0\0\x01\x08\x87\0\0\0\x04cart";
    /// let image = Image::parse(image)?;
    ///
    /// let cart: Vec<u32> = image.root().get("cart").expect("a cart").deserialize()?;
    /// assert_eq!(cart, [7]);
    /// # Ok::<(), rocket_session_kit::DecodeError>(())
    /// ```
    pub fn deserialize<T: Deserialize<'de>>(self) -> Result<T, DecodeError> {
        let walk = Walk::new(self.image());
        let place = Place::outermost(&walk, self);
        T::deserialize(place).map_err(|error| error.at(self.offset()))
    }
}

/// Defines methods that request one type from scalars, and pass arrays and hashes to the visitor.
macro_rules! of_scalars {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(mut self, $($argument: $type,)* visitor: V) -> Result<V::Value> {
            match self.meet()? {
                Kind::Array(elements) => self.show_array(elements, visitor),
                Kind::Hash(entries) => self.show_hash(entries, visitor),
                scalar => self.scalar(scalar).$method($($argument,)* visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Place<'_, 'de> {
    type Error = DecodeError;

    of_scalars! {
        deserialize_any() deserialize_unit() deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string() deserialize_identifier()
        deserialize_bytes() deserialize_byte_buf()
        deserialize_seq() deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        let references = self.follow()?;
        match self.value.kind() {
            Kind::Undef => {
                self.walk.spend(cost::VISIT, self.value.offset())?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self.deeper(references.max(1))?),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self.deeper(1)?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.meet()? {
            Kind::Hash(entries) => self.show_variant(entries, visitor),
            Kind::Array(elements) => self.show_array(elements, visitor),
            scalar => self
                .scalar(scalar)
                .deserialize_enum(name, variants, visitor),
        }
    }

    /// Does not read the value: an ignored value may contain itself, or be nested without end.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.walk.spend(cost::VISIT, self.value.offset())?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit_struct map struct }
}
