//! The marks of a copy: entries at the target that say which sessions come from the source, and with
//! which revisions.

use std::sync::Arc;
use std::time::Duration;

use rocket::futures::TryStreamExt;
use rocket::futures::stream::{BoxStream, StreamExt};
use serde::{Deserialize, Serialize};

use crate::cli::application::Application;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::store::bounded::Bounds;
use crate::store::{KeyValue, Namespace, Revision};

/// The mark of one session.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The revisions that copies have written, or are about to write. A session at the target with one of
    /// them is as it was at the source.
    revisions: Vec<u64>,
    /// Whether one of them has certainly arrived.
    pub(super) arrived: bool,
    /// When the last copy expires, in seconds since 1970.
    expires: u64,
}

impl Mark {
    pub(super) fn has(&self, revision: Revision) -> bool {
        self.revisions.contains(&revision.0)
    }

    /// Returns whether the last copy has expired at `now`.
    pub(super) fn has_expired(&self, now: u64) -> bool {
        now >= self.expires
    }

    /// Notes that `revision`, which expires at `expires`, is about to be written.
    pub(super) fn announce(&mut self, revision: Revision, expires: u64) {
        self.expires = expires;
        if !self.has(revision) {
            self.revisions.push(revision.0);
        }
    }

    /// Notes that the target has `revision`.
    pub(super) fn confirm(&mut self, revision: Revision, expires: u64) {
        (self.revisions, self.arrived) = (vec![revision.0], true);
        self.expires = expires;
    }

    /// Returns whether it says that the target has `revision`, and no more.
    pub(super) fn is_confirmed(&self, revision: Revision) -> bool {
        self.arrived && self.revisions == [revision.0]
    }
}

/// How much longer than its session a mark stays.
const LONGER: u64 = 60;

/// The marks at the target.
pub(super) struct Marks {
    entries: Arc<dyn KeyValue>,
    namespace: Namespace,
    bounds: Arc<Bounds>,
}

/// A mark as it was read.
pub(super) struct ReadMark {
    pub(super) mark: Mark,
    bytes: Option<Vec<u8>>,
}

impl Marks {
    /// Returns the marks at the target of a copy.
    ///
    /// # Errors
    ///
    /// If the target keeps no entries.
    pub(super) fn new(to: &Application) -> Result<Self> {
        let entries = Arc::clone(to.store()).key_value().ok_or_else(|| {
            let why = "the target keeps only sessions, and a copy notes there what it has copied; implement \
                       `SessionStore::key_value` for your store";
            Error::new(ErrorKind::Unsupported, "copy the sessions").because(why)
        })?;
        Ok(Self {
            entries,
            namespace: Namespace::new("copied")?,
            bounds: Arc::clone(&to.bounds),
        })
    }

    /// Returns the mark of a session; an empty one if there is none.
    pub(super) async fn read(&self, id: &SessionId) -> Result<ReadMark> {
        let key = self.namespace.key(id.to_hex());
        let got = self.bounds.call("read a mark", self.entries.get(&key));
        let bytes = got.await?;
        let mark = bytes.as_deref().map(serde_json::from_slice);
        let mark = mark.and_then(std::result::Result::ok).unwrap_or_default();
        Ok(ReadMark { mark, bytes })
    }

    /// Replaces the mark that was `read`. Returns `None` if another copy has changed it since.
    pub(super) async fn replace(
        &self,
        id: &SessionId,
        read: &ReadMark,
        mark: Mark,
        now: u64,
    ) -> Result<Option<ReadMark>> {
        let key = self.namespace.key(id.to_hex());
        let bytes = serde_json::to_vec(&mark).expect("a mark has a form in JSON");
        let ttl = Duration::from_secs(mark.expires.saturating_sub(now) + LONGER);
        let before = read.bytes.as_deref();
        let swapping = self.entries.swap(&key, before, &bytes, Some(ttl));
        let swapped = self.bounds.call("keep a mark", swapping).await?;
        Ok(swapped.then_some(ReadMark {
            mark,
            bytes: Some(bytes),
        }))
    }

    pub(super) async fn remove(&self, id: &SessionId) -> Result<()> {
        let key = self.namespace.key(id.to_hex());
        let removing = self.entries.remove(&key);
        self.bounds.call("remove a mark", removing).await.map(drop)
    }

    /// Returns a stream of the marked sessions.
    pub(super) fn ids(&self) -> BoxStream<'_, Result<SessionId>> {
        let names = self.entries.keys(&self.namespace);
        names
            .try_filter_map(async |name| {
                let name = String::from_utf8(name).ok();
                Ok(name.and_then(|name| name.parse().ok()))
            })
            .boxed()
    }
}
