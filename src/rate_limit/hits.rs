//! The requests of one visitor in the last window: when they were, and whether there may be more.

/// When requests were served: pairs of a time, in milliseconds since 1970, and how many of them
/// there were, the oldest first.
///
/// In the store it is text: the first time, its number, and then pairs of the milliseconds since
/// the time before and a number, all divided by spaces. There are about a thousand pairs at most,
/// whatever the limit.
pub(super) struct Hits(Vec<(u64, u64)>);

/// What the hits say to one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) refused: bool,
    /// How many more would be served now.
    pub(super) remaining: u32,
    /// Milliseconds until that becomes more; where a request was refused, until one is served.
    pub(super) more_in: u64,
}

/// How far the clocks of two processes may be apart, in milliseconds.
pub(super) const SKEW: u64 = 10_000;

/// Up to this many requests are remembered each by itself.
const FINE: u32 = 1000;

impl Hits {
    /// Returns what is in `bytes`, less what is no longer in the window that ends `now`; nothing,
    /// where somebody else wrote them, or at a time that is too far ahead: then a clock was set
    /// back, and nobody is to be locked out until it is as late again.
    pub(super) fn read(bytes: Option<&[u8]>, now: u64, window: u64) -> Self {
        let mut hits = bytes.and_then(parse).unwrap_or_default();
        let newest = hits.last().map_or(0, |&(at, _)| at);
        if newest.saturating_sub(now) > window.saturating_add(SKEW) {
            hits.clear();
        }
        hits.retain(|&(at, _)| at.saturating_add(window) > now);
        Self(hits)
    }

    /// Adds a request at `now`, unless there were `limit` in this `window` already.
    pub(super) fn add(&mut self, now: u64, limit: u32, window: u64) -> Answer {
        let there = self
            .0
            .iter()
            .map(|&(_, count)| count)
            .fold(0, u64::saturating_add);
        let refused = there >= u64::from(limit);
        if !refused {
            // A hit may be remembered as a bit later than it was, never as earlier: so it is never
            // forgotten too soon.
            let step = match limit {
                ..=FINE => 1,
                _ => (window / u64::from(FINE)).max(1),
            };
            let at = now.next_multiple_of(step);
            match self.0.last_mut() {
                Some((last, count)) if *last >= at => *count += 1,
                _ => self.0.push((at, 1)),
            }
        }
        // How many must go until there is room for more than now.
        let mut to_go = there.saturating_add(1).saturating_sub(limit.into()).max(1);
        let next = self.0.iter().find(|&&(_, count)| {
            to_go = to_go.saturating_sub(count);
            to_go == 0
        });
        let free = next.map_or(now, |&(at, _)| at.saturating_add(window));
        let left = u64::from(limit).saturating_sub(there.saturating_add(u64::from(!refused)));
        Answer {
            refused,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            more_in: free.saturating_sub(now),
        }
    }

    /// Returns what to keep in the store.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut before = 0;
        let pairs = self.0.iter().map(|&(at, count)| {
            let since = at - std::mem::replace(&mut before, at);
            format!("{since} {count}")
        });
        pairs.collect::<Vec<_>>().join(" ").into_bytes()
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers = std::str::from_utf8(bytes).ok()?.split(' ');
    let numbers: Vec<u64> = numbers.map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let mut at: u64 = 0;
    let pairs = numbers.chunks(2).map(|pair| {
        let &[since, count] = pair else { return None };
        at = at.checked_add(since)?;
        Some((at, count))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn hit(bytes: &mut Option<Vec<u8>>, now: u64, limit: u32, window: u64) -> Answer {
        let mut hits = Hits::read(bytes.as_deref(), now, window);
        let answer = hits.add(now, limit, window);
        *bytes = Some(hits.write());
        answer
    }

    #[test]
    fn a_boundary_does_not_double_the_allowance() {
        let mut bytes = None;
        // Late in one minute, and early in the next.
        for now in [59_000, 59_500, 59_900] {
            assert!(!hit(&mut bytes, now, 3, 60_000).refused);
        }
        for now in [60_000, 60_100, 118_999] {
            assert!(hit(&mut bytes, now, 3, 60_000).refused);
        }
        assert!(!hit(&mut bytes, 119_000, 3, 60_000).refused);
        assert!(hit(&mut bytes, 119_499, 3, 60_000).refused);
    }

    #[test]
    fn a_hit_returns_the_remaining_requests_and_the_reset_time() {
        let mut bytes = None;
        let told = |answer: Answer| (answer.refused, answer.remaining, answer.more_in);
        assert_eq!(told(hit(&mut bytes, 1000, 2, 500)), (false, 1, 500));
        assert_eq!(told(hit(&mut bytes, 1200, 2, 500)), (false, 0, 300));
        assert_eq!(told(hit(&mut bytes, 1300, 2, 500)), (true, 0, 200));
        // The limit was lowered: two must go until there is room for one.
        assert_eq!(told(hit(&mut bytes, 1300, 1, 500)), (true, 0, 400));
    }

    #[test]
    fn stored_hits_are_bounded_and_stay_accurate() {
        let (limit, window) = (1_000_000, 3_600_000);
        let mut bytes = None;
        for now in (0..window).step_by(997) {
            assert!(!hit(&mut bytes, 1_700_000_000_000 + now, limit, window).refused);
        }
        let there = bytes.as_ref().map_or(0, Vec::len);
        assert!(there < 10_000, "{there} bytes");
        let hits = Hits::read(bytes.as_deref(), 1_700_000_000_000 + window, window);
        let counted: u64 = hits.0.iter().map(|(_, count)| count).sum();
        let served = window.div_ceil(997);
        assert!(counted <= served && counted > served - 2 * served / 1000);
    }

    #[test]
    fn merged_hits_never_expire_too_soon() {
        let (limit, window) = (1001, 60_000);
        let mut bytes = None;
        for now in 1..=u64::from(limit) {
            assert!(!hit(&mut bytes, now, limit, window).refused);
        }
        assert!(hit(&mut bytes, window, limit, window).refused);
        let more_in = hit(&mut bytes, window, limit, window).more_in;
        assert!(more_in <= 60, "a thousandth late at most: {more_in}");
        assert!(!hit(&mut bytes, window + more_in, limit, window).refused);
    }

    #[test]
    fn foreign_bytes_count_as_no_hits() {
        for odd in [
            "",
            "x",
            "1",
            "1 2 3",
            "-1 2",
            "18446744073709551615 1 1 1",
            "1  2",
        ] {
            let mut bytes = Some(odd.as_bytes().to_vec());
            assert_eq!(hit(&mut bytes, 1000, 1, 10).remaining, 0, "{odd}");
            assert!(hit(&mut bytes, 1000, 1, 10).refused, "{odd}");
        }
        // Sums do not overflow either.
        let mut bytes = Some(format!("990 {0} 1 {0}", u64::MAX).into_bytes());
        assert!(hit(&mut bytes, 1000, 1, 100).refused);
    }

    #[test]
    fn a_clock_set_back_locks_no_client_out() {
        let mut bytes = None;
        assert!(!hit(&mut bytes, 1_000_000, 1, 100).refused);
        assert!(hit(&mut bytes, 999_950, 1, 100).refused);
        assert!(!hit(&mut bytes, 989_000, 1, 100).refused);
    }

    proptest! {
        /// No window of any membership has more than the limit, and nobody is refused without need.
        #[test]
        fn the_limit_holds_in_every_window(
            waits in prop::collection::vec(0_u64..40, 1..200), limit in 1_u32..6, window in 1_u64..100,
        ) {
            let (mut now, mut bytes) = (1_000_000, None);
            let mut served: VecDeque<u64> = VecDeque::new();
            for wait in waits {
                now += wait;
                served.retain(|at| at + window > now);
                let answer = hit(&mut bytes, now, limit, window);
                prop_assert_eq!(answer.refused, served.len() >= limit as usize);
                if !answer.refused {
                    served.push_back(now);
                }
                prop_assert_eq!(answer.remaining as usize, limit as usize - served.len());
                prop_assert_eq!(answer.more_in, served[0] + window - now);
            }
        }
    }
}
