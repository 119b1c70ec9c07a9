//! All sessions of an application: what Rocket manages, and administrators use.

use std::sync::{Arc, OnceLock};

use rocket::futures::stream::BoxStream;
use rocket::futures::{StreamExt, TryStreamExt};
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Response, Rocket, Sentinel};

use crate::config::{Config, Transport};
use crate::cookie::{CookieTemplate, SessionCookie};
use crate::dispatch::ActiveRequests;
use crate::error::{Error, ErrorKind, Result};
use crate::header::TokenHeaders;
use crate::id::SessionId;
use crate::manager::{Ending, SessionManager};
use crate::record::Record;
use crate::response;
use crate::session::Session;
use crate::store::{SessionStore, Swept};

/// All sessions of the application: the fairing to attach, and the guard for an administrator's
/// pages.
///
/// # Example
///
/// ```rust
/// use rocket::futures::TryStreamExt;
/// use rocket::{get, launch, routes};
/// use rocket_session_kit::{Result, Session, Sessions};
///
/// #[get("/")]
/// fn index(session: &Session) -> Result<String> {
///     Ok(format!("visits: {}", session.increment("visits", 1)?))
/// }
///
/// #[get("/admin/sessions")]
/// async fn count(sessions: &Sessions) -> Result<String> {
///     let all: Vec<_> = sessions.iter_sessions().try_collect().await?;
///     Ok(format!("{} visitors", all.len()))
/// }
///
/// #[launch]
/// fn rocket() -> _ {
///     rocket::build().attach(Sessions::fairing()).mount("/", routes![index, count])
/// }
/// # rocket_session_kit::testing::doc(routes![index, count], |client| {
/// # client.get("/").dispatch();
/// # assert_eq!(client.get("/admin/sessions").dispatch().into_string().unwrap(), "1 visitors");
/// # });
/// ```
pub struct Sessions {
    pub(crate) manager: Arc<SessionManager>,
    pub(crate) config: Config,
    form: CookieTemplate,
    /// The headers that tokens come in; `None` where sessions are by cookie alone.
    pub(crate) headers: Option<TokenHeaders>,
    /// Made when the rocket is about to lift off: only then its key is known.
    cookie: OnceLock<SessionCookie>,
    pub(crate) active: ActiveRequests,
    /// The stores of the cache and the rate limit, where they have their own.
    pub(crate) others: Vec<Arc<dyn SessionStore>>,
}

impl Sessions {
    pub(crate) fn new(
        manager: Arc<SessionManager>,
        config: Config,
        form: CookieTemplate,
        headers: Option<TokenHeaders>,
        active: ActiveRequests,
        others: Vec<Arc<dyn SessionStore>>,
    ) -> Self {
        Self {
            manager,
            config,
            form,
            headers,
            cookie: OnceLock::new(),
            active,
            others,
        }
    }

    /// Returns the store, for whatever has no method here.
    pub fn store(&self) -> &dyn SessionStore {
        &**self.manager.store()
    }

    /// Returns every session there is, in no order, one after the other and not all at once: for an
    /// administrator's page.
    ///
    /// A session that begins or ends meanwhile may be there or not. What cannot be read is left out,
    /// with a warning in the log, and so is what a session that was renewed, emptied or ended leaves
    /// behind for a minute.
    ///
    /// The stream holds an `Err` when the store cannot go on.
    pub fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Record)>> {
        let all = self.manager.store().iter_sessions();
        all.try_filter_map(async |(id, stored)| {
            let Some(record) = Record::listed(&stored.bytes, &id) else {
                return Ok(None);
            };
            // A copy that nobody has asked for since the others ended is still in the store.
            let manager = &self.manager;
            let over = manager.is_over(&record) || manager.lineage_is_over(&record).await?;
            Ok((!over).then_some((id, record)))
        })
        .boxed()
    }

    /// Removes the sessions that were not saved for `minutes`: see
    /// [`SessionStore::delete_old_sessions`].
    ///
    /// Sessions that outlived `idle_timeout` go by themselves.
    ///
    /// # Errors
    ///
    /// When the store cannot list what it keeps.
    pub async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        self.manager.store().delete_old_sessions(minutes).await
    }

    /// Ends the session under `id` for good, as [`Session::end`](Session::end) does, and
    /// returns whether there was one. A request that is under way with it brings nothing back.
    ///
    /// # Errors
    ///
    /// When the store fails, so that the session may still be there.
    pub async fn end(&self, id: &SessionId) -> Result<bool> {
        self.manager.end(Ending::of(*id)).await
    }

    /// Logs `user` out everywhere: ends every session of theirs except that of this request, if it
    /// is given, and returns how many it ended. For a changed password, or a closed account.
    ///
    /// It looks at every session there is, one after the other, and again until it finds none of
    /// the user's: sessions that are renewed meanwhile end too.
    ///
    /// # Errors
    ///
    /// When the store fails, or sessions of the user begin as fast as they end; some of them may
    /// still be there then.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::post;
    /// use rocket_session_kit::{Result, Session, Sessions};
    ///
    /// #[post("/password")]
    /// async fn password(session: &Session, sessions: &Sessions) -> Result<String> {
    ///     let Some(user) = session.user() else { return Ok("Please log in.".into()) };
    ///     session.renew();
    ///     let ended = sessions.end_all_of(&user, Some(session)).await?;
    ///     Ok(format!("You were logged out from {ended} other places."))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![password], |client| {
    /// #     assert_eq!(client.post("/password").dispatch().into_string().unwrap(), "Please log in.");
    /// # });
    /// ```
    pub async fn end_all_of(&self, user: &str, except: Option<&Session>) -> Result<u64> {
        self.manager
            .end_all_of(user, except.map(Session::ids).as_ref())
            .await
    }

    /// Returns the sessions of the application that answers `request`.
    pub(crate) fn of<'r>(request: &'r Request<'_>) -> Result<&'r Self> {
        request.rocket().state().ok_or_else(not_attached)
    }

    /// Returns the cookie's opener and sealer.
    pub(crate) fn cookie(&self) -> Result<&SessionCookie> {
        self.cookie.get().ok_or_else(not_attached)
    }

    /// Says in `response` what it depends on, which is what the session was found by.
    pub(crate) fn vary(&self, response: &mut Response<'_>) {
        if self.config.transport != Transport::Header {
            response::vary(response, "Cookie");
        }
        for name in self.headers.iter().flat_map(TokenHeaders::names) {
            response::vary(response, name.clone());
        }
    }

    /// Learns the key that `rocket` seals private cookies with.
    pub(crate) fn learn_key(&self, rocket: &rocket::Config) -> Result<()> {
        let cookie = self
            .form
            .with_keys(rocket, &self.config.previous_secret_keys)?;
        // A rocket can be launched again, with the same key.
        let _ = self.cookie.set(cookie);
        Ok(())
    }

    /// Returns whether a rocket with guards of this crate lacks the fairing, and says so.
    pub(crate) fn missing(rocket: &Rocket<Ignite>) -> bool {
        let missing = rocket.state::<Self>().is_none();
        if missing {
            log::error!("{}", not_attached());
        }
        missing
    }
}

/// What a guard says that finds no fairing.
fn not_attached() -> Error {
    Error::new(ErrorKind::Config, "find the sessions")
        .because("nothing was attached; add `.attach(Sessions::fairing())` to `rocket::build()`")
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Sessions {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match Sessions::of(request) {
            Ok(sessions) => Outcome::Success(sessions),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for &Sessions {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
