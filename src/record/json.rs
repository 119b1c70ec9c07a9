//! Values as JSON text, with errors that name the type and never show data.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};

/// Returns `json` as a `T`. The error names the types, and never shows data.
pub(crate) fn read_value<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|_| {
        let found = match json.as_bytes().first() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "an array",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            _ => "a number",
        };
        let why = format!("the value is {found} that does not fit");
        Error::new(ErrorKind::Value, "read a value of the session")
            .at(std::any::type_name::<T>())
            .because(why)
    })
}

/// Returns `value` as JSON text. The error names the type, and never shows data.
pub(crate) fn write_value<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value).map_err(|_| {
        Error::new(ErrorKind::Value, "write a value of the session")
            .at(std::any::type_name::<T>())
            .because("the type cannot be written as JSON")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_kind_of_the_value_and_not_the_value() {
        for (json, kind) in [
            (r#""s3cr3t""#, "a string"),
            (r#"{"s3cr3t":1}"#, "an object"),
            (r#"["s3cr3t"]"#, "an array"),
            ("true", "a boolean"),
            ("false", "a boolean"),
            ("null", "null"),
            ("-7", "a number"),
        ] {
            let error = read_value::<u8>(json).expect_err("it is no small number");
            let text = error.to_string();
            assert!(
                text.contains(&format!("the value is {kind} that")),
                "{text}"
            );
            assert!(!text.contains("s3cr3t"), "{text}");
        }
    }
}
