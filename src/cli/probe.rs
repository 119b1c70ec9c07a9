//! The probe of `check`: a session that makes every kind of call to the store, and is deleted again.

use std::sync::Arc;
use std::time::Duration;

use rocket::futures::TryStreamExt;

use super::application::Application;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::record::Record;
use crate::store::{Namespace, Precondition, Save, Saved};

/// How long the store keeps the probe at most.
const TTL: Duration = Duration::from_secs(60);

/// Creates, loads, changes, lists and deletes a session and an entry. Returns the number of calls.
///
/// The session is empty: lists of sessions leave it out, and no cookie opens it.
pub(super) async fn round_trip(application: &Application) -> Result<u32> {
    let id = SessionId::random();
    let done = calls(application, id).await;
    if done.is_err() {
        // It would expire within a minute.
        let _ = application.store().delete_session(&id).await;
    }
    done
}

async fn calls(application: &Application, id: SessionId) -> Result<u32> {
    let (store, bounds) = (application.store(), &application.bounds);
    let now = application.manager.clock.seconds();
    let mut record = Record::new(now, None);
    let mut precondition = Precondition::Absent;
    for _ in 0..2 {
        record.revise();
        let bytes = record.encode(&id, now + TTL.as_secs());
        let save = Save {
            bytes: &bytes,
            ttl: TTL,
            precondition,
        };
        let saved = bounds.call("save a session", store.save_session(&id, save));
        let Saved::Saved(revision) = saved.await? else {
            return Err(lost("save a session"));
        };
        let loaded = bounds.call("load a session", store.load_session(&id));
        if loaded.await?.is_none_or(|there| there.bytes != bytes) {
            return Err(lost("load a session"));
        }
        precondition = Precondition::Revision(revision);
    }
    let mut all = store.iter_sessions();
    bounds.call("list the sessions", all.try_next()).await?;
    if let Precondition::Revision(revision) = precondition {
        let deleted = bounds.call("delete a session", store.delete_session_if(&id, revision));
        if !deleted.await? {
            return Err(lost("delete a session"));
        }
    }
    let Some(entries) = Arc::clone(store).key_value() else {
        return Ok(6);
    };
    let key = Namespace::new("check")?.key(id.to_hex());
    let added = entries.add(&key, b"probe", Some(TTL));
    bounds.call("keep an entry", added).await?;
    let taken = entries.take(&key);
    if bounds.call("take an entry", taken).await?.is_none() {
        return Err(lost("take an entry"));
    }
    Ok(8)
}

/// Returns the error about a store that does not keep what it has confirmed.
fn lost(act: &'static str) -> Error {
    let why = "the store did not keep the probe; another program may be deleting its contents, or its servers may differ";
    Error::new(ErrorKind::Unavailable, act).because(why)
}
