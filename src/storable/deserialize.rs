//! From an image to a Rust value. References are followed, objects become their data, and what is
//! shared is repeated.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::cost;
use super::error::{Error, ErrorKind, Result};
use super::image::{Elements, Entries, Image, Kind, Value};
use super::scalar::Scalar;
use super::string::PerlString;

impl Image<'_> {
    /// Returns what was frozen as a `T`.
    ///
    /// # Errors
    ///
    /// When the data does not fit the type, when the type would have to contain itself, and when
    /// the data is nested deeper or takes more memory than the [`Options`](super::Options) allow.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::storable::Image;
    ///
    /// let image = Image::parse(b"\x05\x0b\x02\0\0\0\x02\x08\x81\x0a\x012")?;
    ///
    /// assert_eq!(image.deserialize::<[u8; 2]>()?, [1, 2]);
    /// # Ok::<(), rocket_session_kit::storable::Error>(())
    /// ```
    pub fn deserialize<'de, T: Deserialize<'de>>(&'de self) -> Result<T, Error> {
        self.root().deserialize()
    }
}

impl<'de> Value<'de> {
    /// Returns this thing, and what it holds, as a `T`.
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
    /// // What `nfreeze({ user => "ann", cart => [7] })` returns: only the cart is looked at.
    /// let image = b"\x05\x0b\x03\0\0\0\x02\x0a\x03ann\0\0\0\x04user\x04\x02\0\0\0\x01\x08\x87\0\0\0\x04cart";
    /// let image = Image::parse(image)?;
    ///
    /// let cart: Vec<u32> = image.root().get("cart").expect("a cart").deserialize()?;
    /// assert_eq!(cart, [7]);
    /// # Ok::<(), rocket_session_kit::storable::Error>(())
    /// ```
    pub fn deserialize<T: Deserialize<'de>>(self) -> Result<T, Error> {
        let options = self.image().options();
        let walk = Walk {
            max_depth: options.max_depth,
            budget: Cell::new(self.image().budget()),
            open: RefCell::default(),
        };
        let place = Place {
            walk: &walk,
            value: self,
            depth: 0,
        };
        T::deserialize(place).map_err(|error| error.at(self.offset()))
    }
}

/// One walk through an image, from a value to all it holds.
struct Walk<'de> {
    max_depth: usize,
    /// How many bytes of memory may still be needed.
    budget: Cell<usize>,
    /// The arrays and hashes the walk is inside of.
    open: RefCell<HashSet<Value<'de>>>,
}

impl<'de> Walk<'de> {
    /// Takes so many bytes of memory from the budget.
    fn spend(&self, bytes: usize, offset: usize) -> Result<()> {
        let left = self.budget.get().checked_sub(bytes);
        self.budget
            .set(left.ok_or_else(|| Error::new(ErrorKind::Growth, offset))?);
        Ok(())
    }
}

/// A value, and where the walk met it.
#[derive(Clone, Copy)]
struct Place<'w, 'de> {
    walk: &'w Walk<'de>,
    value: Value<'de>,
    /// How many references, arrays and hashes, and wrappers of the Rust type, are around it.
    depth: usize,
}

impl<'w, 'de> Place<'w, 'de> {
    /// Follows references to their end, and returns what is there.
    fn meet(&mut self) -> Result<Kind<'de>> {
        let mut references = self.follow()?;
        let kind = self.value.kind();
        self.walk.spend(cost::of(&kind), self.value.offset())?;

        if matches!(kind, Kind::Array(_) | Kind::Hash(_)) && self.depth > 0 {
            // Perl has a reference between any two containers. Without one they would get twice as
            // deep.
            references = references.max(1);
        }
        *self = self.deeper(references)?;
        Ok(kind)
    }

    /// Goes to the end of all references, and counts them.
    fn follow(&mut self) -> Result<usize> {
        let offset = self.value.offset();
        let end = self.value.follow();
        let (value, references) = end.ok_or_else(|| Error::new(ErrorKind::Cycle, offset))?;
        self.value = value;
        Ok(references)
    }

    fn deeper(mut self, levels: usize) -> Result<Self> {
        self.depth += levels;
        if self.depth > self.walk.max_depth {
            return Err(Error::new(ErrorKind::Depth, self.value.offset()));
        }
        Ok(self)
    }

    fn show_array<V: Visitor<'de>>(self, elements: Elements<'de>, visitor: V) -> Result<V::Value> {
        let length = elements.len();
        let mut array = Array {
            inside: Inside::enter(self)?,
            elements,
        };
        let value = visitor.visit_seq(&mut array)?;
        match array.elements.len() {
            0 => Ok(value),
            _ => Err(Error::invalid_length(length, &"fewer")),
        }
    }

    fn show_hash<V: Visitor<'de>>(self, entries: Entries<'de>, visitor: V) -> Result<V::Value> {
        visitor.visit_map(Hash {
            inside: Inside::enter(self)?,
            entries,
            value: None,
        })
    }

    fn scalar(self, kind: Kind<'de>) -> Scalar<'de> {
        let levels_left = self.walk.max_depth - self.depth;
        Scalar {
            kind,
            offset: self.value.offset(),
            levels_left,
        }
    }
}

/// The inside of an array or a hash. It is left when this is dropped.
struct Inside<'w, 'de> {
    walk: &'w Walk<'de>,
    value: Value<'de>,
    /// As of the places inside.
    depth: usize,
}

impl<'w, 'de> Inside<'w, 'de> {
    fn enter(place: Place<'w, 'de>) -> Result<Self> {
        let Place { walk, value, depth } = place.deeper(1)?;
        if !walk.open.borrow_mut().insert(value) {
            return Err(Error::new(ErrorKind::Cycle, value.offset()));
        }
        Ok(Self { walk, value, depth })
    }

    fn read<T: DeserializeSeed<'de>>(&self, value: Value<'de>, seed: T) -> Result<T::Value> {
        seed.deserialize(self.place(value))
            .map_err(|error| error.at(value.offset()))
    }

    fn read_key<T: DeserializeSeed<'de>>(&self, key: PerlString<'de>, seed: T) -> Result<T::Value> {
        let place = self.place(self.value);
        self.walk.spend(cost::of_text(key), self.value.offset())?;
        seed.deserialize(place.scalar(Kind::String(key)))
    }

    fn place(&self, value: Value<'de>) -> Place<'w, 'de> {
        Place {
            walk: self.walk,
            value,
            depth: self.depth,
        }
    }
}

impl Drop for Inside<'_, '_> {
    fn drop(&mut self) {
        self.walk.open.borrow_mut().remove(&self.value);
    }
}

/// The elements of an array that are still to be read.
struct Array<'w, 'de> {
    inside: Inside<'w, 'de>,
    elements: Elements<'de>,
}

impl<'de> SeqAccess<'de> for Array<'_, 'de> {
    type Error = Error;

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

/// The entries of a hash that are still to be read.
struct Hash<'w, 'de> {
    inside: Inside<'w, 'de>,
    entries: Entries<'de>,
    /// The value whose key has been read.
    value: Option<Value<'de>>,
}

impl<'de> MapAccess<'de> for Hash<'_, 'de> {
    type Error = Error;

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
            .ok_or_else(|| Error::custom("a value was read before its key"))?;
        self.inside.read(value, seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant of an enum that has data: a hash with one entry, whose key names the variant.
struct Variant<'w, 'de> {
    inside: Inside<'w, 'de>,
    name: PerlString<'de>,
    value: Value<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self)> {
        let name = self.inside.read_key(self.name, seed)?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = Error;

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

/// Defines methods that ask a scalar for one type, and show arrays and hashes as they are.
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
    type Error = Error;

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
                self.walk.spend(cost::LOOK, self.value.offset())?;
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
            Kind::Hash(mut entries) => match (entries.next(), entries.next()) {
                (Some((name, value)), None) => {
                    let inside = Inside::enter(self)?;
                    visitor.visit_enum(Variant {
                        inside,
                        name,
                        value,
                    })
                }
                _ => Err(Error::invalid_type(Unexpected::Map, &"a hash with one key")),
            },
            Kind::Array(elements) => self.show_array(elements, visitor),
            scalar => self
                .scalar(scalar)
                .deserialize_enum(name, variants, visitor),
        }
    }

    /// Does not look at the value: what a type ignores may contain itself, or be nested without
    /// end.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.walk.spend(cost::LOOK, self.value.offset())?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { unit_struct map struct }
}
