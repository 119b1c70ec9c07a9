//! What Memcached servers tell about themselves: their versions and their clocks.

use std::time::{Duration, UNIX_EPOCH};

use super::{MemcachedStore, dump};
use crate::error::Result;
use crate::store::server_facts::ServerFacts;

impl MemcachedStore {
    /// Returns what each server tells about itself.
    pub(crate) async fn facts(&self) -> Result<Vec<ServerFacts>> {
        let mut all = Vec::new();
        for address in self.settings().servers.iter() {
            let stats = dump::stats(address, self.settings().timeout).await?;
            let stat = |name: &str| {
                let found = stats.iter().find(|(other, _)| other == name);
                found.map(|(_, value)| value.clone())
            };
            let seconds = stat("time").and_then(|seconds| seconds.parse().ok());
            all.push(ServerFacts {
                place: address.clone(),
                version: stat("version"),
                time: seconds.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
                evicts_by: None,
            });
        }
        Ok(all)
    }
}
