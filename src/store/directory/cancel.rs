//! Cancellation: a thread learns that nobody waits for its work any more.

use std::io;
use std::sync::{Arc, Weak};

/// Tells a blocking thread whether the future that started its work still exists.
///
/// A call may be dropped while it waits for a thread, or while that thread waits for the disk. So
/// the thread checks the token before each step that others can see.
pub(super) struct CancelToken(Weak<()>);

/// Cancels the work when it is dropped.
pub(super) struct CancelGuard(#[expect(dead_code, reason = "only its count matters")] Arc<()>);

impl CancelToken {
    /// Returns a token, and the guard that cancels it.
    pub(super) fn new() -> (Self, CancelGuard) {
        let guard = Arc::new(());
        (Self(Arc::downgrade(&guard)), CancelGuard(guard))
    }

    /// # Errors
    ///
    /// When the work is cancelled, so that it must stop here. Nobody sees the error.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.0.strong_count() {
            0 => Err(io::Error::other("the call was cancelled")),
            _ => Ok(()),
        }
    }
}
