//! What a change of an entry makes of what is there, for the stores that hold it themselves.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// What to do with an entry, and what to tell the caller.
pub(super) struct Step<T> {
    pub(super) next: Next,
    pub(super) answer: T,
}

/// What becomes of an entry.
pub(super) enum Next {
    /// It stays.
    Same,
    Keep(Vec<u8>, Lifetime),
    /// It goes.
    Nothing,
}

/// How long an entry is kept from now on.
pub(super) enum Lifetime {
    /// From now; `None` is for ever.
    New(Option<Duration>),
    /// As long as it would have been without the change.
    Old,
}

impl Lifetime {
    /// Returns when this ends, in milliseconds since 1970; `None` is never.
    pub(super) fn end(self, now: u64, old: Option<u64>) -> Option<u64> {
        match self {
            Self::New(ttl) => ttl.map(|ttl| now.saturating_add(round_up(ttl))),
            Self::Old => old,
        }
    }
}

/// Returns `ttl` in milliseconds, and never less than was asked for.
fn round_up(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

pub(super) fn set(
    value: &[u8],
    ttl: Option<Duration>,
) -> impl Fn(Option<&[u8]>) -> Step<()> + Send + Sync + 'static {
    let value = value.to_vec();
    move |_| Step {
        next: Next::Keep(value.clone(), Lifetime::New(ttl)),
        answer: (),
    }
}

pub(super) fn swap(
    expected: Option<&[u8]>,
    value: &[u8],
    ttl: Option<Duration>,
) -> impl Fn(Option<&[u8]>) -> Step<bool> + Send + Sync + 'static {
    let (expected, value) = (expected.map(<[u8]>::to_vec), value.to_vec());
    move |there| {
        let answer = there == expected.as_deref();
        Step {
            next: match answer {
                true => Next::Keep(value.clone(), Lifetime::New(ttl)),
                false => Next::Same,
            },
            answer,
        }
    }
}

pub(super) fn take(there: Option<&[u8]>) -> Step<Option<Vec<u8>>> {
    Step {
        next: Next::Nothing,
        answer: there.map(<[u8]>::to_vec),
    }
}

pub(super) fn increment(
    by: u64,
    ttl: Option<Duration>,
) -> impl Fn(Option<&[u8]>) -> Step<Result<u64>> + Send + Sync + 'static {
    move |there| {
        let (before, lifetime) = match there {
            None => (Some(0), Lifetime::New(ttl)),
            Some(there) => (number(there), Lifetime::Old),
        };
        let Some(before) = before else {
            return Step {
                next: Next::Same,
                answer: Err(no_number()),
            };
        };
        match sum(before, by) {
            Some(sum) => Step {
                next: Next::Keep(sum.to_string().into_bytes(), lifetime),
                answer: Ok(sum),
            },
            None => Step {
                next: Next::Same,
                answer: Err(too_large()),
            },
        }
    }
}

/// Returns the number that decimal digits tell, as `increment` writes them.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Returns the sum, unless it is beyond what every store can count.
pub(super) fn sum(before: u64, by: u64) -> Option<u64> {
    let sum = before.checked_add(by)?;
    (sum <= i64::MAX.cast_unsigned()).then_some(sum)
}

pub(super) fn no_number() -> Error {
    Error::new(ErrorKind::Value, "increment an entry").because("what is there is no number")
}

pub(super) fn too_large() -> Error {
    Error::new(ErrorKind::Value, "increment an entry").because("the sum is beyond 63 bits")
}
