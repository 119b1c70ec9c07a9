//! The requests that the driver does not offer: the version of a server, and a list of its keys.
//!
//! Both are lines of the text protocol (`doc/protocol.txt` of Memcached).

use std::io;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rocket::tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use rocket::tokio::net::TcpStream;
use rocket::tokio::time::{sleep, timeout};

use super::failure::io_reason;
use crate::error::{Error, ErrorKind, Result};

/// The first version with all necessary commands.
const OLDEST: [u32; 3] = [1, 6, 13];

/// How often to send the request while the server is listing its keys for another client.
const ATTEMPTS: u32 = 50;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection for a few lines, each of which must arrive within the time limit.
struct Lines {
    stream: BufReader<TcpStream>,
    time_limit: Duration,
}

/// Refuses a server that is too old.
pub(super) async fn check_version(address: &str, time_limit: Duration) -> Result<()> {
    let act = "use the Memcached server";
    let response = async {
        let mut lines = Lines::open(address, time_limit).await?;
        lines.send("version").await?;
        lines.next().await
    };
    let response = response
        .await
        .map_err(|error| unavailable(act, address, &error))?;
    let version = response
        .strip_prefix("VERSION ")
        .unwrap_or("unknown")
        .trim();
    let mut parts = version
        .split(['.', '-', '_'])
        .map(|part| part.parse().unwrap_or(0));
    let version_parts = [(); 3].map(|()| parts.next().unwrap_or(0_u32));
    if version_parts >= OLDEST {
        return Ok(());
    }
    let why = format!("its version is {version}; 1.6.13 or newer is needed");
    Err(Error::new(ErrorKind::Config, act).at(address).because(why))
}

/// Returns the numbers and names that a server tells about itself, such as its `version` and its `time`.
#[cfg(feature = "cli")]
pub(super) async fn stats(address: &str, time_limit: Duration) -> Result<Vec<(String, String)>> {
    let stats = async {
        let mut lines = Lines::open(address, time_limit).await?;
        lines.send("stats").await?;
        let mut stats = Vec::new();
        loop {
            let line = lines.next().await?;
            let Some(stat) = line.strip_prefix("STAT ") else {
                return Ok(stats);
            };
            if let Some((name, value)) = stat.split_once(' ') {
                stats.push((name.to_owned(), value.to_owned()));
            }
        }
    };
    let act = "use the Memcached server";
    stats
        .await
        .map_err(|error| unavailable(act, address, &error))
}

/// Returns all keys of a server. It reads them as fast as they arrive, because a server lists keys
/// for one client at a time.
pub(super) async fn keys(
    act: &'static str,
    address: &str,
    time_limit: Duration,
) -> Result<Vec<String>> {
    for _ in 0..ATTEMPTS {
        let listed = list(address, time_limit).await;
        match listed.map_err(|error| unavailable(act, address, &error))? {
            Listed::Keys(keys) => return Ok(keys),
            Listed::Busy => sleep(PAUSE).await,
            Listed::Refused => {
                let why = "it does not list its keys; start it without `no_lru_crawler`";
                return Err(Error::new(ErrorKind::Unsupported, act)
                    .at(address)
                    .because(why));
            }
        }
    }
    let why = "it was listing its keys for another client at every attempt";
    Err(Error::new(ErrorKind::Unavailable, act)
        .at(address)
        .because(why))
}

enum Listed {
    Keys(Vec<String>),
    Busy,
    Refused,
}

async fn list(address: &str, time_limit: Duration) -> io::Result<Listed> {
    let mut lines = Lines::open(address, time_limit).await?;
    // The server walks its hash table. A walk along its LRU queues would miss items that move from
    // one queue to another meanwhile.
    lines.send("lru_crawler metadump hash").await?;
    let mut keys = Vec::new();
    loop {
        let line = lines.next().await?;
        if line == "END" {
            return Ok(Listed::Keys(keys));
        }
        if line.starts_with("BUSY") {
            return Ok(Listed::Busy);
        }
        if line.contains("ERROR") && keys.is_empty() && !line.starts_with("key=") {
            return Ok(Listed::Refused);
        }
        let key = line
            .strip_prefix("key=")
            .and_then(|rest| rest.split(' ').next());
        let key = key.map(|key| percent_decode_str(key).decode_utf8());
        // All keys of the store are text.
        if let Some(Ok(key)) = key {
            keys.push(key.into_owned());
        }
    }
}

impl Lines {
    async fn open(address: &str, time_limit: Duration) -> io::Result<Self> {
        let stream = timeout(time_limit, TcpStream::connect(address)).await??;
        Ok(Self {
            stream: BufReader::with_capacity(65_536, stream),
            time_limit,
        })
    }

    async fn send(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\r\n");
        timeout(self.time_limit, self.stream.write_all(line.as_bytes())).await?
    }

    async fn next(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match timeout(self.time_limit, self.stream.read_line(&mut line)).await?? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

fn unavailable(act: &'static str, address: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, act)
        .at(address)
        .because(io_reason(error))
}
