//! Every store keeps the contract of `SessionStore`.

use rocket_session_kit::store_suite;

use crate::support;

store_suite!(memory, support::memory());
store_suite!(directory, support::directory());
