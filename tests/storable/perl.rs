//! This reader and a real Perl read the same from ten thousand random structures that Perl froze.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::process::Command;
use std::thread;

use rocket_session_kit::storable::{Image, Kind, Value};
use serde_json::{Map, Value as Json, json};

use super::support::same;

/// Makes the same structures every time. `STORABLE_SEED` selects others.
const SEED: &str = "20001";
const COUNT: usize = 10_000;

#[test]
fn images_frozen_by_perl_are_read_as_perl_reads_them() {
    let seed = std::env::var("STORABLE_SEED").unwrap_or_else(|_| SEED.to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/storable/structures.pl");
    let output = Command::new("perl")
        .args([script, &seed, &COUNT.to_string()])
        .output();
    let output = output.expect("this test needs `perl`, with its Storable and JSON::PP");
    assert!(
        output.status.success(),
        "perl failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut stream = &output.stdout[..];
    let mut met = BTreeMap::new();
    for number in 0..COUNT {
        let [freeze, nfreeze, json] = [(); 3].map(|()| record(&mut stream));
        let expected: Json = serde_json::from_slice(json).expect("perl writes JSON");
        for bytes in [freeze, nfreeze] {
            let at = format!("structure {number} of seed {seed}, {bytes:02x?}");
            let image = Image::parse(bytes).unwrap_or_else(|error| panic!("{error}: {at}"));
            assert_eq!(exactly(image.root()), expected, "{at}");
            tally(image.root(), &mut met);

            let value: Json = image
                .deserialize()
                .unwrap_or_else(|error| panic!("{error}: {at}"));
            let plain = plain(&expected);
            assert!(same(&value, &plain), "{value} is not {plain}: {at}");
        }
    }
    assert!(stream.is_empty());
    assert!(
        met.len() == 14 && met.values().all(|count| *count > 1_000),
        "a kind is too rare: {met:?}"
    );
}

#[test]
fn the_deepest_image_perl_writes_by_default_is_read() {
    // Storable finds its limits when it is built. These are the limits if it cannot find them.
    let script = r#"
        use Storable qw(nfreeze);
        ($Storable::recursion_limit, $Storable::recursion_limit_hash) = (512, 256);
        my @ways = (
            sub { [$_[0]] }, sub { { a => $_[0] } }, sub { my $value = $_[0]; \$value }, sub { bless [$_[0]], "Foo" },
            sub { [{ a => $_[0] }] }, sub { \[$_[0]] },
        );
        binmode STDOUT;
        for my $way (@ways) {
            my ($value, $image) = (undef);
            for (1 .. 10_000) {
                $value = $way->($value);
                my $next = eval { nfreeze($value) };
                last unless defined $next;
                $image = $next;
            }
            print pack 'N/a*', $image;
        }
    "#;
    let output = Command::new("perl").args(["-e", script]).output();
    let output = output.expect("this test needs `perl`, with its Storable");
    assert!(
        output.status.success(),
        "perl failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut stream = &output.stdout[..];
    for way in 0..6 {
        let bytes = record(&mut stream).to_vec();
        assert!(bytes.len() > 500, "way {way} is not deep");
        let act = move || {
            Image::parse(&bytes)
                .and_then(|image| image.deserialize::<Json>())
                .map(drop)
        };
        let thread = thread::Builder::new()
            .stack_size(2 * 1024 * 1024)
            .spawn(act)
            .expect("a thread can be started");
        assert_eq!(
            thread.join().expect("the stack suffices"),
            Ok(()),
            "way {way}"
        );
    }
    assert!(stream.is_empty());
}

/// Returns the next record of the stream: four bytes of length, and so many bytes.
fn record<'a>(stream: &mut &'a [u8]) -> &'a [u8] {
    let (length, rest) = stream
        .split_first_chunk()
        .expect("perl writes as many as requested");
    let (record, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
    *stream = rest;
    record
}

/// Counts the values in an image, each one once.
fn tally(root: Value<'_>, met: &mut BTreeMap<&'static str, usize>) {
    let (mut known, mut waiting) = (HashSet::new(), vec![root]);
    while let Some(value) = waiting.pop() {
        let mut count = |what| *met.entry(what).or_insert(0) += 1;
        if !known.insert(value) {
            count("shared");
            continue;
        }
        if value.class().is_some() {
            count("object");
        }
        match value.kind() {
            Kind::Undef => count("undef"),
            Kind::Boolean(_) => count("boolean"),
            Kind::Integer(0..) => count("integer"),
            Kind::Integer(_) => count("negative integer"),
            Kind::Double(_) => count("double"),
            Kind::String(string) if string.bytes().is_ascii() => count("string"),
            Kind::String(string)
                if string
                    .text()
                    .is_some_and(|text| text.as_bytes() == string.bytes()) =>
            {
                count("text")
            }
            Kind::String(_) => count("bytes"),
            Kind::Regexp { .. } => count("regular expression"),
            Kind::Reference(target) => {
                count("reference");
                waiting.push(target);
            }
            Kind::Array(elements) => {
                count("array");
                waiting.extend(elements);
            }
            Kind::Hash(entries) => {
                count("hash");
                waiting.extend(entries.map(|(_, value)| value));
            }
            other => panic!("{other:?} is new"),
        }
    }
}

/// Returns everything that an image contains about a value, in the form that `structures.pl` prints.
fn exactly(value: Value<'_>) -> Json {
    let value = value.referent().expect("no structure contains itself");
    let data = match value.kind() {
        Kind::Undef => return Json::Null,
        Kind::Array(elements) => json!({ "a": elements.map(exactly).collect::<Vec<_>>() }),
        Kind::Hash(entries) => {
            let entries =
                entries.map(|(key, value)| (written(key.bytes(), key.text()), exactly(value)));
            json!({ "h": entries.collect::<Map<_, _>>() })
        }
        Kind::String(string) => Json::String(written(string.bytes(), string.text())),
        Kind::Regexp { .. } => return Json::String(printed(value)),
        _ => Json::String(printed(value)),
    };
    match value.class() {
        Some(class) => json!({ "class": class, "data": data }),
        None => data,
    }
}

/// Returns a string as its bytes, if they are not all ASCII, a colon, and the text they mean.
fn written(bytes: &[u8], text: Option<Cow<'_, str>>) -> String {
    let text = text.expect("no structure has text that Rust cannot hold");
    let bytes = if bytes.is_ascii() { &[] } else { bytes };
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}:{text}")
}

/// Returns the value as a type gets it that accepts anything: without classes, and with all strings
/// as text.
fn plain(expected: &Json) -> Json {
    match expected {
        Json::Object(object) => match (object.get("data"), object.get("a"), object.get("h")) {
            (Some(data), ..) => plain(data),
            (_, Some(Json::Array(elements)), _) => elements.iter().map(plain).collect(),
            (_, _, Some(Json::Object(entries))) => entries
                .iter()
                .map(|(key, value)| (text(key), plain(value)))
                .collect::<Map<_, _>>()
                .into(),
            _ => panic!("{object:?} is nothing the script writes"),
        },
        Json::String(string) => Json::String(text(string)),
        other => other.clone(),
    }
}

/// Returns the text that Perl prints for a number, a boolean or a regular expression.
fn printed(value: Value<'_>) -> String {
    let text: String = value.deserialize().expect("a scalar has a text");
    written(&[], Some(text.into()))
}

fn text(written: &str) -> String {
    let (_, text) = written.split_once(':').expect("there is a colon in each");
    text.to_owned()
}
