//! The back ends as `Rocket.toml` names them, for tests of the parts that run on any of them.

use std::any::Any;

use rocket::figment::Figment;
use rocket::figment::providers::{Format, Toml};

use super::figment;
#[cfg(feature = "memcached")]
use super::memcached;
#[cfg(feature = "redis")]
use super::redis;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use super::sql_server::{Kind, new_database};

/// A back end of its own, and the settings for it.
pub(crate) struct Backend {
    settings: String,
    _kept: Box<dyn Any + Send>,
}

impl Backend {
    pub(crate) fn memory() -> Self {
        Self::new(r#"store="memory""#.into(), ())
    }

    pub(crate) fn directory() -> Self {
        let there = tempfile::tempdir().expect("there is room for a directory");
        let path = there.path().join("sessions");
        let settings = format!(
            r#"store="directory",directory={{path="{}"}}"#,
            path.display()
        );
        Self::new(settings, there)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn redis() -> Self {
        let server = redis::Redis::start();
        let settings = format!(r#"store="redis",redis={{url="{}"}}"#, server.url());
        Self::new(settings, server)
    }

    #[cfg(feature = "memcached")]
    pub(crate) fn memcached() -> Self {
        let servers = [(); 2].map(|()| memcached::Memcached::start());
        let settings = format!(
            r#"store="memcached",memcached={{servers=["{}","{}"]}}"#,
            servers[0].address(),
            servers[1].address()
        );
        Self::new(settings, servers)
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite() -> Self {
        let (url, there) = new_file();
        Self::new(format!(r#"store="sqlite",sql={{url="{url}"}}"#), there)
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres() -> Self {
        let url = new_database(Kind::Postgres);
        Self::new(format!(r#"store="postgres",sql={{url="{url}"}}"#), ())
    }

    #[cfg(feature = "mysql")]
    pub(crate) fn mariadb() -> Self {
        let url = new_database(Kind::MariaDb);
        Self::new(format!(r#"store="mysql",sql={{url="{url}"}}"#), ())
    }

    fn new(settings: String, kept: impl Any + Send) -> Self {
        Self {
            settings,
            _kept: Box::new(kept),
        }
    }

    /// The settings with `more`, as environment variables of a process.
    pub(crate) fn environment(&self, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { "," };
        format!("{{{}{comma}{more}}}", self.settings)
    }

    /// The same for an application in this process.
    pub(crate) fn figment(&self, more: &str) -> Figment {
        let text = format!("sessions={}", self.environment(more));
        figment().merge(Toml::string(&text))
    }
}

/// The URL of a new file of SQLite, and its directory.
#[cfg(feature = "sqlite")]
fn new_file() -> (String, tempfile::TempDir) {
    let there = tempfile::tempdir().expect("there is room for a directory");
    let url = format!("sqlite:{}", there.path().join("sessions.db").display());
    (url, there)
}

/// The URL of a new database of each kind, with what must be kept.
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub(super) fn databases() -> Vec<(String, Option<tempfile::TempDir>)> {
    let mut all = Vec::new();
    #[cfg(feature = "sqlite")]
    {
        let (url, there) = new_file();
        all.push((url, Some(there)));
    }
    #[cfg(feature = "postgres")]
    all.push((new_database(Kind::Postgres), None));
    #[cfg(feature = "mysql")]
    all.push((new_database(Kind::MariaDb), None));
    all
}

/// Makes a test on each back end of every named function, which takes the [`Backend`].
macro_rules! on_every_store {
    ($($test:ident)*) => {
        on_every_store!(@ memory $($test)*);
        on_every_store!(@@ $($test)*);
    };
    // Those that several processes can share.
    (@@ $($test:ident)*) => {
        on_every_store!(@ directory $($test)*);
        #[cfg(feature = "redis")]
        on_every_store!(@ redis $($test)*);
        #[cfg(feature = "memcached")]
        on_every_store!(@ memcached $($test)*);
        #[cfg(feature = "sqlite")]
        on_every_store!(@ sqlite $($test)*);
        #[cfg(feature = "postgres")]
        on_every_store!(@ postgres $($test)*);
        #[cfg(feature = "mysql")]
        on_every_store!(@ mariadb $($test)*);
    };
    (@ $store:ident $($test:ident)*) => {
        mod $store {
            $(
                #[test]
                fn $test() {
                    rocket::async_test(super::$test($crate::support::Backend::$store()));
                }
            )*
        }
    };
}

/// As [`on_every_store!`], for stores that several processes can share.
macro_rules! on_every_shared_store {
    ($($test:ident)*) => {
        mod shared {
            use super::*;

            on_every_store!(@@ $($test)*);
        }
    };
}

pub(crate) use {on_every_shared_store, on_every_store};
