//! The managed state [`Sessions`], which lists and ends an application's sessions.

use std::sync::{Arc, OnceLock};

use rocket::futures::stream::BoxStream;
use rocket::futures::{StreamExt, TryStreamExt};
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};

use crate::app::{App, not_attached};
use crate::dispatch::{self, Active};
use crate::ended_here::EndedHere;
use crate::error::{Error, Result};
use crate::handle::SessionHandle;
use crate::id::SessionId;
use crate::manager::EndTarget;
use crate::record::Record;
use crate::session::Session;
use crate::store::{SessionStore, Swept};
use crate::user_session::UserSession;

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
    app: Arc<App>,
    /// The sessions that this request has ended.
    ended: EndedHere,
}

/// The [`Sessions`] of one request.
#[derive(Default)]
struct OfRequest(OnceLock<(Sessions, Active)>);

impl Sessions {
    pub(crate) fn new(app: App) -> Self {
        Self {
            app: Arc::new(app),
            ended: EndedHere::default(),
        }
    }

    /// Returns the store, for operations that have no method here.
    pub fn store(&self) -> &Arc<dyn SessionStore> {
        self.app.manager.store()
    }

    /// Returns a stream of all sessions, in no particular order, for an administrative page. They
    /// are loaded one after the other.
    ///
    /// A session that begins or ends in the meantime may or may not be included. Invalid records are
    /// skipped with a warning in the log. Tombstones and emptied sessions are skipped too.
    ///
    /// The stream yields an `Err` if the store fails.
    pub fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Record)>> {
        let all = self.app.manager.store().iter_sessions();
        all.try_filter_map(async |(id, stored)| {
            let Some(record) = Record::listed(stored.bytes, &id) else {
                return Ok(None);
            };
            // A copy of an ended session stays in the store until it is loaded or expires.
            let manager = &self.app.manager;
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
        self.app.manager.store().delete_old_sessions(minutes).await
    }

    /// Ends the session under `id` for good, as [`Session::end`](Session::end) does, and returns
    /// whether there was one. A concurrent request of the session cannot bring it back.
    ///
    /// # Errors
    ///
    /// If the store fails. The session may still be there then.
    pub async fn end(&self, id: &SessionId) -> Result<bool> {
        let ended = self.app.manager.end(EndTarget::new(*id)).await?;
        if ended {
            self.ended.note([*id]);
        }
        Ok(ended)
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
        let except = except.map(Session::ids);
        let ended = self.app.manager.end_all_of(user, except.as_ref()).await?;
        self.ended.note(ended.ids);
        Ok(ended.live)
    }

    /// Returns the sessions in which `user` is logged in, the last used first, for a page such as
    /// "where you are logged in".
    ///
    /// It loads the sessions of this user and no others, if the store [keeps entries](SessionStore::key_value),
    /// as the stores of this crate do. With another store it lists all sessions.
    ///
    /// # Errors
    ///
    /// If the store fails.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::{get, post};
    /// use rocket_session_kit::{LoggedIn, Result, SessionHandle, Sessions};
    ///
    /// #[get("/sessions")]
    /// async fn list(member: LoggedIn<'_>, sessions: &Sessions) -> Result<String> {
    ///     let mut lines = String::new();
    ///     for place in sessions.of_user(member.user()).await? {
    ///         let here = if place.is_current(member.session()) { " (here)" } else { "" };
    ///         let browser = place.user_agent().unwrap_or("unknown").to_owned();
    ///         lines += &format!("{} {browser}{here}\n", place.handle());
    ///     }
    ///     Ok(lines)
    /// }
    ///
    /// #[post("/sessions/<handle>/end")]
    /// async fn end(handle: SessionHandle, _member: LoggedIn<'_>, sessions: &Sessions) -> Result<String> {
    ///     Ok(sessions.end_by(&handle).await?.to_string())
    /// }
    /// # #[post("/login/<name>")]
    /// # fn login(name: &str, session: &rocket_session_kit::Session) { session.log_in(name); }
    /// # rocket_session_kit::testing::doc(rocket::routes![list, end, login], |client| {
    /// # client.post("/login/alice").header(rocket::http::Header::new("User-Agent", "Firefox")).dispatch();
    /// # let list = client.get("/sessions").dispatch().into_string().unwrap();
    /// # assert!(list.ends_with(" Firefox (here)\n"), "{list}");
    /// # let end = format!("/sessions/{}/end", &list[..43]);
    /// # assert_eq!(client.post(end).dispatch().into_string().unwrap(), "true");
    /// # });
    /// ```
    pub async fn of_user(&self, user: &str) -> Result<Vec<UserSession>> {
        let sessions = self.app.manager.sessions_of(user).await?;
        Ok(sessions.into_iter().map(UserSession::new).collect())
    }

    /// Ends the session with `handle`, with all its copies, and returns whether there was one.
    ///
    /// If the handle is that of a session without a user, all sessions of the store are listed to find it.
    ///
    /// A handle is not bound to the user who sends it: it is as hard to guess as the id of a session.
    ///
    /// # Errors
    ///
    /// If the store fails. The session may still be there then.
    pub async fn end_by(&self, handle: &SessionHandle) -> Result<bool> {
        let ended = self.app.manager.end_by(handle).await?;
        self.ended.note(ended.ids);
        Ok(ended.live > 0)
    }

    /// Returns the sessions of the application that handles `request`.
    pub(crate) fn of<'r>(request: &'r Request<'_>) -> Result<&'r App> {
        let sessions = request.rocket().state::<Self>().ok_or_else(not_attached)?;
        Ok(&sessions.app)
    }

    /// Returns the value of the guard: it notes for `request` which sessions it ends.
    fn for_request<'r>(&self, request: &'r Request<'_>) -> &'r Self {
        let noting = dispatch::state::<OfRequest>(request);
        let (sessions, _) = noting.0.get_or_init(|| {
            let sessions = Self {
                app: Arc::clone(&self.app),
                ended: EndedHere::of(request),
            };
            (sessions, self.app.active.enter())
        });
        sessions
    }

    /// Returns the sessions of this application.
    pub(crate) fn app(&self) -> &App {
        &self.app
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

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Sessions {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match request.rocket().state::<Sessions>() {
            Some(sessions) => Outcome::Success(sessions.for_request(request)),
            None => Outcome::Error((not_attached().status(), not_attached())),
        }
    }
}

impl Sentinel for &Sessions {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
