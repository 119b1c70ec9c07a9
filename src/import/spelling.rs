//! The spelling of numbers, texts and dates in a pickle.

use super::error::{holds, lone_surrogate, malformed, no_number};
use crate::decode_error::DecodeError;

/// The length of the largest whole number, in bytes. Readers of JSON refuse numbers that are too large
/// for a float.
const MAX_INT: usize = 128;
/// The same in digits.
const MAX_DIGITS: usize = 308;

/// Returns the decimal number in the form of JSON.
pub(super) fn decimal(text: &[u8]) -> Result<String, DecodeError> {
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(no_number("an int in it is no number"));
    }
    let digits = std::str::from_utf8(digits)
        .map_err(|_| no_number("an int in it is no number"))?
        .trim_start_matches('0');
    match digits {
        "" => Ok("0".into()),
        _ if digits.len() > MAX_DIGITS => Err(too_many_digits()),
        _ => Ok(format!("{sign}{digits}")),
    }
}

fn too_many_digits() -> DecodeError {
    holds(format!("an int of more than {MAX_DIGITS} digits"))
}

/// Returns the little-endian number in two's complement as decimal digits.
pub(super) fn from_twos_complement(bytes: &[u8]) -> Result<String, DecodeError> {
    if bytes.len() > MAX_INT {
        return Err(too_many_digits());
    }
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            (*byte, carry) = (!*byte).overflowing_add(carry.into());
        }
        if carry {
            magnitude.push(1);
        }
    }
    // Groups of nine decimal digits, the lowest first.
    let mut groups: Vec<u64> = vec![0];
    for &byte in magnitude.iter().rev() {
        let mut carry = u64::from(byte);
        for group in &mut groups {
            let sum = *group * 256 + carry;
            *group = sum % 1_000_000_000;
            carry = sum / 1_000_000_000;
        }
        if carry > 0 {
            groups.push(carry);
        }
    }
    let mut text = String::from(if negative { "-" } else { "" });
    for group in groups.iter().rev() {
        text.push_str(&format!("{group:09}"));
    }
    decimal(text.as_bytes())
}

/// Returns the string whose `repr` in Python 2 is `line`.
pub(super) fn unquote(line: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let bad = || malformed("a string in it is not spelled as in Python");
    let inner = match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(bad()),
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(&quoted @ (b'\\' | b'\'' | b'"')) => quoted,
            Some(b'x') => {
                let hex = bytes.as_slice().get(..2).ok_or_else(bad)?;
                bytes = bytes.as_slice()[2..].iter();
                u8::try_from(code(hex).ok_or_else(bad)?).map_err(|_| bad())?
            }
            _ => return Err(bad()),
        });
    }
    Ok(out)
}

/// Returns the text that Python's codec `raw-unicode-escape` writes as `line`.
pub(super) fn unescape(line: &[u8]) -> Result<String, DecodeError> {
    let bad = || malformed("a str in it is not spelled as in Python");
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = match rest {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => {
                out.push(char::from(byte));
                rest = after;
                if let ([b'\\', ..], Some((&next, after))) = (&[byte][..], after.split_first()) {
                    out.push(char::from(next));
                    rest = after;
                }
                continue;
            }
        };
        let code = code(rest.get(2..2 + digits).ok_or_else(bad)?).ok_or_else(bad)?;
        out.push(char::from_u32(code).ok_or_else(lone_surrogate)?);
        rest = &rest[2 + digits..];
    }
    Ok(out)
}

/// Returns the number that `hex` stands for.
fn code(hex: &[u8]) -> Option<u32> {
    let all = hex.iter().all(u8::is_ascii_hexdigit);
    let hex = all.then(|| std::str::from_utf8(hex).ok()).flatten()?;
    u32::from_str_radix(hex, 16).ok()
}

/// Returns the bytes whose text in Latin-1 is `text`.
pub(super) fn latin_1(text: &str) -> Result<Vec<u8>, DecodeError> {
    text.chars()
        .map(|c| u8::try_from(c).map_err(|_| malformed("bytes in it are not bytes")))
        .collect()
}

/// Returns a date, or a time without a zone, in the form of Python's `isoformat()`.
pub(super) fn iso_8601(packed: &[u8]) -> Option<String> {
    let (&[high, low, month, day], time) = packed.split_first_chunk::<4>()?;
    let year = u16::from_be_bytes([high, low]);
    // The highest bit marks the second of two equal hours, when clocks are set back.
    let month = month & 0x7f;
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    let &[hour, minute, second, a, b, c] = time else {
        return time.is_empty().then_some(date);
    };
    let micros = u32::from_be_bytes([0, a, b, c]);
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return None;
    }
    let time = format!("{date}T{hour:02}:{minute:02}:{second:02}");
    Some(match micros {
        0 => time,
        _ => format!("{time}.{micros:06}"),
    })
}
