//! The errors that serde's types report while they are deserialized.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::error::Error;
use super::error_kind::ErrorKind;

/// No error repeats the value that it is about.
impl de::Error for Error {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self::with(ErrorKind::Type, None, None, Some(words.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(format!("found {}, expected {expected}", sort(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::mismatch(format!(
            "found {} that does not fit, expected {expected}",
            sort(found)
        ))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::mismatch(format!("found {length} elements, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::mismatch(format!(
            "found an unknown variant, expected {}",
            OneOf(expected)
        ))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::mismatch(format!(
            "found an unknown field, expected {}",
            OneOf(expected)
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::mismatch(format!("the field `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::mismatch(format!("the field `{field}` is there twice"))
    }
}

/// Returns the name of the sort of value that was found, without the value.
fn sort(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a double",
        Unexpected::Char(_) | Unexpected::Str(_) => "a string",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit => "undef",
        Unexpected::Option => "an optional value",
        Unexpected::NewtypeStruct => "a wrapped value",
        Unexpected::Seq => "an array",
        Unexpected::Map => "a hash",
        Unexpected::Enum => "an enum",
        Unexpected::UnitVariant => "a variant without data",
        Unexpected::NewtypeVariant => "a variant with a value",
        Unexpected::TupleVariant => "a variant with an array",
        Unexpected::StructVariant => "a variant with a hash",
        Unexpected::Other(_) => "something else",
    }
}

/// The names that a type knows, as text.
struct OneOf(&'static [&'static str]);

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, rest)) = self.0.split_first() else {
            return f.write_str("none");
        };
        write!(f, "`{first}`")?;
        rest.iter().try_for_each(|name| write!(f, ", `{name}`"))
    }
}
