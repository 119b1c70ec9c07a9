//! The form in the layout that signs a member out.

use rocket::response::Redirect;
use rocket::{post, uri};
use rocket_session_kit::{CsrfForm, Notify, Session};

use crate::home;

#[post("/sign-out", data = "<_form>")]
pub fn submit(_form: CsrfForm, session: &Session) -> Notify<Redirect> {
    session.log_out();
    // The message begins a new session, without a user.
    Notify::success(Redirect::to(uri!(home::show(_))), "You are signed out.")
}
