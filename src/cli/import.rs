//! The command `import`, which takes the sessions of a Python system over.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;

use clap::Args;
use rocket::futures::{StreamExt, TryStreamExt};

use super::application::{Application, Purpose};
use super::failure::{Failure, Outcome};
use super::interrupt::Interrupt;
use super::old_system::{self, Old, OldSessions, System};
use super::progress::Progress;
use super::text::{self, count};
use crate::error::{ErrorKind, Result};
use crate::id::SessionId;

/// Import the sessions of Session3, pycket or pyramid_kvs.
///
/// Each session is imported as a whole or refused, with the reason. Nothing in the old store changes. Sessions that
/// were imported before are left alone, so an import that was interrupted can be repeated. No old cookie opens an
/// imported session.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit import --from session3 /srv/old/sessions --dry-run\n  \
    rocket-session-kit import --from session3 /srv/old/sessions\n  \
    rocket-session-kit import --from pycket redis://localhost/0 --notifications redis://localhost/1\n  \
    rocket-session-kit import --from pyramid_kvs redis://localhost --prefix session::")]
pub(super) struct Import {
    /// The old system.
    #[arg(long, value_enum)]
    from: System,
    /// The directory of Session3, or the URL of the database in Redis.
    source: String,
    /// The URL of pycket's database of notifications.
    #[arg(long, value_name = "URL")]
    notifications: Option<String>,
    /// The start of the keys of pyramid_kvs.
    #[arg(long, default_value = "session::")]
    prefix: String,
    /// Count, and import nothing.
    #[arg(long)]
    dry_run: bool,
}

/// How many sessions are saved at the same time.
const AT_ONCE: usize = 16;

/// How many different reasons are told.
const REASONS: usize = 20;

/// What happened to one session.
enum Fate {
    Imported,
    There,
    Expired,
    Empty,
    Refused(String),
}

#[derive(Default)]
struct Counts {
    imported: u64,
    there: u64,
    expired: u64,
    empty: u64,
    refused: u64,
    reasons: BTreeMap<String, u64>,
    skipped: u64,
    dry_run: bool,
}

impl Import {
    /// Returns what it does with the store.
    pub(super) fn purpose(&self) -> Purpose {
        match self.dry_run {
            true => Purpose::Use,
            false => Purpose::Fill,
        }
    }

    pub(super) async fn run(&self, application: &Application, interrupt: &Interrupt) -> Outcome {
        let OldSessions { stream, skipped } = self.open().await?;
        let progress = Progress::of("sessions read");
        let mut counts = Counts {
            dry_run: self.dry_run,
            ..Counts::default()
        };
        let mut fates = stream
            .take_until(interrupt.wait())
            .map_ok(|old| self.keep(application, old))
            .try_buffer_unordered(AT_ONCE);
        loop {
            let next = fates.try_next().await;
            counts.skipped = skipped.load(Ordering::Relaxed);
            match next {
                Ok(Some(fate)) => counts.add(fate),
                Ok(None) => break,
                Err(error) => return Err(Failure::from(error).after(&counts)),
            }
            progress.tick();
        }
        drop((fates, progress));
        for (reason, number) in &counts.reasons {
            eprint(&format!("refused: {}: {reason}", count(*number, "session")));
        }
        if interrupt.happened() {
            return Err(Failure::Interrupted(format!(
                "stopped: {counts}; run it again to go on"
            )));
        }
        text::print(format!("{counts}\n").as_bytes())?;
        match counts.refused {
            0 => Ok(()),
            refused => Err(Failure::Failed(format!(
                "{} refused",
                count(refused, "session")
            ))),
        }
    }

    async fn open(&self) -> Outcome<OldSessions> {
        match self.from {
            System::Session3 => Ok(old_system::session3(&self.source)?),
            #[cfg(feature = "redis")]
            System::Pycket => {
                let notifications = self.notifications.as_deref();
                Ok(old_system::pycket(&self.source, notifications).await?)
            }
            #[cfg(feature = "redis")]
            System::PyramidKvs => Ok(old_system::pyramid_kvs(&self.source, &self.prefix).await?),
            #[cfg(not(feature = "redis"))]
            System::Pycket | System::PyramidKvs => Err(Failure::Failed(
                "this program is built without Redis; build it with the feature `redis`".into(),
            )),
        }
    }

    async fn keep(&self, application: &Application, old: Old) -> Result<Fate> {
        let record = match old.read {
            Ok(record) if !record.has_info() => return Ok(Fate::Empty),
            Ok(record) if application.manager.is_expired(&record) => return Ok(Fate::Expired),
            Ok(record) => record,
            Err(error) => return Ok(Fate::Refused(error.to_string())),
        };
        let from = match self.from {
            System::Session3 => "session3",
            System::Pycket => "pycket",
            System::PyramidKvs => "pyramid_kvs",
        };
        let id = SessionId::of_imported(from, &old.name);
        let ttl = application.manager.lifetime(&record);
        let is_new = match self.dry_run {
            true => {
                let there = application.store().has_session(&id);
                !application.bounds.call("load a session", there).await?
            }
            false => match application.manager.keep_new(id, record, ttl).await {
                Err(error) if error.kind() == ErrorKind::Limit => {
                    return Ok(Fate::Refused(error.to_string()));
                }
                kept => kept?,
            },
        };
        Ok(if is_new { Fate::Imported } else { Fate::There })
    }
}

impl Counts {
    fn add(&mut self, fate: Fate) {
        match fate {
            Fate::Imported => self.imported += 1,
            Fate::There => self.there += 1,
            Fate::Expired => self.expired += 1,
            Fate::Empty => self.empty += 1,
            Fate::Refused(reason) => {
                self.refused += 1;
                let reason = match self.reasons.len() < REASONS {
                    true => reason,
                    false => "for other reasons".into(),
                };
                *self.reasons.entry(reason).or_default() += 1;
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let would = if self.dry_run { "would be " } else { "" };
        write!(f, "{} {would}imported", count(self.imported, "session"))?;
        for (number, what) in [
            (self.there, "imported before"),
            (self.expired, "expired"),
            (self.empty, "empty"),
            (self.refused, "refused"),
            (self.skipped, "other files skipped"),
        ] {
            if number > 0 {
                write!(f, ", {number} {what}")?;
            }
        }
        Ok(())
    }
}

fn eprint(line: &str) {
    use std::io::Write;

    // Nobody may be there to read it. The exit code says it, too.
    let _ = writeln!(std::io::stderr(), "{line}");
}
