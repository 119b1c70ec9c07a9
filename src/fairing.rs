//! The fairing [`Sessions::fairing()`], which runs at launch and around each request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::http::{Method, Status};
use rocket::tokio;
use rocket::{Build, Data, Orbit, Request, Response, Rocket};

use crate::dispatch::{self, ActiveRequests};
use crate::error::StoreWasDown;
use crate::events::{Listeners, SessionEvents};
use crate::launch;
use crate::launch_log;
use crate::outbound::{self, Finishing};
#[cfg(feature = "perl")]
use crate::perl;
use crate::rate_limit;
use crate::response;
use crate::sessions::Sessions;
use crate::store::SessionStore;
use crate::sweep::sweep;

impl Sessions {
    /// Returns the fairing that adds sessions to an application. `[default.sessions]` in
    /// `Rocket.toml` configures them.
    ///
    /// Attach it once, after any fairing that changes a session in its `on_response`.
    ///
    /// The launch fails if the configuration is invalid, the store cannot be set up, or the fairing
    /// is attached twice. The log then names the remedy.
    ///
    /// # Example
    ///
    /// ```rust,no_run
    /// use rocket_session_kit::Sessions;
    ///
    /// #[rocket::launch]
    /// fn rocket() -> _ {
    ///     rocket::build().attach(Sessions::fairing())
    /// }
    /// ```
    pub fn fairing() -> SessionsFairing {
        SessionsFairing::default()
    }

    /// Like [`fairing()`](Self::fairing), but with the application's own store for the sessions,
    /// whatever `sessions.store` says.
    ///
    /// The cache and the rate limit use it too, if it [keeps entries](SessionStore::key_value), as
    /// the stores of this crate do, and if they have no `store` of their own in `Rocket.toml`.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::{MemoryStore, Sessions};
    ///
    /// let rocket = rocket::build().attach(Sessions::with(MemoryStore::new()));
    /// ```
    pub fn with(store: impl SessionStore) -> SessionsFairing {
        SessionsFairing {
            store: Mutex::new(Some(Arc::new(store))),
            ..SessionsFairing::default()
        }
    }
}

/// The fairing that adds sessions to an application, made by [`Sessions::fairing()`] or
/// [`Sessions::with()`].
///
/// It sets up the sessions at launch, saves each session before its response is sent, and sets the
/// cookie.
#[derive(Default)]
pub struct SessionsFairing {
    /// The application's own store, until the launch takes it.
    store: Mutex<Option<Arc<dyn SessionStore>>>,
    listeners: Listeners,
    active: ActiveRequests,
}

impl SessionsFairing {
    /// Attaches a listener for events in the lives of sessions. Several calls attach several
    /// listeners.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::{SessionEvent, Sessions};
    ///
    /// let log = |event: &SessionEvent<'_>| println!("{} {:?}", event.kind.name(), event.address);
    /// let rocket = rocket::build().attach(Sessions::fairing().events(log));
    /// ```
    #[must_use]
    pub fn events(mut self, listener: impl SessionEvents) -> Self {
        self.listeners.add(listener);
        self
    }
}

impl fmt::Debug for SessionsFairing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsFairing").finish_non_exhaustive()
    }
}

#[rocket::async_trait]
impl Fairing for SessionsFairing {
    fn info(&self) -> Info {
        Info {
            name: "Sessions",
            kind: Kind::Ignite | Kind::Liftoff | Kind::Request | Kind::Response,
        }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        let own = self.store.lock().take();
        match launch::steps(&rocket, own, &self.listeners, &self.active).await {
            Ok(steps) => Ok(steps.into_iter().fold(rocket, |rocket, step| step(rocket))),
            Err(error) => {
                error.log();
                Err(rocket)
            }
        }
    }

    async fn on_liftoff(&self, rocket: &Rocket<Orbit>) {
        let Some(sessions) = rocket.state::<Sessions>().map(Sessions::app) else {
            return;
        };
        if let Err(error) = sessions.learn_key(rocket.config()) {
            error.log();
        }
        rate_limit::learn_key(rocket);
        launch_log::log(sessions, rocket.config());
        let every = sessions.config.sweep_every;
        let stores = [sessions.manager.store()]
            .into_iter()
            .chain(&sessions.others);
        for store in stores.filter(|store| every > 0 && !store.expires_by_itself()) {
            let every = Duration::from_secs(every);
            let listeners = self.listeners.clone();
            tokio::spawn(sweep(
                Arc::clone(store),
                every,
                listeners,
                rocket.shutdown(),
            ));
        }
    }

    // The next two functions are written without `async`, so that a request without a session
    // allocates nothing.

    fn on_request<'life0, 'life1, 'life2, 'life3, 'life4, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request<'life2>,
        _: &'life3 mut Data<'life4>,
    ) -> Finishing<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        'life3: 'async_trait,
        'life4: 'async_trait,
        Self: 'async_trait,
    {
        if self.active.any() || request.method() == Method::Head {
            dispatch::begin(request);
        }
        outbound::done()
    }

    fn on_response<'r, 'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'r Request<'life1>,
        response: &'life2 mut Response<'r>,
    ) -> Finishing<'async_trait>
    where
        'r: 'async_trait,
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        if response.status() == Status::ServiceUnavailable && StoreWasDown::noted(request) {
            response::retry_after(response);
        }
        if !self.active.any() {
            return outbound::done();
        }
        dispatch::end(request);
        let refused = rate_limit::write_headers(request, response);
        #[cfg(feature = "perl")]
        perl::write_headers(request, response);
        // A failed handler must not leave half of its changes, and a refused request must not begin
        // a session.
        let failed = refused || response.status() == Status::InternalServerError;
        outbound::finish(request, response, failed)
    }
}
