//! All promises, in one binary. Each file is about one topic, and tests it from outside. Without the features
//! of the servers, the tests remain that need none.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg_attr(
    not(all(
        feature = "redis",
        feature = "memcached",
        feature = "postgres",
        feature = "mysql",
        feature = "sqlite"
    )),
    allow(
        dead_code,
        unused_imports,
        reason = "it is for the tests of the servers"
    )
)]

mod architecture;
mod batches;
mod browser;
mod cache;
mod cache_refresh;
mod cache_tags;
#[cfg(all(
    feature = "cli",
    feature = "redis",
    feature = "memcached",
    feature = "postgres",
    feature = "mysql",
    feature = "sqlite"
))]
mod cli;
mod contested_ends;
mod cookie_on_every_outcome;
mod costs;
mod directory;
mod documentation;
#[cfg(all(feature = "redis", feature = "memcached"))]
mod ending;
mod events;
mod examples;
mod expiring;
mod form_tokens;
mod guards;
mod header_sessions;
mod headers;
mod hostile_cookies;
#[cfg(feature = "import")]
mod import;
mod keyed_limits;
mod launch;
mod lifetimes;
mod limits;
mod lost_responses;
#[cfg(feature = "memcached")]
mod memcached;
mod merging;
#[cfg(feature = "metrics")]
mod metrics;
mod no_random_numbers;
mod notification_data;
mod notifications;
mod overtaking;
#[cfg(all(feature = "perl", feature = "redis", feature = "memcached"))]
mod perl_session;
mod processes;
mod programs;
#[cfg(all(feature = "redis", feature = "memcached"))]
mod rate_limit;
#[cfg(feature = "redis")]
mod redis;
mod renewal_grace;
mod renewing;
mod rotating_tokens;
mod saving;
mod secret_keys;
mod secrets_stay_secret;
mod several_kinds;
mod shared_store;
mod shutdown;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql_costs;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql_failures;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql_races;
mod sql_settings;
#[cfg(all(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod sql_tables;
#[cfg(feature = "perl")]
mod storable;
mod store_down;
mod stores;
mod streams;
mod support;
mod taking_over;
mod testing_tools;
mod trust;
mod unreadable;
mod user_sessions;
mod visitors;
