//! Lifetimes as the protocol writes them.

use std::time::Duration;

use crate::clock::Clock;

/// Returns a lifetime as the protocol writes it: seconds from now, beyond 30 days a point in time,
/// and 0 forever.
pub(super) fn expiry(ttl: Option<Duration>) -> u32 {
    expiry_at(ttl, Clock::system().seconds())
}

fn expiry_at(ttl: Option<Duration>, now: u64) -> u32 {
    const MONTH: u64 = 30 * 86_400;
    // A server takes a later time for one in the past.
    const LAST: u64 = i32::MAX as u64;
    let Some(ttl) = ttl else {
        return 0;
    };
    // A server counts ticks of its clock. A part of the first second may already have passed.
    let seconds = ttl
        .as_secs()
        .saturating_add(u64::from(ttl.subsec_nanos() > 0))
        .saturating_add(1);
    let expiry = match seconds <= MONTH {
        true => seconds,
        false => now.saturating_add(seconds).min(LAST),
    };
    u32::try_from(expiry).unwrap_or(i32::MAX.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lifetime_becomes_shorter() {
        let day = 86_400;
        let now = 1_763_745_460;
        for (ttl, expiry) in [
            (Duration::from_nanos(1), 2),
            (Duration::from_secs(1), 2),
            (Duration::from_millis(1001), 3),
            (Duration::from_secs(29 * day), 29 * day + 1),
            (Duration::from_secs(30 * day), now + 30 * day + 1),
            (Duration::from_secs(31 * day), now + 31 * day + 1),
            (Duration::from_secs(3650 * day), now + 3650 * day + 1),
            (Duration::from_secs(36_500 * day), i32::MAX as u64),
            (Duration::MAX, i32::MAX as u64),
        ] {
            assert_eq!(u64::from(expiry_at(Some(ttl), now)), expiry, "{ttl:?}");
        }
        assert_eq!(expiry_at(None, now), 0);
    }
}
