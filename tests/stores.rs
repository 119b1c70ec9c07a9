//! Every store keeps the contracts of `SessionStore` and of `KeyValue`.

use rocket_session_kit::{key_value_suite, store_suite};

use crate::support;

store_suite!(memory, support::memory());
store_suite!(directory, support::directory());
#[cfg(feature = "redis")]
store_suite!(redis, support::redis());
#[cfg(feature = "redis")]
store_suite!(redis_cluster, support::redis_cluster());
#[cfg(feature = "memcached")]
store_suite!(memcached, support::memcached(1));
#[cfg(feature = "memcached")]
store_suite!(three_memcached, support::memcached(3));

key_value_suite!(memory_entries, support::memory_entries());
key_value_suite!(directory_entries, support::directory_entries());
#[cfg(feature = "redis")]
key_value_suite!(redis_entries, support::redis_entries());
#[cfg(feature = "redis")]
key_value_suite!(redis_cluster_entries, support::redis_cluster_entries());
#[cfg(feature = "memcached")]
key_value_suite!(memcached_entries, support::memcached_entries(1));
#[cfg(feature = "memcached")]
key_value_suite!(three_memcached_entries, support::memcached_entries(3));
