//! Server-side sessions for [Rocket](https://rocket.rs) 0.5.
//!
//! A session that has ended never comes back. Concurrent requests of one session never lose an
//! [`increment`](Session::increment), an [`update`](Session::update), or changes to different values.
//! If two requests [`insert`](Session::insert) a value under one name, the later one stays.
//!
//! # Usage
//!
//! 1. Attach [`Sessions::fairing()`], once.
//! 2. Take [`&Session`](Session) in a route, and use it like a map.
//! 3. Give Rocket a `secret_key` that does not change when the application restarts.
//!
//! ```rust
//! use rocket::{get, launch, routes};
//! use rocket_session_kit::{Result, Session, Sessions};
//!
//! #[get("/")]
//! fn index(session: &Session) -> Result<String> {
//!     let visits = session.increment("visits", 1)?;
//!     Ok(format!("visits: {visits}\n"))
//! }
//!
//! #[launch]
//! fn rocket() -> _ {
//!     let rocket = rocket::build().mount("/", routes![index]);
//!     rocket.attach(Sessions::fairing())
//! }
//! # rocket_session_kit::testing::doc(routes![index], |client| {
//! #     assert_eq!(client.get("/").dispatch().into_string().unwrap(), "visits: 1\n");
//! # });
//! ```
//!
//! # Guide
//!
//! The [guide] has a [tutorial](guide::tutorial), a [recipe](guide::recipes) for each guard, and pages about
//! [how it works](guide::how_it_works), [operation](guide::operations), [security](guide::security) and every
//! [text of an error](guide::troubleshooting).
//!
//! # What a route can take
//!
//! | guard | for |
//! |---|---|
//! | [`&Session`](Session) | values, the visitor, log-in and log-out |
//! | [`LoggedIn`] | pages for members: the user and the session |
//! | [`Notifications`], [`Notification`], and the responder [`Notify`] | messages for the next page, each shown once |
//! | [`CsrfForm`], [`CsrfToken`] | forms that only pages of this application can send |
//! | [`&Cache`](Cache) | values that all requests share |
//! | [`RateLimit`] | a limit on the requests of one visitor |
//! | [`KeyedRateLimit`] | a limit by account, API key, or any other key |
//! | `&PerlSession` (feature `perl`) | the session of a Perl site beside this application |
//! | [`&Sessions`](Sessions) | all sessions, for an administrator |
//!
//! Each of them stops the launch if the fairing is missing.
//!
//! # Configuration
//!
//! All settings are under `[default.sessions]` in `Rocket.toml`: see the [list of all
//! settings](guide::settings). Invalid settings stop the launch with a sentence that names the key and the
//! remedy.
//!
//! # Events
//!
//! [`Sessions::fairing().events(listener)`](SessionsFairing::events) tells an audit log or an exporter of
//! figures what happens to sessions. The launch logs how they are kept.
//!
//! # Stores
//!
//! | store | use | survives a restart | shared by processes |
//! |---|---|---|---|
//! | [`DirectoryStore`], the default | on one host | yes | yes |
//! | `RedisStore` | on several hosts | if the server persists its data | yes |
//! | `MemcachedStore` | on several hosts, if the loss of a session is acceptable | of the application, but not of a server | yes |
//! | `SqlStore` | in the application's PostgreSQL, MySQL or MariaDB; or in a file of SQLite, on one host | yes | yes |
//! | [`MemoryStore`] | in tests and examples | no | no |
//! | your own [`SessionStore`](store::SessionStore) | with [`Sessions::with()`]; the feature `testing` tests it | | |
//!
//! # Security
//!
//! The cookie holds a random id, encrypted with AES-256-GCM under Rocket's `secret_key`. So an id from
//! a store or a backup gives no access to a session. The crate makes every id itself, and a new one at
//! every log-in. If `transport` allows tokens in a header, the id of such a session is made from a
//! hash of the client's token. No id, key, cookie or value appears in a log, an error or `Debug`. The
//! cookie is `HttpOnly`, `SameSite=Lax` and, outside the debug profile, `Secure` with the prefix `__Host-`.
//!
//! # Features
//!
//! - `redis` and `memcached`, on by default: the stores with these names.
//! - `postgres`, `mysql` and `sqlite`: `SqlStore`, for each of these databases.
//! - `perl`: the guard `&PerlSession`, and the module `storable`, which reads Perl's Storable.
//! - `import`: the module `import`, which reads the sessions of three Python systems.
//! - `metrics`: `SessionMetrics`, which counts events and times the calls to stores.
//! - `cli`: the program `rocket-session-kit`, and the module `cli`, which builds it for a store of your own.
//! - `testing`: tools for the tests of an application or of a store.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

#[cfg(not(unix))]
compile_error!(
    "rocket_session_kit needs a Unix system such as Linux or macOS, because the directory store relies on \
     its file modes and locks. On Windows, run the application in WSL or a container."
);

mod app;
#[cfg(doc)]
mod book;
mod cache;
mod change;
#[cfg(feature = "cli")]
pub mod cli;
mod clock;
mod config;
mod cookie;
mod csrf;
#[cfg(any(feature = "perl", feature = "import"))]
mod decode_error;
mod dispatch;
mod end_reason;
mod ended_here;
mod error;
mod events;
mod fairing;
mod guard;
mod handle;
mod header;
mod id;
#[cfg(feature = "import")]
pub mod import;
mod keyed_locks;
mod launch;
mod launch_log;
mod logged_in;
mod manager;
mod message;
mod notifications;
mod origin;
mod outbound;
#[cfg(feature = "perl")]
mod perl;
mod private_cookie;
mod proxies;
mod rate_limit;
mod record;
mod response;
mod secret_key;
mod session;
mod sessions;
#[cfg(feature = "perl")]
pub mod storable;
pub mod store;
mod sweep;
#[cfg(feature = "testing")]
pub mod testing;
mod unknown_fields;
mod user_session;
mod values;

#[cfg(doc)]
pub use book::guide;
pub use cache::{Cache, Keep};
pub use clock::Clock;
pub use config::Durability;
pub use csrf::{CsrfForm, CsrfToken, NoFields};
#[cfg(any(feature = "perl", feature = "import"))]
pub use decode_error::{DecodeError, DecodeErrorKind};
pub use end_reason::EndReason;
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "metrics")]
pub use events::SessionMetrics;
pub use events::{CookieFault, EventKind, SessionEvent, SessionEvents, StoreCall};
pub use fairing::SessionsFairing;
pub use handle::SessionHandle;
pub use id::SessionId;
pub use logged_in::LoggedIn;
pub use notifications::{Level, Notification, Notifications, Notify};
#[cfg(feature = "perl")]
pub use perl::PerlSession;
pub use rate_limit::{By, KeyedRateLimit, Limit, RateLimit};
pub use record::Record;
pub use session::{FreshLogIn, Session};
pub use sessions::Sessions;
#[cfg(feature = "memcached")]
pub use store::MemcachedStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
pub use store::{DirectoryStore, MemoryStore};
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
pub use store::{SqlPool, SqlStore};
pub use user_session::UserSession;
