//! Changes to a response: the headers for caches, and an error page in its place.

use std::borrow::Cow;
use std::io::Cursor;
use std::panic::AssertUnwindSafe;

use rocket::futures::FutureExt;
use rocket::http::{ContentType, Header, Status};
use rocket::{Catcher, Request, Response};

use crate::error::Error;

/// The number of seconds after which a visitor should try again.
const RETRY_AFTER: &str = "5";

/// Adds the request header `name` to those that the response depends on.
pub(crate) fn vary(response: &mut Response<'_>, name: impl Into<Cow<'static, str>>) {
    let name = name.into();
    if !has(response, "Vary") {
        response.set_header(Header::new("Vary", name));
        return;
    }
    let present = response.headers().get("Vary");
    let present: Vec<&str> = present
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if !present
        .iter()
        .any(|entry| *entry == "*" || entry.eq_ignore_ascii_case(&name))
    {
        // In one line, since some caches read only the first.
        let all = format!("{}, {name}", present.join(", "));
        response.set_header(Header::new("Vary", all));
    }
}

/// Forbids caches to store a response that gives a cookie to one visitor. Directives of the handler
/// stay, except those that allow caching.
pub(crate) fn no_store(response: &mut Response<'_>) {
    const CONTRARY: [&str; 5] = ["public", "immutable", "max-age", "s-maxage", "no-store"];
    let present = response
        .headers()
        .get("Cache-Control")
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let kept = present.filter(|directive| {
        let name = directive.split('=').next().unwrap_or_default();
        !name.is_empty()
            && !CONTRARY
                .iter()
                .any(|contrary| contrary.eq_ignore_ascii_case(name))
    });
    let all = ["no-store"]
        .into_iter()
        .chain(kept)
        .collect::<Vec<_>>()
        .join(", ");
    response.set_header(Header::new("Cache-Control", all));
}

/// Marks the response as private to one visitor, since some shared caches ignore `Vary`. A
/// `Cache-Control` header of the handler takes precedence.
pub(crate) fn private(response: &mut Response<'_>) {
    if !has(response, "Cache-Control") {
        response.set_header(Header::new("Cache-Control", "private"));
    }
}

/// Adds `Retry-After`, unless the response already has one.
pub(crate) fn retry_after(response: &mut Response<'_>) {
    if !has(response, "Retry-After") {
        response.set_header(Header::new("Retry-After", RETRY_AFTER));
    }
}

/// Replaces the response by an error page for `error`: that of the application's own catcher, or a
/// plain page if there is none.
///
/// At this point Rocket no longer calls catchers, so this function does. Headers that do not describe
/// the replaced response, such as those of CORS and of Rocket's shield, stay.
pub(crate) async fn replace<'r>(
    request: &'r Request<'_>,
    response: &mut Response<'r>,
    error: &Error,
) {
    const ABOUT_THE_RESPONSE: [&str; 13] = [
        "set-cookie",
        "location",
        "refresh",
        "etag",
        "last-modified",
        "expires",
        "cache-control",
        "accept-ranges",
        "link",
        "trailer",
        "transfer-encoding",
        "retry-after",
        "clear-site-data",
    ];
    let status = error.status();
    let mut page = match caught(request, status).await {
        Some(page) => page,
        None => plain(status),
    };
    page.set_status(status);
    let own_names: Vec<String> = page
        .headers()
        .iter()
        .map(|header| header.name.as_str().to_ascii_lowercase())
        .collect();
    for header in response.headers().iter() {
        let name = header.name.as_str().to_ascii_lowercase();
        // The content security policy protects any page.
        let about_the_body =
            name.starts_with("content-") && !name.starts_with("content-security-policy");
        if name == "vary" {
            for entry in header.value.split(',').map(str::trim) {
                vary(&mut page, entry.to_owned());
            }
        } else if !about_the_body
            && !ABOUT_THE_RESPONSE.contains(&name.as_str())
            && !own_names.contains(&name)
        {
            page.adjoin_raw_header(header.name.as_str().to_owned(), header.value.into_owned());
        }
    }
    no_store(&mut page);
    if status == Status::ServiceUnavailable {
        retry_after(&mut page);
    }
    *response = page;
}

/// Returns the response of the application's own catcher for `status`; `None` if there is no such
/// catcher, or it fails.
async fn caught<'r>(request: &'r Request<'_>, status: Status) -> Option<Response<'r>> {
    let depth = |catcher: &Catcher| catcher.base.path().segments().len();
    let path = request.uri().path();
    // As Rocket chooses: the longest base, and there the catcher for this status before the default.
    let catcher = request
        .rocket()
        .catchers()
        .filter(|catcher| catcher.code.is_none_or(|code| code == status.code))
        .filter(|catcher| catcher.base.path().segments().prefix_of(path.segments()))
        .max_by_key(|catcher| (depth(catcher), catcher.code.is_some()))?;
    // A catcher may panic before it returns a future, and while the future runs.
    let page = AssertUnwindSafe(async { catcher.handler.handle(status, request).await });
    match page.catch_unwind().await {
        Ok(Ok(page)) => Some(page),
        Ok(Err(_)) | Err(_) => {
            log::error!("the application's catcher for {status} failed; sent a plain page instead");
            None
        }
    }
}

/// Returns a plain page for `status`.
fn plain<'r>(status: Status) -> Response<'r> {
    let text = match status {
        Status::ServiceUnavailable => {
            "503: Your changes could not be saved. Please try again in a moment.\n"
        }
        Status::Unauthorized => {
            "401: Your changes could not be saved, because the request has no session token.\n"
        }
        Status::Forbidden => {
            "403: You are logged in at too many places. Please log out at one of them first.\n"
        }
        _ => "500: Your changes could not be saved.\n",
    };
    let mut page = Response::new();
    page.set_header(ContentType::Plain);
    page.set_sized_body(text.len(), Cursor::new(text));
    page
}

/// Returns whether `response` has a header `name`. A look at each of its few headers takes a tenth of
/// the instructions of Rocket's lookup, which hashes the name.
fn has(response: &Response<'_>, name: &str) -> bool {
    let mut headers = response.headers().iter();
    headers.any(|header| header.name.as_str().eq_ignore_ascii_case(name))
}
