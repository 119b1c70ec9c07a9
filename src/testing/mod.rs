//! Tools for tests: the session of a local client, the suite that every store must pass, a store that
//! fails on demand, and gates for races.
//!
//! All of this is behind the feature `testing`; take it as a dev-dependency:
//!
//! ```toml
//! [dev-dependencies]
//! rocket_session_kit = { version = "0.1", features = ["testing"] }
//! ```

mod gate;
pub mod key_value_suite;
mod local_client;
mod probe;
pub mod suite;

use std::any::Any;
use std::sync::Arc;

use rocket::local::blocking::Client;

use crate::clock::Clock;
use crate::sessions::Sessions;
use crate::store::{KeyValue, MemoryStore, SessionStore};

pub use gate::Gate;
pub use local_client::{LocalClient, log_in, with_session};
pub use probe::{Act, Calls, Probe};

/// A store under test, with the clock and the resources that it uses.
pub struct Subject<S: ?Sized = dyn SessionStore> {
    pub(crate) store: Arc<S>,
    pub(crate) clock: Clock,
    _resources: Vec<Box<dyn Any + Send + Sync>>,
}

impl Subject {
    /// Returns a subject with the system's clock.
    pub fn new(store: impl SessionStore) -> Self {
        Self {
            store: Arc::new(store),
            clock: Clock::system(),
            _resources: Vec::new(),
        }
    }
}

impl Subject<dyn KeyValue> {
    /// Returns a subject for the [`key_value_suite`], with the system's clock.
    pub fn key_value(store: impl KeyValue) -> Self {
        Self {
            store: Arc::new(store),
            clock: Clock::system(),
            _resources: Vec::new(),
        }
    }
}

impl<S: ?Sized> Subject<S> {
    /// Sets the clock of the store, so that the suite can advance it instead of waiting.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Keeps a resource, such as a directory or a server, for as long as the subject exists.
    #[must_use]
    pub fn keep(mut self, resource: impl Any + Send + Sync) -> Self {
        self._resources.push(Box::new(resource));
        self
    }
}

/// Tests a store with the [`suite`]: one test for each clause of the contract of [`SessionStore`].
///
/// The first argument names the module of the tests, so that a failure reads
/// `directory::an_expired_session_loads_as_none`. The second is a future that returns a fresh
/// [`Subject`]. Each test awaits it in its own runtime.
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
            setting_up_again_keeps_sessions
            a_missing_session_loads_as_none
            a_created_session_loads_byte_for_byte
            large_sessions_with_every_character_load_unchanged
            sessions_do_not_affect_each_other
            a_loaded_revision_allows_one_save
            a_saved_revision_allows_the_next_save
            a_save_with_an_old_revision_changes_nothing
            creating_an_existing_session_changes_nothing
            saving_a_missing_session_creates_nothing
            a_deleted_session_stays_deleted
            deleting_an_old_revision_changes_nothing
            an_expired_session_loads_as_none
            an_expired_session_stays_gone_until_it_is_created_again
            a_save_extends_the_lifetime
            long_lifetimes_do_not_overflow
            one_of_many_concurrent_saves_wins
            one_of_many_concurrent_creations_wins
            concurrent_increments_all_count
            a_deletion_among_saves_is_final
            a_dropped_save_has_happened_or_not
            every_session_is_listed_once_byte_for_byte
            tombstones_and_damaged_records_are_listed
            old_sessions_are_deleted_and_counted
            a_sweep_for_expired_sessions_spares_all_others
            a_session_saved_during_a_sweep_survives
        }
    };
}

/// Tests a store with the [`key_value_suite`]: one test for each clause of the contract of
/// [`KeyValue`]. Its arguments are those of [`store_suite!`](crate::store_suite).
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
            a_missing_entry_is_none
            every_value_is_returned_unchanged
            every_name_has_its_own_entry
            setting_again_replaces_value_and_lifetime
            adding_keeps_an_existing_entry
            one_of_many_concurrent_adds_wins
            swapping_needs_the_expected_value
            concurrent_swaps_all_count
            a_removed_entry_is_gone
            one_of_many_concurrent_takes_gets_the_value
            increments_add_up
            concurrent_increments_all_count
            an_increment_keeps_the_lifetime
            incrementing_a_text_changes_nothing
            an_increment_beyond_63_bits_changes_nothing
            an_expired_entry_is_gone_for_every_call
            lifetimes_are_never_rounded_down
            long_lifetimes_do_not_overflow
            an_entry_without_a_lifetime_stays
            every_name_is_listed_once
            clearing_spares_other_namespaces
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

/// Runs a test to its end, on a runtime like Rocket's.
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
