//! The store on one Memcached server, or spread over several.

mod command;
mod dump;
mod hints;
mod key_value;
mod pool;
mod route;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use memcache::exp::{Delete, Get, Meta, MutationStatus, Set};
use rocket::futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use self::command::Replaced;
use self::pool::{Cas, Failed, Failure, Pool, TRIES};
use super::{
    Key, KeyValue, Precondition, RecordHeader, Revision, Save, Saved, SessionStore, Stored, Swept,
};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::record::Record;

/// A [`SessionStore`] on Memcached servers of version 1.6.13 or newer.
///
/// A session is an item under the prefix and its id, on the one of the servers that its key is
/// assigned to; the order in which they are named does not matter. A load is one round trip, and so
/// is a save, which compares the item's CAS; a second save in one request looks for the CAS first.
/// What a server forgets, because it is restarted or full, is gone: its visitors begin anew. While a
/// server is down its sessions are answered with 503; no other takes its place, for then sessions
/// that ended could come back.
///
/// Use it when several machines serve the site, and sessions may be lost.
///
/// # Example
///
/// ```rust,no_run
/// use rocket_session_kit::{MemcachedStore, Sessions};
///
/// let store = MemcachedStore::open(["10.0.0.1:11211", "10.0.0.2:11211"])?.connections(32);
/// let rocket = rocket::build().attach(Sessions::with(store));
/// # Ok::<_, rocket_session_kit::Error>(())
/// ```
#[derive(Clone)]
pub struct MemcachedStore {
    pool: Arc<Pool>,
    prefix: String,
    clock: Clock,
}

/// How many calls of an iteration are under way at once.
const ABREAST: usize = 16;

/// The longest key that a server takes.
const LONGEST_KEY: usize = 250;

/// The largest item that a server takes as it is installed, less what it needs itself.
const LARGEST: usize = 1_000_000;

impl MemcachedStore {
    /// Returns the store on the servers at `addresses`, each of which is `host:port`. They are
    /// reached at launch.
    ///
    /// # Errors
    ///
    /// When there are none, one is twice there, or one is no such address.
    pub fn open<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Result<Self> {
        let mut servers: Vec<String> = Vec::new();
        for address in addresses {
            let address = address.into();
            let parts = address.rsplit_once(':');
            let port = parts.filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            if port.is_none() {
                return Err(wrong("it is not `host:port`"));
            }
            if servers.contains(&address) {
                return Err(wrong("it is there twice"));
            }
            servers.push(address);
        }
        if servers.is_empty() {
            return Err(wrong("there is none; at least one is needed"));
        }
        Ok(Self {
            pool: Arc::new(Pool::new(servers, 64, Duration::from_secs(1))),
            prefix: "session:".into(),
            clock: Clock::system(),
        })
    }

    /// Sets the start of every key. _Default:_ `session:`
    ///
    /// # Errors
    ///
    /// When it has more than 90 characters, or others than letters, digits and punctuation of
    /// ASCII.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Result<Self> {
        self.prefix = prefix.into();
        let plain = self.prefix.bytes().all(|byte| byte.is_ascii_graphic());
        if plain && self.prefix.len() + Key::MAX_LEN <= LONGEST_KEY {
            return Ok(self);
        }
        let why = "it has at most 90 letters, digits and punctuation marks of ASCII";
        Err(Error::new(ErrorKind::Config, "use the prefix").because(why))
    }

    /// Sets how many connections each server is given at most. _Default:_ 64
    #[must_use]
    pub fn connections(mut self, most: usize) -> Self {
        let servers = self.pool.servers().to_vec();
        self.pool = Arc::new(Pool::new(servers, most.max(1), self.pool.timeout()));
        self
    }

    /// Sets how long one call may take. _Default:_ 1 second
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let servers = self.pool.servers().to_vec();
        self.pool = Arc::new(Pool::new(servers, self.pool.connections(), timeout));
        self
    }

    /// Sets the clock that [`delete_old_sessions`](SessionStore::delete_old_sessions) goes by; the
    /// servers have their own. _Default:_ the system's
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn key(&self, id: &SessionId) -> String {
        format!("{}{}", self.prefix, id.to_hex())
    }

    /// Loads a session, and tells its CAS; unless it is `used`, so that the server does not take it
    /// for used either.
    async fn look(
        &self,
        act: &'static str,
        key: &str,
        used: bool,
    ) -> Result<Option<(Stored, Cas)>> {
        let get = Get::new(key).meta(Meta::default().cas());
        let get = if used { get } else { get.no_lru_bump() };
        let found = self.pool.find(act, key, get).await?;
        Ok(found.map(|(bytes, cas)| (Stored::new(bytes), cas)))
    }

    /// Saves a session over what is expected there.
    ///
    /// A save that may have been done is looked for by its revision. Where there still is what was
    /// expected, it was not done, and is sent again.
    async fn save(&self, act: &'static str, key: &str, save: Save<'_>) -> Result<Saved> {
        let Some(RecordHeader { revision: ours, .. }) = RecordHeader::read(save.bytes) else {
            let why = "what is to be saved has no head";
            return Err(Error::new(ErrorKind::Invalid, act).because(why));
        };
        fits(act, key, save.bytes)?;
        let (mut known, mut looks) = match save.precondition {
            Precondition::Absent => (None, false),
            Precondition::Revision(revision) => {
                let hint = self.pool.hint(key, revision);
                (hint, hint.is_none())
            }
        };
        let (mut lost, mut losses) = (None, 0);
        loop {
            if looks {
                known = match (self.look(act, key, true).await?, save.precondition) {
                    (Some((there, _)), _) if there.revision == ours => {
                        return Ok(Saved::Saved(ours));
                    }
                    (Some((there, cas)), Precondition::Revision(expected))
                        if there.revision == expected
                            && RecordHeader::read(&there.bytes).is_some() =>
                    {
                        Some(cas)
                    }
                    // It was not kept, or it was and was followed by another: which, nobody knows.
                    (Some(_), _) => return lost.map_or(Ok(Saved::Changed), Err),
                    (None, Precondition::Revision(_)) => return Ok(Saved::Gone),
                    (None, Precondition::Absent) => None,
                };
            }
            let ttl = seconds(Some(save.ttl), Clock::system().seconds());
            let sent = match known {
                Some(cas) => self.pool.replace(act, key, save.bytes, ttl, cas).await,
                None => self.begin(act, key, save.bytes, ttl, ours).await,
            };
            match sent {
                Ok(Replaced::Done) => return Ok(Saved::Saved(ours)),
                Ok(Replaced::Gone) => return Ok(Saved::Gone),
                Ok(Replaced::Changed) if lost.is_none() => return Ok(Saved::Changed),
                // An earlier try arrived late.
                Ok(Replaced::Changed) => {}
                Err(failure) if failure.kind == Failed::Stale => {}
                Err(failure) if failure.kind == Failed::Lost => {
                    losses += 1;
                    if losses == TRIES {
                        return Err(failure.error);
                    }
                    lost = Some(failure.error);
                }
                Err(failure) => return Err(failure.error),
            }
            looks = true;
        }
    }

    /// Adds a session where there is none yet, and remembers its CAS.
    async fn begin(
        &self,
        act: &'static str,
        key: &str,
        bytes: &[u8],
        ttl: u32,
        revision: Revision,
    ) -> std::result::Result<Replaced, Failure> {
        let set = Set::new(key, bytes).ttl_raw(ttl).return_cas().add();
        let reply = self.pool.change(act, key, set, None).await?;
        if reply.output.status != MutationStatus::Applied {
            return Ok(Replaced::Changed);
        }
        self.pool
            .remember(key, revision, reply.cas(reply.output.cas));
        Ok(Replaced::Done)
    }

    /// Deletes a session, if it is still of `revision`. `known` is its CAS, where that is known.
    async fn delete_if(
        &self,
        act: &'static str,
        key: &str,
        revision: Revision,
        mut known: Option<Cas>,
    ) -> Result<bool> {
        let mut losses = 0;
        loop {
            let cas = match known.take() {
                Some(cas) => cas,
                None => match self.look(act, key, false).await? {
                    Some((there, cas)) if there.revision == revision => cas,
                    // Where a try was lost, it was that.
                    None => return Ok(losses > 0),
                    Some(_) => return Ok(false),
                },
            };
            let delete = Delete::new(key).compare_cas(cas.number);
            match self.pool.change(act, key, delete, Some(cas)).await {
                Ok(reply) => return Ok(reply.output.status == MutationStatus::Applied),
                Err(failure) if failure.kind == Failed::Stale => {}
                Err(failure) if failure.kind == Failed::Lost && losses + 1 < TRIES => losses += 1,
                Err(failure) => return Err(failure.error),
            }
        }
    }

    /// Returns what is under every key that looks like a session's.
    fn sessions(&self, act: &'static str) -> BoxStream<'_, Result<(SessionId, Stored, Cas)>> {
        self.names(act, self.prefix.clone())
            .try_filter_map(async |rest| Ok(rest.parse::<SessionId>().ok()))
            .map_ok(move |id| async move {
                let found = self.look(act, &self.key(&id), false).await?;
                Ok(found.map(|(stored, cas)| (id, stored, cas)))
            })
            .try_buffer_unordered(ABREAST)
            .try_filter_map(async |found| Ok(found))
            .boxed()
    }

    /// Returns what follows `prefix` in every key that begins with it.
    fn names(&self, act: &'static str, prefix: String) -> BoxStream<'_, Result<String>> {
        stream::iter(0..self.pool.servers().len())
            .then(move |server| {
                let prefix = prefix.clone();
                async move {
                    let address = &self.pool.servers()[server];
                    let keys = dump::keys(act, address, self.pool.timeout()).await?;
                    let rest = keys.into_iter().filter_map(move |key| {
                        // A server that joined or left may have others' keys: nobody finds them.
                        let ours = self.pool.server_of(&key) == server;
                        let rest = key.strip_prefix(&prefix).filter(|_| ours)?;
                        Some(Ok(rest.to_owned()))
                    });
                    Ok::<_, Error>(stream::iter(rest))
                }
            })
            .try_flatten()
            .boxed()
    }
}

#[cfg(feature = "perl")]
#[rocket::async_trait]
impl crate::store::Server for MemcachedStore {
    async fn read(&self, key: &str, _: usize) -> Result<Option<Vec<u8>>> {
        // It has no items beyond a megabyte, unless it was told to.
        let found = self.look("read a key", key, true).await?;
        Ok(found.map(|(stored, _)| stored.bytes))
    }
}

impl fmt::Debug for MemcachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemcachedStore({})", self.pool.servers().join(", "))
    }
}

#[rocket::async_trait]
impl SessionStore for MemcachedStore {
    fn key_value(self: Arc<Self>) -> Option<Arc<dyn KeyValue>> {
        Some(self)
    }

    fn is_multiprocess_safe(&self) -> bool {
        true
    }

    fn is_thread_safe(&self) -> bool {
        true
    }

    fn expires_by_itself(&self) -> bool {
        true
    }

    async fn setup(&self) -> Result<()> {
        for address in self.pool.servers() {
            dump::check_version(address, self.pool.timeout()).await?;
        }
        Ok(())
    }

    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let key = self.key(id);
        let Some((stored, cas)) = self.look("load a session", &key, true).await? else {
            return Ok(None);
        };
        self.pool.remember(&key, stored.revision, cas);
        Ok(Some(stored))
    }

    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let (act, key) = ("save a session", self.key(id));
        let saved = self.save(act, &key, save);
        self.pool.in_time(act, &key, saved).await
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        let key = self.key(id);
        let deleted = self.pool.run("delete a session", &key, Delete::new(&key));
        Ok(deleted.await?.status == MutationStatus::Applied)
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let (act, key) = ("delete a session", self.key(id));
        let hint = self.pool.hint(&key, revision);
        let delete = self.delete_if(act, &key, revision, hint);
        self.pool.in_time(act, &key, delete).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool> {
        let key = self.key(id);
        let get = Get::new(&key).without_value();
        Ok(self.pool.run("look for a session", &key, get).await?.hit())
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let act = "delete old sessions";
        let age = minutes.saturating_mul(60);
        let now = self.clock.seconds();
        self.sessions(act)
            .map_ok(|(id, stored, cas)| async move {
                let record = Record::decode(&stored.bytes, &id);
                let old = record.is_some_and(|record| now.saturating_sub(record.accessed) >= age);
                if !old {
                    return Ok(false);
                }
                let key = self.key(&id);
                let delete = self.delete_if(act, &key, stored.revision, Some(cas));
                self.pool.in_time(act, &key, delete).await
            })
            .try_buffer_unordered(ABREAST)
            .try_fold(Swept::default(), async |mut swept, deleted: bool| {
                match deleted {
                    true => swept.deleted += 1,
                    false => swept.remaining += 1,
                }
                Ok(swept)
            })
            .await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        self.sessions("list the sessions")
            .map_ok(|(id, stored, _)| (id, stored))
            .boxed()
    }
}

/// Refuses what a server would answer by dropping what it has.
fn fits(act: &'static str, key: &str, value: &[u8]) -> Result<()> {
    if key.len() + value.len() <= LARGEST {
        return Ok(());
    }
    let why = format!("an item may not take more than {LARGEST} bytes on Memcached");
    Err(Error::new(ErrorKind::Limit, act).because(why))
}

/// Returns a lifetime as the servers take it: seconds, or beyond 30 days a point in time, and 0 for
/// ever.
fn seconds(ttl: Option<Duration>, now: u64) -> u32 {
    const MONTH: u64 = 30 * 86_400;
    // A server takes more for long past.
    const LAST: u64 = i32::MAX as u64;
    let Some(ttl) = ttl else {
        return 0;
    };
    // A server counts ticks: of the first second, any part may be over already.
    let seconds = ttl
        .as_secs()
        .saturating_add(u64::from(ttl.subsec_nanos() > 0))
        .saturating_add(1);
    let told = match seconds <= MONTH {
        true => seconds,
        false => now.saturating_add(seconds).min(LAST),
    };
    u32::try_from(told).unwrap_or(i32::MAX.cast_unsigned())
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Config, "use the address of a Memcached server").because(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lifetime_is_told_so_that_it_is_not_shorter() {
        let day = 86_400;
        let now = 1_763_745_460;
        for (ttl, told) in [
            (Duration::from_nanos(1), 2),
            (Duration::from_secs(1), 2),
            (Duration::from_millis(1001), 3),
            (Duration::from_secs(29 * day), 29 * day + 1),
            (Duration::from_secs(30 * day), now + 30 * day + 1),
            (Duration::from_secs(31 * day), now + 31 * day + 1),
            (Duration::from_secs(3650 * day), now + 3650 * day + 1),
            (Duration::from_secs(36_500 * day), i32::MAX as u64),
            (Duration::MAX, i32::MAX as u64),
        ] {
            assert_eq!(u64::from(seconds(Some(ttl), now)), told, "{ttl:?}");
        }
        assert_eq!(seconds(None, now), 0);
    }
}
