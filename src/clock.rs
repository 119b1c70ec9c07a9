//! The clock by which sessions and entries expire, and which a test can set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The clock by which sessions expire: the system's, or a manual one for tests.
///
/// An application does not need one. A test passes a copy of a manual clock to
/// [`Rocket::manage`](rocket::Rocket::manage) before it attaches
/// [`Sessions::fairing()`](crate::Sessions::fairing), and keeps another copy to advance it.
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
    /// Milliseconds since 1970, if the clock is manual.
    hand: Option<Arc<AtomicU64>>,
}

impl Clock {
    /// Returns the clock of the system.
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns a manual clock. It shows the present time, and changes only when it is advanced or set
    /// back.
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
    /// When this is the clock of the system.
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
    /// When this is the clock of the system.
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

    /// Lets `time` pass: advances a manual clock at once, and waits on the clock of the system.
    #[cfg(feature = "testing")]
    pub(crate) async fn pass(&self, time: Duration) {
        match self.hand {
            Some(_) => self.advance(time),
            None => rocket::tokio::time::sleep(time).await,
        }
    }

    /// Lets `time` pass. On the clock of the system it goes on, for some seconds, until `holds`: a
    /// server on a busy machine notices late that time has passed.
    #[cfg(feature = "testing")]
    pub(crate) async fn pass_until(&self, time: Duration, holds: impl AsyncFn() -> bool) {
        const STEP: Duration = Duration::from_millis(100);
        self.pass(time).await;
        for _ in 0..100 {
            if self.is_manual() || holds().await {
                return;
            }
            self.pass(STEP).await;
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
    fn copies_of_a_manual_clock_agree() {
        let clock = Clock::manual();
        let copy = clock.clone();
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.millis(), copy.millis());
    }
}
