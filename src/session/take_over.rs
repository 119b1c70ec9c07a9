//! Takes a visitor over from another system, whose credential begins one session and never a second one.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::{Credential, Lifecycle, Session, lifecycle};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::manager::{Claim, Lookup};

impl Session {
    /// Takes a visitor over from another system: begins the session of a request that comes with
    /// `credential` and without a session. `begin` fills it, for example with
    /// [`log_in`](Self::log_in). Returns whether the session began.
    ///
    /// The credential is a text that the other system gave to one browser and that nobody can guess,
    /// such as the raw value of a cookie that the application used before. Check it first.
    ///
    /// **A credential begins one session, whatever happens to that session.** After a log-out it
    /// begins no other, in no process. Of several requests at the same time, one begins the session. For
    /// a minute, the others reach the same session, and get its cookie. If a request already has a
    /// session, its credential is used up, and begins none.
    ///
    /// The store remembers a credential until `until`, by its SHA-256. Later nothing is taken over.
    /// If the store loses its data earlier, as Memcached does at a restart, credentials begin sessions
    /// again: choose a near `until`.
    ///
    /// The session is saved at once, whatever the status of the response.
    ///
    /// # Errors
    ///
    /// If `begin` fails, or the store ([`ErrorKind::Unavailable`]): then no session begins. If a token in
    /// a header identifies the session, or the application's own store keeps no
    /// [entries](crate::store::SessionStore::key_value) ([`ErrorKind::Unsupported`]).
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::time::{Duration, UNIX_EPOCH};
    ///
    /// use rocket::get;
    /// use rocket::http::CookieJar;
    /// use rocket_session_kit::{Result, Session};
    ///
    /// #[get("/")]
    /// async fn index(jar: &CookieJar<'_>, session: &Session) -> Result<String> {
    ///     // The application used to keep the name of the user in a private cookie.
    ///     if let (Some(raw), Some(name)) = (jar.get("name"), jar.get_private("name")) {
    ///         let until = UNIX_EPOCH + Duration::from_secs(1_893_456_000); // 2030-01-01
    ///         let log_in = |session: &Session| {
    ///             session.log_in(name.value());
    ///             Ok(())
    ///         };
    ///         session.take_over(raw.value(), until, log_in).await?;
    ///         jar.remove_private("name");
    ///     }
    ///     Ok(session.user().unwrap_or("nobody".into()))
    /// }
    /// # #[get("/before")]
    /// # fn before(jar: &CookieJar<'_>) {
    /// #     jar.add_private(("name", "ann"));
    /// # }
    /// # rocket_session_kit::testing::doc(rocket::routes![index, before], |client| {
    /// #     client.get("/before").dispatch();
    /// #     for _ in 0..2 {
    /// #         assert_eq!(client.get("/").dispatch().into_string().unwrap(), "ann");
    /// #         assert!(client.cookies().get("name").is_none());
    /// #     }
    /// # });
    /// ```
    pub async fn take_over(
        &self,
        credential: &str,
        until: SystemTime,
        begin: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<bool> {
        if self.manager.clock.now() >= until {
            return Ok(false);
        }
        let is_new = self.can_begin()?;
        match self.manager.claim_on(credential).await? {
            Some(Claim::Recent(id)) if is_new => {
                self.join(id).await?;
                Ok(false)
            }
            Some(_) => Ok(false),
            None if is_new => self.begin_once(credential, until, begin).await,
            None => {
                // The credential must not come back after the end of the session that is there.
                self.manager.claim(credential, None, until).await?;
                Ok(false)
            }
        }
    }

    /// Returns whether the request has no session, and none that ended or moved a moment ago.
    fn can_begin(&self) -> Result<bool> {
        let state = self.state.lock();
        match (state.lifecycle, state.credential) {
            (Lifecycle::Unavailable, _) => Err(lifecycle::store_was_down("take a visitor over")),
            (Lifecycle::New, Credential::Token(_) | Credential::NoToken) => {
                let why =
                    "a token identifies the session, and the visitor sends it at every request";
                Err(Error::new(ErrorKind::Unsupported, "take a visitor over").because(why))
            }
            (Lifecycle::New, Credential::Nothing) => Ok(state.end_target.is_none()),
            _ => Ok(false),
        }
    }

    /// Begins the session that `begin` fills, unless another request with `credential` is faster.
    async fn begin_once(
        &self,
        credential: &str,
        until: SystemTime,
        begin: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<bool> {
        let begun = match begin(self) {
            Ok(()) => self.save().await,
            error => error,
        };
        if let Err(error) = begun {
            // Else the session would be saved with the response.
            self.end();
            return Err(error);
        }
        let Some(version) = self.state.lock().lifecycle.version() else {
            return Ok(false);
        };
        // The session is in the store before the claim names it, so that another request finds it.
        let claimed = self.manager.claim(credential, Some(version.id), until);
        match claimed.await {
            Ok(true) => Ok(true),
            other => {
                self.end();
                self.send_changes().await?;
                other?;
                if let Some(Claim::Recent(id)) = self.manager.claim_on(credential).await? {
                    self.join(id).await?;
                }
                Ok(false)
            }
        }
    }

    /// Goes on with the session under `id`, which another request of the visitor began.
    async fn join(&self, id: SessionId) -> Result<()> {
        if let Lookup::Live(record, version) = self.manager.load(&id).await?
            && record.has_info()
        {
            let state = &mut *self.state.lock();
            // The browser does not have the cookie yet.
            state.credential = Credential::Session { id, outdated: true };
            state.adopt(record, version, &self.manager.limits);
            self.personal.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
