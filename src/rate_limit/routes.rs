//! The routes through which every request passes first, for the limit of the whole application.

use rocket::http::{Method, Status};
use rocket::route::{self, Handler};
use rocket::{Data, Request, Route};

use super::{Limiter, served};

/// Counts every request before any other route sees it, and lets it go on, or not.
///
/// It is a route, and not the fairing's `on_request`, because a route can answer: with the status
/// alone, so that the application's catcher for that status and that path makes the page, and sees
/// the request as it came.
#[derive(Clone)]
struct CountRequest;

#[rocket::async_trait]
impl Handler for CountRequest {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> route::Outcome<'r> {
        let counted = match Limiter::of(request) {
            Ok(limiter) => limiter.count_for_app(request).await,
            Err(error) => Err(error),
        };
        match counted.and_then(served) {
            Ok(_) => route::Outcome::Forward((data, Status::NotFound)),
            Err(error) => route::Outcome::Error(error.status()),
        }
    }
}

/// Returns the routes through which every request passes first.
pub(crate) fn routes() -> Vec<Route> {
    const METHODS: [Method; 9] = [
        Method::Get,
        Method::Put,
        Method::Post,
        Method::Delete,
        Method::Options,
        Method::Head,
        Method::Trace,
        Method::Connect,
        Method::Patch,
    ];
    let gatekeeper = |method| {
        let mut route = Route::ranked(isize::MIN, method, "/<_..>", CountRequest);
        route.name = Some("rate limit".into());
        route
    };
    METHODS.map(gatekeeper).to_vec()
}
