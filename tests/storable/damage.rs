//! A damaged image, by accident or by design, causes an error and nothing else.

use std::fs;

use rocket_session_kit::storable::{Image, Options};
use rocket_session_kit::{DecodeError, DecodeErrorKind};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::support::{NATIVE, NETWORK, hex, samples};

/// Reads an image completely, and examines the error if there is one.
fn read(image: &[u8]) -> Result<(), DecodeError> {
    let parsed = Image::parse(image).inspect_err(|error| check(error, image))?;
    as_type::<Json>(&parsed, image);
    as_type::<Vec<Option<String>>>(&parsed, image);
    Ok(())
}

fn as_type<T: DeserializeOwned>(parsed: &Image<'_>, image: &[u8]) {
    if let Err(error) = parsed.deserialize::<T>() {
        check(&error, image);
    }
}

fn check(error: &DecodeError, image: &[u8]) {
    assert!(
        error.offset().is_some_and(|offset| offset <= image.len()),
        "{error}"
    );
}

/// The bodies of small images of everything that has a length, in hexadecimal. `L` is the length in
/// question if it has four bytes, `l` if it has one. `N` is another one, of four bytes, that is 1.
const LENGTHS: [&str; 14] = [
    "01L616263",
    "0al616263",
    "18L616263",
    "17l616263",
    "02L0881",
    "03L0881N61",
    "03N0881L61",
    "1900L088100N61",
    "1900N088100L61",
    "11l466f6f0885",
    "1180L466f6f0885",
    "1dl76310a0131",
    "1eL76310a0131",
    "2000l61620169",
];

#[test]
fn every_image_cut_short_is_an_error() {
    let mut cuts = 0;
    for sample in samples() {
        let image = sample.image;
        if matches!(sample.case, 37..=45) {
            continue;
        }
        for length in 0..image.len() {
            let error = read(&image[..length]).expect_err("not the whole image");
            let known = match error.kind() {
                DecodeErrorKind::Truncated | DecodeErrorKind::Length => true,
                // A part of the magic number is no image.
                DecodeErrorKind::NotAnImage => length < 4 && image.starts_with(b"pst0"),
                _ => false,
            };
            assert!(known, "{}: {error}", sample.path.display());
            cuts += 1;
        }
    }
    assert!(cuts > 50_000, "{cuts}");
}

#[test]
fn every_image_with_a_byte_changed_is_read_or_is_an_error() {
    let mut changes = 0;
    for sample in samples() {
        let mut image = sample.image;
        // All values for short images; for the others, values that are lengths, opcodes and flags.
        let some = [0x00, 0x01, 0x04, 0x13, 0x19, 0x20, 0x7f, 0x80, 0xff];
        let all: Vec<u8> = (0..=255).collect();
        let values = if image.len() < 32 {
            &all[..]
        } else {
            &some[..]
        };
        for at in 0..image.len() {
            let original = image[at];
            for value in values {
                image[at] = *value;
                let _ = read(&image);
                changes += 1;
            }
            image[at] = original;
        }
    }
    assert!(changes > 2_000_000, "{changes}");
}

#[test]
fn every_image_with_a_byte_more_or_less_is_read_or_is_an_error() {
    for sample in samples()
        .into_iter()
        .filter(|sample| sample.image.len() < 200)
    {
        for at in 0..sample.image.len() {
            let (before, after) = sample.image.split_at(at);
            let _ = read(&[before, &after[1..]].concat());
            for more in [0x00, 0x04, 0x80, 0xff] {
                let _ = read(&[before, &[more], after].concat());
            }
        }
        let error = read(&[&sample.image[..], b"\0"].concat()).expect_err("a byte after the end");
        assert!(matches!(
            error.kind(),
            DecodeErrorKind::TrailingBytes | DecodeErrorKind::Refused(_)
        ));
        let trailing = [&sample.image[..], b"\0"].concat();
        let allowed = Image::parse_with(&trailing, Options::new().trailing_bytes(true));
        assert_eq!(allowed.is_ok(), Image::parse(&sample.image).is_ok());
    }
}

#[test]
fn every_wrong_length_is_an_error() {
    type Length = fn(u32) -> [u8; 4];
    let machines: [(&[u8], Length); 3] = [
        (NETWORK, u32::to_be_bytes),
        (NATIVE, u32::to_le_bytes),
        (b"\x04\x0b\x044321\x04\x04\x04\x08", u32::to_be_bytes),
    ];
    for (head, bytes) in machines {
        for template in LENGTHS {
            let one: String = bytes(1).iter().map(|byte| format!("{byte:02x}")).collect();
            let template = template.replace('N', &one);
            let long = template.contains('L');
            let (before, after) = template.split_once(['L', 'l']).expect("each has a length");
            let at = head.len() + before.len() / 2;
            let image = |length: u32| {
                let length = if long {
                    bytes(length).to_vec()
                } else {
                    vec![length as u8]
                };
                [head, &hex(before), &length, &hex(after)].concat()
            };

            let right = (0..=255)
                .filter(|length| Image::parse(&image(*length)).is_ok())
                .count();
            assert_eq!(right, 1, "{template} has one right length");
            let too_long: &[u32] = match long {
                true => &[
                    0x7fff_fffe,
                    0x7fff_ffff,
                    0x8000_0000,
                    0xffff_fffe,
                    0xffff_ffff,
                ],
                // With its highest bit set, the length of a class name follows in four bytes.
                false if template.starts_with("11") => &[0x7e, 0x7f],
                false => &[0x7f, 0x80, 0xfe, 0xff],
            };
            for length in too_long.iter().copied() {
                let error = read(&image(length)).expect_err("longer than the image");
                assert_eq!(
                    (error.kind(), error.offset()),
                    (DecodeErrorKind::Length, Some(at)),
                    "{template}"
                );
            }
        }
    }
}

#[test]
fn every_corpus_file_of_the_fuzzer_is_read_or_is_an_error() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/storable");
    let mut inputs = 0;
    for entry in fs::read_dir(corpus).expect("the corpus is there") {
        let path = entry.expect("the corpus can be read").path();
        let _ = read(&fs::read(path).expect("an input can be read"));
        inputs += 1;
    }
    assert!(inputs > 100, "{inputs}");
}

#[test]
fn bytes_that_are_no_image_are_an_error() {
    assert_eq!(
        read(b"").expect_err("nothing").kind(),
        DecodeErrorKind::Truncated
    );
    assert_eq!(
        read(b"{\"user\":\"ann\"}").expect_err("JSON").kind(),
        DecodeErrorKind::NotAnImage
    );
    assert_eq!(
        read(b"BQsDAAAA").expect_err("Base64").kind(),
        DecodeErrorKind::NotAnImage
    );
    assert_eq!(
        read(b"\x80\x04K\x01.").expect_err("a pickle").kind(),
        DecodeErrorKind::NotAnImage
    );
    for first in 0..=255 {
        for second in 0..=255 {
            let _ = read(&[first, second]);
            let _ = read(&[first, second, 4, b'1', b'2', b'3', b'4', 4, 4, 4, 8, 5]);
        }
    }
}

#[test]
fn random_images_are_read_or_are_errors() {
    // A xorshift generator: the same images every time.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..200_000 {
        let length = next() % 40;
        // Small numbers are likely, because they are opcodes and lengths.
        let body: Vec<u8> = (0..length)
            .map(|_| {
                if next() % 4 == 0 {
                    next() as u8
                } else {
                    next() as u8 % 37
                }
            })
            .collect();
        let head = if next() % 2 == 0 { NETWORK } else { NATIVE };
        let _ = read(&[head, &body].concat());
    }
}
