//! Random numbers that are the same for the same seed.

/// `SplitMix64`, by Steele, Lea and Flood.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns another generator, for a part that makes its own choices.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// Returns `true` in this many of a hundred cases.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.next() % 100 < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        let last = all.len().checked_sub(1)?;
        all.get(usize::try_from(self.between(0, last as u64)).ok()?)
    }

    /// Returns one of `all`, each in proportion to its weight.
    pub(crate) fn weighted<'a, T>(&mut self, all: &'a [(T, u64)]) -> &'a T {
        let sum = all.iter().map(|(_, weight)| weight).sum::<u64>();
        let mut at = self.next() % sum;
        for (one, weight) in all {
            if at < *weight {
                return one;
            }
            at -= weight;
        }
        unreachable!("it is less than the sum")
    }
}
