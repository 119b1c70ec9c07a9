//! The request guard `&PerlSession`, and its sentinel.

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};

use super::request::PerlRequest;
use super::session::PerlSession;
use super::site::PerlSite;
use crate::error::{Error, ErrorKind, StoreWasDown};
use crate::sessions::Sessions;

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r PerlSession {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match PerlRequest::of(request).session(request).await {
            Ok(Some(session)) => Outcome::Success(session),
            Ok(None) => Outcome::Forward(Status::Unauthorized),
            Err(error) => {
                if error.kind() == ErrorKind::Unavailable {
                    StoreWasDown::note(request);
                }
                Outcome::Error((error.status(), error))
            }
        }
    }
}

impl Sentinel for &PerlSession {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket) || PerlSite::missing(rocket)
    }
}
