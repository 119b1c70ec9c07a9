//! The guard for members: a visitor who is logged in.

use std::fmt;

use crate::session::Session;

/// A visitor who is logged in: the user, and the session.
///
/// Take it as a request guard of a page for members. Where nobody is logged in it forwards with
/// status 401, so that another route can ask the visitor to log in; without one, the application's
/// catcher for 401 answers.
///
/// For a page that is for everybody, take [`&Session`](Session) and look at
/// [`user()`](Session::user). `Option<LoggedIn<'_>>` is `None` where nobody is logged in, and also
/// while the store does not answer: Rocket makes `None` of every error of a guard. A page that
/// takes it tells its members that they are logged out when nobody knows.
///
/// # Errors
///
/// As a guard it fails with 503 when the visitor has a session and the store does not answer, and
/// never takes that for "nobody"; unless `when_store_is_down = "anonymous"` says so.
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
    /// Returns the user who was logged in when the guard was asked.
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
