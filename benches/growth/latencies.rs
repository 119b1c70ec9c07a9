//! How long many requests took: their median, and the time within which 99 of 100 were served.

use std::time::Duration;

pub(crate) struct Latencies {
    sorted: Vec<Duration>,
}

impl Latencies {
    pub(crate) fn new(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        Self { sorted: taken }
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    /// Returns microseconds, and 0 if there was no request.
    fn quantile(&self, share: f64) -> f64 {
        let place = (self.sorted.len() as f64 * share) as usize;
        let taken = self.sorted.get(place).or(self.sorted.last());
        taken.map_or(0.0, |taken| taken.as_secs_f64() * 1e6)
    }
}
