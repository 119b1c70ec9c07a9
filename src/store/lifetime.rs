//! How long an entry is kept.

use std::time::Duration;

/// How long an entry is kept after an edit.
pub(super) enum Lifetime {
    /// For this time from now on; `None` means forever.
    New(Option<Duration>),
    /// As long as without the edit.
    Unchanged,
}

impl Lifetime {
    /// Returns when the lifetime ends, in milliseconds since 1970; `None` means never. `current` is
    /// the end before the edit.
    pub(super) fn end(self, now: u64, current: Option<u64>) -> Option<u64> {
        match self {
            Self::New(ttl) => ttl.map(|ttl| now.saturating_add(millis(ttl))),
            Self::Unchanged => current,
        }
    }
}

/// Returns `ttl` in milliseconds, rounded up.
pub(super) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
