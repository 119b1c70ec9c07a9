//! The check that no other site sent a request, by the headers of the browser.

use rocket::Request;

use super::forbidden;
use crate::error::Result;
use crate::origin::Origin;
use crate::sessions::Sessions;

/// Fails if the headers of the browser name another site, unless that site is trusted.
pub(super) fn check(request: &Request<'_>) -> Result<()> {
    let headers = request.headers();
    let fails = || Err(forbidden("it comes from another site"));
    let trusted = &Sessions::of(request)?.config.csrf.trusted_origins;
    let mut origins = headers.get("Origin").peekable();
    let is_trusted = |origin| Origin::parse(origin).is_some_and(|it| trusted.contains(&it));
    if !trusted.is_empty() && origins.peek().is_some() && origins.all(is_trusted) {
        return Ok(());
    }
    // Only the browser can set this header: scripts cannot.
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
        // Browsers omit the default port, and some proxies add it.
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
