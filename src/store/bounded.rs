//! Calls to a store within bounds: each has a deadline, a panic becomes an error, and failures are
//! logged.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rocket::futures::FutureExt;
use rocket::tokio::time::timeout;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{EventKind, Listeners, StoreCall};

/// How many single calls an operation of several calls may last.
const PATIENCE: u32 = 10;

/// The bounds of the calls to one store. Those of an application's stores share the log.
#[derive(Clone)]
pub(crate) struct Bounds {
    clock: Clock,
    timeout: Duration,
    /// When a failure was last logged, in milliseconds since 1970.
    logged: Arc<AtomicU64>,
    /// The name of the store.
    store: &'static str,
    listeners: Listeners,
}

impl Bounds {
    /// Returns the bounds of calls that may last `timeout` each.
    pub(crate) fn new(clock: Clock, timeout: Duration) -> Self {
        Self {
            clock,
            timeout,
            logged: Arc::default(),
            store: "own",
            listeners: Listeners::default(),
        }
    }

    /// Adds those who learn of each call.
    pub(crate) fn listeners(mut self, listeners: Listeners) -> Self {
        self.listeners = listeners;
        self
    }

    /// Returns the same bounds for the calls to the store called `store`.
    pub(crate) fn of_store(&self, store: &'static str) -> Arc<Self> {
        Arc::new(Self {
            store,
            ..self.clone()
        })
    }

    /// Returns those who learn of each call.
    pub(crate) fn heard_by(&self) -> &Listeners {
        &self.listeners
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
        let started = (!self.listeners.is_empty()).then(Instant::now);
        let response = match timeout(time, AssertUnwindSafe(call).catch_unwind()).await {
            Ok(Ok(response)) => response,
            Ok(Err(_)) => Err(unavailable().because("the store panicked")),
            Err(_) => Err(unavailable().because(format!("no response within {time:?}"))),
        };
        if let Some(started) = started {
            self.report(act, started.elapsed(), response.as_ref().err());
        }
        response.inspect_err(|error| self.log(error))
    }

    /// Tells the listeners of a call that did `act`.
    #[cold]
    fn report(&self, act: &'static str, took: Duration, error: Option<&Error>) {
        let store = self.store;
        let failed = error.is_some_and(is_of_store);
        self.listeners.tell_of_call(&StoreCall {
            store,
            act,
            took,
            failed,
        });
        if failed {
            self.listeners.note(EventKind::StoreFailed { store, act });
        }
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

/// Returns whether `error` is about the store, and not about the value that it should keep.
fn is_of_store(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Config)
}
