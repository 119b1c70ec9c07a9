//! Everything that is wrong with the settings, and not only the first mistake.

use rocket::figment::Figment;
use rocket::figment::value::{Dict, Value};

use super::{Config, TABLE, explain};
use crate::error::Error;

impl Config {
    /// Returns all mistakes in the settings of `figment`, and the settings without them. There are no
    /// mistakes exactly if [`read`](Self::read) succeeds.
    pub(crate) fn problems(figment: &Figment) -> (Vec<Error>, Self) {
        let first = match Self::read(figment) {
            Ok(config) => return (Vec::new(), config),
            Err(first) => first,
        };
        let Ok(Value::Dict(tag, mut settings)) = figment.find_value(TABLE) else {
            return (vec![first], Self::default());
        };
        let mut problems = Vec::new();
        loop {
            let mut config = match Value::Dict(tag, settings.clone()).deserialize::<Self>() {
                Ok(config) => config,
                Err(mut error) => {
                    let path = error.path.clone();
                    let key = [TABLE].into_iter().chain(path.iter().map(String::as_str));
                    let key = key.collect::<Vec<_>>().join(".");
                    error.metadata = figment.find_metadata(&key).cloned();
                    problems.push(explain::explain(error));
                    // The others show without it.
                    if remove(&mut settings, &path) {
                        continue;
                    }
                    return (problems, Self::default());
                }
            };
            config.adopt_policy(|key| figment.contains(&format!("{TABLE}.{key}")));
            problems.extend(config.sql.find_database(figment).err());
            problems.extend(config.checks().into_iter().filter_map(Result::err));
            // A mistake that only the whole figment shows.
            if problems.is_empty() {
                problems.push(first);
            }
            return (problems, config);
        }
    }
}

/// Removes the value under `path`, or else the table that is nearest to it.
fn remove(settings: &mut Dict, path: &[String]) -> bool {
    let Some((key, rest)) = path.split_first() else {
        return false;
    };
    if let Some(Value::Dict(_, inner)) = settings.get_mut(key)
        && remove(inner, rest)
    {
        return true;
    }
    settings.remove(key).is_some()
}
