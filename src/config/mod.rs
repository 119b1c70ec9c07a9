//! The settings under `[default.sessions]` in `Rocket.toml`, read and checked at launch.
//!
//! Each table inside it has a file of its own here.

mod cache;
mod cookie;
mod csrf;
mod directory;
mod explain;
mod header;
mod limits;
mod memcached;
mod memory;
// With all features, so that the page shows all tables.
#[cfg(all(test, feature = "perl"))]
mod page;
#[cfg(feature = "perl")]
mod perl;
mod rate_limit;
mod redis;
mod settings;
mod store;
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
pub use rate_limit::By;
pub(crate) use rate_limit::{LimitHeaders, RateLimitConfig, WhenUncounted};
pub(crate) use redis::RedisConfig;
pub(crate) use store::{StoreName, WhenStoreIsDown};
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
        /// Seconds after its creation when a session ends, even if it is in use; 0 means never.
        pub(crate) absolute_timeout: u64 = 0,
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
        /// Whether several processes serve the application. The launch then fails if they cannot share a store.
        pub(crate) multiprocess: bool = false,
        /// Seconds between two removals of expired sessions; 0 means never.
        pub(crate) sweep_every: u64 = 600,
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
        let config: Self = match figment.find_value(TABLE) {
            Err(_) => Self::default(),
            Ok(Value::Dict(..)) => figment.focus(TABLE).extract().map_err(explain::explain)?,
            // `focus` treats anything else as an empty table, which means the defaults.
            Ok(other) => {
                let found = explain::type_of(&other.to_actual());
                let why = format!("expected a table, as in `[default.sessions]`, found {found}");
                return Err(Error::config(TABLE, why));
            }
        };
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
        if self.idle_timeout == 0 {
            let why = "a session must live for at least 1 second; set it to 1 or more";
            return Err(Error::config("sessions.idle_timeout", why));
        }
        if self.store_timeout == 0 {
            let why = "a store needs time to respond; set it to 1 millisecond or more";
            return Err(Error::config("sessions.store_timeout", why));
        }
        self.rate_limit.check()?;
        self.limits.check()
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
            let text = error(toml);
            assert!(text.contains(part), "{toml:?}: {text}");
            assert_eq!(text.lines().count(), 1, "one sentence: {text}");
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
