//! Keeping a session: the store, under a deadline, and how a request's changes get into it whatever
//! others do meanwhile.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rocket::futures::FutureExt;
use rocket::tokio::time::timeout;

use crate::change::{Change, warn_of_lost_updates};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::notice::Notice;
use crate::queues::{NoTurn, Queues, Turn, remember};
use crate::record::{Parting, Record};
use crate::store::{Expect, Revision, Save, Saved, SessionStore, Stored};

/// How long a departed session's old id tells where it went. A request that was under way for
/// longer is told that the session is gone.
const GRACE: Duration = Duration::from_secs(60);

/// How many store timeouts a save may take in all, however often others come first.
pub(crate) const PATIENCE: u32 = 10;

/// Loads and saves sessions by the rules of the configuration.
pub(crate) struct Keeper {
    store: Arc<dyn SessionStore>,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    /// Seconds.
    idle_timeout: u64,
    /// Seconds; 0 is never.
    absolute_timeout: u64,
    /// Seconds.
    touch_every: u64,
    pub(crate) store_timeout: Duration,
    queues: Queues,
    /// When a failure of the store was last logged, in milliseconds since 1970.
    complained: AtomicU64,
}

/// What the store holds of a session, as a request last saw it.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    pub(crate) id: SessionId,
    pub(crate) revision: Revision,
}

/// What a store has under an id.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
pub(crate) enum Found {
    Live(Record, Held),
    /// The session departed a moment ago.
    Parted(Parting),
    Nothing,
}

/// What became of a request's changes.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
pub(crate) enum Kept {
    /// The session is kept like this.
    Here {
        record: Record,
        held: Held,
        /// Whether another request had emptied it meanwhile, and had its cookie removed.
        revived: bool,
    },
    /// Another request saw to it. Where it renewed the session meanwhile, the changes are kept
    /// under the new id, but for those that [stay behind](Change::stays_behind), and all of them
    /// do where somebody else is logged in there. The visitor of *this* request is not told which
    /// id that is: it may be somebody else, who knew the old one.
    Elsewhere,
    /// The session ended meanwhile. Nothing was kept.
    Gone,
}

impl Kept {
    fn here(record: Record, held: Held) -> Self {
        Self::Here {
            record,
            held,
            revived: false,
        }
    }
}

/// Returns whether what is there with the tag `there` is the session that had `tag`, and not one
/// that began after its end. One that this crate did not write has none.
fn same(tag: Option<u64>, there: Option<u64>) -> bool {
    tag.is_none() || tag == there
}

impl Keeper {
    pub(crate) fn new(store: Arc<dyn SessionStore>, clock: Clock, config: &Config) -> Self {
        Self {
            store,
            clock,
            limits: config.limits,
            idle_timeout: config.idle_timeout,
            absolute_timeout: config.absolute_timeout,
            // A session that is used keeps clear of its end by nine tenths of the timeout.
            touch_every: config.touch_every.min(config.idle_timeout / 10),
            store_timeout: Duration::from_millis(config.store_timeout),
            queues: Queues::new(),
            complained: AtomicU64::new(0),
        }
    }

    pub(crate) fn store(&self) -> &Arc<dyn SessionStore> {
        &self.store
    }

    /// Returns the session under `id`, for a request that has just presented it.
    pub(crate) async fn load(&self, id: &SessionId) -> Result<Found> {
        Ok(match self.reload(id).await? {
            // It lost all it had a moment ago, and only waits for those that were under way.
            Found::Live(record, _) if !record.has_info() => Found::Nothing,
            found => found,
        })
    }

    /// As [`load`](Self::load), for a request that has the session already.
    async fn reload(&self, id: &SessionId) -> Result<Found> {
        Ok(match self.look(id).await? {
            None => Found::Nothing,
            Some((record, held)) => match record.parting {
                Some(parting) => Found::Parted(parting),
                None if self.is_over(&record) => Found::Nothing,
                None => Found::Live(record, held),
            },
        })
    }

    /// Returns what the store has under `id`, whatever that means.
    async fn look(&self, id: &SessionId) -> Result<Option<(Record, Held)>> {
        let Some(Stored { bytes, revision }) = self
            .ask("load a session", self.store.load_session(id))
            .await?
        else {
            return Ok(None);
        };
        let Some(record) = Record::decode(&bytes) else {
            log::warn!(
                "the store holds something under a session's id that is no session; it was kept aside, its visitor starts anew"
            );
            self.ask("keep aside what is no session", self.store.set_aside(id))
                .await?;
            return Ok(None);
        };
        Ok(Some((record, Held { id: *id, revision })))
    }

    /// Returns whether `record` outlived one of its timeouts, whether or not the store knows.
    fn is_over(&self, record: &Record) -> bool {
        let now = self.clock.seconds();
        let too_old = self.absolute_timeout > 0
            && now >= record.created.saturating_add(self.absolute_timeout);
        too_old || now >= record.accessed.saturating_add(self.idle_timeout)
    }

    /// Returns whether the time of the last request should be moved on.
    pub(crate) fn touch_is_due(&self, record: &Record) -> bool {
        self.clock.seconds() >= record.accessed.saturating_add(self.touch_every.max(1))
    }

    /// Keeps a new session.
    pub(crate) async fn create(&self, mut record: Record) -> Result<Kept> {
        record.tag();
        for _ in 0..3 {
            let id = SessionId::random();
            match self.save(&id, &mut record, Expect::Absent).await? {
                Saved::Saved(revision) => return Ok(Kept::here(record, Held { id, revision })),
                // Either nobody's random numbers are random, or the store was asked twice and the
                // first answer got lost.
                Saved::Changed | Saved::Gone => {
                    let rev = record.rev;
                    match self.reload(&id).await? {
                        Found::Live(ours, held) if ours.rev == rev => {
                            return Ok(Kept::here(ours, held));
                        }
                        _ => {}
                    }
                }
            }
        }
        Err(self
            .unavailable("create a session")
            .because("every new id was taken already"))
    }

    /// Keeps a session that begins under `id`, which is that of its visitor's token; or, where
    /// another request began it meanwhile, what that one kept with `changes` made to it.
    pub(crate) async fn begin(
        &self,
        id: SessionId,
        mut record: Record,
        changes: &[Change],
    ) -> Result<Kept> {
        let started = Instant::now();
        record.tag = None;
        record.tag();
        let mut expect = Expect::Absent;
        let mut vanished = 0;
        loop {
            if let Saved::Saved(revision) = self.save(&id, &mut record, expect).await? {
                return Ok(Kept::here(record, Held { id, revision }));
            }
            self.check_patience(started)?;
            expect = match self.look(&id).await? {
                // It expired at this moment, or is no session and the store cannot keep it aside.
                None if vanished < 2 => {
                    vanished += 1;
                    Expect::Absent
                }
                None => {
                    return Err(self
                        .unavailable("create a session")
                        .because("what the store has in its place is no session"));
                }
                // The store was asked twice, and the first answer got lost. Others may have saved
                // it since.
                Some((ours, held)) if ours.tag == record.tag => return Ok(Kept::here(ours, held)),
                // One that ended. Who still has it finds out by the tag.
                Some((over, held)) if over.parting.is_some() || self.is_over(&over) => {
                    Expect::Revision(held.revision)
                }
                Some((mut begun, held)) => {
                    for change in changes {
                        change.apply(&mut begun, &self.limits)?;
                    }
                    return self.update(begun, held, changes).await;
                }
            };
        }
    }

    /// Moves on the time of the last request, unless another request did so a moment ago.
    pub(crate) async fn touch(&self, mut record: Record, held: Held) -> Result<Kept> {
        match self
            .save(&held.id, &mut record, Expect::Revision(held.revision))
            .await?
        {
            Saved::Saved(revision) => Ok(Kept::here(record, Held { revision, ..held })),
            Saved::Changed => Ok(Kept::Elsewhere),
            Saved::Gone => Ok(Kept::Gone),
        }
    }

    /// Keeps `record`, which is what is `held` with `changes` made to it; or, where others saved
    /// meanwhile, what they saved with `changes` made to it.
    pub(crate) async fn update(
        &self,
        mut record: Record,
        mut held: Held,
        changes: &[Change],
    ) -> Result<Kept> {
        let started = Instant::now();
        let tag = record.tag;
        let mut turn = None;
        let (mut moved, mut revived) = (false, false);
        let owner = match changes.iter().any(Change::is_about_the_user) {
            true => None,
            false => record.user.clone(),
        };
        loop {
            let saved = self
                .save(&held.id, &mut record, Expect::Revision(held.revision))
                .await;
            match remember(&mut turn, saved)? {
                Saved::Saved(_) if moved => return Ok(Kept::Elsewhere),
                Saved::Saved(revision) => {
                    return Ok(Kept::Here {
                        record,
                        held: Held { revision, ..held },
                        revived,
                    });
                }
                Saved::Gone => return Ok(Kept::Gone),
                Saved::Changed => {}
            }
            if turn.is_none() {
                turn = Some(self.turn(&held.id).await?);
            }
            let tried = record.rev;
            let mut id = held.id;
            (record, held) = loop {
                self.check_patience(started)?;
                let found = self.reload(&id).await;
                match remember(&mut turn, found)? {
                    // The store was asked twice, and the first answer got lost.
                    Found::Live(ours, _) if ours.rev == tried && moved => {
                        return Ok(Kept::Elsewhere);
                    }
                    Found::Live(record, held) if record.rev == tried => {
                        return Ok(Kept::Here {
                            record,
                            held,
                            revived,
                        });
                    }
                    Found::Live(newer, held) if same(tag, newer.tag) => break (newer, held),
                    Found::Parted(Parting::Moved(next)) => (id, moved) = (next, true),
                    Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => {
                        return Ok(Kept::Gone);
                    }
                }
            };
            if moved && owner.is_some() && record.user != owner {
                // Somebody else logged in, to whom nothing of the one before is shown.
                return Ok(Kept::Elsewhere);
            }
            revived = !record.has_info();
            warn_of_lost_updates(changes, &record);
            for change in changes
                .iter()
                .filter(|change| !(moved && change.stays_behind()))
            {
                change.apply(&mut record, &self.limits)?;
            }
        }
    }

    /// Takes out of what is `held`, which is `record`, what `take_out` takes out of it and returns:
    /// to nobody else is it ever returned. Where others saved meanwhile, `take_out` is asked again
    /// about what they left.
    ///
    /// It is a save of its own, with none of the request's changes in it. On an error nobody knows
    /// whether it was done, and nothing is returned.
    pub(crate) async fn take<T>(
        &self,
        mut record: Record,
        mut held: Held,
        mut take_out: impl FnMut(&mut Record) -> Result<Vec<T>>,
    ) -> Result<(Vec<T>, Kept)> {
        let started = Instant::now();
        let tag = record.tag;
        let mut turn = None;
        let mut revived = false;
        loop {
            let taken = take_out(&mut record)?;
            let here = |record, held| Kept::Here {
                record,
                held,
                revived,
            };
            if taken.is_empty() {
                return Ok((taken, here(record, held)));
            }
            let saved = self
                .save(&held.id, &mut record, Expect::Revision(held.revision))
                .await;
            match remember(&mut turn, saved)? {
                Saved::Saved(revision) => {
                    return Ok((taken, here(record, Held { revision, ..held })));
                }
                Saved::Gone => return Ok((Vec::new(), Kept::Gone)),
                Saved::Changed => {}
            }
            if turn.is_none() {
                turn = Some(self.turn(&held.id).await?);
            }
            self.check_patience(started)?;
            let tried = record.rev;
            let found = self.reload(&held.id).await;
            (record, held) = match remember(&mut turn, found)? {
                // The store was asked twice, and the first answer got lost.
                Found::Live(ours, held) if ours.rev == tried => {
                    return Ok((taken, here(ours, held)));
                }
                Found::Live(newer, held) if same(tag, newer.tag) => (newer, held),
                // They went on with whoever renewed it, who may be somebody else.
                Found::Parted(Parting::Moved(_)) => return Ok((Vec::new(), Kept::Elsewhere)),
                Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => {
                    return Ok((Vec::new(), Kept::Gone));
                }
            };
            revived = !record.has_info();
        }
    }

    /// Keeps `record`, which is what is `held` with `changes` made to it, under a new id, and lets
    /// the old one go.
    pub(crate) async fn renew(
        &self,
        record: Record,
        mut held: Held,
        changes: &[Change],
    ) -> Result<Kept> {
        let started = Instant::now();
        let Kept::Here {
            mut record,
            held: mut new,
            ..
        } = self.create(record).await?
        else {
            return Ok(Kept::Gone);
        };
        loop {
            self.check_patience(started)?;
            match self.leave(&held, Parting::Moved(new.id)).await? {
                Saved::Saved(_) => return Ok(Kept::here(record, new)),
                Saved::Gone => break,
                Saved::Changed => {}
            }
            match self.reload(&held.id).await? {
                Found::Live(newer, now_held) => (record, held) = (newer, now_held),
                // Two requests renewed one session at once: each visitor goes on with what it had,
                // but for the notifications, which are for one reader and went with the first.
                Found::Parted(Parting::Moved(_)) => {
                    let own = |notice: &Notice| {
                        let mut brought = changes.iter().filter_map(Change::notice);
                        brought.any(|own| own.id == notice.id)
                    };
                    let before = record.notifications.len();
                    record.notifications.retain(own);
                    if record.notifications.len() == before {
                        return Ok(Kept::here(record, new));
                    }
                    if !record.has_info() {
                        self.ask("delete a session", self.store.delete_session(&new.id))
                            .await?;
                        return Ok(Kept::Elsewhere);
                    }
                    match self
                        .save(&new.id, &mut record, Expect::Revision(new.revision))
                        .await?
                    {
                        Saved::Saved(revision) => new.revision = revision,
                        Saved::Changed | Saved::Gone => break,
                    }
                    return Ok(Kept::here(record, new));
                }
                Found::Parted(Parting::Ended) | Found::Nothing => break,
            }
            for change in changes {
                change.apply(&mut record, &self.limits)?;
            }
            match self
                .save(&new.id, &mut record, Expect::Revision(new.revision))
                .await?
            {
                Saved::Saved(revision) => new.revision = revision,
                Saved::Changed | Saved::Gone => break,
            }
        }
        // The session ended meanwhile, so the copy must not live either.
        self.ask("delete a session", self.store.delete_session(&new.id))
            .await?;
        Ok(Kept::Gone)
    }

    /// Ends the session under `id`, wherever it has got to, for good. Returns whether it was still
    /// there.
    ///
    /// `revision` is what the caller saw there, if it looked, and `tag` which session it was.
    pub(crate) async fn end(
        &self,
        mut id: SessionId,
        mut revision: Option<Revision>,
        tag: Option<u64>,
    ) -> Result<bool> {
        let started = Instant::now();
        loop {
            self.check_patience(started)?;
            match revision.take() {
                None => match self.reload(&id).await? {
                    Found::Live(there, held) if same(tag, there.tag) => {
                        (id, revision) = (held.id, Some(held.revision));
                    }
                    Found::Parted(Parting::Moved(next)) => id = next,
                    Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => {
                        return Ok(false);
                    }
                },
                // Whoever renews or saves it at this moment finds out by this, and nobody can after
                // it.
                Some(revision) => match self.leave(&Held { id, revision }, Parting::Ended).await? {
                    Saved::Saved(_) => break,
                    Saved::Changed => {}
                    Saved::Gone => return Ok(false),
                },
            }
        }
        if id.is_of_token() {
            // A deletion could meet the session that the token has begun meanwhile. What marks the
            // end goes by itself, in a minute.
            return Ok(true);
        }
        if let Err(error) = self
            .ask("delete a session", self.store.delete_session(&id))
            .await
        {
            log::warn!("a session ended, and what marks its end stays for a minute: {error}");
        }
        Ok(true)
    }

    /// Puts a parting word in the place of what is `held`.
    async fn leave(&self, held: &Held, parting: Parting) -> Result<Saved> {
        let mut record = Record::parting(self.clock.seconds(), parting);
        self.save(&held.id, &mut record, Expect::Revision(held.revision))
            .await
    }

    /// Asks the store to keep `record`, as of now.
    async fn save(&self, id: &SessionId, record: &mut Record, expect: Expect) -> Result<Saved> {
        let now = self.clock.seconds();
        let ttl = if record.parting.is_some() || !record.has_info() {
            GRACE
        } else {
            let left = match self.absolute_timeout {
                0 => u64::MAX,
                timeout => record.created.saturating_add(timeout).saturating_sub(now),
            };
            Duration::from_secs(self.idle_timeout.min(left).max(1))
        };
        record.accessed = now;
        let bytes = record.encode(now + ttl.as_secs());
        self.ask(
            "save a session",
            self.store.save_session(
                id,
                Save {
                    bytes: &bytes,
                    ttl,
                    expect,
                },
            ),
        )
        .await
    }

    /// Waits for `call`, but no longer than the store may take; a panic in the store is an error of
    /// the store.
    pub(crate) async fn ask<T>(
        &self,
        act: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.ask_within(self.store_timeout, act, call).await
    }

    /// As [`ask`](Self::ask), for a call that is many in one.
    pub(crate) async fn ask_within<T>(
        &self,
        time: Duration,
        act: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let answer = match timeout(time, AssertUnwindSafe(call).catch_unwind()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(self.unavailable(act).because("the store panicked")),
            Err(_) => Err(self
                .unavailable(act)
                .because(format!("no answer within {time:?}"))),
        };
        answer.inspect_err(|error| self.complain(error))
    }

    /// Waits until those who contend for `id` in this process and came before are through.
    async fn turn(&self, id: &SessionId) -> Result<Turn<'_>> {
        let turn = self.queues.turn(id, self.store_timeout * PATIENCE).await;
        turn.map_err(|why| match why {
            NoTurn::Crowded => self.crowded(),
            NoTurn::Hanging => self
                .unavailable("save a session")
                .because("the store hangs"),
        })
    }

    fn check_patience(&self, started: Instant) -> Result<()> {
        if started.elapsed() > self.store_timeout * PATIENCE {
            Err(self.crowded())
        } else {
            Ok(())
        }
    }

    fn crowded(&self) -> Error {
        self.unavailable("save a session")
            .because("too many requests change this session at once")
    }

    fn unavailable(&self, act: &'static str) -> Error {
        Error::new(ErrorKind::Unavailable, act)
    }

    /// Logs that the store failed, but at most once a second: while it is down, every request finds
    /// out.
    fn complain(&self, error: &Error) {
        let (now, before) = (self.clock.millis(), self.complained.load(Ordering::Relaxed));
        let quiet = now.abs_diff(before) < 1000;
        if !quiet
            && self
                .complained
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            log::error!("{error}");
        }
    }
}

#[cfg(test)]
mod interleavings;
