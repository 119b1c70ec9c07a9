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
pub mod key_value_suite;
mod probe;
pub mod suite;

use std::any::Any;
use std::sync::Arc;

use rocket::local::blocking::Client;

use crate::clock::Clock;
use crate::sessions::Sessions;
use crate::store::{KeyValue, MemoryStore, SessionStore};

pub use gate::Gate;
pub use probe::{Act, Calls, Probe};

/// A store to be tried by the [`suite`], and what belongs to it.
pub struct Subject<S: ?Sized = dyn SessionStore> {
    pub(crate) store: Arc<S>,
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
}

impl Subject<dyn KeyValue> {
    /// Returns `store`, as what keeps entries, as a subject whose time is the system's.
    pub fn key_value(store: impl KeyValue) -> Self {
        Self {
            store: Arc::new(store),
            clock: Clock::system(),
            _kept: Vec::new(),
        }
    }
}

impl<S: ?Sized> Subject<S> {
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
/// `directory::expired_loads_as_none`. The second is a future of a fresh [`Subject`], which is
/// awaited in the runtime of the test.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::testing::Subject;
/// use rocket_session_kit::{Clock, MemoryStore};
///
/// async fn memory() -> Subject {
///     let clock = Clock::manual();
///     Subject::new(MemoryStore::new().clock(clock.clone())).clock(clock)
/// }
///
/// rocket_session_kit::store_suite!(memory_store, memory());
/// ```
#[macro_export]
macro_rules! store_suite {
    ($name:ident, $subject:expr) => {
        $crate::__clauses! {
            suite, $name, $subject;
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
            a_deletion_of_a_revision_spares_every_other
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
            every_session_is_listed_once_and_to_the_byte
            whatever_is_kept_is_listed
            old_sessions_are_deleted_and_counted
            a_sweep_for_what_expired_takes_nothing_else
            a_session_saved_during_a_sweep_survives
        }
    };
}

/// Runs the [`key_value_suite`] over a store: one test for each clause of the contract of
/// [`KeyValue`]. It is used as [`store_suite!`](crate::store_suite) is.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::testing::Subject;
/// use rocket_session_kit::{Clock, MemoryStore};
///
/// async fn memory() -> Subject<dyn rocket_session_kit::store::KeyValue> {
///     let clock = Clock::manual();
///     Subject::key_value(MemoryStore::new().clock(clock.clone())).clock(clock)
/// }
///
/// rocket_session_kit::key_value_suite!(memory_entries, memory());
/// ```
#[macro_export]
macro_rules! key_value_suite {
    ($name:ident, $subject:expr) => {
        $crate::__clauses! {
            key_value_suite, $name, $subject;
            what_is_not_there_is_none
            any_bytes_come_back
            any_name_has_its_own_entry
            setting_again_replaces_value_and_lifetime
            adding_keeps_what_is_there
            of_many_adds_at_once_one_wins
            swapping_needs_what_was_expected
            no_swap_is_lost_among_many_tasks
            removed_is_gone
            of_many_takers_one_gets_it
            increments_add_up
            no_increment_is_lost_among_many_tasks
            an_increment_keeps_the_lifetime
            an_increment_of_no_number_changes_nothing
            an_increment_beyond_63_bits_changes_nothing
            expired_is_gone_for_every_call
            lifetimes_are_never_shorter_than_asked_for
            long_lifetimes_do_not_overflow
            without_a_lifetime_it_stays
            every_name_is_listed_once
            clearing_leaves_other_namespaces_alone
        }
    };
}

/// Makes a test of each clause of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __clauses {
    ($suite:ident, $name:ident, $subject:expr; $($clause:ident)*) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $clause() {
                    $crate::testing::run(async {
                        $crate::testing::$suite::$clause($subject.await).await;
                    });
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
