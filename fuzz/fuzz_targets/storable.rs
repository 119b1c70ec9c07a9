//! Any bytes are an image or cause a proper error. Every image can be walked, printed and converted to
//! Rust values.

#![no_main]

use std::collections::{BTreeMap, HashSet};

use libfuzzer_sys::fuzz_target;
use rocket_session_kit::DecodeError;
use rocket_session_kit::storable::{Image, Kind, Options, Value};
use serde::Deserialize;

/// A type with many of serde's kinds of values, which contains itself.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Asked {
    #[serde(default)]
    a: Option<Box<Asked>>,
    #[serde(default)]
    b: Vec<Mixed>,
    #[serde(default)]
    c: BTreeMap<i16, (bool, f32)>,
    #[serde(default)]
    me: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Mixed {
    Number(f64),
    Bytes(Vec<u8>),
    Nested(Box<Asked>),
    Choice(Choice),
}

#[derive(Deserialize)]
#[allow(dead_code)]
enum Choice {
    Unit,
    Wrapped(Box<Choice>),
    Pair(char, String),
    Named { a: u64 },
}

fuzz_target!(|bytes: &[u8]| {
    let options = Options::new().trailing_bytes(true);
    let image = match Image::parse_with(bytes, options) {
        Ok(image) => image,
        Err(error) => return check(&error, bytes),
    };
    walk(&image);
    drop((image.clone(), format!("{image:?}")));

    as_type::<serde_json::Value>(&image, bytes);
    as_type::<Asked>(&image, bytes);
    as_type::<Mixed>(&image, bytes);
    as_type::<Choice>(&image, bytes);
    as_type::<String>(&image, bytes);
    as_type::<i128>(&image, bytes);
    as_type::<f64>(&image, bytes);
    as_type::<&str>(&image, bytes);
});

fn as_type<'i, T: Deserialize<'i>>(image: &'i Image<'_>, bytes: &[u8]) {
    if let Err(error) = image.deserialize::<T>() {
        check(&error, bytes);
    }
}

/// An error has an offset within the image, and a text.
fn check(error: &DecodeError, bytes: &[u8]) {
    assert!(error.offset().is_none_or(|offset| offset <= bytes.len()));
    assert!(!error.to_string().is_empty());
}

/// Visits each value once, along every path that leads to it.
fn walk(image: &Image<'_>) {
    let mut met = HashSet::new();
    let mut waiting: Vec<Value<'_>> = vec![image.root()];
    while let Some(value) = waiting.pop() {
        if !met.insert(value) {
            continue;
        }
        let _ = (value.class(), value.get("a"));
        match value.kind() {
            Kind::Reference(target) => waiting.push(target),
            Kind::Array(elements) => waiting.extend(elements),
            Kind::Hash(entries) => {
                let mut keys = HashSet::new();
                for (key, value) in entries {
                    assert!(!key.bytes().is_ascii() || keys.insert(key.bytes()), "a key is repeated");
                    waiting.push(value);
                }
            }
            Kind::String(string) => drop(string.text()),
            Kind::Regexp { pattern, flags } => drop((pattern.text(), flags.text())),
            _ => {}
        }
    }
}
