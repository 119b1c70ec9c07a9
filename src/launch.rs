//! Reads the configuration at launch, sets the stores up, and creates the managed state.

use std::sync::Arc;
use std::time::Duration;

use rocket::{Build, Rocket};

use crate::app::App;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, Transport};
use crate::cookie::CookieTemplate;
use crate::dispatch::ActiveRequests;
use crate::error::{Error, ErrorKind, Result};
use crate::events::Listeners;
use crate::header::TokenHeaders;
use crate::manager::SessionManager;
#[cfg(feature = "perl")]
use crate::perl;
use crate::proxies::Proxies;
use crate::rate_limit::{self, Limiter};
use crate::sessions::Sessions;
use crate::store::bounded::Bounds;
use crate::store::configured::Entries;
use crate::store::{SessionStore, configured};

/// A change to the rocket during its build.
type Step = Box<dyn FnOnce(Rocket<Build>) -> Rocket<Build> + Send>;

/// Returns the steps that add sessions and the other features to `rocket`. `own` is the
/// application's own store, if there is one, and `listeners` learn of the events.
///
/// # Errors
///
/// If the configuration is invalid, a store cannot be set up, or the rocket already has sessions.
pub(crate) async fn steps(
    rocket: &Rocket<Build>,
    own: Option<Arc<dyn SessionStore>>,
    listeners: &Listeners,
    active: &ActiveRequests,
) -> Result<Vec<Step>> {
    if rocket.state::<Sessions>().is_some() {
        let why = "they are attached already; remove the second `.attach(Sessions::…)`";
        return Err(Error::new(ErrorKind::Config, "attach the sessions").because(why));
    }
    let config = Config::read(rocket.figment())?;
    if !config.cookie.http_only {
        log::warn!(
            "`sessions.cookie.http_only` is false: every script on a page can read the cookie, \
             and send it elsewhere; remove the setting unless a script needs it"
        );
    }
    let debug = rocket.figment().profile() == rocket::Config::DEBUG_PROFILE;
    let form = CookieTemplate::new(&config.cookie, debug)?;
    let headers = match config.transport {
        Transport::Cookie => None,
        Transport::Header | Transport::Both => Some(TokenHeaders::new(&config.header)?),
    };
    let proxies = Arc::new(Proxies::new(&config)?);
    let clock = rocket.state::<Clock>().cloned().unwrap_or_default();
    let stores = configured::stores(&config, &clock, own)?;
    for store in [&stores.sessions].into_iter().chain(&stores.others) {
        set_up(&**store, &config).await?;
    }
    if config.max_sessions_per_user > 0 && Arc::clone(&stores.sessions).key_value().is_none() {
        let why = "the application's own store keeps no entries, so the sessions of a user cannot be counted; implement \
                   `SessionStore::key_value`, or remove the setting";
        return Err(Error::config("sessions.max_sessions_per_user", why));
    }
    let timeout = Duration::from_millis(config.store_timeout);
    let bounds = Bounds::new(clock.clone(), timeout).listeners(listeners.clone());

    let mut steps: Vec<Step> = Vec::new();
    if let Some(Entries { name, store }) = stores.cache {
        let cache = Cache::new(bounds.of_store(name), store, &config.cache)?;
        steps.push(manage(cache));
    }
    match stores.rate_limit {
        Some(Entries { name, store }) => {
            let limits_all = config.rate_limit.limit > 0;
            let (bounds, clock) = (bounds.of_store(name), clock.clone());
            let config = &config.rate_limit;
            let (proxies, active) = (Arc::clone(&proxies), active.clone());
            let limiter = Limiter::new(bounds, clock, store, config, proxies, active)?;
            steps.push(manage(limiter));
            if limits_all {
                steps.push(Box::new(|rocket| rocket.mount("/", rate_limit::routes())));
            }
        }
        None if config.rate_limit.limit > 0 => return Err(rate_limit::no_store()),
        None => {}
    }
    #[cfg(feature = "perl")]
    if let Some(site) = perl::site(&config, &clock, &bounds.of_store("perl"))? {
        steps.push(manage(site));
    }
    let bounds = bounds.of_store(stores.sessions.name());
    let manager = SessionManager::new(stores.sessions, bounds, clock, &config);
    let (manager, active) = (Arc::new(manager), active.clone());
    let app = App::new(
        manager,
        config,
        form,
        headers,
        active,
        stores.others,
        proxies,
    );
    steps.push(manage(Sessions::new(app)));
    Ok(steps)
}

fn manage<T: Send + Sync + 'static>(state: T) -> Step {
    Box::new(|rocket| rocket.manage(state))
}

/// Sets up `store`, and checks that it supports what `config` requires.
async fn set_up(store: &dyn SessionStore, config: &Config) -> Result<()> {
    if !store.is_thread_safe() {
        let why = "Rocket handles requests in several threads, and this store is not thread safe; choose another store";
        return Err(Error::new(ErrorKind::Config, "use the store").because(why));
    }
    if config.multiprocess && !store.is_multiprocess_safe() {
        let why = "`sessions.multiprocess` is true, and this store cannot be shared by several processes; choose another store, \
                       or set `multiprocess = false`";
        return Err(Error::new(ErrorKind::Config, "use the store").because(why));
    }
    match store.setup().await {
        Err(error) if error.kind() == ErrorKind::Unavailable && !config.require_store_at_launch => {
            log::warn!("{error}; launching without it");
            Ok(())
        }
        set_up => set_up,
    }
}
