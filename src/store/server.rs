//! A store on a server, where others may keep things too: these are only read.

use super::SessionStore;
use crate::error::Result;

/// A store on a server.
#[rocket::async_trait]
pub(crate) trait Server: SessionStore {
    /// Returns the first `most` bytes of what is under `key`, whoever keeps it there, or more.
    async fn read(&self, key: &str, most: usize) -> Result<Option<Vec<u8>>>;
}
