//! All promises, in one binary: each file is one, seen from the browser.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod browser;
mod cache;
mod cookie_on_every_outcome;
mod costs;
mod directory;
mod documentation;
mod ending;
mod expiring;
mod form_tokens;
mod guards;
mod header_sessions;
mod headers;
mod hostile_cookies;
mod import;
mod launch;
mod limits;
mod lost_responses;
mod memcached;
mod merging;
mod no_random_numbers;
mod notifications;
mod overtaking;
mod perl_session;
mod processes;
mod rate_limit;
mod redis;
mod renewing;
mod secret_keys;
mod secrets_stay_secret;
mod shared_store;
mod shutdown;
mod storable;
mod store_down;
mod stores;
mod streams;
mod support;
mod unreadable;
mod visitors;
