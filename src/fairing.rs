//! The launch, and the way out: [`Sessions::fairing()`].

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rocket::fairing::{self, Fairing, Info, Kind};
use rocket::futures::FutureExt;
use rocket::http::{Header, Method, Status};
use rocket::tokio;
use rocket::{Build, Data, Orbit, Request, Response, Rocket};

use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Config, Transport};
use crate::cookie::{CookieTemplate, SessionCookie};
use crate::error::{Error, ErrorKind, Result, StoreWasDown};
use crate::guard::Slot;
use crate::header::TokenHeaders;
use crate::manager::SessionManager;
use crate::message::StoredMessage;
use crate::perl_session::PerlSite;
use crate::rate_limit::{self, Counts, Limiter};
use crate::response;
use crate::session::{Browser, CookieAction, Session};
use crate::sessions::Sessions;
use crate::store::SessionStore;
use crate::store::configured;

impl Sessions {
    /// Returns the fairing that gives an application its sessions, as `[default.sessions]` in
    /// `Rocket.toml` says.
    ///
    /// Attach it once, and after fairings that change a session in their own `on_response`.
    ///
    /// The launch stops, with one sentence that names the remedy, when the configuration cannot
    /// work, the store cannot be set up, or the fairing is attached twice.
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
    pub fn fairing() -> impl Fairing {
        SessionsFairing::default()
    }

    /// As [`fairing()`](Self::fairing), with a store of one's own for the sessions, whatever
    /// `sessions.store` says.
    ///
    /// The cache and the rate limit use it too, if it [keeps entries](SessionStore::key_value), as
    /// those of this crate do, and if they have no `store` of their own in `Rocket.toml`.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket_session_kit::{MemoryStore, Sessions};
    ///
    /// let rocket = rocket::build().attach(Sessions::with(MemoryStore::new()));
    /// ```
    pub fn with(store: impl SessionStore) -> impl Fairing {
        SessionsFairing {
            store: Mutex::new(Some(Arc::new(store))),
            ..SessionsFairing::default()
        }
    }
}

/// Reads the configuration and opens the store at launch; saves sessions and sets cookies on the
/// way out.
#[derive(Default)]
struct SessionsFairing {
    /// The application's own store, until the launch takes it.
    store: Mutex<Option<Arc<dyn SessionStore>>>,
    /// How many requests have a session at this moment: while there is none, a request that passes
    /// has none either, and costs nothing.
    live: Arc<AtomicUsize>,
    /// The same for requests that were counted.
    counted: Arc<AtomicUsize>,
}

impl SessionsFairing {
    async fn open(&self, rocket: Rocket<Build>) -> Result<Rocket<Build>, Rocket<Build>> {
        match self.make(&rocket).await {
            Ok((sessions, cache, limiter, perl)) => {
                let mut rocket = rocket;
                if limiter.is_some() && sessions.config.rate_limit.limit > 0 {
                    rocket = rocket.mount("/", rate_limit::routes());
                }
                if let Some(cache) = cache {
                    rocket = rocket.manage(cache);
                }
                if let Some(limiter) = limiter {
                    rocket = rocket.manage(limiter);
                }
                if let Some(perl) = perl {
                    rocket = rocket.manage(perl);
                }
                Ok(rocket.manage(sessions))
            }
            Err(error) => {
                log::error!("{error}");
                Err(rocket)
            }
        }
    }

    /// Makes what Rocket is to manage. The cache and the limiter are left out where nothing can keep
    /// their entries, and the Perl site where there is none.
    async fn make(
        &self,
        rocket: &Rocket<Build>,
    ) -> Result<(Sessions, Option<Cache>, Option<Limiter>, Option<PerlSite>)> {
        if rocket.state::<Sessions>().is_some() {
            let why = "it is attached already; remove the second `.attach(Sessions::…)`";
            return Err(Error::new(ErrorKind::Config, "attach the sessions").because(why));
        }
        let config = Config::read(rocket.figment())?;
        if !config.cookie.http_only {
            log::warn!(
                "`sessions.cookie.http_only` is false: every script on a page can read the cookie, \
                 and send it elsewhere; remove the setting unless a script needs it"
            );
        }
        let form = CookieTemplate::new(
            &config.cookie,
            rocket.figment().profile() == rocket::Config::DEBUG_PROFILE,
        )?;
        let headers = match config.transport {
            Transport::Cookie => None,
            Transport::Header | Transport::Both => Some(TokenHeaders::new(&config.header)?),
        };
        let clock = rocket.state::<Clock>().cloned().unwrap_or_default();
        let own = self.store.lock().take();
        let stores = configured::stores(&config, &clock, own)?;
        for store in [&stores.sessions].into_iter().chain(&stores.others) {
            ready(&**store, &config).await?;
        }
        let manager = Arc::new(SessionManager::new(stores.sessions, clock.clone(), &config));
        let cache = stores
            .cache
            .map(|store| Cache::new(Arc::clone(&manager), store, &config.cache));
        let limiter = stores.rate_limit.map(|store| {
            let live = Arc::clone(&self.counted);
            Limiter::new(Arc::clone(&manager), store, &config.rate_limit, live)
        });
        if limiter.is_none() && config.rate_limit.limit > 0 {
            return Err(rate_limit::no_store());
        }
        let servers = configured::perl(&config, &clock)?;
        let perl = PerlSite::new(&config.perl, Arc::clone(&manager), servers)?;
        let live = Arc::clone(&self.live);
        let sessions = Sessions::new(manager, config, form, headers, live, stores.others);
        Ok((sessions, cache.transpose()?, limiter.transpose()?, perl))
    }
}

/// Makes sure that `store` can do what `config` asks for.
async fn ready(store: &dyn SessionStore, config: &Config) -> Result<()> {
    if !store.is_thread_safe() {
        let why = "Rocket handles requests in several threads, and this store is not thread safe; choose another";
        return Err(Error::new(ErrorKind::Config, "use the store").because(why));
    }
    if config.multiprocess && !store.is_multiprocess_safe() {
        let why = "`sessions.multiprocess` is true, and this store cannot be shared by several processes; choose another, \
                       or set `multiprocess = false`";
        return Err(Error::new(ErrorKind::Config, "use the store").because(why));
    }
    match store.setup().await {
        Err(error) if error.kind() == ErrorKind::Unavailable && !config.require_store_at_launch => {
            log::warn!("{error}; launching without it");
        }
        done => done?,
    }
    Ok(())
}

/// Follows one request out: changes, store, cookie.
async fn close<'r>(
    session: &Session,
    request: &'r Request<'_>,
    response: &mut Response<'r>,
    failed: bool,
) {
    // An application's own function, given to `Session::update`, may run in here, and an id cannot
    // be made without random numbers. Rocket would drop the connection.
    let finish = AssertUnwindSafe(session.finish(failed, browser(request))).catch_unwind();
    let (cookie_action, error) = finish.await.unwrap_or_else(|_| {
        let why = "a function given to `Session::update` panicked, or the system has no random \
                   numbers to give";
        let error = Error::new(ErrorKind::Value, "save the session").because(why);
        (CookieAction::None, Some(error))
    });
    if let Some(error) = error {
        // What is about the store was logged where it happened.
        if error.kind() != ErrorKind::Unavailable {
            log::error!("{error}");
        }
        replace(request, response, error).await;
    }
    // Also beside an error: the handler may have saved the session before, under another id.
    match tell(cookie_action, request, response) {
        Ok(()) => keep_private(session, response),
        Err(error) => {
            log::error!("{error}");
            replace(request, response, error).await;
        }
    }
}

/// Returns what the way out has to know of the browser that sent `request`.
fn browser(request: &Request<'_>) -> Browser {
    let cookie = Sessions::of(request).and_then(Sessions::cookie);
    let mode = request.headers().get_one("Sec-Fetch-Mode");
    Browser {
        cookie_ages: cookie.is_ok_and(SessionCookie::has_max_age),
        navigates: mode.is_none_or(|mode| mode.eq_ignore_ascii_case("navigate")),
    }
}

/// Puts an answer that tells of `error` in the place of the one that was made.
async fn replace<'r>(request: &'r Request<'_>, response: &mut Response<'r>, error: Error) {
    response::replace(request, response, &error).await;
    challenge(request, response);
}

/// Says that the answer is for its visitor alone, where it may show what is in their session.
fn keep_private(session: &Session, response: &mut Response<'_>) {
    if session.is_personal() {
        response::private(response);
    }
}

/// Says how to send a token, where that is what is missing.
fn challenge(request: &Request<'_>, response: &mut Response<'_>) {
    let headers = Sessions::of(request)
        .ok()
        .and_then(|sessions| sessions.headers.as_ref());
    let said = response.headers().contains("WWW-Authenticate");
    let refused = response.status() == Status::Unauthorized;
    if let Some(headers) = headers.filter(|_| refused && !said) {
        response.set_header(Header::new("WWW-Authenticate", headers.challenge()));
    }
}

/// Puts into the session what a responder left for it, and follows the request out.
async fn deliver<'r>(
    slot: &Slot,
    messages: Vec<StoredMessage>,
    request: &'r Request<'_>,
    response: &mut Response<'r>,
) {
    vary(request, response);
    match slot.session(request).await {
        Ok(session) => {
            let outcome = messages
                .into_iter()
                .try_for_each(|message| session.notify(message));
            if let Err(error) = outcome {
                session.refuse(error);
            }
            close(session, request, response, false).await;
        }
        Err(error) => replace(request, response, error).await,
    }
}

/// Says what an answer depends on that was made with a session.
fn vary(request: &Request<'_>, response: &mut Response<'_>) {
    if let Ok(sessions) = Sessions::of(request) {
        sessions.vary(response);
    }
}

/// Tells the browser about its cookie.
fn tell(
    cookie_action: CookieAction,
    request: &Request<'_>,
    response: &mut Response<'_>,
) -> Result<()> {
    let Ok(cookie) = Sessions::of(request).and_then(Sessions::cookie) else {
        return Ok(());
    };
    let header = match cookie_action {
        CookieAction::None => return Ok(()),
        CookieAction::Token => {
            response::no_store(response);
            return Ok(());
        }
        CookieAction::Set(id) => cookie
            .set(&id)
            .inspect_err(|error| log::error!("{error}"))?,
        CookieAction::Remove => cookie.remove(),
    };
    // Beside other cookies, which `set_header` would remove.
    response.adjoin_header(header);
    response::no_store(response);
    Ok(())
}

/// A future that is ready, and so small that it takes no memory.
struct Done;

impl Future for Done {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

type BoxFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

#[rocket::async_trait]
impl Fairing for SessionsFairing {
    fn info(&self) -> Info {
        Info {
            name: "Sessions",
            kind: Kind::Ignite | Kind::Liftoff | Kind::Request | Kind::Response,
        }
    }

    async fn on_ignite(&self, rocket: Rocket<Build>) -> fairing::Result {
        self.open(rocket).await
    }

    async fn on_liftoff(&self, rocket: &Rocket<Orbit>) {
        let Some(sessions) = rocket.state::<Sessions>() else {
            return;
        };
        if let Err(error) = sessions.learn_key(rocket.config()) {
            log::error!("{error}");
        }
        if let Some(limiter) = rocket.state::<Limiter>() {
            limiter.learn_key(rocket.config());
        }
        let config = &sessions.config;
        for store in [sessions.manager.store()]
            .into_iter()
            .chain(&sessions.others)
        {
            if config.sweep_every > 0 && !store.expires_by_itself() {
                tokio::spawn(sweep(Arc::clone(store), config, rocket.shutdown()));
            }
        }
    }

    // The next two are written without `async`, so that a request without a session allocates
    // nothing.

    fn on_request<'life0, 'life1, 'life2, 'life3, 'life4, 'async_trait>(
        &'life0 self,
        request: &'life1 mut Request<'life2>,
        _: &'life3 mut Data<'life4>,
    ) -> BoxFuture<'async_trait>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        'life3: 'async_trait,
        'life4: 'async_trait,
        Self: 'async_trait,
    {
        let counted = self.counted.load(Ordering::Acquire) > 0;
        // A clone of a local request comes with the session of the first, and its count. What an
        // earlier fairing did to the session of this request is none of that.
        if counted || self.live.load(Ordering::Acquire) > 0 {
            let again = Slot::of(request).begin_anew();
            if again && counted {
                Counts::of(request).reset();
            }
        }
        if request.method() == Method::Head {
            Slot::of(request).is_head_only();
        }
        Box::pin(Done)
    }

    fn on_response<'r, 'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: &'r Request<'life1>,
        response: &'life2 mut Response<'r>,
    ) -> BoxFuture<'async_trait>
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
        let refused = self.counted.load(Ordering::Acquire) > 0
            && request
                .rocket()
                .state::<Limiter>()
                .is_some_and(|limiter| limiter.tell(request, response));
        let live = self.live.load(Ordering::Acquire) > 0;
        if live || self.counted.load(Ordering::Acquire) > 0 {
            Slot::of(request).is_answered();
        }
        if !live {
            return Box::pin(Done);
        }
        // A handler that panicked or failed half-way leaves no half of what it meant to do, and a
        // request that was refused makes no session.
        let failed = refused || response.status() == Status::InternalServerError;
        let slot = Slot::of(request);
        if let Some(found) = slot.perl_found() {
            response::vary(response, "Cookie");
            if found {
                response::private(response);
            }
        }
        let posted = slot.posted();
        if !posted.is_empty() && !failed {
            return Box::pin(deliver(slot, posted, request, response));
        }
        let Some(opened) = slot.get() else {
            return Box::pin(Done);
        };
        vary(request, response);
        challenge(request, response);
        let Ok(session) = opened else {
            return Box::pin(Done);
        };
        match session.finish_at_once(failed, browser(request)) {
            Some(cookie_action) => {
                if let Err(error) = tell(cookie_action, request, response) {
                    return Box::pin(replace(request, response, error));
                }
                keep_private(session, response);
                Box::pin(Done)
            }
            None => Box::pin(close(session, request, response, failed)),
        }
    }
}

/// Removes what expired, now and then, until the rocket lands.
fn sweep(
    store: Arc<dyn SessionStore>,
    config: &Config,
    mut shutdown: rocket::Shutdown,
) -> impl Future<Output = ()> + use<> {
    let every = Duration::from_secs(config.sweep_every);
    async move {
        loop {
            // Processes that were started together do not sweep together.
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH);
            let jitter = nanos.map_or(0, |now| now.subsec_nanos());
            let jitter = every.mul_f64(f64::from(jitter) / 1e9 / 10.0);
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                () = tokio::time::sleep(every.mul_f64(0.9) + jitter) => {}
            }
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                // Another application may keep its sessions here, and for longer.
                swept = store.delete_old_sessions(u64::MAX) => match swept {
                    Ok(swept) => log::debug!("swept {} sessions, {} remain", swept.deleted, swept.remaining),
                    Err(error) => log::warn!("{error}"),
                }
            }
        }
    }
}
