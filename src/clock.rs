//! What time it is, for everything here that begins or ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time by which sessions age: the system's, or one that a test turns by hand.
///
/// An application never needs one. A test gives a copy to
/// [`Rocket::manage`](rocket::Rocket::manage) before it attaches
/// [`Sessions::fairing()`](crate::Sessions::fairing), keeps the other copy and turns it.
///
/// # Example
///
/// ```rust
/// use std::time::Duration;
/// use rocket_session_kit::Clock;
///
/// let clock = Clock::manual();
/// let noon = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), noon + Duration::from_secs(60));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Milliseconds since 1970, when the clock is turned by hand.
    hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// Returns the clock of the system.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns a clock that stands still at the present moment until it is advanced.
    pub fn manual() -> Self {
        let now = Self::system().millis();
        Self {
            hand: Some(Arc::new(AtomicU64::new(now))),
        }
    }

    /// Moves a clock made by [`Clock::manual()`], and every copy of it, forward.
    ///
    /// # Panics
    ///
    /// When this is the clock of the system, which no test can turn.
    pub fn advance(&self, by: Duration) {
        let hand = self
            .hand
            .as_ref()
            .expect("only a clock made by `Clock::manual()` can be advanced");
        hand.fetch_add(whole_millis(by), Ordering::SeqCst);
    }

    /// Moves a clock made by [`Clock::manual()`], and every copy of it, back, as an administrator
    /// or a time server does.
    ///
    /// # Panics
    ///
    /// When this is the clock of the system, which no test can turn.
    pub fn set_back(&self, by: Duration) {
        let hand = self
            .hand
            .as_ref()
            .expect("only a clock made by `Clock::manual()` can be set back");
        hand.fetch_sub(whole_millis(by), Ordering::SeqCst);
    }

    /// Returns the present time.
    pub fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.millis())
    }

    #[cfg(feature = "testing")]
    pub(crate) fn is_manual(&self) -> bool {
        self.hand.is_some()
    }

    /// Lets `time` pass: at once on a clock turned by hand, by waiting on the system's.
    #[cfg(feature = "testing")]
    pub(crate) async fn pass(&self, time: Duration) {
        match self.hand {
            Some(_) => self.advance(time),
            None => rocket::tokio::time::sleep(time).await,
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn millis(&self) -> u64 {
        match &self.hand {
            Some(hand) => hand.load(Ordering::SeqCst),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, whole_millis),
        }
    }

    /// Whole seconds since 1970.
    pub(crate) fn seconds(&self) -> u64 {
        self.millis() / 1000
    }
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_manual_clock_tell_the_same_time() {
        let clock = Clock::manual();
        let copy = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.millis(), copy.millis());
    }
}
