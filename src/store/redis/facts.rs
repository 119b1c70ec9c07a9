//! What a Redis server tells about itself: its version, its clock, and what it does when its memory is full.

use std::time::{Duration, UNIX_EPOCH};

use super::RedisStore;
use super::shared_connection::Retry;
use crate::error::Result;
use crate::store::server_facts::ServerFacts;

impl RedisStore {
    /// Returns what the server tells about itself. Of a cluster it only finds out that it responds.
    pub(crate) async fn facts(&self) -> Result<ServerFacts> {
        let act = "use the Redis server";
        let mut facts = ServerFacts {
            place: self.settings().servers.to_string(),
            version: None,
            time: None,
            evicts_by: None,
        };
        if self.settings().is_cluster() {
            let ping = redis::cmd("PING");
            let _: String = self.sessions.query(act, &ping, Retry::Yes).await?;
            return Ok(facts);
        }
        let info: String = self
            .sessions
            .query(act, &redis::cmd("INFO"), Retry::Yes)
            .await?;
        let field = |name: &str| {
            let mut lines = info.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(|value| value.trim().to_owned())
        };
        facts.version = field("redis_version");
        let policy = field("maxmemory_policy");
        facts.evicts_by = policy.filter(|policy| policy != "noeviction");
        let time = redis::cmd("TIME");
        let (seconds, micros): (u64, u64) = self.sessions.query(act, &time, Retry::Yes).await?;
        facts.time = Some(UNIX_EPOCH + Duration::new(seconds, 0) + Duration::from_micros(micros));
        Ok(facts)
    }
}
