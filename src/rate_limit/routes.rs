//! The routes that count every request first, for the limit of the whole application.

use rocket::http::{Method, Status};
use rocket::route::{self, Handler};
use rocket::{Data, Request, Route};

use super::{Limiter, served};

/// Counts a request before any other route handles it, and forwards or refuses it.
///
/// Only a route can refuse a request: the fairing's `on_request` cannot. It fails with the status
/// alone, so that the application's catcher for that status and path responds to the unchanged request.
#[derive(Clone)]
struct RateLimitHandler;

#[rocket::async_trait]
impl Handler for RateLimitHandler {
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

/// Returns one route for each method, which every request reaches first.
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
    let route = |method| {
        let mut route = Route::ranked(isize::MIN, method, "/<_..>", RateLimitHandler);
        route.name = Some("rate limit".into());
        route
    };
    METHODS.map(route).to_vec()
}
