//! Entries in Redis: what takes more than a command of the server takes a script.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Value};
use rocket::futures::stream::{BoxStream, StreamExt, TryStreamExt};

use super::link::Again;
use super::scan;
use super::{ABREAST, RedisStore, Script, millis};
use crate::error::Result;
use crate::store::edit;
use crate::store::{Key, KeyValue, Namespace};

static SWAP: LazyLock<Script> = LazyLock::new(|| {
    // Key. Expected, value, milliseconds or nothing.
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
         else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
         return 1",
    )
});

static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    // Key. Amount, milliseconds or nothing. The sum is told as text: as a number of Lua it would
    // lose its last digits.
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
    fn entry(&self, key: &Key) -> String {
        format!("{}{}", self.prefix, key.as_str())
    }

    fn set_command(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Cmd {
        let mut command = redis::cmd("SET");
        command.arg(self.entry(key)).arg(value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(millis(ttl));
        }
        command
    }
}

#[rocket::async_trait]
impl KeyValue for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let mut command = redis::cmd("GET");
        command.arg(self.entry(key));
        self.entries
            .ask("read an entry", &command, Again::Yes)
            .await
    }

    async fn set(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let command = self.set_command(key, value, ttl);
        self.entries
            .ask("keep an entry", &command, Again::Yes)
            .await
    }

    async fn add(&self, key: &Key, value: &[u8], ttl: Option<Duration>) -> Result<bool> {
        let mut command = self.set_command(key, value, ttl);
        command.arg("NX");
        let answer = self.entries.ask("keep an entry", &command, Again::No).await;
        answer.map(|answer: Value| answer != Value::Nil)
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
        let ttl = ttl.map(|ttl| millis(ttl).to_string()).unwrap_or_default();
        let arguments = [expected, value, ttl.as_bytes()];
        let act = "keep an entry";
        let key = self.entry(key);
        let answer = self.run(&self.entries, act, &SWAP, &key, &arguments, Again::No);
        self.read(act, answer.await?.value)
    }

    async fn remove(&self, key: &Key) -> Result<bool> {
        let mut command = redis::cmd("UNLINK");
        command.arg(self.entry(key));
        self.entries
            .ask("remove an entry", &command, Again::No)
            .await
    }

    async fn take(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let mut command = redis::cmd("GETDEL");
        command.arg(self.entry(key));
        self.entries.ask("take an entry", &command, Again::No).await
    }

    async fn increment(&self, key: &Key, by: u64, ttl: Option<Duration>) -> Result<u64> {
        if edit::sum(0, by).is_none() {
            // The server would say that of the amount, whatever is there.
            let there = self.get(key).await?;
            return Err(
                match there.is_none_or(|there| edit::number(&there).is_some()) {
                    true => edit::too_large(),
                    false => edit::not_a_number(),
                },
            );
        }
        let ttl = ttl.map(|ttl| millis(ttl).to_string()).unwrap_or_default();
        let by = by.to_string();
        let arguments = [by.as_bytes(), ttl.as_bytes()];
        let act = "increment an entry";
        let key = self.entry(key);
        let answer = self.run(&self.entries, act, &INCREMENT, &key, &arguments, Again::No);
        match self.read::<String>(act, answer.await?.value)?.as_str() {
            "too large" => Err(edit::too_large()),
            answer => edit::number(answer.as_bytes()).ok_or_else(edit::not_a_number),
        }
    }

    fn keys(&self, namespace: &Namespace) -> BoxStream<'_, Result<Vec<u8>>> {
        let prefix = format!("{}{}", self.prefix, namespace.prefix());
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
        let prefix = format!("{}{}", self.prefix, namespace.prefix());
        scan::keys(&self.entries, act, prefix.clone())
            .map_ok(|escaped| {
                let mut command = redis::cmd("UNLINK");
                command.arg(format!("{prefix}{escaped}"));
                async move { self.entries.ask::<u64>(act, &command, Again::Yes).await }
            })
            .try_buffer_unordered(ABREAST)
            .try_fold(0, async |cleared, removed| Ok(cleared + removed))
            .await
    }
}
