//! The grace of a renewal, in which the old id still reaches the session.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Record;

/// The grace of a renewal. The tombstone at the old id carries it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Grace {
    /// Its end, in seconds since 1970.
    until: u64,
    /// A fingerprint of the user at the renewal, if a user was logged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<u64>,
}

impl Grace {
    /// Returns the grace of the renewal of `record`, which lasts until `until`.
    pub(crate) fn new(until: u64, record: &Record) -> Self {
        Self {
            until,
            user: fingerprint(record),
        }
    }

    /// Returns whether it goes on at `now`. A grace of more than `longest` seconds comes from a clock
    /// that was set back since, and is over.
    pub(crate) fn goes_on(&self, now: u64, longest: u64) -> bool {
        (1..=longest).contains(&self.until.saturating_sub(now))
    }

    /// Returns whether no user has been logged in to the session since, of which `record` is the
    /// present record.
    pub(crate) fn covers(&self, record: &Record) -> bool {
        record.user.is_none() || fingerprint(record) == self.user
    }
}

/// Returns a number that stands for the user of `record` among the users of its session.
fn fingerprint(record: &Record) -> Option<u64> {
    let mut hash = Sha256::new_with_prefix("rocket_session_kit: the user at a renewal\0");
    hash.update(record.tag.unwrap_or_default().to_be_bytes());
    hash.update(record.user()?);
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().map(|first| u64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grace_ends_and_a_clock_that_is_set_back_does_not_extend_it() {
        let grace = Grace::new(100, &Record::new(0, None));
        for (now, goes_on) in [(89, false), (90, true), (99, true), (100, false)] {
            assert_eq!(grace.goes_on(now, 10), goes_on, "{now}");
        }
        assert!(!grace.goes_on(99, 0), "there is none");
    }

    #[test]
    fn a_grace_covers_the_user_of_the_renewal_and_nobody() {
        let of = |user: Option<&str>| {
            let mut record = Record::new(0, None);
            (record.tag, record.user) = (Some(7), user.map(str::to_owned));
            record
        };
        for (then, now, covers) in [
            (None, None, true),
            (None, Some("alice"), false),
            (Some("alice"), Some("alice"), true),
            (Some("alice"), Some("bob"), false),
            (Some("alice"), None, true),
        ] {
            let grace = Grace::new(100, &of(then));
            assert_eq!(grace.covers(&of(now)), covers, "{then:?} {now:?}");
        }
    }
}
