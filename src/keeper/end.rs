//! The end of a session, which is final.

use std::time::{Duration, Instant};

use super::{Found, GRACE, Held, Keeper, same};
use crate::error::Result;
use crate::id::SessionId;
use crate::record::{Parting, Record};
use crate::store::{Expect, Revision, Saved};

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
}

impl Ending {
    /// Returns the end of the session under `id`, whichever that is.
    pub(crate) fn of(id: SessionId) -> Self {
        Self {
            id,
            tag: None,
            seen: None,
            tried: false,
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
    pub(crate) fn new(record: &Record, held: &Held) -> Self {
        Self {
            revision: held.revision,
            lineage: record.tag.filter(|_| record.forked),
        }
    }
}

impl Keeper {
    /// Ends a session, wherever it has got to and with all copies of it, for good. Returns whether
    /// it was still there.
    pub(crate) async fn end(&self, ending: Ending) -> Result<bool> {
        let Ending {
            mut id,
            tag,
            mut seen,
            mut tried,
        } = ending;
        let started = Instant::now();
        loop {
            self.check_patience(started)?;
            let Some(Seen { revision, lineage }) = seen.take() else {
                match self.reload(&id).await? {
                    Found::Live(there, held) if same(tag, there.tag) => {
                        seen = Some(Seen::new(&there, &held));
                    }
                    Found::Parted(Parting::Moved(next)) => id = next,
                    // Where this request tried already, it was this request that ended it.
                    Found::Live(..) | Found::Parted(Parting::Ended) | Found::Nothing => {
                        return Ok(tried);
                    }
                }
                continue;
            };
            let held = Held {
                id,
                revision,
                touched: false,
            };
            if let Some(tag) = lineage {
                self.end_lineage(tag).await?;
            }
            let asked = Instant::now();
            // A request that renews or saves the session at this moment finds out by this, and none
            // can after it.
            match self.leave(&held, Parting::Ended).await {
                Ok(Saved::Saved(_)) => break,
                Ok(Saved::Changed) => {}
                Ok(Saved::Gone) => return Ok(tried),
                // Where there is no room for a mark, a deletion does it.
                Err(error) => {
                    let left = self.store_timeout.saturating_sub(asked.elapsed());
                    let deleting = self.store().delete_session_if(&id, revision);
                    match self.ask_within(left, "delete a session", deleting).await {
                        Ok(true) => return Ok(true),
                        // Something else is there by now, which may be the mark.
                        Ok(false) => tried = true,
                        Err(_) => return Err(error),
                    }
                }
            }
        }
        if id.is_of_token() {
            // A deletion could meet the session that the token has begun meanwhile. What marks the
            // end goes by itself, in a minute.
            return Ok(true);
        }
        if let Err(error) = self.delete(&id).await {
            log::warn!("a session ended, and what marks its end stays for a minute: {error}");
        }
        Ok(true)
    }

    /// Ends every copy of the session with `tag`: puts down a mark that each of them looks for.
    async fn end_lineage(&self, tag: u64) -> Result<()> {
        let mut mark = Record::parting(self.clock.seconds(), Parting::Ended);
        // A copy that nobody uses expires before the mark does.
        let ttl = Duration::from_secs(self.idle_timeout).saturating_add(GRACE);
        let id = SessionId::of_lineage(tag);
        self.put(&id, &mut mark, ttl, Expect::Absent).await?;
        Ok(())
    }
}
