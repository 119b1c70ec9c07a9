//! All keys that begin alike, on every server.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redis::Value;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::link::{Again, Link};
use crate::error::{Error, ErrorKind, Result};

/// How many keys the server looks at for one answer: more would make others wait.
const COUNT: usize = 500;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

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
                    let next = (next != "0").then_some(Cursor {
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
            read(link, act, answer)?
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
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let ranges: Vec<Vec<Value>> = link.ask(act, &command, Again::Yes).await?;
    let mut nodes: Vec<(String, u16)> = Vec::new();
    let mut served = 0;
    for range in ranges {
        // First slot, last slot, primary, replicas.
        let mut range = range.into_iter();
        let mut next = || range.next().unwrap_or(Value::Nil);
        let (first, last): (u16, u16) = (read(link, act, next())?, read(link, act, next())?);
        let primary: Vec<Value> = read(link, act, next())?;
        let mut primary = primary.into_iter();
        let mut next = || primary.next().unwrap_or(Value::Nil);
        let node = (read(link, act, next())?, read(link, act, next())?);
        served += last - first + 1;
        if !nodes.contains(&node) {
            // The driver connects to a node when it is asked for a slot of it, and finds it by its
            // address only then.
            let route = Route::new(first, SlotAddr::Master);
            let to = SingleNodeRoutingInfo::SpecificNode(route);
            link.route(act, &redis::cmd("PING"), RoutingInfo::SingleNode(to))
                .await?;
            nodes.push(node);
        }
    }
    if served != SLOTS {
        let why = "the cluster does not serve all of its slots at present";
        return Err(Error::new(ErrorKind::Unavailable, act)
            .at(&link.settings().servers)
            .because(why));
    }
    Ok(nodes.into_iter().map(Some).collect())
}

fn read<T: redis::FromRedisValue>(link: &Link, act: &'static str, value: Value) -> Result<T> {
    redis::from_redis_value(value).map_err(|_| unexpected(link, act))
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
