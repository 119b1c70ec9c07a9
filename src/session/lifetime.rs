//! The timeouts of this session alone, and the log-in that is remembered.

use std::fmt;
use std::time::Duration;

use super::Session;
use crate::change::Change;
use crate::record::OwnTimeouts;

/// The longest timeout of a session in seconds, which every store can keep: a century.
const LONGEST: u64 = 100 * 365 * 86_400;

impl Session {
    /// Sets the time without a request after which this session ends, instead of
    /// `sessions.idle_timeout`. It counts in whole seconds, at least one.
    ///
    /// It holds for this session until the next [log-in](Self::log_in). With a `sessions.policy`, it
    /// is at most what the policy allows.
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::time::Duration;
    ///
    /// use rocket::post;
    /// use rocket_session_kit::Session;
    ///
    /// #[post("/login-at-a-public-computer/<name>")]
    /// fn log_in(name: &str, session: &Session) -> String {
    ///     // Check the password first.
    ///     session.log_in(name);
    ///     session.set_idle_timeout(Duration::from_secs(5 * 60));
    ///     session.user().unwrap_or_default()
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![log_in], |client| {
    /// # let login = client.post("/login-at-a-public-computer/alice").dispatch();
    /// # assert_eq!(login.into_string().unwrap(), "alice");
    /// # });
    /// ```
    pub fn set_idle_timeout(&self, timeout: Duration) {
        self.set_timeouts(OwnTimeouts {
            idle: Some(seconds(timeout)),
            ..OwnTimeouts::default()
        });
    }

    /// Sets the time after which this session ends even if it is in use, instead of
    /// `sessions.absolute_timeout`. It counts from the log-in, or from the beginning of the session
    /// if nobody is logged in, in whole seconds, at least one.
    ///
    /// It holds for this session until the next [log-in](Self::log_in). With a `sessions.policy`, it
    /// is at most what the policy allows.
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::time::Duration;
    ///
    /// use rocket::post;
    /// use rocket_session_kit::Session;
    ///
    /// #[post("/login/<name>")]
    /// fn log_in(name: &str, session: &Session) -> String {
    ///     session.log_in(name);
    ///     if name == "admin" {
    ///         session.set_absolute_timeout(Duration::from_secs(3600));
    ///     }
    ///     session.user().unwrap_or_default()
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![log_in], |client| {
    /// # assert_eq!(client.post("/login/admin").dispatch().into_string().unwrap(), "admin");
    /// # });
    /// ```
    pub fn set_absolute_timeout(&self, timeout: Duration) {
        self.set_timeouts(OwnTimeouts {
            absolute: Some(seconds(timeout)),
            ..OwnTimeouts::default()
        });
    }

    fn set_timeouts(&self, own: OwnTimeouts) {
        let state = &mut *self.state.lock();
        self.change(state, Change::SetTimeouts(own))
            .expect("a timeout is refused nothing");
    }
}

/// Returns a timeout in whole seconds.
fn seconds(timeout: Duration) -> u64 {
    timeout.as_secs().clamp(1, LONGEST)
}

/// A log-in that was made just now, as [`Session::log_in`] returns it.
///
/// It can be dropped: the user is logged in anyway.
pub struct FreshLogIn<'s> {
    session: &'s Session,
}

impl<'s> FreshLogIn<'s> {
    pub(super) fn of(session: &'s Session) -> Self {
        Self { session }
    }

    /// Keeps the user logged in for `duration`, even if the browser is closed: "remember me".
    ///
    /// For this session alone, the idle timeout, the absolute timeout and the `Max-Age` of the cookie
    /// are `duration`. After that time the user logs in again, however often they came back. For a
    /// time that begins anew with each visit, call [`set_absolute_timeout`] after this with a
    /// longer time.
    ///
    /// The next [log-in](Session::log_in) forgets it. With a `sessions.policy`, each timeout is at
    /// most what the policy allows.
    ///
    /// [`set_absolute_timeout`]: Session::set_absolute_timeout
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::time::Duration;
    ///
    /// use rocket::FromForm;
    /// use rocket::form::Form;
    /// use rocket::post;
    /// use rocket_session_kit::Session;
    ///
    /// #[derive(FromForm)]
    /// struct Login<'r> {
    ///     name: &'r str,
    ///     remember_me: bool,
    /// }
    ///
    /// #[post("/login", data = "<login>")]
    /// fn log_in(login: Form<Login<'_>>, session: &Session) {
    ///     // Check the password first.
    ///     let log_in = session.log_in(login.name);
    ///     if login.remember_me {
    ///         log_in.remember(Duration::from_secs(30 * 86_400));
    ///     }
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![log_in], |client| {
    /// # let log_in = client.post("/login").header(rocket::http::ContentType::Form);
    /// # let response = log_in.body("name=alice&remember_me=true").dispatch();
    /// # let cookie = response.headers().get_one("Set-Cookie").unwrap().to_owned();
    /// # assert!(cookie.contains("Max-Age=2592000"), "{cookie}");
    /// # });
    /// ```
    pub fn remember(self, duration: Duration) {
        let seconds = Some(seconds(duration));
        self.session.set_timeouts(OwnTimeouts {
            idle: seconds,
            absolute: seconds,
            max_age: seconds,
        });
    }
}

impl fmt::Debug for FreshLogIn<'_> {
    /// Shows no user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FreshLogIn").finish_non_exhaustive()
    }
}
