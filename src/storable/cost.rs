//! The cost of a value: the bytes of memory that it takes as a `serde_json::Value`.
//!
//! Most types take no more.

use super::string::PerlString;
use super::value::Kind;

/// The cost of reading any value, so that no walk is endless.
pub(super) const VISIT: usize = 1;

/// A value in an array.
const VALUE: usize = 32;

/// A node of a map, which is a B-tree: it holds 11 keys and values, and an inner node also the nodes
/// below.
const NODE: usize = 11 * (24 + VALUE) + 16;
const INNER_NODE: usize = NODE + 12 * 8;

/// Returns the cost of a value without its parts.
pub(super) fn of(kind: &Kind<'_>) -> usize {
    VISIT
        + match kind {
            Kind::String(string) => of_text(*string),
            Kind::Regexp { pattern, flags } => of_text(*pattern) + of_text(*flags) + 16,
            Kind::Array(elements) => of_array(elements.len()),
            Kind::Hash(entries) => of_hash(entries.len()),
            _ => 0,
        }
}

/// Returns the cost of a string. One in Latin-1 grows while it is decoded.
pub(super) fn of_text(string: PerlString<'_>) -> usize {
    let bytes = string.bytes();
    VISIT
        + match bytes.is_ascii() {
            true => bytes.len(),
            false => bytes.len().saturating_mul(4),
        }
}

/// Returns the cost of an array. It has room for four values at first, and doubles when it is full.
fn of_array(elements: usize) -> usize {
    let room = match elements {
        0 => 0,
        _ => elements.max(4).next_power_of_two(),
    };
    room.saturating_mul(VALUE)
}

/// Returns the cost of a hash. A node has at least 6 of 11 entries, except the last nodes if the keys
/// are sorted.
fn of_hash(entries: usize) -> usize {
    match entries {
        0 => 0,
        1..=11 => NODE,
        _ => {
            let (nodes, inner) = (entries / 6 + 1, entries / 36 + 2);
            nodes
                .saturating_mul(NODE)
                .saturating_add(inner * INNER_NODE)
        }
    }
}
