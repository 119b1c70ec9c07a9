//! `[default.sessions.sql]`: the database whose table holds the sessions.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rocket::figment::{Figment, Source};
use serde::{Deserialize, Serialize};

use super::explain;
use super::settings::settings;
use super::store::StoreName;
use crate::error::{Error, Result};

settings! {
    /// `[default.sessions.sql]`
    ///
    /// Used if a store is `"postgres"`, `"mysql"` or `"sqlite"`. Set `url` or `database`.
    #[derive(Clone, PartialEq, Deserialize, Serialize)]
    pub(crate) struct SqlConfig {
        /// The database: `"postgres://user:password@host:port/name"`, `"mysql://…"`, or `"sqlite:path"` with a path
        /// relative to the `Rocket.toml` that names it. If no database is set at all, SQLite's is `"sqlite:sessions.db"`.
        pub(crate) url: Option<String> = None,
        /// The name of a database in `[default.databases]`, the table of `rocket_db_pools`, whose `url` is used.
        pub(crate) database: Option<String> = None,
        /// The table of the sessions. Entries of the cache and the rate limits are in another, whose name ends in
        /// `_entries`.
        pub(crate) table: String = "sessions".into(),
        /// The most connections that one process opens.
        pub(crate) max_connections: u32 = 10,
        /// Whether the launch makes missing tables.
        pub(crate) migrate: bool = true,
    }
}

/// What ends a path in a URL of SQLite, or is no character of it.
const NOT_IN_PATHS: AsciiSet = CONTROLS.add(b'%').add(b'?');

impl SqlConfig {
    /// Takes the URL of the database that `database` names. A file is found from the `Rocket.toml` that
    /// names it.
    pub(super) fn find_database(&mut self, figment: &Figment) -> Result<()> {
        if let Some(name) = &self.database {
            if self.url.is_some() {
                let why = "the URL of the database is set twice; remove it, or `sessions.sql.url`";
                return Err(Error::config("sessions.sql.database", why));
            }
            self.url = Some(url_of(name, figment)?);
        } else if let Some(url) = &self.url {
            let origin = figment.find_metadata("sessions.sql.url");
            if let Some(Source::File(file)) = origin.and_then(|origin| origin.source.as_ref()) {
                self.url = Some(beside(url, file));
            }
        }
        Ok(())
    }
}

#[cfg_attr(
    not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code, reason = "no store asks for it")
)]
impl SqlConfig {
    /// The database of SQLite if none is set: beside the directory of the sessions, if that is not set.
    const FILE: &str = "sqlite:sessions.db";

    /// Returns the key that names the database.
    pub(crate) fn key(&self) -> Cow<'static, str> {
        match &self.database {
            Some(name) => format!("databases.{name}.url").into(),
            None => "sessions.sql.url".into(),
        }
    }

    /// Returns the URL of the database for the store `name`, which the setting `key` asks for.
    ///
    /// # Errors
    ///
    /// If there is none, or it is one of another kind.
    pub(crate) fn url(&self, name: StoreName, key: &str) -> Result<&str> {
        let Some(url) = &self.url else {
            if name == StoreName::Sqlite {
                return Ok(Self::FILE);
            }
            let why = "the store needs the URL of its database; set it, or `sessions.sql.database`";
            return Err(Error::config(&self.key(), why));
        };
        match kind(url) {
            Some(found) if found != name => {
                let why = format!(
                    "it is the URL of a database of another kind than `{key}` names; write `{}` as its scheme, or \
                     choose another store",
                    name.as_str()
                );
                Err(Error::config(&self.key(), why))
            }
            _ => Ok(url),
        }
    }
}

/// Returns the store for the database at `url`.
fn kind(url: &str) -> Option<StoreName> {
    match url.split_once(':')?.0 {
        "postgres" | "postgresql" => Some(StoreName::Postgres),
        "mysql" | "mariadb" => Some(StoreName::Mysql),
        "sqlite" => Some(StoreName::Sqlite),
        _ => None,
    }
}

/// Returns the URL of the database that `rocket_db_pools` calls `name`.
fn url_of(name: &str, figment: &Figment) -> Result<String> {
    let key = format!("databases.{name}.url");
    if figment.find_value(&key).is_err() {
        let why =
            format!("there is no URL under this name; add `url` to `[default.databases.{name}]`");
        return Err(Error::config("sessions.sql.database", why));
    }
    let url: String = figment
        .extract_inner(&key)
        .map_err(|error| explain::of_key(&error))?;
    // There, a file of SQLite needs no scheme.
    Ok(match kind(&url).is_none() && !url.contains("://") {
        true => format!("sqlite:{url}"),
        false => url,
    })
}

/// Returns `url` with the path of a file of SQLite relative to `file`, as all paths in it are.
fn beside(url: &str, file: &Path) -> String {
    let path = url.strip_prefix("sqlite:");
    let path = path.map(|path| path.strip_prefix("//").unwrap_or(path));
    let directory = file.parent().and_then(Path::to_str);
    match (path, directory) {
        (Some(path), Some(directory)) if !path.starts_with(['/', ':']) && !directory.is_empty() => {
            let directory = utf8_percent_encode(directory, &NOT_IN_PATHS);
            format!("sqlite:{directory}/{path}")
        }
        _ => url.to_owned(),
    }
}

impl fmt::Debug for SqlConfig {
    /// Omits the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlConfig")
            .field("table", &self.table)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rocket::figment::providers::{Format, Toml};

    use super::super::Config;
    use super::*;

    fn read(toml: &str) -> Result<SqlConfig> {
        let toml = Toml::string(toml).nested();
        let figment = Figment::from(rocket::Config::default()).merge(toml);
        Ok(Config::read(&figment)?.sql)
    }

    #[track_caller]
    fn error(found: Result<impl Sized>) -> String {
        let error = found.err().expect("it is refused").to_string();
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    #[test]
    fn the_url_is_that_of_the_named_database() {
        for (url, expected) in [
            ("postgres://u:hunter2@h/d", "postgres://u:hunter2@h/d"),
            ("db/main.sqlite", "sqlite:db/main.sqlite"),
            ("/db/main.sqlite", "sqlite:/db/main.sqlite"),
            ("sqlite://main.sqlite", "sqlite://main.sqlite"),
            ("oracle://h/d", "oracle://h/d"),
        ] {
            let toml = format!(
                "[default.databases.main]\nurl = '{url}'\n[default.sessions.sql]\ndatabase = 'main'"
            );
            let config = read(&toml).unwrap();
            assert_eq!(config.url.as_deref(), Some(expected));
            assert_eq!(config.key(), "databases.main.url");
        }
    }

    #[test]
    fn an_error_names_its_key_and_the_remedy_and_never_the_url() {
        const URL: &str = "url = 'postgres://u:hunter2@h/d'";
        for (toml, parts) in [
            (
                format!("[default.sessions.sql]\n{URL}\ndatabase = 'main'"),
                ["sessions.sql.database`: ", "remove it, or `sessions.sql.url`"],
            ),
            (
                "[default.sessions.sql]\ndatabase = 'main'".into(),
                ["sessions.sql.database`: ", "add `url` to `[default.databases.main]`"],
            ),
            (
                "[default.databases.main]\nidle_timeout = 5\n[default.sessions.sql]\ndatabase = 'main'".into(),
                ["sessions.sql.database`: ", "add `url` to `[default.databases.main]`"],
            ),
            (
                "[default.databases.main]\nurl = 5\n[default.sessions.sql]\ndatabase = 'main'".into(),
                ["databases.main.url", "expected a string, found an integer"],
            ),
            (
                format!("[default.sessions.sql]\n{URL}\ntabel = 'visitors'"),
                ["sessions.sql.tabel", "the keys are url, database, table"],
            ),
            (
                format!("[default.sessions.sql]\n{URL}\nmax_connections = -1"),
                ["sessions.sql.max_connections", "expected u32"],
            ),
        ] {
            let error = error(read(&toml));
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in: {error}");
            }
        }
    }

    #[test]
    fn the_url_fits_the_store_that_uses_it() {
        use StoreName::{Mysql, Postgres, Sqlite};

        let sql = |url: Option<&str>| SqlConfig {
            url: url.map(str::to_owned),
            ..SqlConfig::default()
        };
        for (url, name) in [
            ("postgres://h", Postgres),
            ("postgresql://h", Postgres),
            ("mysql://h", Mysql),
            ("mariadb://h", Mysql),
            ("sqlite:d", Sqlite),
        ] {
            let sql = sql(Some(url));
            assert_eq!(sql.url(name, "sessions.store").unwrap(), url);
            for other in [Postgres, Mysql, Sqlite] {
                if other != name {
                    let error = error(sql.url(other, "sessions.cache.store"));
                    let part = format!(
                        "than `sessions.cache.store` names; write `{}` as its scheme",
                        other.as_str()
                    );
                    assert!(error.contains(&part), "{error}");
                    assert!(error.contains("`sessions.sql.url`"), "{error}");
                }
            }
        }
        let none = sql(None);
        assert_eq!(none.url(Sqlite, "sessions.store").unwrap(), SqlConfig::FILE);
        let error = error(none.url(Mysql, "sessions.store"));
        assert!(
            error.contains("set it, or `sessions.sql.database`"),
            "{error}"
        );
    }

    #[test]
    fn a_file_is_relative_to_the_file_that_names_it() {
        for (url, expected) in [
            ("sqlite:a.db", "sqlite:/srv/50%25/a.db"),
            (
                "sqlite://b/a.db?mode=rwc",
                "sqlite:/srv/50%25/b/a.db?mode=rwc",
            ),
            ("sqlite:/a.db", "sqlite:/a.db"),
            ("sqlite:///a.db", "sqlite:///a.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("postgres://u:p@h/d", "postgres://u:p@h/d"),
        ] {
            assert_eq!(beside(url, Path::new("/srv/50%/Rocket.toml")), expected);
            assert_eq!(beside(url, Path::new("Rocket.toml")), url);
        }
        let there = tempfile::tempdir().unwrap();
        let file = there.path().join("Rocket.toml");
        std::fs::write(&file, "[default.sessions.sql]\nurl = 'sqlite:a.db'").unwrap();
        let figment = Figment::from(rocket::Config::default()).merge(Toml::file(&file).nested());
        let url = Config::read(&figment).unwrap().sql.url;
        let path = there.path().join("a.db");
        assert_eq!(url, Some(format!("sqlite:{}", path.display())));
    }

    #[test]
    fn debug_shows_no_url() {
        let config = read("[default.sessions.sql]\nurl = 'mysql://u:hunter2@h/d'").unwrap();
        let config = Config {
            sql: config,
            ..Config::default()
        };
        let shown = format!("{config:?}");
        assert!(
            shown.contains("SqlConfig") && !shown.contains("hunter2"),
            "{shown}"
        );
    }
}
