//! The sessions of a Perl site beside this application. They are read, and never written.
//!
//! The way in is [`guard`], the launch and the way out are [`attach`], [`begin_anew`] and [`vary`].

mod guard;
mod request;
mod servers;
mod session;
mod site;

use std::sync::Arc;

use rocket::fairing;
use rocket::{Build, Request, Response, Rocket};

use crate::response;
use crate::sessions::Sessions;
use request::PerlRequest;
use site::PerlSite;

pub use session::PerlSession;

/// What an error says that was tried.
const ACT: &str = "read the Perl session";

/// Has `rocket` manage the Perl site, if one is configured.
///
/// The launch stops, with an error in the log, when the configuration of the site cannot work.
#[expect(
    clippy::result_large_err,
    reason = "it is what Rocket expects of a fairing"
)]
pub(crate) fn attach(rocket: Rocket<Build>, sessions: &Sessions) -> fairing::Result {
    let config = &sessions.config;
    let site = servers::configured(config, &sessions.manager.clock)
        .and_then(|servers| PerlSite::new(&config.perl, Arc::clone(&sessions.manager), servers));
    match site {
        Ok(Some(site)) => Ok(rocket.manage(site)),
        Ok(None) => Ok(rocket),
        Err(error) => {
            log::error!("{error}");
            Err(rocket)
        }
    }
}

/// Forgets the Perl session of a request that has had its response and is dispatched again.
pub(crate) fn begin_anew(request: &Request<'_>) {
    if PerlSite::in_use(request) {
        PerlRequest::of(request).begin_anew();
    }
}

/// Says in `response` that it depends on the cookie of the Perl site, if a guard read that, and
/// that it is private, if there is a session.
pub(crate) fn vary(request: &Request<'_>, response: &mut Response<'_>) {
    if !PerlSite::in_use(request) {
        return;
    }
    let request = PerlRequest::of(request);
    if let Some(found) = request.found() {
        response::vary(response, "Cookie");
        if found {
            response::private(response);
        }
    }
    request.has_response();
}
