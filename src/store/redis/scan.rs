//! All keys with a common prefix, on every server.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use redis::Value;
use redis::cluster_routing::{Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::shared_connection::{Retry, SharedConnection};
use crate::error::{Error, ErrorKind, Result};

/// How many keys the server examines for one response. Many more would delay other commands.
const COUNT: usize = 500;

/// The number of slots of a cluster.
const SLOTS: u16 = 16_384;

/// A position in a scan.
#[derive(Clone)]
struct Cursor {
    /// Host and port of a node of a cluster.
    node: Option<(String, u16)>,
    cursor: String,
}

/// Returns the rest of every key that begins with `prefix`, each once.
pub(super) fn keys<'a>(
    connection: &'a SharedConnection,
    act: &'static str,
    prefix: String,
) -> BoxStream<'a, Result<String>> {
    let pattern = format!("{}*", escape(&prefix));
    let starts = async move {
        let nodes = match connection.settings().is_cluster() {
            true => primaries(connection, act).await?,
            false => vec![None],
        };
        let cursors = nodes.into_iter().map(|node| Cursor {
            node,
            cursor: "0".into(),
        });
        Ok::<_, Error>(stream::iter(cursors).map(Ok))
    };
    // A server that grows its hash table meanwhile may return a key twice.
    let (hasher, mut seen) = (RandomState::new(), HashSet::new());
    stream::once(starts)
        .try_flatten()
        .map_ok(move |cursor| {
            let pattern = pattern.clone();
            stream::try_unfold(Some(cursor), move |cursor| {
                let pattern = pattern.clone();
                async move {
                    let Some(cursor) = cursor else {
                        return Ok::<_, Error>(None);
                    };
                    let (next, keys) = page(connection, act, &cursor, &pattern).await?;
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

/// Returns some keys, and the next cursor.
async fn page(
    connection: &SharedConnection,
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
        None => connection.query(act, &command, Retry::Yes).await?,
        Some((host, port)) => {
            let node = SingleNodeRoutingInfo::ByAddress {
                host: host.clone(),
                port: *port,
            };
            let routing = RoutingInfo::SingleNode(node);
            connection.send_to(act, &command, routing).await?
        }
    };
    // All keys of the store are text.
    let keys = keys
        .into_iter()
        .filter_map(|key| String::from_utf8(key).ok());
    Ok((next, keys.collect()))
}

/// Returns the addresses of a cluster's primaries.
async fn primaries(
    connection: &SharedConnection,
    act: &'static str,
) -> Result<Vec<Option<(String, u16)>>> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let ranges: Vec<Vec<Value>> = connection.query(act, &command, Retry::Yes).await?;
    let mut nodes: Vec<(String, u16)> = Vec::new();
    let mut served = 0;
    for range in ranges {
        // A range is its first slot, its last slot, the primary, and the replicas.
        let mut range = range.into_iter();
        let mut next = || range.next().unwrap_or(Value::Nil);
        let first: u16 = connection.parse(act, next())?;
        let last: u16 = connection.parse(act, next())?;
        let primary: Vec<Value> = connection.parse(act, next())?;
        let mut primary = primary.into_iter();
        let mut next = || primary.next().unwrap_or(Value::Nil);
        let node = (
            connection.parse(act, next())?,
            connection.parse(act, next())?,
        );
        served += last - first + 1;
        if !nodes.contains(&node) {
            // The driver connects to a node on the first command for one of its slots. Only then can
            // it find the node by its address.
            let route = SingleNodeRoutingInfo::SpecificNode(Route::new(first, SlotAddr::Master));
            let routing = RoutingInfo::SingleNode(route);
            let _: Value = connection
                .send_to(act, &redis::cmd("PING"), routing)
                .await?;
            nodes.push(node);
        }
    }
    if served != SLOTS {
        let why = "the cluster does not serve all of its slots at present";
        return Err(Error::new(ErrorKind::Unavailable, act)
            .at(&connection.settings().servers)
            .because(why));
    }
    Ok(nodes.into_iter().map(Some).collect())
}

/// Returns a pattern that matches `text` only.
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
