//! The box with the latest entries, which the cache keeps until somebody adds one.

use std::time::Duration;

use rocket::warn;
use rocket_session_kit::{Cache, Keep};

use crate::database::Database;
use crate::entries::Entry;
use crate::error::{Error, Result};

/// The tag of every cached value that is made from entries.
const ENTRIES: &str = "entries";

/// Returns the latest entries, from the cache if it has them. While its store is down, they come from
/// the database. If that fails too, the box is empty: it is no reason to show no page.
pub async fn entries(cache: &Cache, database: &Database) -> Vec<Entry> {
    let keep = Keep::new().ttl(Duration::from_secs(600)).tag(ENTRIES);
    let entries = cache.get_or_compute("latest entries", keep, || async {
        Ok::<_, Error>(database.newest_entries(5).await?)
    });
    entries.await.unwrap_or_else(|error| {
        warn!("the latest entries are missing: {error}");
        Vec::new()
    })
}

/// Makes all cached values invalid that are made from entries, after one was added.
pub async fn invalidate(cache: &Cache) -> Result<()> {
    Ok(cache.invalidate_tag(ENTRIES).await?)
}
