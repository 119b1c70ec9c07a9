//! A shared value is repeated, a value that contains itself is refused, and neither exceeds the memory
//! limit.

use rocket_session_kit::DecodeErrorKind;
use rocket_session_kit::storable::{self, Image, Kind, Options, from_slice_with};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value as Json, json};

use super::support::network;

/// Returns the body of a back-reference.
fn again(tag: u32) -> Vec<u8> {
    [&[0][..], &tag.to_be_bytes()].concat()
}

/// Returns nested arrays of two references each to the next one: a few bytes for 2^`levels`
/// leaves.
fn laughs(levels: u32) -> Vec<u8> {
    let mut image = network(b"");
    for level in 0..levels {
        image.extend(b"\x02\0\0\0\x02\x04");
        assert!(level < 10_000, "tags are counted below");
    }
    image.extend(b"\x08\x87");
    // Each array takes a tag, and its first reference one; the second reference follows when the
    // first is complete.
    for level in (0..levels).rev() {
        image.push(4);
        image.extend(again(2 * (level + 1)));
    }
    image
}

#[test]
fn shared_data_is_one_node_in_an_image_and_repeated_in_a_value() {
    let bytes = network(
        &[
            &b"\x02\0\0\0\x02\x04\x02\0\0\0\x01\x08\x81\x04"[..],
            &again(2),
        ]
        .concat(),
    );
    let image = Image::parse(&bytes).expect("an array of two");
    let Kind::Array(mut elements) = image.root().kind() else {
        panic!("not an array")
    };
    let (first, second) = (
        elements.next().expect("the first"),
        elements.next().expect("the second"),
    );

    assert_ne!(first, second, "two references");
    assert_eq!(first.referent(), second.referent(), "to one thing");
    assert_eq!(image.deserialize(), Ok(json!([[1], [1]])));
}

#[test]
fn the_same_value_twice_is_no_cycle() {
    // [$x, { a => $x, b => [$x] }], and the number itself shared.
    let body = [
        b"\x02\0\0\0\x02\x04\x02\0\0\0\x01\x08\x81\x04\x03\0\0\0\x02\x04",
        &again(2)[..],
        b"\0\0\0\x01a\x04\x02\0\0\0\x02\x04",
        &again(2),
        &again(3),
        b"\0\0\0\x01b",
    ];
    assert_eq!(
        storable::from_slice(&network(&body.concat())),
        Ok(json!([[1], {"a": [1], "b": [[1], 1]}]))
    );
}

#[test]
fn data_that_contains_itself_is_a_cycle() {
    let cycles = [
        // A reference to itself, two that refer to each other, and one that leads to them.
        [&b"\x04"[..], &again(0)].concat(),
        [&b"\x04\x04"[..], &again(0)].concat(),
        [&b"\x04\x04\x04"[..], &again(1)].concat(),
        [&b"\x02\0\0\0\x01\x04\x04\x04"[..], &again(2)].concat(),
        // An array and a hash that hold themselves, directly and by way of each other.
        [&b"\x02\0\0\0\x01\x04"[..], &again(0)].concat(),
        [&b"\x02\0\0\0\x01"[..], &again(0)].concat(),
        [&b"\x03\0\0\0\x01\x04"[..], &again(0), b"\0\0\0\x01a"].concat(),
        [
            &b"\x03\0\0\0\x01\x04\x02\0\0\0\x01\x1b"[..],
            &again(0),
            b"\0\0\0\x01a",
        ]
        .concat(),
    ];
    for cycle in cycles {
        let bytes = network(&cycle);
        let image = Image::parse(&bytes).expect("a cycle can be walked");
        for error in [
            image.deserialize::<Json>().map(drop),
            image.deserialize::<Option<Json>>().map(drop),
            image.deserialize::<Endless>().map(drop),
        ] {
            assert_eq!(
                error.expect_err("a cycle").kind(),
                DecodeErrorKind::Cycle,
                "{cycle:x?}"
            );
        }
        image.deserialize::<IgnoredAny>().expect("nobody looks");
    }
}

/// A type that can contain itself in every way in which an image can.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Endless {
    Many(Vec<Endless>),
    Named { a: Box<Endless> },
}

#[test]
fn references_through_long_chains_resolve_in_linear_time() {
    // A long chain, to which many references lead: each would take as long as the chain.
    let (length, count) = (100_000, 100_000u32);
    let chain = [&vec![4; length][..], b"\x08\x87"].concat();
    let more = [&b"\x04"[..], &again(1)].concat().repeat(count as usize);
    let bytes = network(&[&b"\x02"[..], &(count + 1).to_be_bytes(), &chain, &more].concat());
    let image = Image::parse(&bytes).expect("an array of references");
    let Kind::Array(elements) = image.root().kind() else {
        panic!("not an array")
    };
    for element in elements {
        let end = element.referent().expect("there is an end");
        assert!(matches!(end.kind(), Kind::Integer(7)));
    }

    // References into a circle, from inside and outside.
    let circle = [
        &b"\x02\0\0\0\x03\x04\x04\x04"[..],
        &again(2),
        b"\x04",
        &again(1),
        b"\x04",
        &again(3),
    ]
    .concat();
    let bytes = network(&circle);
    let image = Image::parse(&bytes).expect("an array of references");
    let Kind::Array(elements) = image.root().kind() else {
        panic!("not an array")
    };
    assert_eq!(
        elements
            .map(|element| element.referent())
            .collect::<Vec<_>>(),
        [None; 3]
    );

    // A reference that is still open when another one refers to it, and that still has an end.
    let open = [&b"\x04\x02\0\0\0\x01\x04"[..], &again(0)].concat();
    let bytes = network(&open);
    let image = Image::parse(&bytes).expect("an array that contains itself");
    let array = image.root().referent().expect("the array");
    let Kind::Array(mut elements) = array.kind() else {
        panic!("not an array")
    };
    assert_eq!(elements.next().expect("an element").referent(), Some(array));
}

#[test]
fn a_type_that_ignores_the_cyclic_field_is_read() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Child {
        name: String,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    struct Parent {
        children: Vec<Child>,
    }
    // { children => [{ name => "ann", parent => weak reference to the whole }] }
    let body = [
        &b"\x03\0\0\0\x01\x04\x02\0\0\0\x01\x04\x03\0\0\0\x02\x0a\x03ann\0\0\0\x04name\x1b"[..],
        &again(0),
        b"\0\0\0\x06parent\0\0\0\x08children",
    ];
    let image = network(&body.concat());
    let parent = Parent {
        children: vec![Child {
            name: "ann".to_owned(),
        }],
    };
    assert_eq!(storable::from_slice(&image), Ok(parent));
    assert_eq!(
        storable::from_slice::<Json>(&image)
            .expect_err("a cycle")
            .kind(),
        DecodeErrorKind::Cycle
    );
}

#[test]
fn exponential_repetition_is_an_error() {
    assert_eq!(
        storable::from_slice(&laughs(2)),
        Ok(json!([[7, 7], [7, 7]]))
    );
    storable::from_slice::<Json>(&laughs(8)).expect("256 leaves");

    for levels in [20, 64, 500] {
        let image = laughs(levels);
        Image::parse(&image).expect("an image takes no more than its size");
        let error = storable::from_slice::<Json>(&image).expect_err("too many leaves");
        assert_eq!(error.kind(), DecodeErrorKind::Growth, "{levels}");
    }
    storable::from_slice::<IgnoredAny>(&laughs(500)).expect("nobody looks");
}

#[test]
fn repeated_text_and_keys_count_towards_the_growth_limit() {
    let count = 10_000u32;
    let many = |first: &[u8], tag| {
        let each = [&b"\x04"[..], &again(tag)].concat();
        let head = [&b"\x02"[..], &(count + 1).to_be_bytes(), b"\x04"].concat();
        network(&[&head[..], first, &each.repeat(count as usize)].concat())
    };
    let text = [&b"\x01\0\x01\0\0"[..], &[b'x'; 65_536]].concat();
    let key = [&b"\x03\0\0\0\x01\x05\0\x01\0\0"[..], &[b'x'; 65_536]].concat();
    let nothing = [&b"\x02\0\0\xff\xff"[..], &[5; 65_535]].concat();

    for (what, first) in [("text", text), ("key", key), ("nothing", nothing)] {
        let image = many(&first, 2);
        for error in [
            storable::from_slice::<Json>(&image).map(drop),
            storable::from_slice::<Vec<Option<Json>>>(&image).map(drop),
        ] {
            assert_eq!(
                error.expect_err(what).kind(),
                DecodeErrorKind::Growth,
                "{what}"
            );
        }
        from_slice_with::<Vec<IgnoredAny>>(&image, Options::new()).expect("nobody looks");
    }

    let ignored = many(&[&b"\x02\0\0\xff\xff"[..], &[5; 65_535]].concat(), 2);
    let error = storable::from_slice::<Vec<Vec<IgnoredAny>>>(&ignored).expect_err("655 million");
    assert_eq!(error.kind(), DecodeErrorKind::Growth);
}

#[test]
fn an_image_without_sharing_is_read_unless_mostly_empty() {
    let count = 20_000u32;
    let image = |each: &[u8]| {
        network(
            &[
                &b"\x02"[..],
                &count.to_be_bytes(),
                &each.repeat(count as usize),
            ]
            .concat(),
        )
    };
    for each in [
        &b"\x08\x87"[..],
        b"\x04\x04\x05",
        b"\x0a\x05hello",
        b"\x04\x03\0\0\0\x01\x05\0\0\0\x05hello",
        b"\x11\x06Regexp\x20\0\x02ab\x01i",
    ] {
        let image = image(each);
        storable::from_slice::<Json>(&image).expect("64 times the image");
        storable::from_slice::<Vec<Option<Json>>>(&image).expect("64 times the image");
    }
    for each in [&b"\x05"[..], b"\x03\0\0\0\x01\x05\0\0\0\0"] {
        let error = storable::from_slice::<Json>(&image(each)).expect_err("more than that");
        assert_eq!(error.kind(), DecodeErrorKind::Growth);
    }
    let none = Options::new().max_growth(0);
    let error = from_slice_with::<Json>(&image(b"\x05"), none).expect_err("nothing is allowed");
    assert_eq!(error.kind(), DecodeErrorKind::Growth);
}

#[test]
fn trailing_bytes_are_an_error_unless_allowed() {
    let image = network(b"\x08\x85\n");
    let error = storable::from_slice::<u8>(&image).expect_err("a line feed");
    assert_eq!(
        (error.kind(), error.offset()),
        (DecodeErrorKind::TrailingBytes, Some(4))
    );
    assert_eq!(
        from_slice_with(&image, Options::new().trailing_bytes(true)),
        Ok(5u8)
    );
}

#[test]
fn no_debug_output_shows_the_content_of_an_image() {
    let bytes = network(b"\x03\0\0\0\x01\x0a\x06secret\0\0\0\x08password");
    let image = Image::parse(&bytes).expect("a hash");
    let Kind::Hash(entries) = image.root().kind() else {
        panic!("not a hash")
    };
    let entry = entries.clone().next().expect("an entry");
    let shown = format!(
        "{image:?} {:?} {:?} {entries:?} {entry:?} {:?}",
        image.root(),
        image.root().kind(),
        entry.1.kind()
    );
    assert!(
        !shown.contains("secret") && !shown.contains("password"),
        "{shown}"
    );
}
