//! The end of a session, which is final.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rocket::futures::TryStreamExt;
use rocket::tokio::time::sleep;
use uuid::Uuid;

use super::{GRACE, SessionManager, Version, same};
use crate::error::Result;
use crate::id::SessionId;
use crate::keyed_locks::KeyedLock;
use crate::record::{Record, Tombstone};
use crate::store::{Precondition, Revision, Saved};

/// How often all sessions are looked through for those of one user.
const PASSES: u32 = 20;

/// How many renewals may go on before the one who follows them makes those of this process wait.
const HEAD_START: u32 = 8;

/// A session that is to end.
#[derive(Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) id: SessionId,
    /// Which session it is, where that is known.
    pub(crate) tag: Option<u64>,
    /// What the caller saw there, if it looked.
    pub(crate) seen: Option<Seen>,
    /// Whether the caller asked for it before, and did not learn what became of it.
    pub(crate) tried: bool,
    /// Whether its copies go on.
    pub(crate) alone: bool,
}

impl Ending {
    /// Returns the end of the session under `id`, whichever that is.
    pub(crate) fn of(id: SessionId) -> Self {
        Self {
            id,
            tag: None,
            seen: None,
            tried: false,
            alone: false,
        }
    }
}

/// A session as somebody saw it who ends it.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) revision: Revision,
    /// The tag that it shares with its copies, if there are any.
    pub(crate) lineage: Option<u64>,
}

impl Seen {
    pub(crate) fn new(record: &Record, version: &Version) -> Self {
        Self {
            revision: version.revision,
            lineage: record.tag.filter(|_| record.forked),
        }
    }
}

impl SessionManager {
    /// Ends a session, wherever it has got to and with all copies of it, for good. Returns whether
    /// it was still there.
    pub(crate) async fn end(&self, ending: Ending) -> Result<bool> {
        let Ending {
            mut id,
            tag,
            mut seen,
            mut tried,
            alone,
        } = ending;
        let mut chase = Chase::new(self);
        let (mut which, mut lives) = (tag, true);
        loop {
            chase.check()?;
            let Some(Seen { revision, lineage }) = seen.take() else {
                let Some((there, version)) = self.look(&id).await? else {
                    self.delete_what_has_expired(&id).await?;
                    // Where this request tried already, it was this request that ended it.
                    return Ok(tried);
                };
                match there.tombstone {
                    Some(Tombstone::Moved(next)) => {
                        id = next;
                        chase.went_on(there.tag).await;
                    }
                    // One that has expired is ended, too: a clock that is set back must not revive it.
                    None if same(tag, there.tag) => {
                        lives = !self.is_over(&there) && !self.lineage_is_over(&there).await?;
                        which = there.tag;
                        seen = Some(Seen::new(&there, &version));
                    }
                    _ => return Ok(tried),
                }
                continue;
            };
            let version = Version {
                id,
                revision,
                touched: false,
            };
            if let Some(tag) = lineage.filter(|_| !alone) {
                self.end_lineage(tag).await?;
            }
            let asked = Instant::now();
            // A request that renews or saves the session at this moment finds out by this, and none
            // can after it.
            match self.leave(&version, Tombstone::Ended, None).await {
                Ok(Saved::Saved(_)) => break,
                // A session that is renewed in a loop could be a step ahead each time: in this
                // process it waits from here on, and elsewhere luck decides.
                Ok(Saved::Changed) => match &chase.lock {
                    None => chase.stop_renewals(which).await,
                    Some(_) => pause().await,
                },
                Ok(Saved::Gone) => {
                    self.delete_what_has_expired(&id).await?;
                    return Ok(tried);
                }
                // Where there is no room for a mark, a deletion does it.
                Err(error) => {
                    let left = self.bounds.timeout().saturating_sub(asked.elapsed());
                    let deleting = self.store().delete_session_if(&id, revision);
                    match self
                        .bounds
                        .call_within(left, "delete a session", deleting)
                        .await
                    {
                        Ok(true) => return Ok(lives),
                        // Something else is there by now, which may be the mark.
                        Ok(false) => tried = true,
                        Err(_) => return Err(error),
                    }
                }
            }
        }
        if id.is_of_token() {
            // A deletion could meet the session that the token has unconfirmed meanwhile. What marks the
            // end goes by itself, in a minute.
            return Ok(lives);
        }
        if let Err(error) = self.delete(&id).await {
            log::warn!("a session ended, and what marks its end stays for a minute: {error}");
        }
        Ok(lives)
    }

    /// Deletes what a store may still have under `id`, where it says that there is nothing: some hide
    /// what has expired, and would show it again after the clock was set back.
    async fn delete_what_has_expired(&self, id: &SessionId) -> Result<()> {
        // Under a token's id another session may have unconfirmed by now.
        if !id.is_of_token() {
            self.delete(id).await?;
        }
        Ok(())
    }

    /// Ends every session of `user`, but for the one under `except`, and returns how many it ended.
    pub(crate) async fn end_all_of(
        &self,
        user: &str,
        except: Option<&[Option<SessionId>; 2]>,
    ) -> Result<u64> {
        let mut ended = 0;
        for _ in 0..PASSES {
            match self.end_those_listed(user, except).await? {
                0 => return Ok(ended),
                more => ended += more,
            }
        }
        Err(self
            .unavailable("end all sessions of a user")
            .because("new ones begin as fast as they end"))
    }

    /// Ends the sessions of `user` that a list shows, and those that were renewed while it was made:
    /// the marks at their old ids lead to them.
    async fn end_those_listed(
        &self,
        user: &str,
        except: Option<&[Option<SessionId>; 2]>,
    ) -> Result<u64> {
        let mut all = self.store().iter_sessions();
        let (mut ended, mut marks) = (0, HashMap::new());
        while let Some((id, stored)) = all.try_next().await? {
            match Record::decode(&stored.bytes, &id) {
                Some(record) if record.user() == Some(user) => {
                    ended += u64::from(self.end_unless_spared(id, except).await?);
                }
                Some(Record {
                    tombstone: Some(Tombstone::Moved(next)),
                    ..
                }) => drop(marks.insert(id, next)),
                _ => {}
            }
        }
        // Of a session that was renewed several times, only the last mark leads out of the list.
        // One that is being undone leads back to where it came from.
        let leads_out = |next: &SessionId| match marks.get(next) {
            None => true,
            Some(after) => marks.get(after) == Some(next),
        };
        for id in marks.values().filter(|next| leads_out(next)) {
            if let Some((record, version)) = self.follow(*id).await?
                && record.user() == Some(user)
            {
                ended += u64::from(self.end_unless_spared(version.id, except).await?);
            }
        }
        Ok(ended)
    }

    async fn end_unless_spared(
        &self,
        id: SessionId,
        except: Option<&[Option<SessionId>; 2]>,
    ) -> Result<bool> {
        if except.is_some_and(|except| except.contains(&Some(id))) {
            return Ok(false);
        }
        let ending = Ending {
            // A copy of the session that is spared must not end that one too.
            alone: except.is_some(),
            ..Ending::of(id)
        };
        self.end(ending).await
    }

    /// Returns the session that was under `id`, wherever it has got to.
    async fn follow(&self, mut id: SessionId) -> Result<Option<(Record, Version)>> {
        let mut chase = Chase::new(self);
        loop {
            chase.check()?;
            let Some((there, version)) = self.look(&id).await? else {
                return Ok(None);
            };
            match there.tombstone {
                Some(Tombstone::Moved(next)) => {
                    id = next;
                    chase.went_on(there.tag).await;
                }
                Some(Tombstone::Ended) => return Ok(None),
                None => return Ok(Some((there, version))),
            }
        }
    }

    /// Ends every copy of the session with `tag`: puts down a mark that each of them looks for.
    async fn end_lineage(&self, tag: u64) -> Result<()> {
        let mut mark = Record::tombstone(self.clock.seconds(), Tombstone::Ended);
        // A copy that nobody uses expires before the mark does.
        let ttl = Duration::from_secs(self.idle_timeout).saturating_add(GRACE);
        let id = SessionId::of_lineage(tag);
        self.put(&id, &mut mark, ttl, Precondition::Absent).await?;
        Ok(())
    }
}

/// Somebody who follows a session from mark to mark while it is renewed.
struct Chase<'k> {
    manager: &'k SessionManager,
    started: Instant,
    /// When the last mark was found.
    last: Instant,
    marks: u32,
    /// While this is there, nobody in this process renews the session.
    lock: Option<KeyedLock<'k, u64>>,
}

impl<'k> Chase<'k> {
    fn new(manager: &'k SessionManager) -> Self {
        let now = Instant::now();
        Self {
            manager,
            started: now,
            last: now,
            marks: 0,
            lock: None,
        }
    }

    /// Says that one more mark was found, of the session with `tag`: the chain may be long, and has an
    /// end. It may also grow as fast as it is followed, so that renewals must wait from some point on.
    async fn went_on(&mut self, tag: Option<u64>) {
        self.last = Instant::now();
        self.marks += 1;
        if self.marks == HEAD_START {
            self.stop_renewals(tag).await;
        }
    }

    /// Waits until the renewals in this process that came before are through; later ones wait.
    async fn stop_renewals(&mut self, tag: Option<u64>) {
        if self.lock.is_none() {
            self.lock = self.manager.lock_lineage(tag).await;
        }
    }

    /// Gives up where nothing was found for long, or the marks are older than they can be.
    fn check(&self) -> Result<()> {
        match self.started.elapsed() > GRACE {
            true => Err(self.manager.crowded()),
            false => self.manager.check_patience(self.last),
        }
    }
}

/// Waits for a moment of random length, up to four milliseconds.
pub(super) async fn pause() {
    let (random, _) = Uuid::new_v4().as_u64_pair();
    sleep(Duration::from_micros(random % 4096)).await;
}
