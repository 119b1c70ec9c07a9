//! The command `end`, which ends one session, those of a user, or all.

use std::io::{self, BufRead, Write};

use clap::{ArgGroup, Args};
use rocket::futures::future::ready;
use rocket::futures::{StreamExt, TryStreamExt};

use super::application::Application;
use super::failure::{Failure, Outcome};
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::text::{self, count};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::SessionHandle;
use crate::id::SessionId;
use crate::manager::EndTarget;
use crate::record::{Record, Tombstone};

/// End a session, all sessions of a user, or all sessions, for good.
///
/// A request that is under way cannot bring an ended session back. The visitor of an ended session begins a new one.
#[derive(Args)]
#[command(
    group(ArgGroup::new("which").required(true).args(["handle", "user", "all"])),
    after_help = "Examples:\n  \
    rocket-session-kit end HANDLE\n  \
    rocket-session-kit end --user alice\n  \
    rocket-session-kit end --all --yes"
)]
pub(super) struct End {
    /// The handle of the session, from `list`.
    #[arg(allow_hyphen_values = true)]
    handle: Option<String>,
    /// End the sessions of this user.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// End all sessions.
    #[arg(long)]
    all: bool,
    /// Do not ask before all sessions end.
    #[arg(long, requires = "all")]
    yes: bool,
}

/// How many sessions are ended at the same time.
const AT_ONCE: usize = 16;

/// How often all sessions are listed until none is left.
const PASSES: usize = 20;

impl End {
    pub(super) async fn run(&self, application: &Application, interrupt: &Interrupt) -> Outcome {
        let ended = match (&self.handle, &self.user) {
            (Some(text), _) => {
                let ended = application.manager.end_by(&handle(text)?).await?.live;
                if ended == 0 {
                    return Err(not_found());
                }
                ended
            }
            (None, Some(user)) => application.manager.end_all_of(user, None).await?.live,
            (None, None) => {
                if !self.yes {
                    ask()?;
                }
                all(application, interrupt).await?
            }
        };
        text::print(format!("{} ended\n", count(ended, "session")).as_bytes())
    }
}

/// Reads a handle. The error does not repeat the text, which may be an id or a cookie.
pub(super) fn handle(text: &str) -> Outcome<SessionHandle> {
    let usage =
        "this is not the handle of a session; `list` shows the handles, each of 43 characters";
    text.parse().map_err(|_| Failure::Usage(usage.into()))
}

pub(super) fn not_found() -> Failure {
    Failure::NotFound("there is no session with this handle; it may have ended, see `list`".into())
}

/// Asks on the terminal.
fn ask() -> Outcome {
    let mut stderr = io::stderr();
    let _ = write!(
        stderr,
        "End all sessions, and log every user out? Type `yes`: "
    );
    let _ = stderr.flush();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == "yes" {
        return Ok(());
    }
    let why = "no session was ended; type `yes`, or add `--yes`";
    Err(Failure::Failed(why.into()))
}

/// Ends all sessions that are there, and those that they are renewed to meanwhile.
async fn all(application: &Application, interrupt: &Interrupt) -> Outcome<u64> {
    let progress = Progress::of("sessions ended");
    let mut ended = 0;
    for _ in 0..PASSES {
        let before = ended;
        let done = pass(application, interrupt, &progress, &mut ended).await;
        let so_far = format!("{} ended so far", count(ended, "session"));
        done.map_err(|error| Failure::from(error).after(&so_far))?;
        if interrupt.happened() {
            return Err(Failure::Interrupted(format!("stopped: {so_far}")));
        }
        if ended == before {
            return Ok(ended);
        }
    }
    let error = Error::new(ErrorKind::Unavailable, "end all sessions");
    let error = error.because("new ones begin as fast as they end; stop the application first");
    Err(Failure::from(error).after(format!("{} ended so far", count(ended, "session"))))
}

/// Ends the sessions of one listing.
async fn pass(
    application: &Application,
    interrupt: &Interrupt,
    progress: &Progress,
    ended: &mut u64,
) -> Result<()> {
    let all = application.store().iter_sessions();
    let mut ends = all
        .take_until(interrupt.wait())
        .try_filter_map(|(id, stored)| {
            let record = Record::decode(stored.bytes, &id);
            ready(Ok(record.filter(may_live).map(|_| id)))
        })
        .map_ok(|id: SessionId| application.manager.end(EndTarget::new(id)))
        .try_buffer_unordered(AT_ONCE);
    while let Some(was_there) = ends.try_next().await? {
        if was_there {
            *ended += 1;
            progress.tick();
        }
    }
    Ok(())
}

/// Returns whether `record` is a session, or leads to one.
fn may_live(record: &Record) -> bool {
    record.tombstone != Some(Tombstone::Ended)
}
