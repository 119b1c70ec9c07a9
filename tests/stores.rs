//! Every store keeps the contracts of `SessionStore` and of `KeyValue`.

use rocket_session_kit::{key_value_suite, store_suite};

use crate::support;

store_suite!(memory, support::memory());
store_suite!(directory, support::directory());

key_value_suite!(memory_entries, support::memory_entries());
key_value_suite!(directory_entries, support::directory_entries());
