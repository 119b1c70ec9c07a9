//! The settings under `[default.sessions]` in `Rocket.toml`, read and checked at launch.
//!
//! Each table inside it has a file of its own here.

mod cache;
mod cookie;
mod csrf;
mod directory;
pub(crate) mod explain;
mod header;
mod limits;
mod memcached;
mod memory;
// With all features, so that the page shows all tables.
#[cfg(all(test, feature = "perl"))]
mod page;
#[cfg(feature = "perl")]
mod perl;
mod policy;
#[cfg(feature = "cli")]
mod problems;
mod rate_limit;
mod redis;
mod settings;
mod sql;
mod store;
mod too_many;
mod transport;

use std::time::Duration;

use rocket::config::SecretKey;
use rocket::figment::Figment;
use rocket::figment::value::Value;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

pub(crate) use cache::CacheConfig;
pub(crate) use cookie::{CookieConfig, Prefix, SameSite};
pub(crate) use csrf::CsrfConfig;
pub(crate) use directory::DirectoryConfig;
pub use directory::Durability;
pub(crate) use header::HeaderConfig;
pub(crate) use limits::Limits;
pub(crate) use memcached::MemcachedConfig;
pub(crate) use memory::MemoryConfig;
#[cfg(feature = "perl")]
pub(crate) use perl::PerlConfig;
pub(crate) use policy::Policy;
pub use rate_limit::By;
pub(crate) use rate_limit::{LimitHeaders, NamedLimit, RateLimitConfig, WhenUncounted};
pub(crate) use redis::RedisConfig;
pub(crate) use sql::SqlConfig;
pub(crate) use store::{StoreName, WhenStoreIsDown};
pub(crate) use too_many::WhenTooMany;
pub(crate) use transport::Transport;

/// The name of the table that holds all settings.
const TABLE: &str = "sessions";

settings::settings! {
    /// `[default.sessions]`
    #[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
    pub(crate) struct Config {
        /// The store of the sessions.
        pub(crate) store: StoreName = StoreName::Directory,
        /// How a session is found: by a cookie, by a token that API clients send in a header, or by both.
        pub(crate) transport: Transport = Transport::Cookie,
        /// Seconds without a request after which a session ends.
        pub(crate) idle_timeout: u64 = 86_400,
        /// Seconds after the log-in when a session ends, even if it is in use; 0 means never. Without a log-in they count
        /// from its creation.
        pub(crate) absolute_timeout: u64 = 0,
        /// The level of NIST SP 800-63B-4 whose limits no session exceeds. They are the defaults of `idle_timeout` and
        /// `absolute_timeout`. `"aal1"`: 30 days. `"aal2"`: 24 hours, and 1 hour without a request. `"aal3"`: 12 hours, and
        /// 15 minutes without a request. If it is not set, there are no limits.
        pub(crate) policy: Option<Policy> = None,
        /// Seconds after which a session gets a new id; 0 means never.
        pub(crate) renew_every: u64 = 0,
        /// Seconds after a renewal in which the old id still reaches the session, at most 60; 0 means none. A log-in has no
        /// such grace.
        pub(crate) renewal_grace: u64 = 10,
        /// Seconds for which the session of a user stays in the store after a timeout, so that
        /// `Session::ended_because` can name the timeout; 0 means not at all.
        pub(crate) keep_expired: u64 = 0,
        /// Seconds between two updates of the time of a session's last request, at most `idle_timeout / 10`.
        pub(crate) touch_every: u64 = 60,
        /// Milliseconds that one call to a store may take.
        pub(crate) store_timeout: u64 = 1000,
        /// The treatment of requests with a session while the store cannot be reached. `"refuse"`: they get a 503.
        /// `"anonymous"`: they get an empty session that saves nothing.
        pub(crate) when_store_is_down: WhenStoreIsDown = WhenStoreIsDown::Refuse,
        /// Whether the launch fails if the server of a store cannot be reached.
        pub(crate) require_store_at_launch: bool = true,
        /// Sessions in which one user may be logged in at the same time, at most 100; 0 means any number.
        pub(crate) max_sessions_per_user: u16 = 0,
        /// The treatment of a log-in beyond `max_sessions_per_user`. `"end_oldest"`: it ends the user's session with
        /// the oldest log-in. `"refuse"`: it fails, with status 403.
        pub(crate) when_too_many: WhenTooMany = WhenTooMany::EndOldest,
        /// Whether several processes serve the application. The launch then fails if they cannot share a store.
        pub(crate) multiprocess: bool = false,
        /// Seconds between two removals of expired sessions; 0 means never.
        pub(crate) sweep_every: u64 = 600,
        /// The networks of trusted proxies, such as `"10.0.0.0/8"` or `"::1"`. The `ip_header` counts only if one of them
        /// sends it.
        pub(crate) proxies: Vec<String> = Vec::new(),
        /// The header in which trusted proxies send the visitor's address.
        pub(crate) ip_header: String = "X-Forwarded-For".into(),
        /// Earlier values of Rocket's `secret_key`. A cookie that is encrypted with one of them remains valid, and is
        /// replaced by one under the current key.
        #[serde(skip_serializing)]
        pub(crate) previous_secret_keys: Vec<SecretKey> = Vec::new(),
    }
    tables {
        pub(crate) cookie: CookieConfig,
        pub(crate) header: HeaderConfig,
        pub(crate) csrf: CsrfConfig,
        pub(crate) limits: Limits,
        pub(crate) directory: DirectoryConfig,
        pub(crate) redis: RedisConfig,
        pub(crate) memcached: MemcachedConfig,
        pub(crate) sql: SqlConfig,
        pub(crate) memory: MemoryConfig,
        pub(crate) cache: CacheConfig,
        pub(crate) rate_limit: RateLimitConfig,
        #[cfg(feature = "perl")]
        pub(crate) perl: PerlConfig,
    }
}

impl Config {
    /// Returns the settings in `figment`, with the defaults for those that it does not set.
    ///
    /// # Errors
    ///
    /// When a key is unknown, has a value of the wrong type, or contradicts another. The error is
    /// one sentence that names the key, the file and the remedy.
    pub(crate) fn read(figment: &Figment) -> Result<Self> {
        #[cfg(not(feature = "perl"))]
        if figment.contains("sessions.perl") {
            let why = "this part is not compiled in; give `rocket_session_kit` the feature `perl` in \
                       Cargo.toml, or remove the table";
            return Err(Error::config("sessions.perl", why));
        }
        let mut config: Self = match figment.find_value(TABLE) {
            Err(_) => Self::default(),
            Ok(Value::Dict(..)) => figment.focus(TABLE).extract().map_err(explain::explain)?,
            // `focus` treats anything else as an empty table, which means the defaults.
            Ok(other) => {
                let found = explain::type_of(&other.to_actual());
                let why = format!("expected a table, as in `[default.sessions]`, found {found}");
                return Err(Error::config(TABLE, why));
            }
        };
        config.adopt_policy(|key| figment.find_value(&format!("{TABLE}.{key}")).is_ok());
        config.sql.find_database(figment)?;
        config.check()?;
        Ok(config)
    }

    /// Returns how long one call to a store may take.
    pub(crate) fn store_timeout(&self) -> Duration {
        Duration::from_millis(self.store_timeout)
    }

    /// Checks the settings whose type alone does not make them valid. Settings of a feature are
    /// checked when the feature is set up.
    fn check(&self) -> Result<()> {
        self.checks().into_iter().collect()
    }

    /// Returns the results of all checks.
    fn checks(&self) -> [Result<()>; 7] {
        let check = |holds: bool, key: &str, why: &'static str| match holds {
            true => Ok(()),
            false => Err(Error::config(key, why)),
        };
        [
            check(
                self.idle_timeout > 0,
                "sessions.idle_timeout",
                "a session must live for at least 1 second; set it to 1 or more",
            ),
            check(
                self.store_timeout > 0,
                "sessions.store_timeout",
                "a store needs time to respond; set it to 1 millisecond or more",
            ),
            check(
                self.max_sessions_per_user <= 100,
                "sessions.max_sessions_per_user",
                "a user can be limited to at most 100 sessions; set it to 100 or less, or to 0 for any number",
            ),
            self.check_renewals(),
            self.check_policy(),
            self.rate_limit.check(),
            self.limits.check(),
        ]
    }

    /// Checks the settings of renewals.
    fn check_renewals(&self) -> Result<()> {
        if self.renewal_grace > 60 {
            let why = "an old id leads to its session for 60 seconds; set it to 60 or less";
            return Err(Error::config("sessions.renewal_grace", why));
        }
        if self.renew_every == 0 {
            return Ok(());
        }
        if self.transport == Transport::Header {
            let why = "the id of a token is never renewed; remove the setting, or choose another \
                       `sessions.transport`";
            return Err(Error::config("sessions.renew_every", why));
        }
        if self.renew_every <= self.renewal_grace {
            let why = "an id must live for longer than `sessions.renewal_grace`; set it to more, or \
                       shorten the grace";
            return Err(Error::config("sessions.renew_every", why));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rocket::figment::providers::{Format, Toml};

    use super::*;

    fn read(toml: &str) -> Result<Config> {
        Config::read(
            &Figment::from(rocket::Config::default())
                .merge(Toml::string(toml).nested())
                .select("debug"),
        )
    }

    fn error(toml: &str) -> String {
        read(toml)
            .expect_err("the settings are invalid")
            .to_string()
    }

    #[test]
    fn missing_settings_have_their_defaults() {
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
    fn an_error_names_its_key() {
        for (toml, part) in [
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
            (
                "[default.sessions.rate_limit.named.login]\nlimit = 0",
                "sessions.rate_limit.named.login.limit",
            ),
            (
                "[default.sessions.rate_limit.named.login]\nwindow = 0",
                "sessions.rate_limit.named.login.window",
            ),
            (
                "[default.sessions.rate_limit.named.login]\nlimits = 5",
                "sessions.rate_limit.named.login.limits",
            ),
            (
                "[default.sessions.rate_limit.named.app]\nlimit = 5",
                "sessions.rate_limit.named.app",
            ),
            (
                "[default.sessions.rate_limit.named.'log in']\nlimit = 5",
                "sessions.rate_limit.named.log in",
            ),
            (
                "[default.sessions.rate_limit]\nnamed = 5",
                "sessions.rate_limit.named",
            ),
            ("[default.sessions.cache]\nttl = -1", "sessions.cache.ttl"),
            (
                "[default.sessions]\nrenewal_grace = 61",
                "sessions.renewal_grace",
            ),
            (
                "[default.sessions]\nrenew_every = 10",
                "sessions.renew_every",
            ),
            (
                "[default.sessions]\nrenew_every = 600\ntransport = 'header'",
                "sessions.renew_every",
            ),
            ("[default.sessions]\npolicy = 'aal4'", "sessions.policy"),
            (
                "[default.sessions]\npolicy = 'aal2'\nidle_timeout = 3601",
                "sessions.idle_timeout",
            ),
            (
                "[default.sessions]\npolicy = 'aal3'\nabsolute_timeout = 43201",
                "sessions.absolute_timeout",
            ),
            (
                "[default.sessions]\npolicy = 'aal1'\nabsolute_timeout = 0",
                "sessions.absolute_timeout",
            ),
            (
                "[default.sessions]\npolicy = 'aal1'\ncookie.max_age = 2592001",
                "sessions.cookie.max_age",
            ),
            (
                "[default.sessions.limits]\nsize = 99999999",
                "sessions.limits.size",
            ),
            (
                "[default.sessions.limits]\nnotifications_size = 99999999",
                "sessions.limits.notifications_size",
            ),
        ] {
            let text = error(toml);
            assert!(text.contains(part), "{toml:?}: {text}");
            assert_eq!(text.lines().count(), 1, "one sentence: {text}");
        }
    }

    #[test]
    fn a_policy_sets_the_timeouts_that_are_not_set() {
        let timeouts = |toml: &str| {
            let config = read(&format!("[default.sessions]\n{toml}")).unwrap();
            (config.idle_timeout, config.absolute_timeout)
        };
        for (toml, expected) in [
            ("", (86_400, 0)),
            ("policy = 'aal1'", (86_400, 30 * 86_400)),
            ("policy = 'aal2'", (3600, 86_400)),
            ("policy = 'aal3'", (900, 43_200)),
            ("policy = 'aal3'\nidle_timeout = 60", (60, 43_200)),
            ("policy = 'aal2'\nabsolute_timeout = 600", (3600, 600)),
            (
                "policy = 'aal1'\nidle_timeout = 900000",
                (900_000, 2_592_000),
            ),
        ] {
            assert_eq!(timeouts(toml), expected, "{toml}");
        }
    }

    #[test]
    fn an_error_never_shows_the_value() {
        let text = error("[default.sessions]\nprevious_secret_keys = ['hunter2']");
        assert!(
            text.contains("sessions.previous_secret_keys") && !text.contains("hunter2"),
            "{text}"
        );
    }
}
