//! However deep an image is nested, it can be read, copied and dropped. A Rust value made from it has a
//! limited depth, which fits on the stack.

use std::collections::BTreeMap;
use std::thread;

use rocket_session_kit::storable::{Image, Kind, Options, from_slice_with};
use rocket_session_kit::{DecodeError, DecodeErrorKind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::support::network;

/// The stack of a worker thread.
const STACK: usize = 2 * 1024 * 1024;

/// Ways to nest: the start of a level, its end, and the number of levels that it counts as.
const WAYS: [(&[u8], &[u8], usize); 6] = [
    (b"\x04", b"", 1),
    (b"\x04\x02\0\0\0\x01", b"", 2),
    (b"\x04\x03\0\0\0\x01", b"\0\0\0\x01a", 2),
    (b"\x14\x11\x03Foo\x19\0\0\0\0\x01", b"\0\0\0\0\x01a", 2),
    (b"\x02\0\0\0\x01", b"", 2),
    (b"\x03\0\0\0\x01", b"\0\0\0\x01a", 2),
];

fn nested(open: &[u8], close: &[u8], times: usize) -> Vec<u8> {
    network(&[&open.repeat(times)[..], b"\x05", &close.repeat(times)].concat())
}

fn on_a_small_stack<T: Send + 'static>(
    stack: usize,
    act: impl FnOnce() -> T + Send + 'static,
) -> T {
    let thread = thread::Builder::new()
        .stack_size(stack)
        .spawn(act)
        .expect("a thread can be started");
    thread.join().expect("the thread ends well")
}

#[test]
fn an_image_nested_two_hundred_thousand_deep_takes_no_stack() {
    for (open, close, _) in WAYS {
        on_a_small_stack(64 * 1024, move || {
            let bytes = nested(open, close, 200_000);
            let image = Image::parse(&bytes).expect("the image is right");
            let copy = image.clone();
            drop(image);

            // To the innermost, and the text of everything on the way.
            let (mut value, mut depth) = (copy.root(), 0);
            loop {
                assert!(!format!("{value:?} {:?}", value.kind()).is_empty());
                value = match value.kind() {
                    Kind::Reference(target) => target,
                    Kind::Array(mut elements) => elements.next().expect("one element"),
                    Kind::Hash(mut entries) => entries.next().expect("one entry").1,
                    _ => break,
                };
                depth += 1;
            }
            assert!(depth >= 200_000);
        });
    }
}

#[test]
fn the_default_depth_fits_a_worker_threads_stack() {
    for (open, close, levels) in WAYS {
        for more in [0, 1, 100_000] {
            let image = nested(open, close, 1_024 / levels + more);
            on_a_small_stack(STACK, move || {
                let expected = if more == 0 {
                    Ok(())
                } else {
                    Err(DecodeErrorKind::Depth)
                };
                assert_eq!(read::<Json>(&image), expected, "{open:x?} and {more} more");
                assert_eq!(
                    read::<Endless>(&image).is_ok(),
                    more == 0,
                    "{open:x?} and {more} more"
                );
                // It has a level more for each `Some`, and refuses arrays.
                let _ = read::<Linked>(&image);
            });
        }
    }
}

fn read<T: DeserializeOwned>(image: &[u8]) -> Result<(), DecodeErrorKind> {
    from_slice_with::<T>(image, Options::new())
        .map(drop)
        .map_err(|error| error.kind())
}

/// It takes more stack than most types, because serde keeps the input to try it again.
#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code)]
enum Endless {
    Named { a: Box<Endless> },
    Many(Vec<Endless>),
    Leaf(Option<u8>),
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Linked {
    a: Option<Box<Linked>>,
}

/// A type that wraps itself forever, whatever the image.
#[derive(Debug, Deserialize)]
#[allow(dead_code)]
struct Wrapped(Option<Box<Wrapped>>);

/// The same for keys only.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[allow(dead_code)]
struct Key(Option<Box<Key>>);

#[test]
fn a_type_that_wraps_itself_endlessly_is_an_error() {
    on_a_small_stack(STACK, || {
        let image = network(b"\x02\0\0\0\0");
        assert_eq!(read::<Wrapped>(&image), Err(DecodeErrorKind::Depth));
        let image = network(b"\x03\0\0\0\x01\x05\0\0\0\x01a");
        assert_eq!(
            read::<BTreeMap<Key, Json>>(&image),
            Err(DecodeErrorKind::Depth)
        );
    });
}

#[test]
fn wrappers_of_the_rust_type_count_as_levels() {
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    struct Meters(u8);
    let with = |levels| Options::new().max_depth(levels);
    let depth = |result: Result<(), DecodeError>| result.expect_err("one too deep").kind();

    let number = network(b"\x08\x87");
    assert_eq!(from_slice_with(&number, with(2)), Ok(Some(Some(7))));
    assert_eq!(
        depth(from_slice_with::<Option<Option<u8>>>(&number, with(1)).map(drop)),
        DecodeErrorKind::Depth
    );
    assert_eq!(from_slice_with(&number, with(2)), Ok(Some(Meters(7))));
    assert_eq!(
        depth(from_slice_with::<Option<Meters>>(&number, with(1)).map(drop)),
        DecodeErrorKind::Depth
    );

    let hash = network(b"\x03\0\0\0\x01\x05\0\0\0\x017");
    let keyed = |key| BTreeMap::from([(key, ())]);
    assert_eq!(from_slice_with(&hash, with(3)), Ok(keyed(Some(Meters(7)))));
    assert_eq!(
        depth(from_slice_with::<BTreeMap<Option<Meters>, ()>>(&hash, with(2)).map(drop)),
        DecodeErrorKind::Depth
    );
}

#[test]
fn the_default_depth_of_perl_is_not_too_deep() {
    // Storable nests at most 511 arrays, 255 hashes and 512 references.
    let arrays = network(&[&b"\x02\0\0\0\x01\x04".repeat(510)[..], b"\x02\0\0\0\0"].concat());
    let hashes = network(
        &[
            &b"\x03\0\0\0\x01\x04".repeat(254)[..],
            b"\x05",
            &b"\0\0\0\x01a".repeat(254),
        ]
        .concat(),
    );
    let references = network(&[&[4; 512][..], b"\x05"].concat());
    for image in [arrays, hashes, references] {
        on_a_small_stack(STACK, move || assert_eq!(read::<Json>(&image), Ok(())));
    }
}

#[test]
fn the_depth_is_counted_and_can_be_set() {
    for (open, close, levels) in WAYS {
        // An array or hash at the very root has no reference before it.
        let root = if open[0] == 2 || open[0] == 3 { 1 } else { 0 };
        let image = nested(open, close, 10);
        let limit = 10 * levels - root;

        from_slice_with::<Json>(&image, Options::new().max_depth(limit)).expect("just deep enough");
        let error = from_slice_with::<Json>(&image, Options::new().max_depth(limit - 1))
            .expect_err("too deep by one");
        assert_eq!(error.kind(), DecodeErrorKind::Depth, "{open:x?}");
    }

    let image = nested(b"\x04\x02\0\0\0\x01", b"", 20_000);
    on_a_small_stack(256 * 1024 * 1024, move || {
        let deep = Options::new().max_depth(40_000);
        let value: Json = from_slice_with(&image, deep).expect("a large stack and a high limit");
        drop(value);
    });
}
