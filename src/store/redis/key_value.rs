//! Entries in Redis: by a command of the server, or by a script where no command suffices.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Value};
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::scan;
use super::script::Script;
use super::shared_connection::Retry;
use super::{CONCURRENCY, RedisStore, ttl_millis};
use crate::error::Result;
use crate::store::edit;
use crate::store::{Key, KeyValue, Namespace};

/// Its arguments are the expected value, the new one, and its lifetime in milliseconds or nothing.
static SWAP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
         else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
         return 1",
    )
});

/// Its arguments are the amount, and the lifetime in milliseconds or nothing. It returns the sum as
/// text, because a number of Lua would lose the last digits.
static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local there = redis.call('GET', KEYS[1])
         if there and not string.match(there, '^%d+$') then return 'no number' end
         local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
         if type(sum) == 'table' then
           if string.find(sum.err, 'overflow') then return 'too large' end
           return 'no number'
         end
         if not there and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
         return redis.call('GET', KEYS[1])",
    )
});

impl RedisStore {
    fn entry_command(&self, name: &str, key: &Key) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(self.prefix.entry(key));
        command
    }

    fn set_command(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Cmd {
        let mut command = self.entry_command("SET", key);
        command.arg(value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(ttl_millis(ttl));
        }
        command
    }
}

#[rocket::async_trait]
impl KeyValue for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let command = self.entry_command("GET", key);
        self.entries
            .query("read an entry", &command, Retry::Yes)
            .await
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let command = self.set_command(key, value, ttl);
        self.entries
            .query("keep an entry", &command, Retry::Yes)
            .await
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let mut command = self.set_command(key, value, ttl);
        command.arg("NX");
        let added = self
            .entries
            .query("keep an entry", &command, Retry::No)
            .await;
        added.map(|added: Value| added != Value::Nil)
    }

    async fn swap(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool> {
        let Some(expected) = expected else {
            return self.add(key, value, ttl).await;
        };
        let ttl = ttl_argument(ttl);
        let arguments = [expected, value, ttl.as_bytes()];
        let (act, key) = ("keep an entry", self.prefix.entry(key));
        let swap = self.entries.run(act, &SWAP, &key, &arguments, Retry::No);
        self.entries.parse(act, swap.await?.value)
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let command = self.entry_command("UNLINK", key);
        self.entries
            .query("remove an entry", &command, Retry::No)
            .await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let command = self.entry_command("GETDEL", key);
        self.entries
            .query("take an entry", &command, Retry::No)
            .await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        if edit::sum(0, by).is_none() {
            // The server would refuse the amount itself, whatever the value is.
            let value = self.get(key).await?;
            let is_number = value.is_none_or(|value| edit::number(&value).is_some());
            return Err(match is_number {
                true => edit::too_large(),
                false => edit::not_a_number(),
            });
        }
        let (by, ttl) = (by.to_string(), ttl_argument(ttl));
        let arguments = [by.as_bytes(), ttl.as_bytes()];
        let (act, key) = ("increment an entry", self.prefix.entry(key));
        let increment = self
            .entries
            .run(act, &INCREMENT, &key, &arguments, Retry::No);
        let sum: String = self.entries.parse(act, increment.await?.value)?;
        match sum.as_str() {
            "too large" => Err(edit::too_large()),
            sum => edit::number(sum.as_bytes()).ok_or_else(edit::not_a_number),
        }
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let prefix = self.prefix.namespace(namespace);
        let namespace = namespace.clone();
        scan::keys(&self.entries, "list the entries", prefix)
            .try_filter_map(move |escaped| {
                let name = namespace.name(&escaped);
                async { Ok(name) }
            })
            .boxed()
    }

    async fn clear(&self, namespace: &Namespace) -> Result<u64> {
        let act = "clear the entries";
        let prefix = self.prefix.namespace(namespace);
        scan::keys(&self.entries, act, prefix.clone())
            .map_ok(|escaped| {
                let mut command = redis::cmd("UNLINK");
                command.arg(format!("{prefix}{escaped}"));
                async move { self.entries.query::<u64>(act, &command, Retry::Yes).await }
            })
            .try_buffer_unordered(CONCURRENCY)
            .try_fold(0, async |cleared, removed| Ok(cleared + removed))
            .await
    }
}

/// Returns a lifetime as the argument of a script.
fn ttl_argument(ttl: Option<Duration>) -> String {
    ttl.map(|ttl| ttl_millis(ttl).to_string())
        .unwrap_or_default()
}
