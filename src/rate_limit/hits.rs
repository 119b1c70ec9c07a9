//! The requests of one visitor in the last window, and the decision about the next one.

/// The requests that were served: pairs of a time in milliseconds since 1970 and a number of requests,
/// the oldest first.
///
/// The store holds them as numbers in text, separated by spaces. Each pair is a time and a number of
/// requests. The first time is in full, and each later one is the number of milliseconds after the one
/// before. There are at most about a thousand pairs, whatever the limit.
pub(super) struct Hits(Vec<(u64, u64)>);

/// The decision about one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) refused: bool,
    /// How many more requests would be served now.
    pub(super) remaining: u32,
    /// Milliseconds until more requests are served than now. After a refusal, until one is served.
    pub(super) more_in: u64,
}

/// The largest difference between the clocks of two processes, in milliseconds.
pub(super) const SKEW: u64 = 10_000;

/// The largest limit for which each request is recorded with its own time.
const FINE: u32 = 1000;

impl Hits {
    /// Reads the hits in `bytes`, and drops those before the window that ends `now`.
    ///
    /// Bytes in another format count as no hits. So do hits too far in the future: the clock was set
    /// back, and must not lock a visitor out until it has caught up.
    pub(super) fn read(bytes: Option<&[u8]>, now: u64, window: u64) -> Self {
        let mut hits = bytes.and_then(parse).unwrap_or_default();
        let newest = hits.last().map_or(0, |&(at, _)| at);
        if newest.saturating_sub(now) > window.saturating_add(SKEW) {
            hits.clear();
        }
        hits.retain(|&(at, _)| at.saturating_add(window) > now);
        Self(hits)
    }

    /// Adds a request at `now`, unless the `window` already has `limit` requests.
    pub(super) fn add(&mut self, now: u64, limit: u32, window: u64) -> Decision {
        let counted = self
            .0
            .iter()
            .map(|&(_, count)| count)
            .fold(0, u64::saturating_add);
        let refused = counted >= u64::from(limit);
        if !refused {
            // The recorded time may be a little late, and never early. So no hit expires too soon.
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
        // The number of hits that must expire until more requests are served than now.
        let mut to_go = counted
            .saturating_add(1)
            .saturating_sub(limit.into())
            .max(1);
        let next = self.0.iter().find(|&&(_, count)| {
            to_go = to_go.saturating_sub(count);
            to_go == 0
        });
        let free = next.map_or(now, |&(at, _)| at.saturating_add(window));
        let left = u64::from(limit).saturating_sub(counted.saturating_add(u64::from(!refused)));
        Decision {
            refused,
            remaining: u32::try_from(left).unwrap_or(u32::MAX),
            more_in: free.saturating_sub(now),
        }
    }

    /// Returns the bytes for the store.
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

    fn hit(bytes: &mut Option<Vec<u8>>, now: u64, limit: u32, window: u64) -> Decision {
        let mut hits = Hits::read(bytes.as_deref(), now, window);
        let decision = hits.add(now, limit, window);
        *bytes = Some(hits.write());
        decision
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
    fn a_decision_says_how_many_requests_are_left_and_when_there_are_more() {
        let mut bytes = None;
        let parts = |decision: Decision| (decision.refused, decision.remaining, decision.more_in);
        assert_eq!(parts(hit(&mut bytes, 1000, 2, 500)), (false, 1, 500));
        assert_eq!(parts(hit(&mut bytes, 1200, 2, 500)), (false, 0, 300));
        assert_eq!(parts(hit(&mut bytes, 1300, 2, 500)), (true, 0, 200));
        // The limit was lowered: two hits must expire before a request is served.
        assert_eq!(parts(hit(&mut bytes, 1300, 1, 500)), (true, 0, 400));
    }

    #[test]
    fn the_bytes_and_the_delay_are_bounded() {
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
    fn hits_that_share_a_time_do_not_expire_too_soon() {
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
    fn bytes_in_another_format_count_as_no_hits() {
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
        // Sums do not overflow.
        let mut bytes = Some(format!("990 {0} 1 {0}", u64::MAX).into_bytes());
        assert!(hit(&mut bytes, 1000, 1, 100).refused);
    }

    #[test]
    fn a_clock_that_is_set_back_locks_no_visitor_out() {
        let mut bytes = None;
        assert!(!hit(&mut bytes, 1_000_000, 1, 100).refused);
        assert!(hit(&mut bytes, 999_950, 1, 100).refused);
        assert!(!hit(&mut bytes, 989_000, 1, 100).refused);
    }

    proptest! {
        /// No window has more requests than the limit, and no request is refused without need.
        #[test]
        fn the_limit_holds_in_every_window(
            waits in prop::collection::vec(0_u64..40, 1..200), limit in 1_u32..6, window in 1_u64..100,
        ) {
            let (mut now, mut bytes) = (1_000_000, None);
            let mut served: VecDeque<u64> = VecDeque::new();
            for wait in waits {
                now += wait;
                served.retain(|at| at + window > now);
                let decision = hit(&mut bytes, now, limit, window);
                prop_assert_eq!(decision.refused, served.len() >= limit as usize);
                if !decision.refused {
                    served.push_back(now);
                }
                prop_assert_eq!(decision.remaining as usize, limit as usize - served.len());
                prop_assert_eq!(decision.more_in, served[0] + window - now);
            }
        }
    }
}
