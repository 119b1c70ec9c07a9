//! What tests need: the suite that every store must pass, a store that fails on demand, and gates
//! for races.
//!
//! All of this is behind the feature `testing`; take it as a dev-dependency:
//!
//! ```toml
//! [dev-dependencies]
//! rocket_session_kit = { version = "0.1", features = ["testing"] }
//! ```

mod gate;
mod probe;
pub mod suite;

use std::any::Any;
use std::sync::Arc;

use rocket::local::blocking::Client;

use crate::clock::Clock;
use crate::sessions::Sessions;
use crate::store::{MemoryStore, SessionStore};

pub use gate::Gate;
pub use probe::{Act, Calls, Probe};

/// A store to be tried by the [`suite`], and what belongs to it.
pub struct Subject {
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) clock: Clock,
    _kept: Vec<Box<dyn Any + Send + Sync>>,
}

impl Subject {
    /// Returns `store` as a subject whose time is the system's.
    pub fn new(store: impl SessionStore) -> Self {
        Self {
            store: Arc::new(store),
            clock: Clock::system(),
            _kept: Vec::new(),
        }
    }

    /// Sets the clock that the store goes by, so that the suite can turn it instead of waiting.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps something, say a directory or a server, for as long as the subject is used.
    #[must_use]
    pub fn keep(mut self, thing: impl Any + Send + Sync) -> Self {
        self._kept.push(Box::new(thing));
        self
    }
}

/// Runs the [`suite`] over a store: one test for each clause of the contract of [`SessionStore`].
///
/// The first word names the module that the tests will be in, so that a failure reads
/// `directory::expired_loads_as_none`. The second is an expression that gives a fresh [`Subject`].
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::testing::Subject;
/// use rocket_session_kit::{Clock, MemoryStore};
///
/// fn memory() -> Subject {
///     let clock = Clock::manual();
///     Subject::new(MemoryStore::new().clock(clock.clone())).clock(clock)
/// }
///
/// rocket_session_kit::store_suite!(memory_store, memory());
/// ```
#[macro_export]
macro_rules! store_suite {
    ($name:ident, $subject:expr) => {
        $crate::store_suite! {
            @clauses $name, $subject;
            setting_up_twice_keeps_what_is_there
            what_is_not_there_loads_as_none
            what_was_created_loads_to_the_byte
            large_sessions_and_every_character_come_back
            the_revision_of_a_load_lets_one_save
            the_revision_of_a_save_lets_save_again
            a_save_over_a_newer_one_changes_nothing
            creating_what_exists_changes_nothing
            saving_what_is_not_there_creates_nothing
            deleted_is_gone_and_stays_gone
            sessions_do_not_touch_each_other
            expired_loads_as_none
            expired_stays_gone_until_it_is_created_anew
            a_save_prolongs_the_life
            long_lives_do_not_overflow
            of_many_saves_at_once_one_wins
            of_many_creations_at_once_one_wins
            no_increment_is_lost_among_many_tasks
            a_delete_among_saves_is_final
            a_save_that_is_dropped_has_happened_or_not
            every_session_is_listed_once_and_whole
            what_departed_is_not_listed
            old_sessions_are_deleted_and_counted
            a_session_saved_during_a_sweep_survives
        }
    };
    (@clauses $name:ident, $subject:expr; $($clause:ident)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $clause() {
                    $crate::testing::run($crate::testing::suite::$clause($subject));
                }
            )*
        }
        const _: &[&str] = &[$(stringify!($clause)),*];
    };
}

/// Runs a test to its end, on a runtime such as Rocket's.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    rocket::async_test(test)
}

/// Lets an example of the documentation run: as an application with sessions in memory.
#[doc(hidden)]
pub fn doc(routes: Vec<rocket::Route>, check: impl FnOnce(&Client)) {
    let rocket = rocket::build()
        .attach(Sessions::with(MemoryStore::new()))
        .mount("/", routes);
    check(&Client::tracked(rocket).expect("an example launches"));
}
