//! The page `docs/settings.md`, made from the types of the configuration.

mod type_name;

use std::fmt::Write;

use rocket::figment::Figment;
use rocket::figment::providers::{Format, Serialized, Toml};
use rocket::figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::*;
use type_name::type_name;

/// A struct that the macro `settings!` defines.
pub(super) trait Table: DeserializeOwned {
    /// The first line of its documentation: the table's name in backticks.
    const NAME: &'static str;
    /// The other lines.
    const ABOUT: &'static [&'static str];

    fn settings() -> Vec<Setting>;
}

/// One key of a table.
pub(super) struct Setting {
    key: &'static str,
    kind: String,
    about: String,
}

impl Setting {
    /// Returns the setting `key` of the type `T`.
    pub(super) fn of<T: DeserializeOwned>(key: &'static str, doc: &[&str]) -> Self {
        Self {
            key,
            kind: type_name::<T>(),
            about: doc.concat().trim().to_owned(),
        }
    }
}

/// One table of `Rocket.toml`.
struct Described {
    /// As `sessions.cookie`.
    path: String,
    about: String,
    settings: Vec<Setting>,
}

/// Returns the table that `T` defines.
fn describe<T: Table>() -> Described {
    let name = T::NAME.trim().trim_matches('`');
    Described {
        path: name
            .strip_prefix("[default.")
            .and_then(|name| name.strip_suffix(']'))
            .expect("a table is documented by its name")
            .to_owned(),
        about: T::ABOUT.concat().trim().to_owned(),
        settings: T::settings(),
    }
}

/// Returns all tables, in the order of `Rocket.toml`.
fn tables() -> Vec<Described> {
    vec![
        describe::<Config>(),
        describe::<CookieConfig>(),
        describe::<HeaderConfig>(),
        describe::<CsrfConfig>(),
        describe::<Limits>(),
        describe::<DirectoryConfig>(),
        describe::<RedisConfig>(),
        describe::<MemcachedConfig>(),
        describe::<SqlConfig>(),
        describe::<MemoryConfig>(),
        describe::<CacheConfig>(),
        describe::<RateLimitConfig>(),
        describe::<NamedLimit>(),
        describe::<PerlConfig>(),
    ]
}

/// Returns every default as it is written in TOML; `None` for a key that is not set.
fn defaults() -> Vec<(String, Option<String>)> {
    let defaults = Figment::from(Serialized::default(TABLE, Config::default()));
    let mut written = Vec::new();
    for table in tables() {
        for setting in &table.settings {
            let path = format!("{}.{}", table.path, setting.key);
            let value = match setting.key {
                // A secret is never serialized, so the list is missing even if it is empty.
                "previous_secret_keys" => Some("[]".to_owned()),
                _ => defaults
                    .find_value(&path)
                    .ok()
                    .and_then(|value| toml(&value)),
            };
            written.push((path, value));
        }
    }
    written
}

/// Returns `value` as it is written in TOML.
fn toml(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, value) => value.to_string(),
        Value::Num(_, number) => number.to_u128()?.to_string(),
        Value::Array(_, values) => {
            let values: Option<Vec<_>> = values.iter().map(toml).collect();
            format!("[{}]", values?.join(", "))
        }
        // A path, which figment serializes with the file that names it.
        Value::Dict(_, dict) => dict.values().find_map(toml)?,
        _ => return None,
    })
}

/// Returns the page.
fn page() -> String {
    let mut page = String::from(
        "# All settings\n\n\
         <!-- Made from src/config by `cargo test --all-features --lib write_the_page -- --ignored`. -->\n\n\
         These are the keys of each table in `Rocket.toml`. The tables of a profile, such as \
         `[release.sessions]`,\noverride single keys. An unknown key or a wrong type stops the launch.\n",
    );
    let mut defaults = defaults().into_iter();
    for table in tables() {
        write!(page, "\n## `[default.{}]`\n", table.path).unwrap();
        if !table.about.is_empty() {
            write!(page, "\n{}\n", table.about).unwrap();
        }
        page.push_str("\n| key | type | default | meaning |\n|---|---|---|---|\n");
        for Setting { key, kind, about } in table.settings {
            let (_, default) = defaults.next().unwrap();
            let default = default.map_or("not set".to_owned(), |default| format!("`{default}`"));
            writeln!(page, "| `{key}` | {kind} | {default} | {about} |").unwrap();
        }
    }
    let (settings, _) = ROCKET_TOML
        .split_once("\n# For the examples of this project")
        .expect("the key of the examples is at the end");
    write!(
        page,
        "\n## As a file\n\nThis is the `Rocket.toml` of the project.\n\n```toml\n{settings}```\n"
    )
    .unwrap();
    page
}

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");

/// Returns whether the file is the page.
fn is_up_to_date() -> bool {
    std::fs::read_to_string(PATH).is_ok_and(|written| written == page())
}

#[test]
fn the_page_of_settings_is_up_to_date() {
    assert!(
        is_up_to_date(),
        "docs/settings.md is out of date; run `cargo test --all-features --lib write_the_page -- --ignored`"
    );
}

#[test]
#[ignore = "it writes docs/settings.md"]
fn write_the_page() {
    // The test above may be reading it.
    if !is_up_to_date() {
        std::fs::write(PATH, page()).unwrap();
    }
}

const ROCKET_TOML: &str = include_str!("../../../Rocket.toml");

/// A line of `Rocket.toml` that shows a key.
struct Line {
    path: String,
    value: String,
    is_commented_out: bool,
    /// Whether the whole table is commented out.
    table_is_commented_out: bool,
}

/// Returns the lines of `Rocket.toml` that show keys.
fn lines() -> Vec<Line> {
    let (mut table, mut table_is_commented_out) = ("", false);
    let mut lines = Vec::new();
    for line in ROCKET_TOML.lines() {
        let (is_commented_out, line) = match line.strip_prefix("# ") {
            Some(rest) => (true, rest),
            None => (false, line),
        };
        if let Some(header) = line.strip_prefix('[') {
            table = header.split(']').next().unwrap();
            table_is_commented_out = is_commented_out;
        }
        let (Some(table), Some((key, rest))) =
            (table.strip_prefix("default."), line.split_once(" = "))
        else {
            continue;
        };
        let value = rest.split("  ").next().unwrap();
        lines.push(Line {
            path: format!("{table}.{key}"),
            value: value.split(" #").next().unwrap().to_owned(),
            is_commented_out,
            table_is_commented_out,
        });
    }
    lines
}

#[test]
fn the_rocket_toml_of_this_project_shows_every_key_with_its_default() {
    let (lines, defaults) = (lines(), defaults());
    let shown: Vec<_> = lines.iter().map(|line| &line.path).collect();
    let known: Vec<_> = defaults.iter().map(|(path, _)| path).collect();
    assert_eq!(shown, known);
    for (line, (path, default)) in lines.iter().zip(&defaults) {
        match default {
            Some(default) => {
                assert_eq!(&line.value, default, "{path}");
                assert_eq!(
                    line.is_commented_out, line.table_is_commented_out,
                    "{path} has a default"
                );
            }
            None => assert!(line.is_commented_out, "{path} is not set by default"),
        }
    }
    assert_eq!(read(ROCKET_TOML), Config::default());
}

#[test]
fn the_commented_out_settings_in_rocket_toml_are_valid() {
    let uncommented = ROCKET_TOML.replace("\n# ", "\n");
    // A policy contradicts the defaults of the timeouts beside it, and a database has one URL.
    let is_toml = |line: &&str| {
        let is_setting = line.starts_with('[') || line.contains(" = ");
        let contradicts = ["policy = ", "database = "]
            .iter()
            .any(|key| line.starts_with(key));
        is_setting && !contradicts
    };
    let lines: Vec<_> = uncommented.lines().filter(is_toml).collect();
    let config = read(&lines.join("\n"));
    assert_eq!(config.cookie.max_age, Some(1_209_600));
}

fn read(toml: &str) -> Config {
    let figment = Figment::from(rocket::Config::default()).merge(Toml::string(toml).nested());
    Config::read(&figment).expect("it is valid")
}

#[test]
fn every_table_and_every_key_is_on_the_page() {
    let all: Dict = Figment::from(Serialized::defaults(Config::default()))
        .extract()
        .unwrap();
    let described = tables();
    for (key, value) in all {
        let path = format!("{TABLE}.{key}");
        let is_there = match value {
            Value::Dict(..) => described.iter().any(|table| table.path == path),
            _ => described[0]
                .settings
                .iter()
                .any(|setting| setting.key == key),
        };
        assert!(is_there, "{path}");
    }
}
