//! A store of one's own, in a few lines: the five methods that every store needs. A test runs the whole contract on it.
//! Run it with `cargo run --example own_store`, then twice `curl -c jar -b jar localhost:8000/`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rocket::futures::stream::{self, BoxStream, StreamExt};
use rocket::{async_trait, get, launch, routes};
use rocket_session_kit::store::{
    Precondition, RecordHeader, Revision, Save, Saved, SessionStore, Stored, Swept,
};
use rocket_session_kit::{Clock, Error, ErrorKind, Result, Session, SessionId, Sessions};

/// One session, and the times by which it is swept.
struct Kept {
    bytes: Vec<u8>,
    revision: Revision,
    saved: SystemTime,
    expires: SystemTime,
}

/// A table of sessions. Put your database in its place: what happens under the lock here is one
/// transaction there, or one conditional statement.
pub(crate) struct TableStore {
    table: Mutex<HashMap<SessionId, Kept>>,
    clock: Clock,
}

impl TableStore {
    pub(crate) fn new(clock: Clock) -> Self {
        let table = Mutex::default();
        Self { table, clock }
    }

    /// Returns the table without expired sessions.
    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Kept>> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        table.retain(|_, kept| kept.expires > now);
        table
    }
}

#[async_trait]
impl SessionStore for TableStore {
    async fn load_session(&self, id: &SessionId) -> Result<Option<Stored>> {
        let table = self.live();
        Ok(table.get(id).map(|kept| Stored::new(kept.bytes.clone())))
    }

    /// Nothing is written unless the session is as the save expects it. So no update is lost.
    async fn save_session(&self, id: &SessionId, save: Save<'_>) -> Result<Saved> {
        let Some(header) = RecordHeader::read(save.bytes) else {
            return Err(Error::new(ErrorKind::Invalid, "save a session"));
        };
        let mut table = self.live();
        match (save.precondition, table.get(id)) {
            (Precondition::Absent, None) => {}
            (Precondition::Revision(expected), Some(kept)) if kept.revision == expected => {}
            (Precondition::Revision(_), None) => return Ok(Saved::Gone),
            (_, Some(_)) => return Ok(Saved::Changed),
        }
        let saved = self.clock.now();
        let kept = Kept {
            bytes: save.bytes.to_vec(),
            revision: header.revision,
            saved,
            expires: saved + save.ttl,
        };
        table.insert(*id, kept);
        Ok(Saved::Saved(header.revision))
    }

    async fn delete_session(&self, id: &SessionId) -> Result<bool> {
        Ok(self.live().remove(id).is_some())
    }

    async fn delete_session_if(&self, id: &SessionId, revision: Revision) -> Result<bool> {
        let mut table = self.live();
        let is_same = table.get(id).is_some_and(|kept| kept.revision == revision);
        Ok(is_same && table.remove(id).is_some())
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        let before = self
            .table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        let mut table = self.live();
        let age = Duration::from_secs(minutes.saturating_mul(60));
        let now = self.clock.now();
        table.retain(|_, kept| now.duration_since(kept.saved).unwrap_or_default() < age);
        Ok(Swept {
            deleted: (before - table.len()) as u64,
            remaining: table.len() as u64,
        })
    }

    /// A large store reads page by page here.
    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        let table = self.live();
        let all = table
            .iter()
            .map(|(id, kept)| Ok((*id, Stored::new(kept.bytes.clone()))));
        stream::iter(all.collect::<Vec<_>>()).boxed()
    }
}

#[get("/")]
fn index(session: &Session) -> Result<String> {
    Ok(format!("visits: {}\n", session.increment("visits", 1)?))
}

#[launch]
pub(crate) fn rocket() -> _ {
    let store = TableStore::new(Clock::system());
    let rocket = rocket::build().mount("/", routes![index]);
    rocket.attach(Sessions::with(store))
}
