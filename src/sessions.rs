//! The managed state [`Sessions`], which lists and ends an application's sessions.

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
use crate::manager::{EndTarget, SessionManager};
use crate::record::Record;
use crate::response;
use crate::session::Session;
use crate::store::{SessionStore, Swept};

/// All sessions of an application: the fairing to attach, and a guard for administrative pages.
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
    /// The headers of tokens; `None` if sessions use cookies only.
    pub(crate) headers: Option<TokenHeaders>,
    /// Set at lift-off, when the secret key is known.
    cookie: OnceLock<SessionCookie>,
    pub(crate) active: ActiveRequests,
    /// The stores of the cache and the rate limit, if they have their own.
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

    /// Returns the store, for operations that have no method here.
    pub fn store(&self) -> &dyn SessionStore {
        &**self.manager.store()
    }

    /// Returns a stream of all sessions, in no particular order, for an administrative page. They
    /// are loaded one after the other.
    ///
    /// A session that begins or ends in the meantime may or may not be included. Invalid records are
    /// skipped with a warning in the log. Tombstones and emptied sessions are skipped too.
    ///
    /// The stream yields an `Err` if the store fails.
    pub fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Record)>> {
        let all = self.manager.store().iter_sessions();
        all.try_filter_map(async |(id, stored)| {
            let Some(record) = Record::listed(stored.bytes, &id) else {
                return Ok(None);
            };
            // A copy of an ended session stays in the store until it is loaded or expires.
            let manager = &self.manager;
            let has_ended =
                manager.is_expired(&record) || manager.lineage_has_ended(&record).await?;
            Ok((!has_ended).then_some((id, record)))
        })
        .boxed()
    }

    /// Removes the sessions that were not saved for `minutes`; see
    /// [`SessionStore::delete_old_sessions`].
    ///
    /// Sessions past their `idle_timeout` expire without this.
    ///
    /// # Errors
    ///
    /// If the store cannot list its sessions.
    pub async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        self.manager.store().delete_old_sessions(minutes).await
    }

    /// Ends the session under `id` for good, as [`Session::end`](Session::end) does, and returns
    /// whether there was one. A concurrent request of the session cannot bring it back.
    ///
    /// # Errors
    ///
    /// If the store fails. The session may still be there then.
    pub async fn end(&self, id: &SessionId) -> Result<bool> {
        self.manager.end(EndTarget::new(*id)).await
    }

    /// Logs `user` out everywhere, for example after a changed password: ends all of their sessions
    /// except `except`, the session of this request, and returns how many it ended.
    ///
    /// It lists all sessions until a listing finds none of the user's, so sessions that are renewed
    /// meanwhile end too.
    ///
    /// # Errors
    ///
    /// If the store fails, or if sessions of the user begin as fast as they end. Some of them may
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

    /// Returns the sessions of the application that handles `request`.
    pub(crate) fn of<'r>(request: &'r Request<'_>) -> Result<&'r Self> {
        request.rocket().state().ok_or_else(not_attached)
    }

    /// Returns the session cookie without its value.
    pub(crate) fn template(&self) -> &CookieTemplate {
        &self.form
    }

    /// Returns the reader and writer of the session cookie.
    pub(crate) fn cookie(&self) -> Result<&SessionCookie> {
        self.cookie.get().ok_or_else(not_attached)
    }

    /// Adds the request headers of credentials to the `Vary` header of `response`.
    pub(crate) fn vary(&self, response: &mut Response<'_>) {
        if self.config.transport != Transport::Header {
            response::vary(response, "Cookie");
        }
        for name in self.headers.iter().flat_map(TokenHeaders::names) {
            response::vary(response, name.clone());
        }
    }

    /// Sets up the session cookie with the secret key of `rocket`.
    pub(crate) fn learn_key(&self, rocket: &rocket::Config) -> Result<()> {
        let cookie = self
            .form
            .with_keys(rocket, &self.config.previous_secret_keys)?;
        // A rocket can be launched again, with the same key.
        let _ = self.cookie.set(cookie);
        Ok(())
    }

    /// Returns whether the fairing is missing, and logs the remedy if so.
    pub(crate) fn missing(rocket: &Rocket<Ignite>) -> bool {
        let missing = rocket.state::<Self>().is_none();
        if missing {
            log::error!("{}", not_attached());
        }
        missing
    }
}

/// Returns the error of a guard without the fairing.
fn not_attached() -> Error {
    Error::new(ErrorKind::Config, "find the sessions").because(
        "the fairing is not attached; add `.attach(Sessions::fairing())` to `rocket::build()`",
    )
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
