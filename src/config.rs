//! What `Rocket.toml` says about sessions, read and checked at launch.

use std::fmt;

use rocket::config::SecretKey;
use rocket::figment::Figment;
use rocket::figment::error::Actual;
use rocket::figment::value::Value;
use rocket::figment::value::magic::RelativePathBuf;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::origin::Origin;

/// The table that all of this stands in.
const TABLE: &str = "sessions";

/// `[default.sessions]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) store: StoreName,
    pub(crate) transport: Transport,
    /// Seconds.
    pub(crate) idle_timeout: u64,
    /// Seconds; 0 is never.
    pub(crate) absolute_timeout: u64,
    /// Seconds.
    pub(crate) touch_every: u64,
    /// Milliseconds.
    pub(crate) store_timeout: u64,
    pub(crate) when_store_is_down: WhenStoreIsDown,
    pub(crate) require_store_at_launch: bool,
    pub(crate) multiprocess: bool,
    /// Seconds; 0 is never.
    pub(crate) sweep_every: u64,
    #[serde(skip_serializing)]
    pub(crate) previous_secret_keys: Vec<SecretKey>,
    pub(crate) cookie: CookieConfig,
    pub(crate) header: HeaderConfig,
    pub(crate) csrf: CsrfConfig,
    pub(crate) limits: Limits,
    pub(crate) directory: DirectoryConfig,
    pub(crate) redis: RedisConfig,
    pub(crate) memcached: MemcachedConfig,
    pub(crate) memory: MemoryConfig,
    pub(crate) cache: CacheConfig,
    pub(crate) rate_limit: RateLimitConfig,
    pub(crate) perl: PerlConfig,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreName {
    Directory,
    Redis,
    Memcached,
    Memory,
}

/// By what a visitor's session is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Cookie,
    Header,
    /// The cookie where it opens a session, else the header where there is one.
    Both,
}

/// What a visitor with a session gets while the store cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenStoreIsDown {
    /// 503.
    Refuse,
    /// An empty session that saves nothing.
    Anonymous,
}

/// `[default.sessions.cookie]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CookieConfig {
    pub(crate) name: String,
    pub(crate) prefix: Prefix,
    pub(crate) path: String,
    pub(crate) domain: Option<String>,
    /// Everywhere but in the debug profile, unless it is set.
    pub(crate) secure: Option<bool>,
    pub(crate) http_only: bool,
    pub(crate) same_site: SameSite,
    /// Seconds; without it the cookie ends with the browser.
    pub(crate) max_age: Option<u32>,
}

/// `[default.sessions.header]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HeaderConfig {
    /// The one that counts first.
    pub(crate) names: Vec<String>,
}

/// `[default.sessions.csrf]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CsrfConfig {
    /// Other origins whose pages may send forms.
    pub(crate) trusted_origins: Vec<Origin>,
}

/// The start of the cookie's name that makes browsers insist on its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Prefix {
    /// The strictest that the other settings allow.
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "__Host-")]
    Host,
    #[serde(rename = "__Secure-")]
    Secure,
    #[serde(rename = "")]
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum SameSite {
    Strict,
    Lax,
    None,
}

/// `[default.sessions.limits]`: beyond them a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Bytes that the names and values of one session may take.
    pub(crate) size: usize,
    /// Values in one session.
    pub(crate) keys: usize,
    /// Bytes in one name.
    pub(crate) key_length: usize,
    /// Notifications that wait in one session.
    pub(crate) notifications: usize,
    /// Bytes that they may take.
    pub(crate) notifications_size: usize,
}

/// `[default.sessions.directory]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DirectoryConfig {
    /// Relative to the `Rocket.toml` that names it.
    pub(crate) path: RelativePathBuf,
    pub(crate) sync: Durability,
}

/// What of a saved session survives when the power fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// What the system has written by then. The default: a session is rarely worth waiting for the
    /// disk.
    #[default]
    None,
    /// The session as it was or as it is, but perhaps as it was: its data is on the disk before it
    /// is renamed into place.
    Data,
    /// The session as it is: the directory's entry is on the disk too.
    Full,
}

/// `[default.sessions.redis]`: one server by its `url`, a cluster by its `urls`, or what `sentinels`
/// say is the master.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedisConfig {
    pub(crate) url: Option<String>,
    pub(crate) urls: Vec<String>,
    pub(crate) sentinels: Vec<String>,
    pub(crate) master: Option<String>,
    pub(crate) prefix: String,
    /// Overrides what the URL says.
    pub(crate) db: Option<u16>,
    /// Certificates to trust instead of the system's, relative to the `Rocket.toml` that names it.
    pub(crate) ca: Option<RelativePathBuf>,
}

/// `[default.sessions.memcached]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MemcachedConfig {
    pub(crate) servers: Vec<String>,
    pub(crate) prefix: String,
    /// To each server, at most.
    pub(crate) connections: usize,
}

/// `[default.sessions.memory]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MemoryConfig {
    /// Sessions.
    pub(crate) capacity: usize,
}

/// `[default.sessions.cache]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CacheConfig {
    /// Without it, where the sessions are.
    pub(crate) store: Option<StoreName>,
    pub(crate) prefix: String,
    /// Seconds; 0 is for ever.
    pub(crate) ttl: u64,
}

/// `[default.sessions.rate_limit]`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RateLimitConfig {
    /// Without it, where the sessions are.
    pub(crate) store: Option<StoreName>,
    /// Requests; 0 is no limit for the whole application.
    pub(crate) limit: u32,
    /// Seconds.
    pub(crate) window: u64,
    pub(crate) by: By,
    pub(crate) headers: LimitHeaders,
    pub(crate) when_store_is_down: WhenUncounted,
    /// Networks whose `ip_header` is believed.
    pub(crate) proxies: Vec<String>,
    pub(crate) ip_header: String,
}

/// Whom a [`Limit`](crate::Limit) counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The holder of a session, once it is older than the limit's window; else the address.
    Session,
    /// The address that the request came from, whatever its session.
    Address,
}

/// Which headers tell a visitor about the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LimitHeaders {
    Both,
    /// `X-RateLimit-*`.
    X,
    /// `RateLimit` and `RateLimit-Policy`.
    Ietf,
    None,
}

/// What becomes of a request that cannot be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenUncounted {
    Allow,
    /// 503.
    Refuse,
}

/// `[default.sessions.perl]`: where a Perl site keeps its sessions.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PerlConfig {
    /// Without it there is no such site.
    pub(crate) cookie_name: Option<String>,
    pub(crate) key_prefix: String,
    /// Without it, and without the next two, where the sessions are.
    pub(crate) store: Option<StoreName>,
    /// A Redis server of its own.
    pub(crate) url: Option<String>,
    /// Memcached servers of its own.
    pub(crate) servers: Vec<String>,
    /// Bytes that one of its sessions may have.
    pub(crate) size: usize,
    /// How many times that it may take in memory.
    pub(crate) max_growth: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: StoreName::Directory,
            transport: Transport::Cookie,
            idle_timeout: 86_400,
            absolute_timeout: 0,
            touch_every: 60,
            store_timeout: 1000,
            when_store_is_down: WhenStoreIsDown::Refuse,
            require_store_at_launch: true,
            multiprocess: false,
            sweep_every: 600,
            previous_secret_keys: Vec::new(),
            cookie: CookieConfig::default(),
            header: HeaderConfig::default(),
            csrf: CsrfConfig::default(),
            limits: Limits::default(),
            directory: DirectoryConfig::default(),
            redis: RedisConfig::default(),
            memcached: MemcachedConfig::default(),
            memory: MemoryConfig::default(),
            cache: CacheConfig::default(),
            rate_limit: RateLimitConfig::default(),
            perl: PerlConfig::default(),
        }
    }
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            name: "id".into(),
            prefix: Prefix::Auto,
            path: "/".into(),
            domain: None,
            secure: None,
            http_only: true,
            same_site: SameSite::Lax,
            max_age: None,
        }
    }
}

impl Default for HeaderConfig {
    fn default() -> Self {
        Self {
            names: vec!["X-Auth-Token".into()],
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            size: 262_144,
            keys: 1024,
            key_length: 256,
            notifications: 64,
            notifications_size: 65_536,
        }
    }
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            path: "sessions".into(),
            sync: Durability::None,
        }
    }
}

impl PartialEq for DirectoryConfig {
    fn eq(&self, other: &Self) -> bool {
        self.path.original() == other.path.original() && self.sync == other.sync
    }
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            urls: Vec::new(),
            sentinels: Vec::new(),
            master: None,
            prefix: "session:".into(),
            db: None,
            ca: None,
        }
    }
}

impl fmt::Debug for RedisConfig {
    /// Without the URLs, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Default for MemcachedConfig {
    fn default() -> Self {
        Self {
            servers: vec!["127.0.0.1:11211".into()],
            prefix: "session:".into(),
            connections: 64,
        }
    }
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { capacity: 100_000 }
    }
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            store: None,
            prefix: String::new(),
            ttl: 3600,
        }
    }
}

impl Default for PerlConfig {
    fn default() -> Self {
        Self {
            cookie_name: None,
            key_prefix: "perlsess::".into(),
            store: None,
            url: None,
            servers: Vec::new(),
            size: 1_048_576,
            max_growth: 64,
        }
    }
}

impl fmt::Debug for PerlConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerlConfig")
            .field("key_prefix", &self.key_prefix)
            .finish_non_exhaustive()
    }
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            store: None,
            limit: 0,
            window: 60,
            by: By::Session,
            headers: LimitHeaders::Both,
            when_store_is_down: WhenUncounted::Allow,
            proxies: Vec::new(),
            ip_header: "X-Forwarded-For".into(),
        }
    }
}

impl Config {
    /// Returns what `figment` says, or the defaults where it is silent.
    ///
    /// # Errors
    ///
    /// When a key is unknown, has a value of the wrong type, or contradicts another. The error is
    /// one sentence that names the key, the file and the remedy.
    pub(crate) fn read(figment: &Figment) -> Result<Self> {
        let config = match figment.find_value(TABLE) {
            Err(_) => Self::default(),
            Ok(Value::Dict(..)) => figment
                .focus(TABLE)
                .extract()
                .map_err(|error| explain(figment, error))?,
            // `focus` would take anything else for an empty table, and run on defaults.
            Ok(other) => {
                let wrong = format!(
                    "expected a table, as in `[default.sessions]`, found {}",
                    other.to_actual()
                );
                return Err(Error::config(TABLE, wrong));
            }
        };
        config.check()?;
        Ok(config)
    }

    /// Finds settings that are right one by one, and wrong together.
    fn check(&self) -> Result<()> {
        if self.idle_timeout == 0 {
            return Err(Error::config(
                "sessions.idle_timeout",
                "a session needs at least 1 second of life; set it to 1 or more",
            ));
        }
        if self.store_timeout == 0 {
            return Err(Error::config(
                "sessions.store_timeout",
                "a store needs time to answer; set it to 1 millisecond or more",
            ));
        }
        if self.rate_limit.window == 0 {
            return Err(Error::config(
                "sessions.rate_limit.window",
                "requests are counted over some time; set it to 1 second or more",
            ));
        }
        if self.limits.size > Limits::LARGEST {
            let why = format!(
                "a session cannot be larger than {} bytes; set it to that or less",
                Limits::LARGEST
            );
            return Err(Error::config("sessions.limits.size", why));
        }
        if self.limits.notifications_size > Limits::LARGEST_NOTIFICATIONS {
            let why = format!(
                "the notifications of a session cannot take more than {} bytes; set it to that or less",
                Limits::LARGEST_NOTIFICATIONS
            );
            return Err(Error::config("sessions.limits.notifications_size", why));
        }
        Ok(())
    }
}

impl Limits {
    /// What a [`DirectoryStore`](crate::DirectoryStore) still takes for a session.
    pub(crate) const LARGEST: usize = 4 * 1024 * 1024;

    /// What it still takes beside that for its notifications.
    pub(crate) const LARGEST_NOTIFICATIONS: usize = 1024 * 1024;
}

/// Tells figment's error with the whole name of the key, and where it was set.
fn explain(figment: &Figment, mut error: rocket::figment::Error) -> Error {
    // `focus` cut the table's name off.
    error.path.insert(0, TABLE.into());
    let key = error.path.join(".");
    let place = error
        .metadata
        .as_ref()
        .map(|metadata| match &metadata.source {
            Some(source) => format!("{key} in {source}"),
            None => format!("{key} in {}", metadata.name),
        });
    let known = match &error.kind {
        rocket::figment::error::Kind::UnknownField(_, known) => {
            format!("; the keys are {}", known.join(", "))
        }
        _ => String::new(),
    };
    let _ = figment;
    Error::config(
        &place.unwrap_or(key),
        format!("{}{known}", kind_of(&error.kind)),
    )
}

/// Tells what is wrong without the value: it may be a secret.
fn kind_of(kind: &rocket::figment::error::Kind) -> String {
    use rocket::figment::error::Kind;
    match kind {
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("expected {expected}, found {}", type_of(found))
        }
        other => other.to_string(),
    }
}

fn type_of(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "a boolean",
        Actual::Unsigned(_) | Actual::Signed(_) => "a number",
        Actual::Float(_) => "a fraction",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use rocket::figment::providers::{Format, Serialized, Toml};

    use super::*;

    fn read(toml: &str) -> Result<Config> {
        Config::read(
            &Figment::from(rocket::Config::default())
                .merge(Toml::string(toml).nested())
                .select("debug"),
        )
    }

    fn wrong(toml: &str) -> String {
        read(toml).expect_err("this cannot work").to_string()
    }

    #[test]
    fn silence_means_the_defaults() {
        assert_eq!(read("").unwrap(), Config::default());
        assert_eq!(read("[default.sessions]").unwrap(), Config::default());
    }

    #[test]
    fn a_profile_overrides_single_keys() {
        let config = read(
            "[default.sessions]\nidle_timeout = 10\ntouch_every = 2\n[debug.sessions]\ntouch_every = 3\n[release.sessions]\ntouch_every = 4",
        );
        let config = config.unwrap();
        assert_eq!((config.idle_timeout, config.touch_every), (10, 3));
    }

    #[test]
    fn a_mistake_is_told_with_its_key() {
        for (toml, told) in [
            ("default.sessions = 5", "sessions`: expected a table"),
            (
                "[default.sessions]\nidle_timout = 5",
                "sessions.idle_timout",
            ),
            (
                "[default.sessions]\nidle_timeout = 'long'",
                "sessions.idle_timeout",
            ),
            (
                "[default.sessions]\nidle_timeout = -1",
                "sessions.idle_timeout",
            ),
            (
                "[default.sessions.csrf]\ntrusted_origins = 'https://app.example.com'",
                "sessions.csrf.trusted_origins",
            ),
            (
                "[default.sessions.csrf]\ntrusted_origins = ['https://app.example.com/']",
                "sessions.csrf.trusted_origins",
            ),
            (
                "[default.sessions]\nidle_timeout = 0",
                "sessions.idle_timeout",
            ),
            (
                "[default.sessions]\nstore_timeout = 0",
                "sessions.store_timeout",
            ),
            ("[default.sessions]\nstore = 'redsi'", "sessions.store"),
            (
                "[default.sessions.cookie]\nsame_site = 'lax'",
                "sessions.cookie.same_site",
            ),
            (
                "[default.sessions.cookie]\nhttponly = true",
                "sessions.cookie.httponly",
            ),
            (
                "[default.sessions.rate_limit]\nwindow = 0",
                "sessions.rate_limit.window",
            ),
            (
                "[default.sessions.rate_limit]\nby = 'user'",
                "sessions.rate_limit.by",
            ),
            ("[default.sessions.cache]\nttl = -1", "sessions.cache.ttl"),
            (
                "[default.sessions.limits]\nsize = 99999999",
                "sessions.limits.size",
            ),
            (
                "[default.sessions.limits]\nnotifications_size = 99999999",
                "sessions.limits.notifications_size",
            ),
        ] {
            let text = wrong(toml);
            assert!(text.contains(told), "{toml:?} is told as: {text}");
            assert_eq!(text.lines().count(), 1, "one sentence: {text}");
        }
    }

    #[test]
    fn a_mistake_never_shows_the_value() {
        let text = wrong("[default.sessions]\nprevious_secret_keys = ['hunter2']");
        assert!(
            text.contains("sessions.previous_secret_keys") && !text.contains("hunter2"),
            "{text}"
        );
    }

    #[test]
    fn the_rocket_toml_of_this_project_shows_every_key_with_its_default() {
        let text = include_str!("../Rocket.toml");
        // A key whose default is "not set" stands there as a comment.
        let shown: String = text
            .lines()
            .map(|line| {
                format!(
                    "{}\n",
                    line.strip_prefix("# ")
                        .filter(|l| l.contains(" = "))
                        .unwrap_or(line)
                )
            })
            .collect();
        let shown: rocket::figment::value::Dict = Figment::from(Toml::string(&shown).nested())
            .extract_inner(TABLE)
            .unwrap();
        let mut defaults = Config::default();
        assert_eq!(read(text).unwrap(), defaults);

        defaults.cookie.domain = Some(String::new());
        defaults.cookie.secure = Some(true);
        defaults.cookie.max_age = Some(0);
        defaults.redis.url = Some(String::new());
        defaults.redis.master = Some(String::new());
        defaults.redis.db = Some(0);
        defaults.redis.ca = Some(String::new().into());
        defaults.cache.store = Some(StoreName::Redis);
        defaults.rate_limit.store = Some(StoreName::Redis);
        defaults.perl.cookie_name = Some(String::new());
        defaults.perl.store = Some(StoreName::Redis);
        defaults.perl.url = Some(String::new());
        let known: rocket::figment::value::Dict = Figment::from(Serialized::defaults(defaults))
            .extract()
            .unwrap();
        let mut missing = Vec::new();
        compare("", &known, &shown, &mut missing);
        assert_eq!(missing, Vec::<String>::new());
        assert!(shown.contains_key("previous_secret_keys"));
    }

    fn compare(
        path: &str,
        known: &rocket::figment::value::Dict,
        shown: &rocket::figment::value::Dict,
        missing: &mut Vec<String>,
    ) {
        for (key, value) in known {
            match (value, shown.get(key)) {
                (_, None) => missing.push(format!("{path}{key}")),
                (Value::Dict(_, known), Some(Value::Dict(_, shown))) => {
                    compare(&format!("{path}{key}."), known, shown, missing)
                }
                _ => {}
            }
        }
    }
}
