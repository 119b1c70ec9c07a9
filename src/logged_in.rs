//! The guard for logged-in users.

use std::fmt;

use crate::session::Session;

/// A logged-in visitor: the user and the session.
///
/// Use it as the request guard of a page for members. If no user is logged in, it forwards with
/// status 401, so that another route can ask the visitor to log in. Without such a route, the
/// application's catcher for 401 responds.
///
/// That route or catcher can tell the visitor why the last session ended, by
/// [`Session::ended_because()`].
///
/// For a page that is open to everybody, use [`&Session`](Session) and its
/// [`user()`](Session::user). `Option<LoggedIn<'_>>` is `None` if no user is logged in, but also
/// while the store does not respond, because Rocket turns every error of a guard into `None`. A
/// page with that guard can then show a logged-in member as logged out.
///
/// # Errors
///
/// As a guard it fails with 503 if the visitor has a session and the store does not respond. With
/// `when_store_is_down = "anonymous"` it forwards instead.
///
/// # Example
///
/// ```rust
/// use rocket::get;
/// use rocket::response::Redirect;
/// use rocket_session_kit::LoggedIn;
///
/// #[get("/account")]
/// fn account(member: LoggedIn<'_>) -> String {
///     format!("The account of {}", member.user())
/// }
///
/// #[get("/account", rank = 2)]
/// fn account_of_nobody() -> Redirect {
///     Redirect::to("/login")
/// }
/// # #[get("/login/<name>")]
/// # fn login(name: &str, session: &rocket_session_kit::Session) {
/// #     session.log_in(name);
/// # }
/// # rocket_session_kit::testing::doc(rocket::routes![account, account_of_nobody, login], |client| {
/// # use rocket::http::Status;
/// # assert_eq!(client.get("/account").dispatch().status(), Status::SeeOther);
/// # client.get("/login/alice").dispatch();
/// # assert_eq!(client.get("/account").dispatch().into_string().unwrap(), "The account of alice");
/// # });
/// ```
pub struct LoggedIn<'r> {
    pub(crate) user: String,
    pub(crate) session: &'r Session,
}

impl<'r> LoggedIn<'r> {
    /// Returns the user who was logged in when the guard ran.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the session.
    pub fn session(&self) -> &'r Session {
        self.session
    }
}

impl fmt::Debug for LoggedIn<'_> {
    /// Shows no user and no value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn").finish_non_exhaustive()
    }
}
