//! Every image that real Perls wrote, on five platforms' Storables from 2.15 to 3.23, is read as
//! Perl reads it.

use std::collections::{BTreeMap, HashSet};

use rocket_session_kit::DecodeErrorKind;
use rocket_session_kit::storable::{self, Image, Kind, Refused, Value};
use serde_json::Value as Json;

use super::support::{Sample, expectation, expected, same, samples};

/// The cases that contain themselves, and those that hold objects with hooks.
const CYCLES: std::ops::RangeInclusive<u32> = 24..=26;
const HOOKS: std::ops::RangeInclusive<u32> = 37..=45;

/// The case of a version string with numbers that are no code points of Unicode.
const BEYOND_UNICODE: u32 = 54;

#[test]
fn every_tree_is_read_as_perl_reads_it() {
    let mut read = 0;
    for Sample { path, case, image } in samples() {
        let Some(expected) = expected(case) else {
            continue;
        };
        let found: Json = storable::from_slice(&image)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            same(&found, &expected),
            "{}: {found} is not {expected}",
            path.display()
        );
        read += 1;
    }
    assert_eq!(read, 498, "images of trees");
}

#[test]
fn a_version_string_beyond_unicode_is_readable_only_as_bytes() {
    // JSON, but for the encoding: a string with some escapes.
    let expected = expectation(BEYOND_UNICODE).expect("the case is a tree");
    let expected = unescaped(expected.trim_ascii());
    let mut read = 0;
    for Sample { path, image, .. } in samples()
        .into_iter()
        .filter(|sample| sample.case == BEYOND_UNICODE)
    {
        let bytes: Vec<u8> = storable::from_slice(&image)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(bytes, expected, "{}", path.display());

        let error = storable::from_slice::<Json>(&image).expect_err("not text in Rust");
        assert_eq!(error.kind(), DecodeErrorKind::Text, "{}", path.display());
        read += 1;
    }
    assert_eq!(read, 4);
}

/// Returns the bytes of a JSON string without its quotes and escapes.
fn unescaped(json: &[u8]) -> Vec<u8> {
    let mut inside = json
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .expect("a string");
    let mut bytes = Vec::new();
    while let Some((first, rest)) = inside.split_first() {
        inside = rest;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (code, rest) = rest.split_at(5);
        let code = std::str::from_utf8(code)
            .ok()
            .and_then(|code| code.strip_prefix("u00"));
        bytes.push(
            u8::from_str_radix(code.expect("an escaped byte"), 16).expect("hexadecimal digits"),
        );
        inside = rest;
    }
    bytes
}

#[test]
fn every_image_that_contains_itself_is_a_cycle_and_can_be_walked() {
    let mut read = 0;
    for Sample { path, case, image } in samples() {
        if !CYCLES.contains(&case) {
            continue;
        }
        let image =
            Image::parse(&image).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let error = image
            .deserialize::<Json>()
            .expect_err("a tree cannot contain itself");
        assert_eq!(
            error.kind(),
            DecodeErrorKind::Cycle,
            "{}: {error}",
            path.display()
        );

        assert!(
            meets_itself(image.root(), &mut Vec::new()),
            "{}",
            path.display()
        );
        read += 1;
    }
    assert_eq!(read, 42, "images that contain themselves");
}

#[test]
fn every_image_with_hooks_is_refused_as_such() {
    let mut refused = BTreeMap::new();
    for Sample { path, case, image } in samples() {
        if !HOOKS.contains(&case) {
            continue;
        }
        let error = storable::from_slice::<Json>(&image).expect_err("a hook cannot be read");
        assert_eq!(
            error.kind(),
            DecodeErrorKind::Refused(Refused::Hook),
            "{}: {error}",
            path.display()
        );
        *refused.entry(case).or_insert(0) += 1;
    }
    assert_eq!(refused.values().sum::<u32>(), 108, "{refused:?}");
}

#[test]
fn every_case_of_the_corpus_is_tested() {
    let cases: HashSet<u32> = samples().iter().map(|sample| sample.case).collect();
    assert_eq!(cases, (1..=55).collect());
    assert_eq!(samples().len(), 652);
    for case in cases {
        let known = CYCLES.contains(&case) || HOOKS.contains(&case) || expectation(case).is_some();
        assert!(known, "nothing is known of case {case}");
    }
}

#[test]
fn classes_of_objects_are_readable() {
    let classes = |begin: &str| {
        let of_case = |sample: &Sample| sample.path.to_string_lossy().contains(begin);
        let mut found = samples().into_iter().filter(of_case).map(|sample| {
            let image = Image::parse(&sample.image).expect("an image of objects is read");
            let Kind::Array(elements) = image.root().kind() else {
                panic!("{begin} is an array")
            };
            let class = |element: Value<'_>| match element.kind() {
                Kind::Reference(target) => target.class().map_or_else(String::new, Into::into),
                _ => panic!("an element of {begin} is a reference"),
            };
            let inside: Vec<String> = elements.map(class).collect();
            (image.root().class().map(Into::into), inside)
        });
        let first: (Option<String>, Vec<String>) = found.next().expect("the case is there");
        assert!(
            found.all(|other| other == first),
            "{begin} is the same from every machine"
        );
        first
    };
    let a = ["Aa::Bb"; 4].map(str::to_owned);
    let (root, inside) = classes("/033_bless06");
    assert_eq!(root.as_deref(), Some("Aa::Bb"));
    assert_eq!(inside[..4], a);
    assert_eq!(inside[4..7], ["Aa::Cc", "Aa::Cc", "Aa::Dd"]);
    assert_eq!(classes("/034_bless07"), (Some("main".to_owned()), vec![]));
}

/// Returns whether a walk along some path returns to a value that it has passed.
fn meets_itself<'i>(value: Value<'i>, path: &mut Vec<Value<'i>>) -> bool {
    if path.contains(&value) {
        return true;
    }
    path.push(value);
    let found = match value.kind() {
        Kind::Reference(target) => meets_itself(target, path),
        Kind::Array(mut elements) => elements.any(|element| meets_itself(element, path)),
        Kind::Hash(mut entries) => entries.any(|(_, value)| meets_itself(value, path)),
        _ => false,
    };
    path.pop();
    found
}
