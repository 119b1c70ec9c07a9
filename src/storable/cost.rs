//! What a value costs: how many bytes of memory it takes as a `serde_json::Value`, which is what most
//! types take at most.

use super::string::PerlString;
use super::value::Kind;

/// What it costs to look at anything, so that nobody looks without end.
pub(super) const LOOK: usize = 1;

/// A value in an array.
const VALUE: usize = 32;

/// A node of a map, which is a B-tree: room for 11 keys and values, and in an inner node for those
/// below it.
const NODE: usize = 11 * (24 + VALUE) + 16;
const INNER_NODE: usize = NODE + 12 * 8;

/// Returns what a thing costs without what is in it.
pub(super) fn of(kind: &Kind<'_>) -> usize {
    LOOK + match kind {
        Kind::String(string) => of_text(*string),
        Kind::Regexp { pattern, flags } => of_text(*pattern) + of_text(*flags) + 16,
        Kind::Array(elements) => of_array(elements.len()),
        Kind::Hash(entries) => of_hash(entries.len()),
        _ => 0,
    }
}

/// Returns what a string costs. One in Latin-1 grows while it is decoded.
pub(super) fn of_text(string: PerlString<'_>) -> usize {
    let bytes = string.bytes();
    LOOK + match bytes.is_ascii() {
        true => bytes.len(),
        false => bytes.len().saturating_mul(4),
    }
}

/// Room for four values is made at first, and doubled when it is full.
fn of_array(elements: usize) -> usize {
    let room = match elements {
        0 => 0,
        _ => elements.max(4).next_power_of_two(),
    };
    room.saturating_mul(VALUE)
}

/// Nodes are full to 6 of 11 at least, but for the last ones, when keys come in order.
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
