//! The entries of a store under the ids of sessions: which of them are sessions, and what the others are.

use rocket::futures::stream::BoxStream;
use rocket::futures::{StreamExt, TryStreamExt};

use super::application::Application;
use crate::error::Result;
use crate::record::Record;

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Live,
    /// It has passed a timeout, and is still in the store.
    Expired,
    /// It has neither a user nor a value.
    Emptied,
    /// A copy of a session that has ended.
    CopyOfEnded,
    /// It says that a session has ended or moved.
    Tombstone,
    /// It is no record, or that of another session.
    Unreadable,
}

/// An entry of a store.
pub(super) struct Listed {
    pub(super) kind: Kind,
    /// `None` if it is unreadable.
    pub(super) record: Option<Record>,
    /// In bytes.
    pub(super) size: u64,
}

impl Application {
    /// Returns a stream of all entries, one after the other.
    pub(super) fn entries(&self) -> BoxStream<'_, Result<Listed>> {
        let all = self.store().iter_sessions();
        all.and_then(async |(id, stored)| {
            let size = stored.bytes.len() as u64;
            let record = Record::decode(stored.bytes, &id);
            let kind = match &record {
                None => Kind::Unreadable,
                Some(record) => self.kind(record).await?,
            };
            Ok(Listed { kind, record, size })
        })
        .boxed()
    }

    async fn kind(&self, record: &Record) -> Result<Kind> {
        Ok(match record {
            _ if record.tombstone.is_some() => Kind::Tombstone,
            _ if !record.has_info() => Kind::Emptied,
            _ if self.manager.is_expired(record) => Kind::Expired,
            _ if self.manager.lineage_has_ended(record).await? => Kind::CopyOfEnded,
            _ => Kind::Live,
        })
    }
}
