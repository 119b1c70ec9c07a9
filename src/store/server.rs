//! A store on a server, which also reads keys of other programs.

use super::SessionStore;
use crate::error::Result;

/// A store on a server.
#[rocket::async_trait]
pub(crate) trait Server: SessionStore {
    /// Returns the value under `key`, whichever program wrote it, or its first bytes, at least
    /// `most`, if it is longer.
    async fn read(&self, key: &str, most: usize) -> Result<Option<Vec<u8>>>;
}
