//! The command `sweep`, which deletes expired and old sessions.

use std::time::Duration;

use clap::Args;

use super::age;
use super::application::Application;
use super::failure::{Failure, Outcome};
use super::progress::Progress;
use super::text::{self, count};

/// Delete expired sessions, and those that were not used for a long time.
///
/// The application deletes expired sessions by itself, see `sweep_every`. A session that is saved meanwhile survives.
/// Ctrl-C stops the sweep; what it has deleted by then stays deleted.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit sweep\n  \
    rocket-session-kit sweep --older-than 30d")]
pub(super) struct Sweep {
    /// Delete the sessions that were last saved that long ago, too; at least `1m`.
    #[arg(long, value_name = "AGE", value_parser = age::parse)]
    older_than: Option<Duration>,
}

impl Sweep {
    pub(super) async fn run(&self, application: &Application) -> Outcome {
        let minutes = match self.older_than.map(|older| older.as_secs()) {
            None => u64::MAX,
            Some(0..60) => {
                let usage = "`--older-than` is at least `1m`: to end all sessions, use `end --all`";
                return Err(Failure::Usage(usage.into()));
            }
            Some(seconds) => seconds.div_ceil(60),
        };
        let _progress = Progress::of("sweeping");
        let swept = application.store().delete_old_sessions(minutes).await?;
        for store in &application.others {
            // They hold no sessions, and their entries have lifetimes of their own.
            store.delete_old_sessions(u64::MAX).await?;
        }
        let (deleted, remain) = (count(swept.deleted, "session"), swept.remaining);
        text::print(format!("{deleted} deleted, {remain} remain\n").as_bytes())
    }
}
