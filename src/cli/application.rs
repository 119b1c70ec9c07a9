//! The application whose sessions a command is about: its configuration as the launch reads it, and its
//! store, opened without a change to it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rocket::figment::providers::{Env, Format, Toml};
use rocket::figment::{Figment, Profile, Provider};

use crate::clock::Clock;
use crate::config::{Config, StoreName, explain};
use crate::error::{Error, ErrorKind, Result};
use crate::manager::SessionManager;
use crate::store::bounded::Bounds;
use crate::store::{SessionStore, configured};

/// Opens the application's own store, if it has one.
pub(super) type Own<'a> = &'a dyn Fn(&Figment) -> Result<Option<Arc<dyn SessionStore>>>;

/// How long one call to a store may take at least, in milliseconds: no visitor waits for it.
const PATIENCE: u64 = 10_000;

/// What a command does with the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The store must be there, and is not set up.
    Use,
    /// As [`Use`](Self::Use), with the stores of the cache and the rate limit.
    UseAll,
    /// The store is set up, as at a launch.
    Fill,
}

/// An application, as far as its sessions are concerned.
pub(super) struct Application {
    pub(super) config: Config,
    pub(super) manager: SessionManager,
    pub(super) bounds: Arc<Bounds>,
    /// The stores of the cache and the rate limit, if they have their own and the command needs them.
    pub(super) others: Vec<Arc<dyn SessionStore>>,
    /// Whether the store is one that no configuration of this crate names.
    pub(super) is_own: bool,
}

/// Returns the configuration that the application has, in `file` instead of `Rocket.toml` and in
/// `profile` if they are given.
pub(super) fn figment(file: Option<&Path>, profile: Option<&str>) -> Result<Figment> {
    let mut figment = rocket::Config::figment();
    if let Some(file) = file {
        check_file(file)?;
        figment = Figment::from(rocket::Config::default())
            .merge(Toml::file(file).nested())
            .merge(Env::prefixed("ROCKET_").ignore(&["PROFILE"]).global())
            .select(figment.profile().clone());
    }
    select(figment, profile)
}

/// Returns the configuration in `file` alone, for the target of a copy: the environment is that of the
/// application.
pub(super) fn figment_of(file: &Path, profile: &Profile) -> Result<Figment> {
    check_file(file)?;
    let figment = Figment::from(rocket::Config::default()).merge(Toml::file(file).nested());
    select(figment.select(profile.clone()), None)
}

fn select(mut figment: Figment, profile: Option<&str>) -> Result<Figment> {
    if let Some(profile) = profile {
        figment = figment.select(profile);
    }
    // Otherwise a file that is not TOML counts as one without settings.
    figment
        .data()
        .map(|_| ())
        .map_err(|error| explain::of_file(&error))?;
    Ok(figment)
}

fn check_file(file: &Path) -> Result<()> {
    match fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(Error::config(
            &file.display().to_string(),
            "it is not a file; name a file of TOML",
        )),
        Err(error) => {
            let why = format!("{error}; name a file like `Rocket.toml`");
            Err(Error::config(&file.display().to_string(), why))
        }
    }
}

impl Application {
    /// Opens the application's store for `purpose`.
    ///
    /// # Errors
    ///
    /// If the configuration is invalid, or the store is not there.
    pub(super) async fn open(figment: &Figment, own: Own<'_>, purpose: Purpose) -> Result<Self> {
        let mut config = Config::read(figment)?;
        config.store_timeout = config.store_timeout.max(PATIENCE);
        Self::with(config, own(figment)?, purpose).await
    }

    pub(super) async fn with(
        mut config: Config,
        own: Option<Arc<dyn SessionStore>>,
        purpose: Purpose,
    ) -> Result<Self> {
        let is_own = own.is_some();
        if purpose != Purpose::UseAll {
            (config.cache.store, config.rate_limit.store) = (None, None);
        }
        if !is_own && config.store == StoreName::Memory {
            let why = "the store `memory` is inside the process of the application, where no other program finds it; \
                       choose another store to manage its sessions from outside";
            return Err(Error::config("sessions.store", why));
        }
        let others = [config.cache.store, config.rate_limit.store];
        let uses_directory = !is_own && config.store == StoreName::Directory
            || others.contains(&Some(StoreName::Directory));
        if uses_directory {
            let there = check_directory(&config.directory.path.relative())?;
            if !there && purpose != Purpose::Fill {
                return Err(missing(&config.directory.path.relative()));
            }
        }
        if purpose != Purpose::Fill
            && let Some(place) = lacks_tables(&config, is_own).await?
        {
            return Err(missing_table(&config.sql.table, &place));
        }
        let clock = Clock::system();
        let stores = configured::stores(&config, &clock, own)?;
        if purpose == Purpose::Fill {
            stores.sessions.setup().await?;
        }
        let bounds = Bounds::new(clock.clone(), Duration::from_millis(config.store_timeout));
        let bounds = bounds.of_store(stores.sessions.name());
        let manager = SessionManager::new(stores.sessions, Arc::clone(&bounds), clock, &config);
        Ok(Self {
            config,
            manager,
            bounds,
            others: stores.others,
            is_own,
        })
    }

    pub(super) fn store(&self) -> &Arc<dyn SessionStore> {
        self.manager.store()
    }

    /// Returns when a session ends unless it is used again, in seconds since 1970.
    pub(super) fn end_of(&self, record: &crate::record::Record) -> u64 {
        let left = self.manager.lifetimes.left(record, record.accessed);
        record.accessed.saturating_add(left)
    }
}

/// Returns whether there is a directory of sessions at `path`, and checks that this program may use it
/// as the application does.
pub(super) fn check_directory(path: &Path) -> Result<bool> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unusable(path, format!("{error}; let this user read it"))),
    };
    // The files that another user would make here are closed to the application.
    if metadata.is_dir() && metadata.uid() != rustix::process::geteuid().as_raw() {
        let why =
            "it belongs to another user; run this program as that user, for example by `sudo -u`";
        return Err(unusable(path, why.into()));
    }
    if metadata.is_dir() && metadata.mode() & 0o077 != 0 {
        let why = "others than its owner have access to it; run `chmod 700` on it";
        return Err(unusable(path, why.into()));
    }
    Ok(true)
}

/// Returns where a store in a database has no tables yet; `None` if none lacks them. It makes nothing
/// there.
pub(super) async fn lacks_tables(config: &Config, is_own: bool) -> Result<Option<String>> {
    let sessions = (!is_own).then_some(config.store);
    let mut stores = [
        (sessions, "sessions.store"),
        (config.cache.store, "sessions.cache.store"),
        (config.rate_limit.store, "sessions.rate_limit.store"),
    ]
    .into_iter()
    .filter_map(|(name, key)| Some((name?, key)));
    match stores.find(|(name, _)| name.is_sql()) {
        Some((name, key)) => configured::lacks_tables(name, key, config).await,
        None => Ok(None),
    }
}

fn missing_table(table: &str, place: &str) -> Error {
    let why = format!(
        "the table `{table}` does not exist: the application creates it at its first launch; run this program in the \
         working directory of the application, or name its configuration by `--config`"
    );
    Error::new(ErrorKind::Config, "use the database")
        .at(place)
        .because(why)
}

fn missing(path: &Path) -> Error {
    let why = "it does not exist: the application creates it at its first launch; run this program in the working \
               directory of the application, or name its configuration by `--config`";
    unusable(path, why.into())
}

fn unusable(path: &Path, why: String) -> Error {
    Error::new(ErrorKind::Config, "use the directory")
        .at(path.display())
        .because(why)
}
