//! The request guard `&PerlSession`, its sentinel, and the headers of its responses.

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::tokio::sync::OnceCell;
use rocket::{Ignite, Request, Response, Rocket, Sentinel};

use super::session::PerlSession;
use super::site::PerlSite;
use crate::dispatch::{self, Active};
use crate::error::{Error, ErrorKind, Result, StoreWasDown};
use crate::response;
use crate::sessions::Sessions;

/// The Perl session of a request, which the first guard loads.
#[derive(Default)]
struct State(OnceCell<(Result<Option<PerlSession>>, Active)>);

/// Returns the Perl session of `request`. The first call loads it.
async fn load<'r>(request: &'r Request<'_>) -> Result<Option<&'r PerlSession>> {
    let (sessions, site) = (Sessions::of(request)?, PerlSite::of(request)?);
    let State(loaded) = dispatch::state(request);
    let loaded = loaded.get_or_init(|| async {
        let active = sessions.active.enter();
        (site.load(request).await, active)
    });
    let session = loaded.await.0.as_ref();
    session.map(Option::as_ref).map_err(Error::clone)
}

/// Adds `Vary: Cookie` to `response` if a guard of `request` read the cookie of the Perl site, and marks
/// the response as private if there is a session.
pub(crate) fn write_headers(request: &Request<'_>, response: &mut Response<'_>) {
    let state = dispatch::existing::<State>(request);
    if let Some((session, _)) = state.and_then(|State(loaded)| loaded.get()) {
        response::vary(response, "Cookie");
        if let Ok(Some(_)) = session {
            response::private(response);
        }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r PerlSession {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match load(request).await {
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
