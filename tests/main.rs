//! All promises, in one binary: each file is one, seen from the browser.

mod stores;
mod support;
