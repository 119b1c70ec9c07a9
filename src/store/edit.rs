//! The edits of an entry, for the stores that hold the entries themselves.

use std::time::Duration;

use super::lifetime::Lifetime;
use crate::error::{Error, ErrorKind, Result};

/// The outcome of an edit: the action on the entry, and the output for the caller.
pub(super) struct Edit<T> {
    pub(super) action: Action,
    pub(super) output: T,
}

/// An action on an entry.
pub(super) enum Action {
    /// Leaves the entry as it is.
    Leave,
    /// Sets its value and lifetime.
    Set(Vec<u8>, Lifetime),
    /// Removes it.
    Remove,
}

pub(super) fn set(
    value: &[u8],
    ttl: Option<Duration>,
) -> impl Fn(Option<&[u8]>) -> Edit<()> + Send + Sync + 'static {
    let value = value.to_vec();
    move |_| Edit {
        action: Action::Set(value.clone(), Lifetime::New(ttl)),
        output: (),
    }
}

pub(super) fn swap(
    expected: Option<&[u8]>,
    value: &[u8],
    ttl: Option<Duration>,
) -> impl Fn(Option<&[u8]>) -> Edit<bool> + Send + Sync + 'static {
    let (expected, value) = (expected.map(<[u8]>::to_vec), value.to_vec());
    move |current| {
        let is_expected = current == expected.as_deref();
        Edit {
            action: match is_expected {
                true => Action::Set(value.clone(), Lifetime::New(ttl)),
                false => Action::Leave,
            },
            output: is_expected,
        }
    }
}

pub(super) fn take(current: Option<&[u8]>) -> Edit<Option<Vec<u8>>> {
    Edit {
        action: Action::Remove,
        output: current.map(<[u8]>::to_vec),
    }
}

pub(super) fn increment(
    by: u64,
    ttl: Option<Duration>,
) -> impl Fn(Option<&[u8]>) -> Edit<Result<u64>> + Send + Sync + 'static {
    move |current| {
        let (before, lifetime) = match current {
            None => (Some(0), Lifetime::New(ttl)),
            Some(current) => (number(current), Lifetime::Unchanged),
        };
        let sum = before
            .ok_or_else(not_a_number)
            .and_then(|before| sum(before, by).ok_or_else(too_large));
        Edit {
            action: match &sum {
                Ok(sum) => Action::Set(sum.to_string().into_bytes(), lifetime),
                Err(_) => Action::Leave,
            },
            output: sum,
        }
    }
}

/// Returns the number in decimal digits, as `increment` writes it.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Returns the sum, unless it is larger than every store can count.
pub(super) fn sum(before: u64, by: u64) -> Option<u64> {
    let sum = before.checked_add(by)?;
    (sum <= i64::MAX.cast_unsigned()).then_some(sum)
}

pub(super) fn not_a_number() -> Error {
    Error::new(ErrorKind::Value, "increment an entry").because("its value is not a number")
}

pub(super) fn too_large() -> Error {
    Error::new(ErrorKind::Value, "increment an entry").because("the sum does not fit into 63 bits")
}
