//! The session's id, and its renewal, end, reload and save.

use super::form_tokens::random as random_token;
use super::{CookieAction, Credential, Lifecycle, Session};
use crate::end_reason::EndReason;
use crate::error::{Error, ErrorKind, Result};
use crate::header;
use crate::id::SessionId;
use crate::manager::{EndTarget, Lookup, ObservedRevision, is_same_session};
use crate::record::Record;

impl Session {
    /// Returns whether the store has no session of this visitor yet.
    pub fn is_new(&self) -> bool {
        self.state.lock().is_new()
    }

    /// Returns the id of the session in the store, or the id that it gets when this request's
    /// changes are saved: after a [log-in](Self::log_in) or a [renewal](Self::renew) it is the new
    /// one. Returns `None` while the session is empty.
    ///
    /// With `sessions.renew_every`, the end of a later request can change it.
    ///
    /// The id is for use on the server, for example to [end](crate::Sessions::end) the session
    /// later. It gives no access from a browser, but should not be shown to one.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::post;
    /// use rocket_session_kit::{Result, Session, Sessions};
    ///
    /// #[post("/login/<name>")]
    /// fn login(name: &str, session: &Session) -> String {
    ///     session.log_in(name);
    ///     let id = session.id().expect("a user is logged in");
    ///     // Note `id` beside the user's account, for a page that lists and ends sessions.
    ///     id.to_hex()
    /// }
    ///
    /// #[post("/end/<id>")]
    /// async fn end(id: &str, sessions: &Sessions) -> Result<String> {
    ///     Ok(sessions.end(&id.parse()?).await?.to_string())
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![login, end], |client| {
    /// # let id = client.post("/login/alice").dispatch().into_string().unwrap();
    /// # assert_eq!(client.post(format!("/end/{id}")).dispatch().into_string().unwrap(), "true");
    /// # });
    /// ```
    pub fn id(&self) -> Option<SessionId> {
        let state = &mut *self.state.lock();
        if !state.lifecycle.is_active() || !state.record.has_info() {
            return None;
        }
        match (state.credential, state.lifecycle.version()) {
            (Credential::Token(id), _) => Some(id),
            (Credential::NoToken, _) => None,
            (_, Some(version)) if !state.renew => Some(version.id),
            (Credential::Stale(_), None) if !state.renew => None,
            _ => Some(state.next_id()),
        }
    }

    /// Returns the ids that the session can have until this request ends: the present one and the
    /// next.
    pub(crate) fn ids(&self) -> [Option<SessionId>; 2] {
        let state = self.state.lock();
        let version = state.lifecycle.version();
        [version.map(|version| version.id), state.next_id]
    }

    /// Returns the id in the cookie that the request presented.
    pub(crate) fn presented(&self) -> Option<SessionId> {
        match self.state.lock().credential {
            Credential::Session { id, .. } | Credential::Stale(id) => Some(id),
            Credential::Nothing | Credential::Token(_) | Credential::NoToken => None,
        }
    }

    /// Returns the name under which the rate limit counts the visitor; `None` unless the session
    /// has been in the store for more than `window` seconds.
    pub(crate) fn settled_tag(&self, window: u64) -> Option<String> {
        let state = self.state.lock();
        let version = state.lifecycle.version()?;
        let now = self.manager.clock.seconds();
        let age = now.checked_sub(state.record.created)?;
        // Sessions that this crate did not write have no tag.
        let tag = state.record.tag.map(|tag| format!("{tag:016x}"));
        (age > window).then(|| tag.unwrap_or_else(|| version.id.to_hex()))
    }

    /// Gives the session a new id with the next save, and the browser a new cookie.
    ///
    /// For the seconds of `sessions.renewal_grace`, a request with the old cookie still reaches the
    /// session, and gets the new cookie: its browser may not have received it. If this request
    /// changes the user too, there is no such grace.
    ///
    /// When the visitor gains privileges, the old cookie must give no access at once. Use
    /// [`log_in`](Self::log_in) or [`reauthenticate`](Self::reauthenticate) then. Both renew the id
    /// without a grace. `sessions.renew_every` renews ids by their age.
    ///
    /// A session that is identified by a token in a header keeps its id, which is derived from the
    /// token. No other page can set such a token.
    pub fn renew(&self) {
        let state = &mut *self.state.lock();
        state.keep_base_for_renewal();
        state.renew = true;
    }

    /// Returns a new token for the session that begins with this request. The client sends it with
    /// its next requests, in the first of the headers in `sessions.header.names`.
    ///
    /// The token has 256 random bits. The server stores only a hash of it and cannot show it again.
    /// Put a value into the session, or [log the client in](Self::log_in): an empty session is not
    /// saved.
    ///
    /// # Errors
    ///
    /// If `sessions.transport` is `"cookie"` ([`ErrorKind::Config`]), or the request presented a
    /// session ([`ErrorKind::Unsupported`]).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::post;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[post("/tokens/<name>")]
    /// fn token(name: &str, session: &Session) -> Result<String> {
    ///     // Check the client's password first.
    ///     session.log_in(name);
    ///     session.issue_token()
    /// }
    /// # let figment = rocket::Config::figment().merge(("sessions.transport", "header"));
    /// # let rocket = rocket::custom(figment).mount("/", rocket::routes![token]);
    /// # let rocket = rocket.attach(rocket_session_kit::Sessions::with(rocket_session_kit::MemoryStore::new()));
    /// # let client = rocket::local::blocking::Client::tracked(rocket).unwrap();
    /// # assert_eq!(client.post("/tokens/alice").dispatch().into_string().unwrap().len(), 43);
    /// ```
    pub fn issue_token(&self) -> Result<String> {
        const ACT: &str = "issue a token";
        let Some(header) = &self.manager.token_header else {
            let why =
                "sessions use cookies only; set `sessions.transport` to \"header\" or \"both\"";
            return Err(Error::new(ErrorKind::Config, ACT).because(why));
        };
        let state = &mut *self.state.lock();
        if !matches!(state.lifecycle, Lifecycle::New) {
            let why = "the request already has a session, with its own token or cookie";
            return Err(Error::new(ErrorKind::Unsupported, ACT).because(why));
        }
        let token = random_token();
        state.credential = Credential::Token(header::id(header, &token));
        state.cookie_action = CookieAction::Token;
        Ok(token)
    }

    /// Ends the session, with everything in it, for good. A later insert in the same request begins
    /// a new session.
    ///
    /// The session ends in the store before the response is sent, whatever its status. If the store
    /// fails, the visitor gets a 503 instead of the response. Other requests of the visitor that
    /// are still running cannot bring the session back.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::{get, post};
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// fn count(session: &Session) -> Result<String> {
    ///     Ok(session.increment("visits", 1)?.to_string())
    /// }
    ///
    /// #[post("/forget")]
    /// fn forget(session: &Session) {
    ///     session.end();
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![count, forget], |client| {
    /// # client.get("/").dispatch();
    /// # client.post("/forget").dispatch();
    /// # assert!(client.cookies().iter().next().is_none());
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "1");
    /// # });
    /// ```
    pub fn end(&self) {
        let state = &mut *self.state.lock();
        if let Lifecycle::Stored { .. } = state.lifecycle {
            state.ended_user = state.stored_user().map(str::to_owned);
        }
        let end_target = match (state.lifecycle, state.credential) {
            (Lifecycle::Stored { version, .. }, _) => Some(EndTarget {
                tag: state.record.tag,
                observed: Some(ObservedRevision::new(
                    &self.manager,
                    &state.record,
                    &version,
                )),
                ..EndTarget::new(version.id)
            }),
            // Its tombstone leads to the new id.
            (Lifecycle::New, Credential::Stale(id))
            | (
                Lifecycle::Unavailable,
                Credential::Session { id, .. } | Credential::Stale(id) | Credential::Token(id),
            ) => Some(EndTarget::new(id)),
            _ => None,
        };
        let own = end_target.map(|end_target| EndTarget {
            reason: EndReason::LoggedOut,
            address: self.client,
            ..end_target
        });
        state.end_target = own.or(state.end_target);
        state.drop_changes();
        state.record = Record::new(self.manager.clock.seconds(), state.record.address);
        state.handed_out.clear();
        state.next_id = None;
        if let Lifecycle::Stored { .. } = state.lifecycle {
            state.lifecycle = Lifecycle::New;
        }
    }

    /// Loads the session again, for streams and WebSockets, which run for a long time. The session
    /// then shows the changes of other requests, and this request's own changes are made to them.
    /// Returns `false` if the session has ended, was emptied by another request, or moved to another
    /// id: at a log-in, or at a renewal more than `sessions.renewal_grace` seconds ago. It is then
    /// empty, without this request's changes, and the stream should end.
    ///
    /// # Errors
    ///
    /// If the store fails.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket::response::stream::{Event, EventStream};
    /// use rocket_session_kit::Session;
    /// use rocket::tokio::time::{self, Duration};
    ///
    /// #[get("/events")]
    /// fn events(session: &Session) -> EventStream![Event + '_] {
    ///     EventStream! {
    ///         while session.reload().await.unwrap_or(false) {
    ///             yield Event::data(session.keys().join(", "));
    ///             time::sleep(Duration::from_secs(1)).await;
    ///         }
    ///     }
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![events], |client| {
    /// # // A visitor without a session has nothing to wait for.
    /// # assert_eq!(client.get("/events").dispatch().status(), rocket::http::Status::Ok);
    /// # });
    /// ```
    pub async fn reload(&self) -> Result<bool> {
        self.send_if_unanswered().await?;
        let _one_at_a_time = self.saving.lock().await;

        let (version, tag) = {
            let state = self.state.lock();
            match state.lifecycle {
                Lifecycle::Unavailable => return Err(store_was_down("load the session")),
                Lifecycle::Gone | Lifecycle::New => return Ok(false),
                Lifecycle::Stored { version, .. } => (version, state.record.tag),
            }
        };
        let found = match self.manager.reload(&version.id).await? {
            // In a box, because it is rare, and every reload would have a larger future.
            Lookup::Tombstone(next, Some(grace)) => {
                Box::pin(self.manager.follow_in_grace(next, grace, tag)).await?
            }
            found => found,
        };
        let state = &mut *self.state.lock();
        match found {
            Lookup::Live(record, version)
                if is_same_session(tag, record.tag) && record.has_info() =>
            {
                state.credential = state.credential.of_version(&version);
                state.adopt(record, version, &self.manager.limits);
                Ok(true)
            }
            _ => {
                state.set_gone();
                state.drop_changes();
                state.record = Record::new(self.manager.clock.seconds(), state.record.address);
                Ok(false)
            }
        }
    }

    /// Saves the changes so far, instead of just before the response is sent.
    ///
    /// Use it in a handler that needs to see the error, and in streams and WebSockets, which go on
    /// after the response's headers, and with them the cookie, were sent.
    ///
    /// # Errors
    ///
    /// If the store fails ([`ErrorKind::Unavailable`]); if the session ended meanwhile, or its
    /// cookie can no longer be set ([`ErrorKind::Closed`]); if the merged changes of this request
    /// and others exceed a limit or have conflicting types ([`ErrorKind::Limit`],
    /// [`ErrorKind::Value`]). If a retry makes sense, the changes are kept for it.
    ///
    /// If the returned future is dropped early, for example by a timeout, the outcome is unknown.
    /// The changes are then sent again before the response is sent.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::post;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[post("/order")]
    /// async fn order(session: &Session) -> Result<&'static str> {
    ///     session.insert("order", 4711)?;
    ///     session.save().await?;
    ///     Ok("Your order is saved, whatever happens to this response.")
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![order], |client| {
    /// # assert_eq!(client.post("/order").dispatch().status(), rocket::http::Status::Ok);
    /// # });
    /// ```
    pub async fn save(&self) -> Result<()> {
        self.send_changes().await?;
        match self.state.lock().lifecycle {
            Lifecycle::New | Lifecycle::Stored { .. } => Ok(()),
            Lifecycle::Gone => Err(Error::new(ErrorKind::Closed, "save the session")
                .because("it ended while this request was running")),
            Lifecycle::Unavailable => Err(store_was_down("save the session")),
        }
    }
}

pub(super) fn store_was_down(act: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, act)
        .because("the store was down when the session was loaded")
}
