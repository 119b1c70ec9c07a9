//! The command `copy`, which copies the sessions to another store while the application runs.

mod claims;
mod ends;
mod mark;
mod transfer;

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rocket::figment::Profile;
use rocket::futures::{StreamExt, TryStreamExt};

use super::application::{self, Application, Own, Purpose};
use super::failure::{Failure, Outcome};
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::text::{self, count};
use crate::config::{Config, StoreName};
use crate::error::{Error, ErrorKind, Result};
use crate::store::configured;
use mark::Marks;

/// Copy the sessions to another store, while the application runs.
///
/// Run again, it copies only what has changed since, and ends at the target what has ended since. A session that the
/// application has changed at the target is left alone. To move without losing an update: copy, stop the application,
/// copy again, and start the application with the new store. The cache and the counts of the rate limit are not
/// copied.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit copy --to other.toml\n  \
    rocket-session-kit copy --to other.toml --profile release")]
pub(super) struct Copy {
    /// A file like `Rocket.toml` that names the other store. The environment does not change it.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// End the copies although there is no session left to copy from.
    #[arg(long)]
    source_is_empty: bool,
}

/// How many sessions are copied at the same time.
const AT_ONCE: usize = 32;

/// The two stores of a copy.
struct Route<'a> {
    from: &'a Application,
    to: &'a Application,
    marks: Marks,
}

/// What happened to one session.
enum Fate {
    Copied,
    Updated,
    Unchanged,
    /// The application has changed it at the target, and not at the source.
    Newer,
    /// The application has changed it at the target and at the source.
    Conflict,
    /// It has ended at the target.
    EndedThere,
    /// It has ended at the source, and ends at the target.
    Ended,
    /// It is a tombstone, which leads from an old id or tells why a session has ended.
    Tombstone,
    /// It expired meanwhile.
    Expired,
    Unreadable,
    TooLarge,
}

#[derive(Default)]
struct Counts {
    copied: u64,
    updated: u64,
    ended: u64,
    unchanged: u64,
    newer: u64,
    conflicts: u64,
    ended_there: u64,
    tombstones: u64,
    expired: u64,
    unreadable: u64,
    too_large: u64,
}

impl Copy {
    pub(super) async fn run(
        &self,
        from: &Application,
        profile: &Profile,
        own: Own<'_>,
        interrupt: &Interrupt,
    ) -> Outcome {
        let figment = application::figment_of(&self.to, profile)?;
        let config = Config::read(&figment)?;
        let own = own(&figment)?;
        if !from.is_own && own.is_none() && is_same_store(&from.config, &config)? {
            let why = "it names the store that the sessions are copied from; name another store, another prefix or \
                       another table";
            return Err(Error::config(&self.to.display().to_string(), why).into());
        }
        let to = Application::open(&figment, &|_| Ok(own.clone()), Purpose::Fill).await?;
        let route = Route {
            marks: Marks::new(&to)?,
            to: &to,
            from,
        };
        let mut counts = Counts::default();
        let done = self.copy(&route, &mut counts, interrupt).await;
        done.map_err(|error| {
            Failure::from(error).after(format!("{counts}; run it again to go on"))
        })?;
        if interrupt.happened() {
            return Err(Failure::Interrupted(format!(
                "stopped: {counts}; run it again to go on"
            )));
        }
        text::print(format!("{counts}\n").as_bytes())?;
        match counts.too_large {
            0 => Ok(()),
            large => Err(Failure::Failed(format!(
                "{} too large for the target; choose a store that has room for them",
                count(large, "session")
            ))),
        }
    }

    async fn copy(
        &self,
        route: &Route<'_>,
        counts: &mut Counts,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let progress = Progress::of("sessions compared");
        let mut fates = route
            .from
            .store()
            .iter_sessions()
            .take_until(interrupt.wait())
            .map_ok(|(id, stored)| route.transfer(id, stored))
            .try_buffer_unordered(AT_ONCE);
        while let Some(fate) = fates.try_next().await? {
            counts.add(fate);
            progress.tick();
        }
        drop(fates);
        if interrupt.happened() {
            return Ok(());
        }
        claims::copy(route).await?;
        let is_empty = counts.is_empty() && !self.source_is_empty;
        let mut ends = route
            .marks
            .ids()
            .take_until(interrupt.wait())
            .map_ok(|id| async move {
                if is_empty {
                    return Err(source_is_empty());
                }
                route.end_if_gone(id).await
            })
            .try_buffer_unordered(AT_ONCE);
        while let Some(has_ended) = ends.try_next().await? {
            counts.ended += u64::from(has_ended);
            progress.tick();
        }
        Ok(())
    }
}

fn source_is_empty() -> Error {
    let why = "the source has no session at all, although sessions were copied from it; if they have all ended, add \
               `--source-is-empty` to end their copies, and otherwise check that the configuration names the source";
    Error::new(ErrorKind::Unsupported, "end the copies").because(why)
}

/// Returns whether two configurations name one store.
fn is_same_store(one: &Config, other: &Config) -> Result<bool> {
    let real = |config: &Config| {
        let path = config.directory.path.relative();
        fs::canonicalize(&path).unwrap_or(path)
    };
    if one.store.is_sql() {
        return Ok(one.store == other.store && configured::is_same_table(one, other)?);
    }
    Ok(one.store == other.store
        && match one.store {
            StoreName::Directory => real(one) == real(other),
            StoreName::Redis => one.redis == other.redis,
            StoreName::Memcached => {
                let servers = |config: &Config| {
                    let mut servers = config.memcached.servers.clone();
                    servers.sort();
                    servers
                };
                one.memcached.prefix == other.memcached.prefix && servers(one) == servers(other)
            }
            _ => false,
        })
}

impl Route<'_> {
    /// Returns the entries of both stores, if both keep entries.
    fn entries(&self) -> Option<[Arc<dyn crate::store::KeyValue>; 2]> {
        let of = |application: &Application| Arc::clone(application.store()).key_value();
        Some([of(self.from)?, of(self.to)?])
    }
}

impl Counts {
    fn add(&mut self, fate: Fate) {
        let of_fate = match fate {
            Fate::Copied => &mut self.copied,
            Fate::Updated => &mut self.updated,
            Fate::Unchanged => &mut self.unchanged,
            Fate::Newer => &mut self.newer,
            Fate::Conflict => &mut self.conflicts,
            Fate::EndedThere => &mut self.ended_there,
            Fate::Ended => &mut self.ended,
            Fate::Tombstone => &mut self.tombstones,
            Fate::Expired => &mut self.expired,
            Fate::Unreadable => &mut self.unreadable,
            Fate::TooLarge => &mut self.too_large,
        };
        *of_fate += 1;
    }

    /// Returns whether the source had nothing.
    fn is_empty(&self) -> bool {
        let some = [
            self.copied,
            self.updated,
            self.unchanged,
            self.newer,
            self.conflicts,
        ];
        let others = [
            self.tombstones,
            self.ended_there,
            self.ended,
            self.expired,
            self.unreadable,
            self.too_large,
        ];
        some.iter().chain(&others).all(|number| *number == 0)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} copied, {} updated, {} ended, {} unchanged",
            count(self.copied, "session"),
            self.updated,
            self.ended,
            self.unchanged
        )?;
        for (number, what) in [
            (self.newer, "newer at the target"),
            (
                self.conflicts,
                "changed on both sides and left as at the target",
            ),
            (self.ended_there, "ended at the target"),
            (self.tombstones, "tombstones"),
            (self.expired, "expired"),
            (self.unreadable, "unreadable"),
            (self.too_large, "too large for the target"),
        ] {
            if number > 0 {
                write!(f, ", {number} {what}")?;
            }
        }
        Ok(())
    }
}
