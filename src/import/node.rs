//! The values of a pickle, which refer to each other by index.

use std::borrow::Cow;

/// The index of a value in the list of a pickle's values.
///
/// Nothing is copied when a memo names a value twice, and dropping values needs no recursion.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct At(pub(super) u32);

/// One value of a pickle.
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    /// Decimal digits, with a sign if it is negative.
    Int(String),
    Float(f64),
    Text(Cow<'a, str>),
    /// `bytes`, `bytearray`, and `str` of Python 2.
    Bytes(Cow<'a, [u8]>),
    /// A list, set or frozenset.
    Items(Vec<At>),
    Tuple(Vec<At>),
    Dict(Vec<(At, At)>),
    /// The name of a class or function.
    Global(String),
    Object {
        class: String,
        state: Option<At>,
    },
}

/// Returns `name`, of a class or function, if an error may show it: the author of the pickle chose it.
pub(super) fn printable(name: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._<>".contains(c);
    if name.len() <= 100 && name.chars().all(is_name) {
        name
    } else {
        "(a name that is not shown)"
    }
}
