//! The memory that an image of Perl's Storable takes, whatever it contains. This is a separate binary,
//! because it counts every allocated byte.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rocket_session_kit::storable::{Image, from_slice};
use rocket_session_kit::{DecodeError, DecodeErrorKind};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The largest memory for the value and for the decoding, as a multiple of the image's size.
const TIMES: usize = 64;

/// Returns an image of a quarter of a megabyte: an array that repeats `each`.
fn array(each: &[u8]) -> Vec<u8> {
    let count = 250_000 / each.len();
    let length = u32::try_from(count).unwrap();
    let head = [&b"\x05\x0b\x02"[..], &length.to_be_bytes()].concat();
    [&head, &each.repeat(count)[..]].concat()
}

/// Returns an image of a hash with so many keys.
fn hash(keys: u32) -> Vec<u8> {
    let mut image = [&b"\x05\x0b\x03"[..], &keys.to_be_bytes()].concat();
    for key in 0..keys {
        image.extend(b"\x05\0\0\0\x03");
        image.extend(&key.to_be_bytes()[1..]);
    }
    image
}

/// Returns the most bytes that were allocated at once while `image` became a JSON value.
fn peak(image: &[u8]) -> (usize, Result<(), DecodeError>) {
    let profiler = dhat::Profiler::builder().testing().build();
    let before = dhat::HeapStats::get().curr_bytes;
    let read = from_slice::<serde_json::Value>(image).map(drop);
    let peak = dhat::HeapStats::get().max_bytes - before;
    drop(profiler);
    (peak, read)
}

#[test]
fn an_image_takes_at_most_64_times_its_size() {
    let repeated = |thing: &[u8]| {
        let back = [&b"\0"[..], &1_u32.to_be_bytes()].concat();
        let length = 1_u32 + 50_000;
        let head = [&b"\x05\x0b\x02"[..], &length.to_be_bytes()].concat();
        [&head, thing, &back.repeat(50_000)[..]].concat()
    };
    // An array of back-references to one hash, and back-references to that array.
    let twice = {
        let mut image =
            b"\x05\x0b\x02\0\0\xc3\x52\x03\0\0\0\x01\x05\0\0\0\0\x02\0\0\0\x80".to_vec();
        image.extend([&b"\0\0\0\0\x01"[..]; 128].concat());
        image.extend([&b"\0\0\0\0\x03"[..]; 50_000].concat());
        image
    };
    let references = [&b"\x05\x0b"[..], &[4; 250_000], b"\x05"].concat();
    let mixed: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| {
            [
                &b"\x04\x03\0\0\0\x01\x04\x02\0\0\0\x01\x0a\x03"[..],
                &n.to_be_bytes()[1..],
                b"\0\0\0\x04name",
            ]
            .concat()
        })
        .collect();
    let mixed = [&b"\x05\x0b\x02"[..], &20_000_u32.to_be_bytes(), &mixed].concat();
    // Whether it can be read or not, it takes no more than that.
    let images = [
        ("integers", array(b"\x08\x81"), true),
        ("words", array(b"\x0a\x05hello"), true),
        ("latin-1", array(b"\x0a\x05h\xe9llo"), true),
        (
            "long text",
            array(&[b"\x01\0\x01\0\0", &[b'\xe9'; 65_536][..]].concat()),
            true,
        ),
        (
            "hashes of one",
            array(b"\x04\x03\0\0\0\x01\x08\x81\0\0\0\x01a"),
            true,
        ),
        ("arrays of one", array(b"\x04\x02\0\0\0\x01\x08\x81"), true),
        ("a large hash", hash(30_000), true),
        ("a mixture", mixed, true),
        (
            "the tiniest hashes",
            array(b"\x03\0\0\0\x01\x05\0\0\0\0"),
            false,
        ),
        ("nothing", array(b"\x05"), true),
        ("references", references, false),
        (
            "a hash repeated",
            repeated(b"\x03\0\0\0\x01\x05\0\0\0\0"),
            false,
        ),
        ("an array of a hash repeated", twice, false),
        (
            "an array repeated",
            repeated(&[&b"\x02\0\0\x01\0"[..], &[5; 256]].concat()),
            false,
        ),
        (
            "text repeated",
            repeated(&[&b"\x01\0\0\x01\0"[..], &[b'\xe9'; 256]].concat()),
            false,
        ),
    ];
    let mut wrong = Vec::new();
    for (what, image, fits) in images {
        let (peak, read) = peak(&image);
        let times = peak as f64 / image.len() as f64;
        let read = read.map_err(|error| error.kind());
        println!(
            "{what}: {times:.1} times its {} bytes, {read:?}",
            image.len()
        );
        let told = match read {
            Ok(()) => fits,
            Err(kind) => !fits && matches!(kind, DecodeErrorKind::Growth | DecodeErrorKind::Depth),
        };
        if peak > TIMES * image.len() || !told {
            wrong.push(format!("{what}: {times:.1} times, {read:?}"));
        }
        assert!(Image::parse(&image).is_ok(), "{what} can be walked");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
