//! A store on a server that other programs use too, and whose keys it can read.

use super::SessionStore;
use crate::error::Result;

/// A store on a server that other programs use too.
#[rocket::async_trait]
pub(crate) trait Server: SessionStore {
    /// Returns the first `most` bytes under any `key` of the server, or more.
    async fn read(&self, key: &str, most: usize) -> Result<Option<Vec<u8>>>;
}
