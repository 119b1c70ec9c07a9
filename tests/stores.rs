//! Every store keeps the contracts of `SessionStore` and of `KeyValue`.

use rocket_session_kit::{key_value_suite, store_suite};

use crate::support;

store_suite!(memory, support::memory());
store_suite!(directory, support::directory());
store_suite!(redis, support::redis());
store_suite!(redis_cluster, support::redis_cluster());

key_value_suite!(memory_entries, support::memory_entries());
key_value_suite!(directory_entries, support::directory_entries());
key_value_suite!(redis_entries, support::redis_entries());
key_value_suite!(redis_cluster_entries, support::redis_cluster_entries());
