//! All keys that begin alike, on every server.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redis::Value;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::link::{Again, Link};
use crate::error::{Error, ErrorKind, Result};

/// How many keys the server looks at for one answer: more would make others wait.
const COUNT: usize = 500;

/// Where a scan goes on.
#[derive(Clone)]
struct Cursor {
    /// In a cluster, host and port.
    node: Option<(String, u16)>,
    cursor: String,
}

/// Returns what follows `prefix` in every key that begins with it, each once.
pub(super) fn keys<'a>(
    link: &'a Link,
    act: &'static str,
    prefix: String,
) -> BoxStream<'a, Result<String>> {
    let pattern = format!("{}*", escape(&prefix));
    let first = async move {
        let nodes = match link.is_cluster() {
            true => primaries(link, act).await?,
            false => vec![None],
        };
        let cursors = nodes.into_iter().map(|node| Cursor {
            node,
            cursor: "0".into(),
        });
        Ok::<_, Error>(stream::iter(cursors).map(Ok))
    };
    // A server that makes room for more keys meanwhile may tell one twice.
    let (hasher, mut seen) = (RandomState::new(), HashSet::new());
    stream::once(first)
        .try_flatten()
        .map_ok(move |cursor| {
            let pattern = pattern.clone();
            stream::try_unfold(Some(cursor), move |cursor| {
                let pattern = pattern.clone();
                async move {
                    let Some(cursor) = cursor else {
                        return Ok::<_, Error>(None);
                    };
                    let (next, keys) = page(link, act, &cursor, &pattern).await?;
                    let next = (next != "0").then(|| Cursor {
                        cursor: next,
                        ..cursor
                    });
                    Ok(Some((stream::iter(keys).map(Ok), next)))
                }
            })
            .try_flatten()
        })
        .try_flatten()
        .try_filter_map(move |key| {
            let rest = key.strip_prefix(&prefix).map(str::to_owned);
            let rest = rest.filter(|rest| seen.insert(hasher.hash_one(rest)));
            async { Ok(rest) }
        })
        .boxed()
}

/// Returns a few keys, and where to go on.
async fn page(
    link: &Link,
    act: &'static str,
    from: &Cursor,
    pattern: &str,
) -> Result<(String, Vec<String>)> {
    let mut command = redis::cmd("SCAN");
    command
        .arg(&from.cursor)
        .arg("MATCH")
        .arg(pattern)
        .arg("COUNT")
        .arg(COUNT);
    let (next, keys): (String, Vec<Vec<u8>>) = match &from.node {
        None => link.ask(act, &command, Again::Yes).await?,
        Some((host, port)) => {
            let to = SingleNodeRoutingInfo::ByAddress {
                host: host.clone(),
                port: *port,
            };
            let answer = link
                .route(act, &command, RoutingInfo::SingleNode(to))
                .await?;
            redis::from_redis_value(answer).map_err(|_| unexpected(link, act))?
        }
    };
    // All of ours are text.
    let keys = keys
        .into_iter()
        .filter_map(|key| String::from_utf8(key).ok());
    Ok((next, keys.collect()))
}

/// Returns the addresses of a cluster's primaries.
async fn primaries(link: &Link, act: &'static str) -> Result<Vec<Option<(String, u16)>>> {
    // Each answers under its address.
    let all = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let Value::Map(answers) = link.route(act, &redis::cmd("PING"), all).await? else {
        return Err(unexpected(link, act));
    };
    let addresses = answers.into_iter().map(|(address, _)| {
        let address: String = redis::from_redis_value(address).ok()?;
        let (host, port) = address.rsplit_once(':')?;
        Some(Some((host.to_owned(), port.parse().ok()?)))
    });
    addresses
        .collect::<Option<_>>()
        .ok_or_else(|| unexpected(link, act))
}

fn unexpected(link: &Link, act: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, act)
        .at(&link.settings().servers)
        .because("it answered something that was not expected")
}

/// Returns a pattern that matches `text` and nothing else.
fn escape(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}
