//! What the driver cannot ask a server: its version, and the list of its keys.
//!
//! Both are lines of the text protocol (`doc/protocol.txt` of Memcached).

use std::io;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rocket::tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use rocket::tokio::net::TcpStream;
use rocket::tokio::time::{sleep, timeout};

use super::pool::io_reason;
use crate::error::{Error, ErrorKind, Result};

/// The first version whose commands do what is needed here.
const OLDEST: [u32; 3] = [1, 6, 13];

/// How often to ask a server again that is listing its keys for somebody else.
const TRIES: u32 = 50;

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection for a few lines. Every line comes within the time for one call.
struct Lines {
    stream: BufReader<TcpStream>,
    patience: Duration,
}

/// Refuses a server that is too old.
pub(super) async fn check_version(address: &str, patience: Duration) -> Result<()> {
    let act = "use the Memcached server";
    let told = async {
        let mut lines = Lines::open(address, patience).await?;
        lines.ask("version").await?;
        lines.next().await
    };
    let told = told
        .await
        .map_err(|error| unavailable(act, address, &error))?;
    let version = told.strip_prefix("VERSION ").unwrap_or("unknown").trim();
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

/// Returns all keys of a server. It is read as fast as it comes: who reads slowly keeps the server
/// from listing for others.
pub(super) async fn keys(
    act: &'static str,
    address: &str,
    patience: Duration,
) -> Result<Vec<String>> {
    for _ in 0..TRIES {
        let listed = list(address, patience).await;
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
    let why = "it was listing its keys for somebody else all the time";
    Err(Error::new(ErrorKind::Unavailable, act)
        .at(address)
        .because(why))
}

enum Listed {
    Keys(Vec<String>),
    Busy,
    Refused,
}

async fn list(address: &str, patience: Duration) -> io::Result<Listed> {
    let mut lines = Lines::open(address, patience).await?;
    // By its hash table: a walk along the queues of what was used last leaves out what the server
    // moves from one to another meanwhile.
    lines.ask("lru_crawler metadump hash").await?;
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
        // All of ours are text.
        if let Some(Ok(key)) = key {
            keys.push(key.into_owned());
        }
    }
}

impl Lines {
    async fn open(address: &str, patience: Duration) -> io::Result<Self> {
        let stream = timeout(patience, TcpStream::connect(address)).await??;
        Ok(Self {
            stream: BufReader::with_capacity(65_536, stream),
            patience,
        })
    }

    async fn ask(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\r\n");
        timeout(self.patience, self.stream.write_all(line.as_bytes())).await?
    }

    async fn next(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match timeout(self.patience, self.stream.read_line(&mut line)).await?? {
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
