//! The common parts of the tests: the guest book, its visitors and their browsers.

mod book;
#[path = "../../../../tests/support/browser.rs"]
pub(crate) mod browser;
mod browsing;
mod pool;
#[allow(
    dead_code,
    unexpected_cfgs,
    reason = "the tests of the crate use the rest, and have its features"
)]
#[path = "../../../../tests/support/process.rs"]
pub(crate) mod process;
#[allow(dead_code, reason = "the tests of the crate use the rest")]
#[path = "../../../../tests/support/redis.rs"]
pub(crate) mod redis;
#[allow(dead_code, reason = "the tests of the crate use the rest")]
#[path = "../../../../tests/support/sql_server.rs"]
pub(crate) mod sql_server;
mod tour;

pub(crate) use book::{Book, PASSWORD, Visitor};
pub(crate) use pool::Kind;
pub(crate) use tour::{Sight, guided_tour};
