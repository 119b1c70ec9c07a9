//! Small images, made by Perl 5.36 or by hand, one for each kind of value.

use rocket_session_kit::DecodeErrorKind;
use rocket_session_kit::storable::{self, Image, Kind, Refused};
use serde_json::{Value as Json, json};

use super::support::{NATIVE, NETWORK, hex, network};

#[test]
fn every_kind_of_value_is_read() {
    let known = [
        // Integers: a byte, then four bytes, then a string.
        ("050b0885", json!(5)),
        ("050b08ff", json!(127)),
        ("050b0800", json!(-128)),
        ("050b0880", json!(0)),
        ("050b0900000080", json!(128)),
        ("050b09ffffff7f", json!(-129)),
        ("050b0a0a32313437343833363438", json!("2147483648")),
        // Floating-point numbers, as strings in network order.
        ("050b0a03312e35", json!("1.5")),
        ("050b0a03496e66", json!("Inf")),
        // Strings: bytes, text, and bytes in Latin-1.
        ("050b0a03616263", json!("abc")),
        ("050b0a00", json!("")),
        ("050b1703e298ba", json!("☺")),
        ("050b0a044af67267", json!("Jörg")),
        ("050b0100000003616263", json!("abc")),
        ("050b1800000003e298ba", json!("☺")),
        // Undef in three forms, and the old and the new booleans.
        ("050b05", json!(null)),
        ("050b0e", json!(null)),
        ("050b1f", json!(null)),
        ("050b0f", json!(true)),
        ("050b10", json!(false)),
        ("050c22", json!(true)),
        ("050c23", json!(false)),
        ("050b0a0131", json!("1")),
        // Arrays and hashes.
        ("050b020000000208810882", json!([1, 2])),
        ("050b0200000000", json!([])),
        ("050b030000000108810000000161", json!({"a": 1})),
        ("050b0300000000", json!({})),
        ("050b19000000000108810100000003e298ba", json!({"☺": 1})),
        // A key in Latin-1 that was text: `Ã©`, not `é`.
        ("050b19000000000108810200000002c3a9", json!({"Ã©": 1})),
        // A restricted hash with a locked key, and one with a key that is only allowed.
        ("050b1901000000010881040000000161", json!({"a": 1})),
        (
            "050b19010000000208810400000001610e100000000162",
            json!({"a": 1}),
        ),
        // References: plain, to a reference, weak, overloaded, both, and shared.
        ("050b040885", json!(5)),
        ("050b04040885", json!(5)),
        ("050b1b0885", json!(5)),
        ("050b14110341626302000000010881", json!([1])),
        ("050b1c0885", json!(5)),
        (
            "050b02000000020402000000010881040000000002",
            json!([[1], [1]]),
        ),
        // An object, one of the same class, one of a class with a long name, and one blessed twice.
        ("050b1103466f6f0200000000", json!([])),
        (
            "050b0200000002041103466f6f02000000000412000300000000",
            json!([[], {}]),
        ),
        ("050b118000000003466f6f0885", json!(5)),
        ("050b1103466f6f11034261720885", json!(5)),
        // A version string, short and long, and a regular expression, short and long.
        ("050b1d0676312e322e330a03010203", json!("\u{1}\u{2}\u{3}")),
        (
            "050b1e0000000676312e322e330a03010203",
            json!("\u{1}\u{2}\u{3}"),
        ),
        ("050b110652656765787020000361622b0169", json!("(?^i:ab+)")),
        (
            "050b110652656765787020010000000361622b00",
            json!("(?^:ab+)"),
        ),
        // The last of several values with one key.
        (
            "050b0300000003088100000001610882000000016208830000000161",
            json!({"b": 2, "a": 3}),
        ),
    ];
    for (image, value) in known {
        let found = storable::from_slice::<Json>(&hex(image));
        assert_eq!(found, Ok(value), "{image}");
    }
}

#[test]
fn native_numbers_of_every_machine_are_read() {
    /// The start of an image on each machine, and its bytes of an integer, a double and a length.
    type Machine = (
        &'static [u8],
        fn(i64) -> Vec<u8>,
        fn(f64) -> [u8; 8],
        fn(u32) -> [u8; 4],
    );
    let little = |n: i64| n.to_le_bytes().to_vec();
    let big = |n: i64| n.to_be_bytes().to_vec();
    let machines: [Machine; 4] = [
        (
            b"\x04\x0b\x041234\x04\x04\x04\x08",
            |n| (n as i32).to_le_bytes().to_vec(),
            f64::to_le_bytes,
            u32::to_le_bytes,
        ),
        (
            b"\x04\x0b\x044321\x04\x04\x04\x08",
            |n| (n as i32).to_be_bytes().to_vec(),
            f64::to_be_bytes,
            u32::to_be_bytes,
        ),
        (NATIVE, little, f64::to_le_bytes, u32::to_le_bytes),
        (
            b"\x04\x0b\x0887654321\x04\x08\x08\x08",
            big,
            f64::to_be_bytes,
            u32::to_be_bytes,
        ),
    ];
    for (head, integer, double, length) in machines {
        // An array of an integer, a double, the first element again, a big-endian integer and a
        // long string. The number of an object is big-endian on every machine.
        let body = [
            &[2][..],
            &length(5),
            &[6],
            &integer(-1_234_567),
            &[7],
            &double(0.1),
            b"\0\0\0\0\x01",
            b"\x09\xff\xff\xff\x7f",
            &[1],
            &length(3),
            b"abc",
        ];
        for prefix in [&b""[..], b"pst0"] {
            let image = [prefix, head, &body.concat()].concat();
            let value = json!([-1_234_567, 0.1, -1_234_567, -129, "abc"]);
            assert_eq!(
                storable::from_slice::<Json>(&image),
                Ok(value),
                "{image:x?}"
            );
        }
    }
}

#[test]
fn an_image_with_long_doubles_is_read_if_the_doubles_convert() {
    let head = b"\x04\x0b\x0812345678\x04\x08\x08\x10";
    let x87 = b"\x07\xcd\xcc\xcc\xcc\xcc\xcc\xcc\xfc\x01\x40\0\0\0\0\0\0";
    let quadruple = b"\x07\x9a\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\x99\xf9\x01\x40";

    assert_eq!(
        storable::from_slice(&[&head[..], b"\x08\x85"].concat()),
        Ok(5)
    );
    assert_eq!(storable::from_slice(&[&head[..], x87].concat()), Ok(7.9));

    let error =
        storable::from_slice::<f64>(&[&head[..], quadruple].concat()).expect_err("a quadruple");
    assert_eq!(
        (error.kind(), error.offset()),
        (DecodeErrorKind::Number, Some(16))
    );
}

#[test]
fn native_numbers_are_refused_in_network_order() {
    for body in [&b"\x06\0\0\0\0\0\0\0\x01"[..], b"\x07\0\0\0\0\0\0\0\0"] {
        let error = Image::parse(&network(body)).expect_err("of unknown layout");
        assert_eq!(
            (error.kind(), error.offset()),
            (DecodeErrorKind::Number, Some(3))
        );
    }
}

#[test]
fn constructs_that_need_perl_are_refused_by_name() {
    let refused = [
        (
            "13420200000002088108828202486b036162630100000001",
            Refused::Hook,
        ),
        ("1a0a077b2031203b7d20", Refused::Code),
        ("0b1103466f6f0300000000", Refused::TiedArray),
        ("0c1103466f6f0300000000", Refused::TiedHash),
        ("0d1103466f6f0300000000", Refused::TiedScalar),
        ("151103466f6f03000000000a0161", Refused::TiedKey),
        ("161103466f6f020000000000000001", Refused::TiedIndex),
        ("21010000000080000000", Refused::LargeObject),
    ];
    for (body, what) in refused {
        for (before, at) in [
            (&b""[..], 2),
            (b"\x02\0\0\0\x01\x04", 8),
            (b"\x11\x03Foo", 7),
        ] {
            let image = [NETWORK, before, &hex(body)].concat();
            let error = Image::parse(&image).expect_err("cannot be read without Perl");
            assert_eq!(
                (error.kind(), error.offset()),
                (DecodeErrorKind::Refused(what), Some(at)),
                "{body}"
            );
        }
    }

    // A hash key that is an object of its own.
    let error = Image::parse(&network(b"\x19\0\0\0\0\x01\x08\x81\x08\x0a\x01a"))
        .expect_err("a key that is an object");
    assert_eq!(
        (error.kind(), error.offset()),
        (DecodeErrorKind::Refused(Refused::KeyObject), Some(10))
    );
}

#[test]
fn unknown_format_bytes_are_an_error() {
    let wrong = [
        ("24", DecodeErrorKind::Opcode, 2),
        ("69", DecodeErrorKind::Opcode, 2),
        ("ff", DecodeErrorKind::Opcode, 2),
        ("0000000000", DecodeErrorKind::Tag, 2),
        ("02000000010000000001", DecodeErrorKind::Tag, 7),
        ("02000000010080000000", DecodeErrorKind::Tag, 7),
        ("12000885", DecodeErrorKind::Class, 3),
        ("1103466f6f12010885", DecodeErrorKind::Class, 8),
        ("1103466f6f12ff800000000885", DecodeErrorKind::Class, 8),
        ("088500", DecodeErrorKind::TrailingBytes, 4),
        // A count that is one too large, and the largest count without the elements.
        ("02000000030881", DecodeErrorKind::Length, 3),
        ("02000000020881", DecodeErrorKind::Truncated, 9),
        ("03000000020500000000", DecodeErrorKind::Length, 3),
        (
            "19000000000205000000000000000000",
            DecodeErrorKind::Length,
            4,
        ),
    ];
    for (body, kind, at) in wrong {
        let error = Image::parse(&network(&hex(body))).expect_err("wrong");
        assert_eq!((error.kind(), error.offset()), (kind, Some(at)), "{body}");
    }
}

#[test]
fn an_image_can_be_inspected_without_a_target_type() {
    let image = network(&hex("110652656765787020000361622b0169"));
    let image = Image::parse(&image).expect("a regular expression");
    let Kind::Regexp { pattern, flags } = image.root().kind() else {
        panic!("not a regular expression")
    };
    assert_eq!((pattern.bytes(), flags.bytes()), (&b"ab+"[..], &b"i"[..]));
    assert_eq!(image.root().class().as_deref(), Some("Regexp"));

    let image = network(b"\x03\0\0\0\x01\x04\x03\0\0\0\x01\x08\x87\0\0\0\x01b\0\0\0\x01a");
    let image = Image::parse(&image).expect("a hash");
    let inside = image
        .root()
        .get("a")
        .and_then(|value| value.get("b"))
        .expect("both keys");
    assert!(matches!(inside.kind(), Kind::Integer(7)));
    assert_eq!(image.root().get("b"), None);
    assert_eq!(inside.get("b"), None);
    assert_eq!(inside.class(), None);
}
