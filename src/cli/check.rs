//! The command `check`, which tests the configuration and the store as a launch would find them.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use rocket::figment::Figment;
use rocket::figment::value::Value;

use super::application::{Application, Own, Purpose, check_directory, lacks_tables};
use super::failure::{Failure, Outcome};
use super::probe;
use super::text::count;
use crate::config::{Config, StoreName, Transport, explain};
use crate::cookie::CookieTemplate;
use crate::dispatch::ActiveRequests;
use crate::error::{Error, Result};
use crate::events::Listeners;
use crate::header::TokenHeaders;
use crate::launch;
use crate::store::configured;
use crate::store::server_facts::ServerFacts;

/// Check the configuration and the store, as a launch would find them.
///
/// It reports every invalid setting at once, and where each setting comes from. It creates a probe session in the
/// store, which no cookie opens, and deletes it. It creates no directory and no table, and never shows the value of a
/// setting.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit check\n  \
    rocket-session-kit check --profile release\n  \
    rocket-session-kit check --config production.toml")]
pub(super) struct Check {}

/// The clocks of two hosts may differ by this much.
const SKEW: Duration = Duration::from_secs(3);

/// What was found so far.
#[derive(Default)]
struct Report {
    problems: u64,
}

impl Report {
    fn ok(&self, text: &str) -> Outcome {
        Ok(writeln!(std::io::stdout(), "ok: {text}")?)
    }

    fn warn(&self, text: &str) -> Outcome {
        Ok(writeln!(std::io::stdout(), "warning: {text}")?)
    }

    fn problem(&mut self, error: &Error) {
        self.problems += 1;
        // Nobody may be there to read it. The exit code says it, too.
        let _ = writeln!(std::io::stderr(), "error: {error}");
    }
}

impl Check {
    pub(super) async fn run(&self, figment: &Figment, own: Own<'_>) -> Outcome {
        let mut report = Report::default();
        let profile = figment.profile();
        match settings(figment) {
            set if set.is_empty() => report.ok("no setting differs from the defaults")?,
            set => {
                for (key, origin) in set {
                    report.ok(&format!("`{key}` is set in {origin}"))?;
                }
            }
        }
        let (mut problems, config) = Config::problems(figment);
        if !problems.is_empty() {
            // Without them, the launch finds these.
            let debug = *profile == rocket::Config::DEBUG_PROFILE;
            problems.extend(CookieTemplate::new(&config.cookie, debug).err());
            let has_headers = config.transport != Transport::Cookie;
            problems.extend(
                has_headers
                    .then(|| TokenHeaders::new(&config.header).err())
                    .flatten(),
            );
        }
        for problem in &problems {
            report.problem(problem);
        }
        match figment.extract::<rocket::Config>() {
            Err(error) => report.problem(&explain::of_rocket(&error)),
            Ok(rocket) if !rocket.secret_key.is_provided() => report.warn(&format!(
                "no `secret_key` is set here, which the launch in the profile `{profile}` {}; this program needs none",
                match *profile == rocket::Config::DEBUG_PROFILE {
                    true => "replaces by a new one each time",
                    false => "needs",
                }
            ))?,
            Ok(_) => {}
        }
        if report.problems == 0 {
            report.ok(&format!(
                "the settings are valid in the profile `{profile}`"
            ))?;
            if let Err(error) = self.check_store(figment, own, &report).await? {
                report.problem(&error);
            }
        }
        match report.problems {
            0 => Ok(()),
            problems => Err(Failure::Failed(count(problems, "problem"))),
        }
    }

    /// Checks the store. The inner error is what the launch would say.
    async fn check_store(
        &self,
        figment: &Figment,
        own: Own<'_>,
        report: &Report,
    ) -> Outcome<Result<()>> {
        let config = match Config::read(figment) {
            Ok(config) => config,
            Err(error) => return Ok(Err(error)),
        };
        let is_own = match own(figment) {
            Ok(own) => own.is_some(),
            Err(error) => return Ok(Err(error)),
        };
        if !is_own && config.store == StoreName::Directory {
            let path = config.directory.path.relative();
            match check_directory(&path) {
                Err(error) => return Ok(Err(error)),
                Ok(false) => return self.missing_directory(&path, report),
                Ok(true) => report.ok(&format!(
                    "the directory `{}` belongs to this user alone",
                    path.display()
                ))?,
            }
        }
        if config.sql.migrate {
            match lacks_tables(&config, is_own).await {
                Err(error) => return Ok(Err(error)),
                Ok(Some(place)) => return missing_tables(&config, is_own, &place, report).await,
                Ok(None) => {}
            }
        }
        if let Err(error) = launches(figment, own).await {
            return Ok(Err(error));
        }
        report.ok("a launch with these settings finds its stores")?;
        if !is_own && config.store == StoreName::Memory {
            return Ok(Ok(report.warn(
                "the store `memory` is inside the process of the application, so no other command of this program reaches it",
            )?));
        }
        if !is_own && let Err(error) = report_servers(&config, report).await? {
            return Ok(Err(error));
        }
        let own = match own(figment) {
            Ok(own) => own,
            Err(error) => return Ok(Err(error)),
        };
        let started = Instant::now();
        let probed = match Application::with(config, own, Purpose::Use).await {
            Ok(application) => probe::round_trip(&application).await,
            Err(error) => Err(error),
        };
        let calls = match probed {
            Ok(calls) => calls,
            Err(error) => return Ok(Err(error)),
        };
        let each = started.elapsed() / calls;
        Ok(Ok(report.ok(&format!(
            "a probe session was created, loaded, changed, listed and deleted, {:.1} ms a call",
            each.as_secs_f64() * 1e3
        ))?))
    }

    fn missing_directory(&self, path: &Path, report: &Report) -> Outcome<Result<()>> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        if parent.is_some_and(|parent| !parent.is_dir()) {
            let why = "its parent does not exist; create that, or set `sessions.directory.path`";
            let error = Error::new(crate::error::ErrorKind::Config, "use the directory");
            return Ok(Err(error.at(path.display()).because(why)));
        }
        Ok(Ok(report.warn(&format!(
            "the directory `{}` does not exist yet; the launch creates it",
            path.display()
        ))?))
    }
}

/// Reports tables that the launch makes.
async fn missing_tables(
    config: &Config,
    is_own: bool,
    place: &str,
    report: &Report,
) -> Outcome<Result<()>> {
    if !is_own && let Err(error) = report_servers(config, report).await? {
        return Ok(Err(error));
    }
    Ok(Ok(report.warn(&format!(
        "the table `{}` at `{place}` does not exist yet; the launch creates it",
        config.sql.table
    ))?))
}

/// Reports what the servers of the sessions tell about themselves.
async fn report_servers(config: &Config, report: &Report) -> Outcome<Result<()>> {
    match configured::facts(config).await {
        Err(error) => return Ok(Err(error)),
        Ok(all) => {
            for facts in all {
                report_facts(report, &facts)?;
            }
        }
    }
    Ok(Ok(()))
}

/// Returns the keys that are set, and where.
fn settings(figment: &Figment) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    if let Ok(value) = figment.find_value("sessions") {
        leaves("sessions".into(), &value, &mut keys);
    }
    let origin = |key: String| {
        let origin = figment.find_metadata(&key);
        let source = origin.and_then(|origin| Some(origin.source.as_ref()?.to_string()));
        let name = || origin.map_or_else(|| "code".into(), |origin| origin.name.to_string());
        let origin = source.unwrap_or_else(name);
        (key, origin)
    };
    keys.into_iter().map(origin).collect()
}

fn leaves(key: String, value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::Dict(_, inner) if !inner.is_empty() => {
            for (name, value) in inner {
                leaves(format!("{key}.{name}"), value, keys);
            }
        }
        _ => keys.push(key),
    }
}

/// Does what the launch does before it serves requests.
async fn launches(figment: &Figment, own: Own<'_>) -> Result<()> {
    let rocket = rocket::custom(figment);
    // It has set a logger up, for an application.
    log::set_max_level(log::LevelFilter::Off);
    let (listeners, active) = (Listeners::default(), ActiveRequests::default());
    launch::steps(&rocket, own(figment)?, &listeners, &active)
        .await
        .map(drop)
}

fn report_facts(report: &Report, facts: &ServerFacts) -> Outcome {
    let place = &facts.place;
    match &facts.version {
        Some(version) => report.ok(&format!("the server `{place}` responds, version {version}"))?,
        None => report.ok(&format!("the server `{place}` responds"))?,
    }
    let policy = facts.evicts_by.as_deref();
    if let Some(policy) = policy.filter(|policy| *policy != "volatile-ttl") {
        report.warn(&format!(
            "the server `{place}` has the `maxmemory-policy` `{policy}`, and may drop sessions that are in use when its \
             memory is full; set it to `noeviction` or `volatile-ttl`"
        ))?;
    }
    let Some(time) = facts.time else {
        return Ok(());
    };
    let now = SystemTime::now();
    let (skew, direction) = match time.duration_since(now) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    if skew > SKEW {
        report.warn(&format!(
            "the clock of the server `{place}` is {} s {direction} that of this host; synchronize them, for example by NTP",
            skew.as_secs()
        ))?;
    }
    Ok(())
}
