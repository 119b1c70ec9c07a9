//! The time at which the user proved their identity.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Session;
use crate::change::Change;

impl Session {
    /// Returns when the user last proved their identity: the time of the
    /// [log-in](Self::log_in), or of a [`reauthenticate`](Self::reauthenticate) after it. `None` if
    /// nobody is logged in, or if the user was set by [`set_user`](Self::set_user).
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        let state = self.state.lock();
        let log_in = state.record.log_in.as_ref()?;
        Some(UNIX_EPOCH + Duration::from_secs(log_in.at))
    }

    /// Returns whether the user proved their identity at most `duration` ago, in whole seconds. If not,
    /// a page for something important asks for the password again.
    ///
    /// # Example
    ///
    /// ```rust
    /// use std::time::Duration;
    ///
    /// use rocket::response::Redirect;
    /// use rocket::{get, post};
    /// use rocket_session_kit::{LoggedIn, Session};
    ///
    /// #[get("/bank-account")]
    /// fn bank_account(member: LoggedIn<'_>) -> Result<&'static str, Redirect> {
    ///     if member.session().authenticated_within(Duration::from_secs(10 * 60)) {
    ///         Ok("DE75 5121 0800 1245 1261 99")
    ///     } else {
    ///         Err(Redirect::to("/confirm-password"))
    ///     }
    /// }
    ///
    /// #[post("/confirm-password")]
    /// fn confirm_password(session: &Session) -> Redirect {
    ///     // Check the password first.
    ///     session.reauthenticate();
    ///     Redirect::to("/bank-account")
    /// }
    /// # #[post("/login")]
    /// # fn log_in(session: &Session) {
    /// #     session.set_user(Some("alice"));
    /// # }
    /// # rocket_session_kit::testing::doc(rocket::routes![bank_account, confirm_password, log_in], |client| {
    /// # use rocket::http::Status;
    /// # client.post("/login").dispatch();
    /// # assert_eq!(client.get("/bank-account").dispatch().status(), Status::SeeOther);
    /// # client.post("/confirm-password").dispatch();
    /// # assert_eq!(client.get("/bank-account").dispatch().status(), Status::Ok);
    /// # });
    /// ```
    pub fn authenticated_within(&self, duration: Duration) -> bool {
        let now = self.manager.clock.seconds();
        let state = self.state.lock();
        let log_in = state.record.log_in.as_ref();
        // A time in the future comes from a clock that was set back.
        log_in.is_some_and(|log_in| now.saturating_sub(log_in.at) <= duration.as_secs())
    }

    /// Notes that the user has just proved their identity again, for example by their password, and
    /// gives the session a new id. The old one gives no access from then on.
    ///
    /// The absolute timeout begins anew. The values and the notifications stay, and the form tokens
    /// and CSRF tokens are removed, as at a [log-in](Self::log_in). If nobody is logged in, nothing
    /// happens.
    ///
    /// For an example see [`authenticated_within`](Self::authenticated_within).
    pub fn reauthenticate(&self) {
        let state = &mut *self.state.lock();
        let Some(user) = state.record.user.clone() else {
            return;
        };
        state.keep_base_for_renewal();
        let at = self.manager.clock.seconds();
        self.change(state, Change::Reauthenticate { user, at })
            .expect("a time is refused nothing");
        (state.renew, state.guards) = (true, true);
    }
}
