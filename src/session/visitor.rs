//! The session's user, age and address.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{FreshLogIn, Session, State};
use crate::change::Change;
use crate::end_reason::EndReason;
use crate::error::Result;
use crate::handle::SessionHandle;

impl Session {
    /// Returns the user who is logged in, if any.
    pub fn user(&self) -> Option<String> {
        self.state.lock().record.user.clone()
    }

    /// Sets the session's user, or with `None` removes it, and changes nothing else.
    ///
    /// For a log-in use [`log_in`](Self::log_in), which also renews the id.
    pub fn set_user(&self, user: Option<&str>) {
        let mut state = self.state.lock();
        if state.record.user.as_deref() != user {
            self.change_user(&mut state, Change::SetUser(user.map(str::to_owned)));
        }
    }

    /// Logs `user` in: sets the session's user and [renews](Self::renew) the id, so that the old
    /// id, which somebody else may know, gives no access.
    ///
    /// The values and the notifications stay, unless a different user was logged in before: a user
    /// never sees the data of another one. The timeouts of the configuration apply, and the absolute
    /// timeout counts from this log-in. [`remember`](FreshLogIn::remember) keeps the session for
    /// longer.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::FromForm;
    /// use rocket::form::Form;
    /// use rocket::post;
    /// use rocket_session_kit::Session;
    ///
    /// #[derive(FromForm)]
    /// struct Login<'r> {
    ///     name: &'r str,
    /// }
    ///
    /// #[post("/login", data = "<login>")]
    /// fn login(login: Form<Login<'_>>, session: &Session) -> String {
    ///     // Check the password first.
    ///     session.log_in(login.name);
    ///     session.user().unwrap_or_default()
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![login], |client| {
    /// # let login = client.post("/login").header(rocket::http::ContentType::Form).body("name=alice");
    /// # assert_eq!(login.dispatch().into_string().unwrap(), "alice");
    /// # });
    /// ```
    pub fn log_in(&self, user: &str) -> FreshLogIn<'_> {
        let mut state = self.state.lock();
        if state.record.user().is_some_and(|other| other != user) {
            state.handed_out.clear();
        }
        state.keep_base_for_renewal();
        let (user, at) = (user.to_owned(), self.manager.clock.seconds());
        self.change_user(&mut state, Change::LogIn { user, at });
        state.renew = true;
        FreshLogIn::of(self)
    }

    /// Logs the visitor out: [ends](Self::end) the session, with everything in it.
    pub fn log_out(&self) {
        self.end();
    }

    /// Logs the user of this session out everywhere else: ends all of their sessions but this one, and
    /// returns how many it ended. It does nothing if no user is logged in.
    ///
    /// # Errors
    ///
    /// If the store fails. Some of the sessions may still be there then.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::post;
    /// use rocket_session_kit::{LoggedIn, Result};
    ///
    /// #[post("/end_others")]
    /// async fn end_others(member: LoggedIn<'_>) -> Result<String> {
    ///     let ended = member.session().end_others().await?;
    ///     Ok(format!("You were logged out from {ended} other places."))
    /// }
    /// # #[post("/login/<name>")]
    /// # fn login(name: &str, session: &rocket_session_kit::Session) { session.log_in(name); }
    /// # rocket_session_kit::testing::doc(rocket::routes![end_others, login], |client| {
    /// # client.post("/login/alice").dispatch();
    /// # let ended = client.post("/end_others").dispatch().into_string().unwrap();
    /// # assert_eq!(ended, "You were logged out from 0 other places.");
    /// # });
    /// ```
    pub async fn end_others(&self) -> Result<u64> {
        let Some(user) = self.user() else {
            return Ok(0);
        };
        let ended = self.manager.end_all_of(&user, Some(&self.ids())).await?;
        Ok(ended.live)
    }

    /// Returns whether it is the session with `handle`.
    pub(crate) fn has_handle(&self, handle: &SessionHandle) -> bool {
        let tag = self.state.lock().record.tag;
        tag.is_some_and(|tag| handle.has_tag(tag))
    }

    /// Returns why the session ended whose cookie or token this request presents, so that a page can
    /// tell the visitor. Returns `None` if the session goes on, or the reason is not known.
    ///
    /// | the session | the reason is known |
    /// |---|---|
    /// | of a user was ended by a method of [`Sessions`](crate::Sessions), by [`end_others`](Self::end_others), or because there were too many | for `idle_timeout`, at most a day |
    /// | of a user timed out | for `sessions.keep_expired`, which is 0 by default |
    /// | ended in another way | usually not: the visitor ended it |
    ///
    /// The reason stays when this request begins a new session. It tells a visitor nothing about
    /// other sessions: only a cookie that opened the session shows it.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::{Request, catch, get};
    /// use rocket_session_kit::{EndReason, LoggedIn, Session};
    ///
    /// #[get("/account")]
    /// fn account(member: LoggedIn<'_>) -> String {
    ///     format!("The account of {}", member.user())
    /// }
    ///
    /// #[catch(401)]
    /// async fn log_in_first(request: &Request<'_>) -> &'static str {
    ///     let session = request.guard::<&Session>().await.succeeded();
    ///     match session.and_then(Session::ended_because) {
    ///         Some(EndReason::EndedElsewhere) => "You were signed out from another place.",
    ///         Some(EndReason::IdleTimeout) => "You were signed out because you were away.",
    ///         _ => "Please log in.",
    ///     }
    /// }
    /// # #[get("/login")]
    /// # fn login(session: &Session) { session.log_in("ann"); }
    /// # let rocket = rocket::build()
    /// #     .attach(rocket_session_kit::Sessions::with(rocket_session_kit::MemoryStore::new()))
    /// #     .register("/", rocket::catchers![log_in_first])
    /// #     .mount("/", rocket::routes![account, login]);
    /// # let client = rocket::local::blocking::Client::tracked(rocket).unwrap();
    /// # let account = || client.get("/account").dispatch().into_string().unwrap();
    /// # assert_eq!(account(), "Please log in.");
    /// # client.get("/login").dispatch();
    /// # assert_eq!(account(), "The account of ann");
    /// # let sessions: &rocket_session_kit::Sessions = client.rocket().state().unwrap();
    /// # rocket_session_kit::testing::run(sessions.end_all_of("ann", None)).unwrap();
    /// # assert_eq!(account(), "You were signed out from another place.");
    /// ```
    pub fn ended_because(&self) -> Option<EndReason> {
        self.ended
    }

    /// Returns whether the session holds anything. An empty one is not saved, and no cookie is set
    /// for it.
    pub fn has_info(&self) -> bool {
        self.state.lock().record.has_info()
    }

    /// Returns when the session began.
    pub fn created_at(&self) -> SystemTime {
        self.state.lock().record.created_at()
    }

    /// Returns the time of the visitor's previous request, up to `touch_every` seconds too early.
    pub fn accessed_at(&self) -> SystemTime {
        self.state.lock().record.accessed_at()
    }

    /// Returns how long ago the session began.
    pub fn age(&self) -> Duration {
        self.manager
            .clock
            .now()
            .duration_since(self.created_at())
            .unwrap_or_default()
    }

    /// Returns the time since the visitor's previous request, up to `touch_every` seconds too long.
    pub fn idle_for(&self) -> Duration {
        self.manager
            .clock
            .now()
            .duration_since(self.accessed_at())
            .unwrap_or_default()
    }

    /// Returns the address of the client that began the session: that of the network peer, whatever
    /// headers it sent. If the peer is one of the `proxies` in `Rocket.toml`, it is the address that the
    /// proxy reports.
    pub fn remote_address(&self) -> Option<IpAddr> {
        self.state.lock().record.remote_address()
    }

    fn change_user(&self, state: &mut State, change: Change) {
        state.guards = true;
        let before = state.record.user.clone();
        match self.change(state, change) {
            Ok(()) => drop(state.owner.get_or_insert(before)),
            Err(error) => state.refused = Some(error),
        }
    }
}
