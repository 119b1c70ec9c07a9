//! Tags: the version of each is in the store, and a value is valid while its tags have the same versions.

use std::time::Duration;

use rocket::futures::future::try_join_all;

use super::entry::{Header, random};
use super::{ACT_STORE, Cache, Keep};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Key;

/// What the cache may do with a stored value.
pub(super) enum Validity {
    Fresh,
    /// Its time is over, and it may be shown until another is computed.
    Stale,
    /// One of its tags is invalid.
    Invalid,
}

impl Validity {
    /// Returns whether the value can be returned. `stale` is whether a stale one can.
    pub(super) fn is_usable(&self, stale: bool) -> bool {
        match self {
            Self::Fresh => true,
            Self::Stale => stale,
            Self::Invalid => false,
        }
    }
}

/// The version of a tag.
struct Version {
    random: String,
    /// When the store forgets it, in milliseconds since 1970; `None` means never.
    end: Option<u64>,
}

impl Cache {
    /// Makes all values with `tag` invalid, in all processes. They count as missing from now on, and
    /// so does a value whose [computation](Self::get_or_compute) has begun and not ended yet.
    ///
    /// The call takes one round trip, however many values have the tag. The values themselves remain in
    /// the store until their time is over, or until others replace them.
    ///
    /// The store keeps a random version of each tag, and a value is valid while its tags have the
    /// versions from which it was made. If the store loses the version of a tag, for example because
    /// Memcached needs room, all values with that tag are invalid. No value is ever valid again.
    ///
    /// # Errors
    ///
    /// When the store fails. The values may still be valid.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::{get, post};
    /// use rocket_session_kit::{Cache, Error, Keep, Result};
    ///
    /// #[get("/articles/<number>")]
    /// async fn article(number: u32, cache: &Cache) -> Result<String> {
    ///     let keep = Keep::new().tag("articles").tag(format!("article {number}"));
    ///     let name = format!("page of {number}");
    ///     cache.get_or_compute(&name, keep, || async { Ok::<_, Error>("A page".into()) }).await
    /// }
    ///
    /// #[post("/layout")]
    /// async fn change_layout(cache: &Cache) -> Result<()> {
    ///     cache.invalidate_tag("articles").await
    /// }
    /// # #[get("/there")]
    /// # async fn there(cache: &Cache) -> Result<String> {
    /// #     Ok(cache.contains("page of 7").await?.to_string())
    /// # }
    /// # rocket_session_kit::testing::doc(rocket::routes![article, change_layout, there], |client| {
    /// # let there = || client.get("/there").dispatch().into_string().unwrap();
    /// # assert_eq!(client.get("/articles/7").dispatch().into_string().unwrap(), "A page");
    /// # assert_eq!(there(), "true");
    /// # client.post("/layout").dispatch();
    /// # assert_eq!(there(), "false");
    /// # });
    /// ```
    pub async fn invalidate_tag(&self, tag: &str) -> Result<()> {
        let key = self.tags.key(tag);
        let removing = self.store.remove(&key);
        let removed = self.bounds.call("invalidate a tag of the cache", removing);
        removed.await.map(drop)
    }

    /// Returns what the cache may do with the value in `bytes`.
    pub(super) async fn validity(&self, bytes: &[u8]) -> Result<Validity> {
        let Some(header) = Header::read(bytes) else {
            return Ok(Validity::Fresh);
        };
        let keys = header.tags.iter().map(|(tag, _)| self.tags.key(tag));
        let versions = try_join_all(keys.map(async |key| self.version(&key).await)).await?;
        let mut pairs = header.tags.iter().zip(&versions);
        let same = pairs.all(|((_, then), now)| {
            let now = now.as_ref().map(|version| &version.random);
            now == Some(then)
        });
        Ok(match header.fresh_until {
            _ if !same => Validity::Invalid,
            Some(end) if end <= self.bounds.millis() => Validity::Stale,
            _ => Validity::Fresh,
        })
    }

    /// Returns the header of a value that is made from now on; `None` if it needs none. The tags of
    /// `keep` that have no version get one.
    pub(super) async fn header(&self, keep: &Keep) -> Result<Option<Header>> {
        if keep.tags.is_empty() && keep.stale.is_zero() {
            return Ok(None);
        }
        let lifetime = self.lifetime(keep);
        let versions = keep.tags.iter().map(async |tag| {
            let version = self.lasting_version(&self.tags.key(tag), lifetime).await?;
            Ok::<_, Error>((tag.clone(), version))
        });
        let tags = try_join_all(versions).await?;
        Ok(Some(Header::new(self.fresh_until(keep), tags)))
    }

    /// Returns how long the store keeps a value; `None` means forever.
    pub(super) fn lifetime(&self, keep: &Keep) -> Option<Duration> {
        let fresh = keep.ttl.or(self.ttl)?;
        Some(fresh.saturating_add(keep.stale))
    }

    /// Returns the time at which a value that is stored now becomes stale.
    pub(super) fn fresh_until(&self, keep: &Keep) -> Option<u64> {
        let ttl = keep.ttl.or(self.ttl).filter(|_| !keep.stale.is_zero())?;
        Some(self.bounds.millis().saturating_add(millis(ttl)))
    }

    /// Returns the version of a tag that lasts as long as a value with this `lifetime`.
    async fn lasting_version(&self, key: &Key, lifetime: Option<Duration>) -> Result<String> {
        for _ in 0..4 {
            let stored = self.read(key).await?;
            let there = stored.as_deref().and_then(Version::parse);
            let now = self.bounds.millis();
            let needed = lifetime.map(|time| now.saturating_add(millis(time)));
            let lasts = |end| match (end, needed) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(end), Some(needed)) => end >= needed,
            };
            let version = match there {
                Some(Version { random, end }) if lasts(end) => return Ok(random),
                Some(Version { random, .. }) => random,
                None => random(),
            };
            // Twice the time, so that a tag in use is rarely written.
            let time = lifetime.map(|time| time.saturating_mul(2));
            let next = Version {
                end: time.map(|time| now.saturating_add(millis(time))),
                random: version,
            };
            let next_bytes = next.write();
            let swap = self
                .store
                .swap(key, stored.as_deref(), next_bytes.as_bytes(), time);
            if self.bounds.call(ACT_STORE, swap).await? {
                return Ok(next.random);
            }
        }
        let why = "other requests change one of its tags all the time";
        Err(Error::new(ErrorKind::Unavailable, ACT_STORE).because(why))
    }

    async fn version(&self, key: &Key) -> Result<Option<Version>> {
        let stored = self.read(key).await?;
        Ok(stored.as_deref().and_then(Version::parse))
    }
}

impl Version {
    /// Reads a version: its random part and, after a space, its end.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (random, end) = match text.split_once(' ') {
            Some((random, end)) => (random, Some(end.parse().ok()?)),
            None => (text, None),
        };
        Some(Self {
            random: random.to_owned(),
            end,
        })
    }

    fn write(&self) -> String {
        match self.end {
            Some(end) => format!("{} {end}", self.random),
            None => self.random.clone(),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
