//! The check that a server has all necessary commands.

use super::shared_connection::{Retry, SharedConnection};
use crate::error::{Error, ErrorKind, Result};

/// Refuses a server that is too old. Of a cluster it only checks that it responds.
pub(super) async fn check_version(connection: &SharedConnection) -> Result<()> {
    let act = "use the Redis server";
    if connection.settings().is_cluster() {
        let ping = redis::cmd("PING");
        return connection
            .query(act, &ping, Retry::Yes)
            .await
            .map(|_: String| ());
    }
    let mut command = redis::cmd("INFO");
    command.arg("server");
    let info: String = connection.query(act, &command, Retry::Yes).await?;
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .unwrap_or_default();
    let mut parts = version
        .split('.')
        .map_while(|part| part.parse::<u32>().ok());
    // A server that hides its version is trusted.
    let Some(major) = parts.next() else {
        return Ok(());
    };
    if (major, parts.next().unwrap_or(0)) >= (6, 2) {
        return Ok(());
    }
    let why = format!("its version is {version}; Redis 6.2 or newer is needed");
    Err(Error::new(ErrorKind::Config, act)
        .at(&connection.settings().servers)
        .because(why))
}
