//! Calls to a store within bounds: each has a deadline, a panic becomes an error, and failures are
//! logged.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rocket::futures::FutureExt;
use rocket::tokio::time::timeout;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// How many single calls an operation of several calls may last.
const PATIENCE: u32 = 10;

/// The bounds that all calls of an application's stores share.
pub(crate) struct Bounds {
    clock: Clock,
    timeout: Duration,
    /// When a failure was last logged, in milliseconds since 1970.
    logged: AtomicU64,
}

impl Bounds {
    /// Returns the bounds of calls that may last `timeout` each.
    pub(crate) fn new(clock: Clock, timeout: Duration) -> Self {
        Self {
            clock,
            timeout,
            logged: AtomicU64::new(0),
        }
    }

    /// Returns how long a call may last.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Returns how long an operation of several calls may last.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout * PATIENCE
    }

    /// Returns the time in milliseconds since 1970.
    pub(crate) fn millis(&self) -> u64 {
        self.clock.millis()
    }

    /// Waits for `call`, which does `act`.
    ///
    /// # Errors
    ///
    /// When the store fails, panics, or does not respond in time.
    pub(crate) async fn call<T>(
        &self,
        act: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.call_within(self.timeout, act, call).await
    }

    /// As [`call`](Self::call), for a call that may last `time`.
    pub(crate) async fn call_within<T>(
        &self,
        time: Duration,
        act: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let unavailable = || Error::new(ErrorKind::Unavailable, act);
        let response = match timeout(time, AssertUnwindSafe(call).catch_unwind()).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Err(unavailable().because("the store panicked")),
            Err(_) => Err(unavailable().because(format!("no response within {time:?}"))),
        };
        response.inspect_err(|error| self.log(error))
    }

    /// Logs that the store failed, but at most once a second: while it is down, every request meets
    /// the failure.
    pub(crate) fn log(&self, error: &Error) {
        let (now, before) = (self.clock.millis(), self.logged.load(Ordering::Relaxed));
        let quiet = now.abs_diff(before) < 1000;
        if !quiet
            && self
                .logged
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            log::error!("{error}");
        }
    }
}
