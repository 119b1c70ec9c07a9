//! A scalar is a string or a number by its last use, so a Rust type gets the form that it needs, and
//! no other.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use rocket_session_kit::storable::{self, Image};
use rocket_session_kit::{DecodeError, DecodeErrorKind};
use serde::de::{DeserializeOwned, IgnoredAny, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

use super::support::{NATIVE, network};

/// Returns the image in network order with this body, as a `T`.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    storable::from_slice(&network(body))
}

/// Returns an image's body that is a short string.
fn string(text: &str) -> Vec<u8> {
    [&[10, text.len() as u8][..], text.as_bytes()].concat()
}

#[track_caller]
fn refused<T: DeserializeOwned + Debug>(body: &[u8]) -> String {
    let error = read::<T>(body).expect_err("of another type");
    assert_eq!(
        (error.kind(), error.offset()),
        (DecodeErrorKind::Type, Some(2)),
        "{error}"
    );
    error.to_string()
}

#[test]
fn a_string_in_the_form_perl_prints_becomes_a_number() {
    assert_eq!(read(&string("7")), Ok(7u8));
    assert_eq!(read(&string("-129")), Ok(-129i16));
    assert_eq!(read(&string("18446744073709551615")), Ok(u64::MAX));
    assert_eq!(read(&string("-9223372036854775808")), Ok(i64::MIN));
    assert_eq!(
        read(&string("112233445566778899112233445566778899")),
        Ok(112233445566778899112233445566778899u128)
    );
    assert_eq!(read(&string("7.9")), Ok(7.9f64));
    assert_eq!(read(&string("1e+20")), Ok(1e20f64));
    assert_eq!(read(&string("12")), Ok(12f32));
    assert_eq!(read(&string("-Inf")), Ok(f64::NEG_INFINITY));
    assert!(read::<f64>(&string("NaN")).is_ok_and(f64::is_nan));

    for text in ["", "seven", "007", "7 ", "7.0", "0x7", "1e3", "+7"] {
        refused::<u8>(&string(text));
    }
    refused::<u8>(&string("256"));
    refused::<u64>(&string("-1"));
    for text in ["", "seven", ".5", "5.", "1e", "0x1p3"] {
        refused::<f64>(&string(text));
    }
}

#[test]
fn a_number_becomes_the_string_that_perl_would_print() {
    let double = |number: f64| [NATIVE, b"\x07", &number.to_le_bytes()].concat();

    assert_eq!(read(b"\x08\x85"), Ok("5".to_owned()));
    assert_eq!(read(b"\x09\xff\xff\xff\x7f"), Ok("-129".to_owned()));
    assert_eq!(
        storable::from_slice(&double(0.1 + 0.2)),
        Ok("0.3".to_owned())
    );
    assert_eq!(storable::from_slice(&double(1e20)), Ok("1e+20".to_owned()));
    assert_eq!(storable::from_slice(&double(3.0)), Ok(3u8));
    assert_eq!(read(b"\x08\x85"), Ok('5'));
    assert_eq!(read(b"\x08\x85"), Ok(5.0f64));
    assert_eq!(read(b"\x0f"), Ok("1".to_owned()));
    assert_eq!(read(b"\x10"), Ok(String::new()));

    storable::from_slice::<u8>(&double(3.5)).expect_err("not an integer");
    storable::from_slice::<u8>(&double(1e300)).expect_err("too large");
}

#[test]
fn booleans_of_older_perls_are_read() {
    for body in [&b"\x0f"[..], b"\x22", b"\x08\x81", &string("1")] {
        assert_eq!(read(body), Ok(true), "{body:x?}");
    }
    for body in [
        &b"\x10"[..],
        b"\x23",
        b"\x08\x80",
        &string("0"),
        &string(""),
    ] {
        assert_eq!(read(body), Ok(false), "{body:x?}");
    }
    for body in [
        &b"\x05"[..],
        b"\x08\x82",
        &string("true"),
        &string("00"),
        b"\x02\0\0\0\0",
    ] {
        refused::<bool>(body);
    }
    assert_eq!(read(b"\x0f"), Ok(1u8));
    assert_eq!(read(b"\x10"), Ok(0u8));
}

#[test]
fn a_type_that_takes_anything_gets_what_the_image_holds() {
    assert_eq!(read(&string("7")), Ok(json!("7")));
    assert_eq!(read(b"\x08\x87"), Ok(json!(7)));
    assert_eq!(read(b"\x08\x79"), Ok(json!(-7)));
    assert_eq!(read(b"\x0f"), Ok(json!(true)));
    assert_eq!(
        storable::from_slice(&[NATIVE, b"\x07", &7.0f64.to_le_bytes()].concat()),
        Ok(json!(7.0))
    );
}

#[test]
fn undef_becomes_none() {
    assert_eq!(read(b"\x05"), Ok(None::<u8>));
    assert_eq!(read(b"\x04\x04\x05"), Ok(None::<String>));
    assert_eq!(read(b"\x05"), Ok(()));
    assert_eq!(read(b"\x08\x85"), Ok(Some(5)));
    assert_eq!(read(b"\x04\x04\x08\x85"), Ok(Some(Some(5))));
    for wrong in [
        refused::<String>(b"\x05"),
        refused::<u8>(b"\x05"),
        refused::<Vec<u8>>(b"\x05"),
    ] {
        assert!(wrong.contains("found undef, expected"), "{wrong}");
    }
    refused::<()>(b"\x08\x85");
}

/// Takes bytes, and nothing else.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Raw;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Raw, E> {
                Ok(Raw(bytes.to_vec()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

#[test]
fn bytes_are_read_unchanged_and_text_is_decoded() {
    let latin1 = b"\x0a\x04J\xf6rg";
    assert_eq!(read(latin1), Ok("Jörg".to_owned()));
    assert_eq!(read(latin1), Ok(b"J\xf6rg".to_vec()));
    assert_eq!(read(latin1), Ok(*b"J\xf6rg"));
    assert_eq!(read(latin1), Ok(Raw(b"J\xf6rg".to_vec())));

    let utf8 = b"\x0a\x03\xe2\x98\xba";
    assert_eq!(read(utf8), Ok("☺".to_owned()));
    assert_eq!(read(utf8), Ok('☺'));
    assert_eq!(read(utf8), Ok("☺".as_bytes().to_vec()));

    assert_eq!(read(b"\x08\x87"), Ok(Raw(b"7".to_vec())));
    assert_eq!(read(b"\x02\0\0\0\x02\x08\x87\x08\x88"), Ok(vec![7u8, 8]));

    refused::<[u8; 3]>(latin1);
    refused::<[u8; 5]>(latin1);
    for wrong in [
        refused::<Vec<u64>>(latin1),
        refused::<Vec<String>>(latin1),
        refused::<Vec<Json>>(latin1),
    ] {
        assert!(
            wrong.contains("found a string, expected an array"),
            "{wrong}"
        );
    }
}

#[test]
fn text_that_is_not_unicode_is_an_error_only_for_text_types() {
    // A surrogate, and a code point beyond Unicode, as Perl encodes them.
    for bytes in [&b"\xed\xa0\x80"[..], b"\xf4\x90\x80\x80", b"\xff"] {
        let body = [&[23, bytes.len() as u8][..], bytes].concat();
        for error in [
            read::<String>(&body).map(drop),
            read::<Json>(&body).map(drop),
            read::<char>(&body).map(drop),
        ] {
            let error = error.expect_err("no text");
            assert_eq!(
                (error.kind(), error.offset()),
                (DecodeErrorKind::Text, Some(2))
            );
        }
        assert_eq!(read(&body), Ok(bytes.to_vec()));
        assert_eq!(read(&body), Ok(Raw(bytes.to_vec())));
        read::<IgnoredAny>(&body).expect("nobody looks");
    }
}

#[test]
fn a_type_can_borrow_from_an_image() {
    #[derive(Deserialize)]
    struct Login<'a> {
        user: &'a str,
    }
    let bytes = network(b"\x03\0\0\0\x01\x0a\x03ann\0\0\0\x04user");
    let image = Image::parse(&bytes).expect("a hash");
    let login: Login<'_> = image.deserialize().expect("a login");
    assert_eq!(login.user, "ann");
}

#[test]
fn hash_keys_become_the_key_type_of_the_map() {
    let body = b"\x03\0\0\0\x02\x08\x81\0\0\0\x0210\x08\x82\0\0\0\x02-3";
    assert_eq!(read(body), Ok(BTreeMap::from([(10i32, 1), (-3, 2)])));
    assert_eq!(
        read(body),
        Ok(HashMap::from([
            ("10".to_owned(), 1u8),
            ("-3".to_owned(), 2)
        ]))
    );

    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Color {
        Red,
        Blue,
    }
    let body = b"\x03\0\0\0\x02\x08\x81\0\0\0\x03red\x08\x82\0\0\0\x04blue";
    assert_eq!(
        read(body),
        Ok(BTreeMap::from([(Color::Red, 1), (Color::Blue, 2)]))
    );
    assert_eq!(
        read(body),
        Ok(BTreeMap::from([
            (Some("red".to_owned()), 1),
            (Some("blue".to_owned()), 2)
        ]))
    );
    read::<BTreeMap<u8, u8>>(body).expect_err("not numbers");
}

#[derive(Debug, PartialEq, Deserialize)]
enum Choice {
    Plain,
    Wrapped(u8),
    Pair(u8, String),
    Named { a: u8 },
}

#[test]
fn an_enum_is_a_string_or_a_hash_with_one_key() {
    assert_eq!(read(&string("Plain")), Ok(Choice::Plain));
    assert_eq!(
        read(b"\x04\x03\0\0\0\x01\x05\0\0\0\x05Plain"),
        Ok(Choice::Plain)
    );
    assert_eq!(
        read(b"\x03\0\0\0\x01\x08\x87\0\0\0\x07Wrapped"),
        Ok(Choice::Wrapped(7))
    );
    assert_eq!(
        read(b"\x03\0\0\0\x01\x04\x02\0\0\0\x02\x08\x87\x0a\x01x\0\0\0\x04Pair"),
        Ok(Choice::Pair(7, "x".to_owned()))
    );
    assert_eq!(
        read(b"\x03\0\0\0\x01\x04\x03\0\0\0\x01\x08\x87\0\0\0\x01a\0\0\0\x05Named"),
        Ok(Choice::Named { a: 7 })
    );
    for body in [
        &string("Other")[..],
        b"\x03\0\0\0\0",
        b"\x02\0\0\0\0",
        b"\x05",
    ] {
        refused::<Choice>(body);
    }
}

#[test]
fn structs_are_hashes_or_arrays() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Point {
        x: i8,
        #[serde(default)]
        y: i8,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Meters(f64);
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(rename = "x")]
        _x: i8,
    }

    assert_eq!(
        read(b"\x03\0\0\0\x01\x08\x81\0\0\0\x01x"),
        Ok(Point { x: 1, y: 0 })
    );
    assert_eq!(
        read(b"\x02\0\0\0\x02\x08\x81\x08\x82"),
        Ok(Point { x: 1, y: 2 })
    );
    assert_eq!(read(b"\x02\0\0\0\x02\x08\x81\x08\x82"), Ok((1i8, 2u8)));
    assert_eq!(read(b"\x08\x87"), Ok(Meters(7.0)));

    let wrong = refused::<Point>(b"\x03\0\0\0\0");
    assert!(wrong.ends_with("the field `x` is missing"), "{wrong}");
    let wrong = refused::<(u8, u8)>(b"\x02\0\0\0\x03\x08\x81\x08\x82\x08\x83");
    assert!(
        wrong.ends_with("found 3 elements, expected fewer"),
        "{wrong}"
    );
    let wrong = refused::<Strict>(b"\x03\0\0\0\x01\x08\x81\0\0\0\x06secret");
    assert!(
        wrong.ends_with("found an unknown field, expected `x`"),
        "{wrong}"
    );
}

#[test]
fn an_error_names_the_byte_of_the_mismatched_value() {
    let body = b"\x03\0\0\0\x01\x04\x02\0\0\0\x02\x08\x81\x0a\x06secret\0\0\0\x01a";
    let error = read::<HashMap<String, Vec<u8>>>(body).expect_err("a string among the numbers");
    assert_eq!(error.offset(), Some(15));
    assert_eq!(
        error.to_string(),
        "byte 15 of the Storable image: found a string, expected u8"
    );
    assert!(!format!("{error:?}").contains("secret"));
}

#[test]
fn the_message_of_a_refusing_type_is_kept_out_of_the_error_text() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "String")]
    struct Even;

    impl TryFrom<String> for Even {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            Err(format!("`{text}` is not even"))
        }
    }

    let error = read::<Even>(&string("secret")).expect_err("never even");
    assert_eq!(
        error.to_string(),
        "byte 2 of the Storable image: the requested type refuses the value"
    );
    assert_eq!(error.detail(), Some("`secret` is not even"));
    assert!(!format!("{error:?}").contains("secret"));
}
