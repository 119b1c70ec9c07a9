//! The sessions of the systems that `import` reads, as a stream.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use rocket::futures::StreamExt;
use rocket::futures::stream::{self, BoxStream};

use crate::decode_error::DecodeError;
use crate::error::{Error, ErrorKind, Result};
use crate::import::Session3Directory;
use crate::record::Record;

/// A system whose sessions can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum System {
    /// A directory of Session3
    #[value(name = "session3")]
    Session3,
    /// A database of pycket in Redis
    #[value(name = "pycket")]
    Pycket,
    /// A database of pyramid_kvs in Redis
    #[value(name = "pyramid_kvs")]
    PyramidKvs,
}

/// A session of the old system, or the reason why it cannot be imported.
pub(super) struct Old {
    /// The name by which the old system knows it.
    pub(super) name: Vec<u8>,
    pub(super) read: Result<Record, DecodeError>,
}

/// The sessions of an old system.
pub(super) struct OldSessions {
    pub(super) stream: BoxStream<'static, Result<Old>>,
    /// How many other things were there so far.
    pub(super) skipped: Arc<AtomicU64>,
}

/// Returns the sessions in a directory of Session3.
pub(super) fn session3(path: &str) -> Result<OldSessions> {
    let directory = Session3Directory::open(Path::new(path)).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "read the old sessions")
            .at(path)
            .because(error)
    })?;
    let skipped = Arc::new(AtomicU64::new(0));
    let noted = Arc::clone(&skipped);
    let stream = stream::unfold(directory, move |mut directory| {
        let noted = Arc::clone(&noted);
        async move {
            let next = directory.next();
            noted.store(directory.skipped(), Ordering::Relaxed);
            let (name, read) = next?;
            let name = name.into_encoded_bytes();
            Some((Ok(Old { name, read }), directory))
        }
    });
    Ok(OldSessions {
        stream: stream.boxed(),
        skipped,
    })
}

#[cfg(feature = "redis")]
pub(super) use in_redis::{pycket, pyramid_kvs};

/// The systems that keep their sessions in Redis.
#[cfg(feature = "redis")]
mod in_redis {
    use std::collections::VecDeque;
    use std::time::SystemTime;

    use redis::aio::MultiplexedConnection;
    use redis::{Client, RedisResult};
    use rocket::futures::TryStreamExt;

    use super::*;
    use crate::import;

    /// Reads a session from the bytes in each of the databases.
    type Read = fn(Option<&[u8]>, Option<&[u8]>) -> Result<Record, DecodeError>;

    /// A walk through the keys of a database.
    struct Walk {
        connection: MultiplexedConnection,
        pattern: String,
        /// `None` after the last part.
        cursor: Option<u64>,
        keys: VecDeque<Vec<u8>>,
    }

    impl Walk {
        async fn next(&mut self) -> RedisResult<Option<Vec<u8>>> {
            loop {
                if let Some(key) = self.keys.pop_front() {
                    return Ok(Some(key));
                }
                let Some(cursor) = self.cursor else {
                    return Ok(None);
                };
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&self.pattern);
                scan.arg("COUNT").arg(500).arg("TYPE").arg("string");
                let (next, keys): (u64, Vec<Vec<u8>>) =
                    scan.query_async(&mut self.connection).await?;
                self.cursor = Some(next).filter(|next| *next > 0);
                self.keys = keys.into();
            }
        }
    }

    async fn connect(url: &str) -> Result<MultiplexedConnection> {
        let client = Client::open(url).map_err(|_| {
            let why = "it is no URL of a server, such as `redis://127.0.0.1:6379/0`";
            Error::new(ErrorKind::Config, "read the old sessions").because(why)
        })?;
        client
            .get_multiplexed_async_connection()
            .await
            .map_err(|error| failed(&error))
    }

    /// The text of the driver's error may show the response of the server, but never the URL.
    fn failed(error: &redis::RedisError) -> Error {
        Error::new(ErrorKind::Unavailable, "read the old sessions")
            .at("the old server")
            .because(error.to_string())
    }

    /// Returns the sessions under the keys that match `pattern`, read by `read` from the bytes in each of
    /// the databases.
    async fn sessions(
        databases: [Option<&str>; 2],
        pattern: String,
        read: Read,
    ) -> Result<OldSessions> {
        let mut connections = Vec::new();
        for url in databases.into_iter().flatten() {
            connections.push(connect(url).await?);
        }
        let walk = Walk {
            connection: connections[0].clone(),
            pattern,
            cursor: Some(0),
            keys: VecDeque::new(),
        };
        let stream = stream::try_unfold(walk, |mut walk| async move {
            let next = walk.next().await.map_err(|error| failed(&error))?;
            Ok::<_, Error>(next.map(|key| (key, walk)))
        });
        let stream = stream.and_then(move |name| {
            let connections = connections.clone();
            async move {
                let mut values: [Option<Vec<u8>>; 2] = [None, None];
                for (value, mut connection) in values.iter_mut().zip(connections) {
                    let mut get = redis::cmd("GET");
                    get.arg(&name);
                    let got = get.query_async(&mut connection).await;
                    *value = got.map_err(|error| failed(&error))?;
                }
                let read = read(values[0].as_deref(), values[1].as_deref());
                Ok(Old { name, read })
            }
        });
        Ok(OldSessions {
            stream: stream.boxed(),
            skipped: Arc::default(),
        })
    }

    /// Returns the sessions of pycket at `url`, with the notifications at the other one.
    pub(in crate::cli) async fn pycket(
        url: &str,
        notifications: Option<&str>,
    ) -> Result<OldSessions> {
        // Its keys are UUIDs.
        let pattern = "????????-????-4???-????-????????????".to_owned();
        sessions([Some(url), notifications], pattern, |session, waiting| {
            import::pycket(session, waiting, SystemTime::now())
        })
        .await
    }

    /// Returns the sessions of pyramid_kvs at `url`, whose keys begin with `prefix`.
    pub(in crate::cli) async fn pyramid_kvs(url: &str, prefix: &str) -> Result<OldSessions> {
        let mut pattern = String::new();
        for character in prefix.chars() {
            if "*?[]\\".contains(character) {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('*');
        sessions([Some(url), None], pattern, |session, _| {
            import::pyramid_kvs(session.unwrap_or_default(), SystemTime::now())
        })
        .await
    }
}
