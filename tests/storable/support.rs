//! Images, made by hand or read from `tests/data/storable`, and values compared as Perl would.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// The start of an image in network order.
pub(crate) const NETWORK: &[u8] = b"\x05\x0b";

/// The start of an image from a little-endian machine with 64 bits.
pub(crate) const NATIVE: &[u8] = b"\x04\x0b\x0812345678\x04\x08\x08\x08";

/// Returns the image that `hex` writes.
pub(crate) fn hex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Returns an image in network order that holds `body`.
pub(crate) fn network(body: &[u8]) -> Vec<u8> {
    [NETWORK, body].concat()
}

/// An image that a real Perl wrote, and the name of its case.
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) case: u32,
    pub(crate) image: Vec<u8>,
}

/// Returns every image of `tests/data/storable/images`, in the order of their names.
pub(crate) fn samples() -> Vec<Sample> {
    let mut paths = Vec::new();
    let mut directories = vec![data("images")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the directory of images is there") {
            let path = entry.expect("the directory can be read").path();
            if path.is_dir() {
                directories.push(path)
            } else {
                paths.push(path)
            }
        }
    }
    paths.sort();
    let sample = |path: PathBuf| {
        let case = name(&path)[..3]
            .parse()
            .expect("a name begins with the number of its case");
        let image = fs::read(&path).expect("an image can be read");
        Sample { path, case, image }
    };
    paths.into_iter().map(sample).collect()
}

/// Returns the value that Perl reads from the images of a case, if that is a tree that JSON can
/// hold.
pub(crate) fn expected(case: u32) -> Option<Json> {
    let text = String::from_utf8(expectation(case)?).ok()?;
    Some(serde_json::from_str(&text).expect("an expectation is JSON"))
}

/// Returns the value that Perl reads from the images of a case, if that is a tree, as Perl writes
/// it.
pub(crate) fn expectation(case: u32) -> Option<Vec<u8>> {
    let begin = format!("{case:03}_");
    let files = fs::read_dir(data("expected")).expect("the directory of expectations is there");
    let mut paths = files.map(|entry| entry.expect("the directory can be read").path());
    let path = paths.find(|path| name(path).starts_with(&begin))?;
    Some(fs::read(path).expect("an expectation can be read"))
}

fn data(part: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/data/storable", part]
        .iter()
        .collect()
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .expect("a file of ours has a plain name")
}

/// Returns whether two values are the same to Perl: a number is its string, true is `1`, and false
/// is the empty string.
pub(crate) fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| same(left, right)))
        }
        (Json::Null, Json::Null) => true,
        // JSON has no such numbers.
        (Json::Null, Json::String(text)) => matches!(&text[..], "Inf" | "-Inf" | "NaN"),
        _ => match (printed(left), printed(right)) {
            (Some(left), Some(right)) => left == right || close(&left, &right),
            _ => false,
        },
    }
}

/// Returns what Perl would print for a scalar, but for the digits of a floating-point number.
fn printed(scalar: &Json) -> Option<String> {
    match scalar {
        Json::Bool(true) => Some("1".to_owned()),
        Json::Bool(false) => Some(String::new()),
        Json::Number(number) => Some(number.to_string()),
        Json::String(text) => Some(text.clone()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Returns whether two texts are numbers that agree in the 15 digits that Perl prints.
fn close(left: &str, right: &str) -> bool {
    let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) else {
        return false;
    };
    left == right || ((left - right) / right).abs() < 1e-14
}
