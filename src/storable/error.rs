//! The errors about an image, among them those that serde's types report while they are deserialized.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::decode_error::{DecodeError, DecodeErrorKind};

/// The result of this module's functions: a `T`, or a [`DecodeError`].
pub(super) type Result<T, E = DecodeError> = std::result::Result<T, E>;

/// Returns the error about the byte at `offset` of an image.
pub(super) fn invalid(kind: DecodeErrorKind, offset: usize) -> DecodeError {
    about_image(kind).at(offset)
}

fn about_image(kind: DecodeErrorKind) -> DecodeError {
    DecodeError::new(kind).of("Storable image")
}

/// Returns an error about a type, without an offset yet.
fn mismatch(words: String) -> DecodeError {
    about_image(DecodeErrorKind::Type).saying(words)
}

/// No error repeats the value that it is about.
impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(words: T) -> Self {
        about_image(DecodeErrorKind::Type).with_detail(words.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(format!("found {}, expected {expected}", sort(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(format!(
            "found {} that does not fit, expected {expected}",
            sort(found)
        ))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        mismatch(format!("found {length} elements, expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        mismatch(format!(
            "found an unknown variant, expected {}",
            OneOf(expected)
        ))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        mismatch(format!(
            "found an unknown field, expected {}",
            OneOf(expected)
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        mismatch(format!("the field `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        mismatch(format!("the field `{field}` is there twice"))
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

#[cfg(test)]
mod tests {
    use serde::de::{Error as _, Unexpected};

    use super::*;
    use crate::decode_error::Refused;

    #[test]
    fn an_error_reads_as_a_sentence() {
        let hook = invalid(DecodeErrorKind::Refused(Refused::Hook), 2);
        assert_eq!(
            hook.to_string(),
            "byte 2 of the Storable image: an object frozen by a hook of its class cannot be read without running Perl"
        );

        let field = DecodeError::unknown_field("secret", &["name", "age"])
            .at(7)
            .at(2);
        assert_eq!(
            field.to_string(),
            "byte 7 of the Storable image: found an unknown field, expected `name`, `age`"
        );
    }

    #[test]
    fn no_error_repeats_a_value() {
        let secrets = [
            Unexpected::Bool(true),
            Unexpected::Unsigned(4711),
            Unexpected::Signed(-4711),
            Unexpected::Float(47.11),
            Unexpected::Char('ß'),
            Unexpected::Str("secret 4711"),
            Unexpected::Bytes(b"secret 4711"),
            Unexpected::Other("secret 4711"),
        ];
        let mut errors = vec![
            DecodeError::custom("secret 4711"),
            DecodeError::unknown_field("secret 4711", &[]),
            DecodeError::unknown_variant("secret 4711", &["one"]),
        ];
        for secret in secrets {
            errors.push(DecodeError::invalid_type(secret, &"a name"));
            errors.push(DecodeError::invalid_value(secret, &"a name"));
        }
        for error in errors {
            for text in [error.to_string(), format!("{error:?}")] {
                for part in ["secret", "47", "true", "ß"] {
                    assert!(!text.contains(part), "{text}");
                }
            }
        }
        assert_eq!(
            DecodeError::custom("secret 4711").detail(),
            Some("secret 4711")
        );
    }
}
