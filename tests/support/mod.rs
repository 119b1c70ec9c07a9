//! What the tests share: applications, visitors and stores.

mod app;
pub(crate) mod browser;
pub(crate) mod log;
pub(crate) mod process;
pub(crate) mod served;
mod visitor;

use rocket_session_kit::testing::Subject;
use rocket_session_kit::{Clock, DirectoryStore, MemoryStore};

pub(crate) use app::{App, figment};
pub(crate) use visitor::{Answer, Visitor};

/// A memory store with a clock that is turned by hand.
pub(crate) fn memory() -> Subject {
    let clock = Clock::manual();
    Subject::new(MemoryStore::new().clock(clock.clone())).clock(clock)
}

/// A directory store in a directory of its own, with a clock that is turned by hand.
pub(crate) fn directory() -> Subject {
    let there = tempfile::tempdir().expect("there is room for a directory");
    let clock = Clock::manual();
    let store = DirectoryStore::open(there.path().join("sessions")).expect("it can be made");
    Subject::new(store.clock(clock.clone()))
        .clock(clock)
        .keep(there)
}
