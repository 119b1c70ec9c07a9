//! The guest book, driven by a real browser. Each file is about one topic, and each test about one promise.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod accounts;
mod appearance;
mod cookies;
mod entries;
mod keyboard;
mod live;
mod notifications;
mod pages;
mod replay;
mod sessions;
mod store_down;
mod stores;
mod support;
mod without_scripts;
