//! Takes a visitor over from another system, whose credential counts once.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use super::{Credential, Lifecycle, Session, lifecycle};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::manager::{Claim, Presented};

const ACT: &str = "take a visitor over";

/// The visitor to take over.
#[derive(Clone, Copy)]
enum Visitor {
    /// Without a session.
    New,
    /// With a session in which nobody is logged in.
    Anonymous,
    /// Logged in, or with a session that ended or moved a moment ago.
    Other,
}

impl Session {
    /// Takes a visitor over from another system: begins the session of a visitor who comes with
    /// `credential`, and in whose session nobody is logged in. `begin` fills the session, for example
    /// with [`log_in`](Self::log_in). Returns whether it did. If it does nothing, the credential counts
    /// at a later request.
    ///
    /// The credential is a text that the other system gave to one browser and that nobody can guess,
    /// such as the raw value of a cookie that the application used before. Check it first. Call this
    /// before the request changes the session.
    ///
    /// **A credential counts once, whatever happens to the session.** After a log-out it begins no
    /// other session, in no process. Of several requests at the same time, one begins the session; for
    /// a minute, the others without a session reach the same one, and get its cookie. If somebody is
    /// logged in already, the session stays as it is, and the credential is used up.
    ///
    /// The store remembers a credential until `until`, by its SHA-256. Later nothing is taken over.
    /// If the store loses its data earlier, as Memcached does at a restart, credentials count again:
    /// choose a near `until`.
    ///
    /// The session is saved at once, whatever the status of the response.
    ///
    /// # Errors
    ///
    /// If `begin` fails, or the store ([`ErrorKind::Unavailable`]): then nothing is taken over. If a
    /// token in a header identifies the session, or the application's own store keeps no
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
    ///         let until = UNIX_EPOCH + Duration::from_secs(1_798_761_600); // the end of 2026
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
    /// # let clock = rocket_session_kit::Clock::manual();
    /// # let (now, earlier) = (clock.now(), UNIX_EPOCH + Duration::from_secs(1_790_000_000));
    /// # clock.set_back(now.duration_since(earlier).unwrap());
    /// # let figment = rocket::Config::figment().merge(("sessions.store", "memory"));
    /// # let rocket = rocket::custom(figment).manage(clock).mount("/", rocket::routes![index, before]);
    /// # let rocket = rocket.attach(rocket_session_kit::Sessions::fairing());
    /// # let client = rocket::local::blocking::Client::tracked(rocket).unwrap();
    /// # client.get("/before").dispatch();
    /// # for _ in 0..2 {
    /// #     assert_eq!(client.get("/").dispatch().into_string().unwrap(), "ann");
    /// #     assert!(client.cookies().get("name").is_none());
    /// # }
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
        let visitor = self.visitor()?;
        // Other requests of this process wait, so that only one of them saves anything.
        let _one_at_a_time = self.manager.lock_credential(credential).await;
        match (self.manager.claim_on(credential).await?, visitor) {
            (Some(Claim::Recent(id)), Visitor::New) => {
                self.join(id).await?;
                Ok(false)
            }
            (Some(_), _) => Ok(false),
            (None, Visitor::New) => self.begin_once(credential, until, begin).await,
            (None, Visitor::Anonymous) => self.go_on_once(credential, until, begin).await,
            (None, Visitor::Other) => {
                // The credential must not count after the end of the session that is there.
                self.manager.claim(credential, None, until).await?;
                Ok(false)
            }
        }
    }

    fn visitor(&self) -> Result<Visitor> {
        let state = self.state.lock();
        if !state.credential.is_by_cookie() {
            let why = "a token identifies the session, and the client sends it with every request";
            return Err(Error::new(ErrorKind::Unsupported, ACT).because(why));
        }
        match state.lifecycle {
            Lifecycle::Unavailable => Err(lifecycle::store_was_down(ACT)),
            Lifecycle::New if state.credential == Credential::Nothing => Ok(Visitor::New),
            Lifecycle::Stored { emptied: false, .. } if state.record.user.is_none() => {
                Ok(Visitor::Anonymous)
            }
            _ => Ok(Visitor::Other),
        }
    }

    /// Goes on with the anonymous session of the visitor, unless another request with `credential` is
    /// faster.
    async fn go_on_once(
        &self,
        credential: &str,
        until: SystemTime,
        begin: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<bool> {
        let claimed = match begin(self) {
            Ok(()) if self.state.lock().is_unchanged() => Ok(false),
            Ok(()) => self.manager.claim(credential, None, until).await,
            Err(error) => Err(error),
        };
        if !matches!(claimed, Ok(true)) {
            self.state.lock().drop_changes();
            return claimed;
        }
        // If this fails, the changes are sent again before the response.
        self.save().await?;
        Ok(true)
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
        if let Presented::Live(record, version) = self.manager.load(&id).await?
            && record.has_info()
        {
            let state = &mut *self.state.lock();
            // The browser does not have the cookie yet.
            state.credential = Credential::Session {
                id,
                outdated: true,
                moved: false,
            };
            state.adopt(record, version, &self.manager.limits);
            self.personal.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
