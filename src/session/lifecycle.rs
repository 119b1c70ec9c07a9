//! The session's beginning, renewal and end.

use super::form_tokens::random as random_token;
use super::{CookieAction, Credential, Over, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::header;
use crate::id::SessionId;
use crate::manager::{Ending, Lookup, Seen, same};
use crate::record::Record;

impl Session {
    /// Returns whether the visitor has no session in the store yet.
    pub fn is_new(&self) -> bool {
        self.state.lock().is_new()
    }

    /// Returns the id under which the store has the session, or will have it once this request's
    /// changes are saved: after a [log-in](Self::log_in) or a [renewal](Self::renew) it is the new
    /// one. `None` while there is nothing in the session.
    ///
    /// It is for the server's own use, say to [end](crate::Sessions::end) the session later. It
    /// opens nothing in a browser, but should not be shown to one.
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
        if state.over.is_some() || !state.record.has_info() {
            return None;
        }
        match (state.credential, state.version) {
            (Credential::Token(id), _) => Some(id),
            (Credential::NoToken, _) => None,
            (_, Some(version)) if !state.renew => Some(version.id),
            (Credential::Stale(_), None) if !state.renew => None,
            _ => Some(state.next_id()),
        }
    }

    /// Returns the ids under which the session may be found until this request ends: the present one
    /// and the next.
    pub(crate) fn ids(&self) -> [Option<SessionId>; 2] {
        let state = self.state.lock();
        [state.version.map(|version| version.id), state.next_id]
    }

    /// Returns who the rate limit takes the visitor for; `None` unless the store has had the session
    /// for longer than `window` seconds.
    pub(crate) fn settled_tag(&self, window: u64) -> Option<String> {
        let state = self.state.lock();
        let version = state.version.filter(|_| state.over.is_none())?;
        let now = self.manager.clock.seconds();
        let age = now.checked_sub(state.record.created)?;
        // A record that this crate did not write has no tag.
        let tag = state.record.tag.map(|tag| format!("{tag:016x}"));
        (age > window).then(|| tag.unwrap_or_else(|| version.id.to_hex()))
    }

    /// Gives the session a new id when it is saved, and the browser a new cookie. The old cookie
    /// opens nothing then.
    ///
    /// Do it whenever the visitor rises in privilege. [`log_in`](Self::log_in) does it itself.
    ///
    /// A session that is found by a token in a header keeps its id, which is made of the token: no
    /// page can plant one.
    pub fn renew(&self) {
        let state = &mut *self.state.lock();
        state.keep_base_for_renewal();
        state.renew = true;
    }

    /// Makes a token for the session that begins with this request, and returns it. The client sends
    /// it in the first of the `sessions.header.names` with its next requests, and they find the
    /// session.
    ///
    /// The token has 256 random bits. The server keeps a hash of it and cannot show it again. Put
    /// something into the session, or [log the client in](Self::log_in): an empty one is not kept.
    ///
    /// # Errors
    ///
    /// When `sessions.transport` is `"cookie"` ([`ErrorKind::Config`]), or the request brought a
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
                "sessions are found by cookies; set `sessions.transport` to \"header\" or \"both\"";
            return Err(Error::new(ErrorKind::Config, ACT).because(why));
        };
        let state = &mut *self.state.lock();
        if state.version.is_some() || state.over.is_some() {
            let why = "the request brought a session, which its own token or cookie finds";
            return Err(Error::new(ErrorKind::Unsupported, ACT).because(why));
        }
        let token = random_token();
        state.credential = Credential::Token(header::id(header, &token));
        state.cookie_action = CookieAction::Token;
        Ok(token)
    }

    /// Ends the session, and everything in it, for good. What is inserted after this begins a new
    /// one.
    ///
    /// The store is told when the answer leaves, whatever its status. If it cannot be told, the
    /// visitor gets a 503 instead of the answer. Another request of the visitor that is still under
    /// way brings nothing back.
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
        let (seen, tag) = match &state.version {
            Some(version) => (Some(Seen::new(&state.record, version)), state.record.tag),
            None => (None, None),
        };
        let id = match (state.version.take(), state.over, state.credential) {
            (Some(version), ..) => Some(version.id),
            // Its mark tells where it went.
            (None, None, Credential::Stale(id)) => Some(id),
            (
                None,
                Some(Over::Unavailable),
                Credential::Session { id, .. } | Credential::Stale(id) | Credential::Token(id),
            ) => Some(id),
            _ => None,
        };
        if let Some(id) = id {
            state.ending = Some(Ending {
                tag,
                seen,
                ..Ending::of(id)
            });
        }
        state.drop_changes();
        state.record = Record::new(self.manager.clock.seconds(), state.record.address);
        state.handed.clear();
        (state.emptied, state.next_id) = (false, None);
    }

    /// Loads the session anew, for streams and WebSockets, which go on for long: others' changes are
    /// seen from here on, and this request's own are made to them. Returns whether the session goes
    /// on; `false` means that it ended, that another request took out the last it had, or that it went
    /// on under another id after a log-in or a renewal. Then there is nothing in it any more, not
    /// even this request's changes, and the stream should end.
    ///
    /// # Errors
    ///
    /// When the store fails.
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
            match (state.over, state.version) {
                (Some(Over::Unavailable), _) => return Err(was_down("load the session")),
                (Some(Over::Gone), _) | (None, None) => return Ok(false),
                (None, Some(version)) => (version, state.record.tag),
            }
        };
        let found = self.manager.reload(&version.id).await?;
        let state = &mut *self.state.lock();
        match found {
            Lookup::Live(record, version) if same(tag, record.tag) && record.has_info() => {
                state.see(record, version, &self.manager.limits);
                Ok(true)
            }
            _ => {
                state.lose();
                state.drop_changes();
                state.record = Record::new(self.manager.clock.seconds(), state.record.address);
                Ok(false)
            }
        }
    }

    /// Saves now what has changed so far, instead of when the answer leaves.
    ///
    /// For handlers that want the error, and for streams and WebSockets, which go on when the
    /// answer's head, and with it the cookie, has left.
    ///
    /// # Errors
    ///
    /// When the store fails ([`ErrorKind::Unavailable`]); when the session ended meanwhile, or its
    /// cookie could no longer be set ([`ErrorKind::Closed`]); when what this request and others put
    /// into the session outgrows its limits or is not of one type ([`ErrorKind::Limit`],
    /// [`ErrorKind::Value`]). Where trying again makes sense, the changes wait for it.
    ///
    /// Whoever does not wait for it until it returns, say for a timeout of their own, does not know
    /// whether the store has the changes; they are sent again when the answer leaves.
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
    ///     Ok("We have it, whatever happens to this answer.")
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![order], |client| {
    /// # assert_eq!(client.post("/order").dispatch().status(), rocket::http::Status::Ok);
    /// # });
    /// ```
    pub async fn save(&self) -> Result<()> {
        self.send_changes().await?;
        match self.state.lock().over {
            None => Ok(()),
            Some(Over::Gone) => Err(Error::new(ErrorKind::Closed, "save the session")
                .because("it ended while this request was under way")),
            Some(Over::Unavailable) => Err(was_down("save the session")),
        }
    }
}

fn was_down(act: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, act).because("the store was down when it was to be loaded")
}
