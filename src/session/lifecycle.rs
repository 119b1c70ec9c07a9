//! The session's beginning, renewal and end.

use super::{Ending, Over, Presented, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::record::Record;

impl Session {
    /// Returns whether the visitor has no session in the store yet.
    pub fn is_new(&self) -> bool {
        self.state.lock().held.is_none()
    }

    /// Returns the id under which the store has the session; `None` while it is new.
    ///
    /// It is for the server's own use, say to [end](crate::Sessions::end) the session later. It
    /// opens nothing in a browser, but should not be shown to one.
    pub fn id(&self) -> Option<SessionId> {
        self.state.lock().held.map(|held| held.id)
    }

    /// Returns who the rate limit takes the visitor for; `None` unless the store has had the session
    /// for longer than `window` seconds.
    pub(crate) fn settled_tag(&self, window: u64) -> Option<String> {
        let state = self.state.lock();
        let held = state.held.filter(|_| state.over.is_none())?;
        let now = self.keeper.clock.seconds();
        let age = now.checked_sub(state.record.created)?;
        // A record that this crate did not write has no tag.
        let tag = state.record.tag.map(|tag| format!("{tag:016x}"));
        (age > window).then(|| tag.unwrap_or_else(|| held.id.to_hex()))
    }

    /// Gives the session a new id when it is saved, and the browser a new cookie. The old cookie
    /// opens nothing then.
    ///
    /// Do it whenever the visitor rises in privilege. [`log_in`](Self::log_in) does it itself.
    ///
    /// A session that is found by a token in a header keeps its id, which is made of the token: no
    /// page can plant one.
    pub fn renew(&self) {
        self.state.lock().renew = true;
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
    /// # use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// fn count(session: &Session) -> Result<String> {
    ///     Ok(session.increment("visits", 1)?.to_string())
    /// }
    ///
    /// # /*
    /// #[post("/forget")]
    /// # */
    /// #[get("/forget")]
    /// fn forget(session: &Session) {
    ///     session.end();
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![count, forget], |client| {
    /// # client.get("/").dispatch();
    /// # client.get("/forget").dispatch();
    /// # assert!(client.cookies().iter().next().is_none());
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "1");
    /// # });
    /// ```
    pub fn end(&self) {
        let state = &mut *self.state.lock();
        match (state.held.take(), state.over, state.presented) {
            (Some(held), ..) => {
                state.ending = Some(Ending {
                    id: held.id,
                    revision: Some(held.revision),
                    tag: state.record.tag,
                });
            }
            (
                None,
                Some(Over::Unavailable),
                Presented::Session { id, .. } | Presented::Token(id),
            ) => {
                state.ending = Some(Ending {
                    id,
                    revision: None,
                    tag: None,
                });
            }
            _ => {}
        }
        state.record = Record::new(self.keeper.clock.seconds(), state.record.address);
        state.changes.clear();
        state.base = None;
        state.handed.clear();
        state.refused = None;
        state.renew = false;
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
    /// # use rocket::get;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// async fn order(session: &Session) -> Result<&'static str> {
    ///     session.insert("order", 4711)?;
    ///     session.save().await?;
    ///     Ok("We have it, whatever happens to this answer.")
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![order], |client| {
    /// # assert_eq!(client.get("/").dispatch().status(), rocket::http::Status::Ok);
    /// # });
    /// ```
    pub async fn save(&self) -> Result<()> {
        self.send_changes().await?;
        match self.state.lock().over {
            None => Ok(()),
            Some(Over::Gone) => Err(Error::new(ErrorKind::Closed, "save the session")
                .because("it ended while this request was under way")),
            Some(Over::Unavailable) => Err(Error::new(ErrorKind::Unavailable, "save the session")
                .because("the store was down when it was to be loaded")),
        }
    }
}
