//! The database that `Rocket.toml` names, and a look at it for the command line.

use std::sync::Arc;

use super::not_compiled_in;
use crate::clock::Clock;
use crate::config::{Config, StoreName};
use crate::error::{Error, Result};
#[cfg(feature = "cli")]
use crate::store::server_facts::ServerFacts;
use crate::store::{SessionStore, SqlStore};

/// Opens the database, which must be one for the store `name`. The setting `key` asks for it.
pub(super) fn open(
    name: StoreName,
    key: &str,
    config: &Config,
    clock: &Clock,
) -> Result<Arc<dyn SessionStore>> {
    Ok(Arc::new(store(name, key, config)?.clock(clock.clone())))
}

fn store(name: StoreName, key: &str, config: &Config) -> Result<SqlStore> {
    let compiled_in = [
        (StoreName::Postgres, cfg!(feature = "postgres")),
        (StoreName::Mysql, cfg!(feature = "mysql")),
        (StoreName::Sqlite, cfg!(feature = "sqlite")),
    ];
    if !compiled_in.contains(&(name, true)) {
        return Err(not_compiled_in(key, name.as_str()));
    }
    let sql = &config.sql;
    let url = sql.url(name, key)?;
    if sql.max_connections == 0 {
        let why = "a store needs a connection; set it to 1 or more";
        return Err(Error::config("sessions.sql.max_connections", why));
    }
    let store = SqlStore::open(url)
        .map_err(|error| error.at(sql.key()))?
        .table(&sql.table)
        .map_err(|error| error.at("sessions.sql.table"))?;
    Ok(store
        .max_connections(sql.max_connections)
        .migrate(sql.migrate)
        .timeout(config.store_timeout()))
}

/// Returns what the server of the sessions tells about itself.
#[cfg(feature = "cli")]
pub(super) async fn facts(config: &Config) -> Result<Vec<ServerFacts>> {
    let store = store(config.store, "sessions.store", config)?;
    Ok(store.facts().await?.into_iter().collect())
}

/// Returns where the tables of the store `name` are missing, without making anything there; `None` if
/// they are not.
#[cfg(feature = "cli")]
pub(super) async fn lacks_tables(
    name: StoreName,
    key: &str,
    config: &Config,
) -> Result<Option<String>> {
    let store = store(name, key, config)?;
    Ok((!store.has_tables().await?).then(|| store.place().to_owned()))
}

/// Returns whether two configurations name one table.
#[cfg(feature = "cli")]
pub(super) fn is_same_table(one: &Config, other: &Config) -> Result<bool> {
    let of = |config: &Config| store(config.store, "sessions.store", config);
    Ok(of(one)?.is_same_table(&of(other)?))
}
