//! The site that sent a request, as the browser tells it.

use rocket::Request;

use super::forbidden;
use crate::error::Result;
use crate::origin::Origin;
use crate::sessions::Sessions;

/// Fails when the browser says that another site sent `request`, and not one that is trusted.
pub(super) fn check(request: &Request<'_>) -> Result<()> {
    let headers = request.headers();
    let fails = || Err(forbidden("another site sent it"));
    let trusted = &Sessions::of(request)?.config.csrf.trusted_origins;
    let mut origins = headers.get("Origin").peekable();
    let is_trusted = |origin| Origin::parse(origin).is_some_and(|it| trusted.contains(&it));
    if !trusted.is_empty() && origins.peek().is_some() && origins.all(is_trusted) {
        return Ok(());
    }
    // A browser sets these itself, whatever a page's script wants.
    let mut sites = headers.get("Sec-Fetch-Site").peekable();
    if sites.peek().is_some() {
        return match sites.all(|site| matches!(site, "same-origin" | "none")) {
            true => Ok(()),
            false => fails(),
        };
    }
    let named = || headers.get_one("Host").map(str::to_owned);
    let host = request.host().map(ToString::to_string).or_else(named);
    let own = |origin: &str| {
        let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), &host) else {
            return false;
        };
        // A browser leaves it out, and some proxies put it in.
        let port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return false,
        };
        let [one, other] = [authority, host].map(|name| name.strip_suffix(port).unwrap_or(name));
        one.eq_ignore_ascii_case(other)
    };
    match headers.get("Origin").all(own) {
        true => Ok(()),
        false => fails(),
    }
}
