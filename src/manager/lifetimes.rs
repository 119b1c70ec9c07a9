//! How long sessions and their ids live: the timeouts of the configuration, and those of one session.

use crate::config::Config;
use crate::end_reason::EndReason;
use crate::record::Record;

/// The timeouts of the configuration, in seconds, and the rules for those of one session.
pub(crate) struct Lifetimes {
    idle: u64,
    /// 0 is never.
    absolute: u64,
    touch_every: u64,
    /// The maximum age of the cookie.
    max_age: Option<u64>,
    /// The longest timeouts that a session may have.
    longest_idle: u64,
    longest_absolute: u64,
    /// 0 is never.
    renew_every: u64,
    pub(super) grace: u64,
}

impl Lifetimes {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = config.policy.map(|policy| policy.limits());
        Self {
            idle: config.idle_timeout,
            absolute: config.absolute_timeout,
            touch_every: config.touch_every,
            max_age: config.cookie.max_age.map(u64::from),
            longest_idle: limits.and_then(|limits| limits.idle).unwrap_or(u64::MAX),
            longest_absolute: limits.map_or(u64::MAX, |limits| limits.absolute),
            renew_every: config.renew_every,
            grace: config.renewal_grace,
        }
    }

    /// Returns the idle timeout of sessions that have none of their own.
    pub(super) fn configured_idle(&self) -> u64 {
        self.idle.min(self.longest_idle)
    }

    /// Returns the idle timeout of `record`.
    pub(super) fn idle(&self, record: &Record) -> u64 {
        let idle = self.chosen_idle(record);
        match record.forked {
            // A log-out of one copy leaves a tombstone for that long.
            true => idle.min(self.of_copies(record)),
            false => idle,
        }
    }

    /// Returns the idle timeout that was chosen for `record`.
    fn chosen_idle(&self, record: &Record) -> u64 {
        let own = record.lifetime.as_ref().and_then(|own| own.idle);
        own.unwrap_or(self.idle).min(self.longest_idle)
    }

    /// Returns the longest time that a copy of `record` can stay unused.
    pub(super) fn of_copies(&self, record: &Record) -> u64 {
        let noted = record.lifetime.as_ref().and_then(|own| own.of_copies);
        noted.map_or(self.idle, |noted| noted.max(self.idle))
    }

    /// Returns what two copies note about each other when they part: the longer idle timeout, if it
    /// is longer than the configuration's.
    pub(super) fn longest_of(&self, one: &Record, other: &Record) -> Option<u64> {
        let longest = self.chosen_idle(one).max(self.chosen_idle(other));
        Some(longest).filter(|longest| *longest > self.idle)
    }

    /// Returns when the absolute timeout ends `record`, in seconds since 1970. `None` is never.
    pub(super) fn end(&self, record: &Record) -> Option<u64> {
        let own = record.lifetime.as_ref().and_then(|own| own.absolute);
        let absolute = match own.unwrap_or(self.absolute) {
            0 => u64::MAX,
            absolute => absolute,
        };
        let absolute = absolute.min(self.longest_absolute);
        let log_in = record.log_in.as_ref().map(|log_in| log_in.at);
        let start = log_in.unwrap_or(record.created);
        (absolute < u64::MAX).then(|| start.saturating_add(absolute))
    }

    /// Returns whether `record` has passed one of its timeouts.
    pub(super) fn is_over(&self, record: &Record, now: u64) -> bool {
        let too_old = self.end(record).is_some_and(|end| now >= end);
        too_old || now >= record.accessed.saturating_add(self.idle(record))
    }

    /// Returns the timeout that `record`, which is over, has passed first.
    pub(super) fn timeout_of(&self, record: &Record) -> EndReason {
        let idle = record.accessed.saturating_add(self.idle(record));
        match self.end(record).is_some_and(|end| end <= idle) {
            true => EndReason::AbsoluteTimeout,
            false => EndReason::IdleTimeout,
        }
    }

    /// Returns how long `record` can stay unused from `now` on.
    pub(crate) fn left(&self, record: &Record, now: u64) -> u64 {
        let left = self.end(record).map(|end| end.saturating_sub(now));
        let idle = self.idle(record);
        left.map_or(idle, |left| left.min(idle)).max(1)
    }

    /// Returns how often the time of last use is saved: a session in use keeps nine tenths of its
    /// timeout.
    pub(super) fn touch_every(&self, record: &Record) -> u64 {
        self.touch_every.min(self.idle(record) / 10).max(1)
    }

    /// Returns the maximum age of the cookie of `record`, which ends with the session at the latest.
    /// `None` is a cookie that ends with the browser.
    pub(crate) fn cookie_age(&self, record: &Record, now: u64) -> Option<u64> {
        let own = record.lifetime.as_ref().and_then(|own| own.max_age);
        let age = own.or(self.max_age)?;
        let left = self.end(record).map(|end| end.saturating_sub(now).max(1));
        Some(left.map_or(age, |left| left.min(age)))
    }

    /// Returns whether the cookie of `record` has a maximum age.
    pub(crate) fn cookie_ages(&self, record: &Record) -> bool {
        let own = record.lifetime.as_ref().and_then(|own| own.max_age);
        own.or(self.max_age).is_some()
    }

    /// Returns whether old ids are renewed.
    pub(crate) fn renews_by_age(&self) -> bool {
        self.renew_every > 0
    }

    /// Returns whether the id of `record` is so old that a request should renew it. `navigates` is
    /// whether the request is a navigation; any other waits for twice the age, because its response
    /// is more likely to be overtaken by that of a log-in.
    pub(crate) fn id_is_old(&self, record: &Record, now: u64, navigates: bool) -> bool {
        let renewed = record.lifetime.as_ref().and_then(|own| own.renewed);
        let age = now.abs_diff(renewed.unwrap_or(record.created));
        let most = self.renew_every.saturating_mul(2 - u64::from(navigates));
        age >= most
    }

    /// Returns the time of a renewal at `now`, if the age of ids counts.
    pub(super) fn noted_renewal(&self, now: u64) -> Option<u64> {
        self.renews_by_age().then_some(now)
    }
}
