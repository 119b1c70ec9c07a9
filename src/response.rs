//! What an answer says about the session that it was made with: `Vary`, `Cache-Control`, and an error
//! page in its place.

use std::borrow::Cow;
use std::io::Cursor;
use std::panic::AssertUnwindSafe;

use rocket::futures::FutureExt;
use rocket::http::{ContentType, Header, Status};
use rocket::{Catcher, Request, Response};

use crate::error::Error;

/// How long a visitor should wait before trying again, in seconds.
const RETRY_AFTER: &str = "5";

/// Says that the answer depends on the request header `name`, beside what it depends on already.
pub(crate) fn vary(response: &mut Response<'_>, name: impl Into<Cow<'static, str>>) {
    let name = name.into();
    let mut said = response.headers().get("Vary").peekable();
    if said.peek().is_none() {
        drop(said);
        response.set_header(Header::new("Vary", name));
        return;
    }
    let said: Vec<&str> = said
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if !said
        .iter()
        .any(|entry| *entry == "*" || entry.eq_ignore_ascii_case(&name))
    {
        // In one line, for some caches read the first one only.
        let all = format!("{}, {name}", said.join(", "));
        response.set_header(Header::new("Vary", all));
    }
}

/// Says that no cache may keep the answer, for it gives a cookie to one visitor. What the handler
/// said is kept as far as it says nothing else.
pub(crate) fn no_store(response: &mut Response<'_>) {
    const CONTRARY: [&str; 5] = ["public", "immutable", "max-age", "s-maxage", "no-store"];
    let said = response
        .headers()
        .get("Cache-Control")
        .flat_map(|value| value.split(','))
        .map(str::trim);
    let kept = said.filter(|directive| {
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

/// Says that the answer is for one visitor alone, for some shared caches do not know what `Vary`
/// means. Whatever the handler said of caches counts instead.
pub(crate) fn private(response: &mut Response<'_>) {
    if !response.headers().contains("Cache-Control") {
        response.set_header(Header::new("Cache-Control", "private"));
    }
}

/// Says when to try again, unless somebody said so already.
pub(crate) fn retry_after(response: &mut Response<'_>) {
    if !response.headers().contains("Retry-After") {
        response.set_header(Header::new("Retry-After", RETRY_AFTER));
    }
}

/// Puts an answer that tells of `error` in the place of the one that was made: the page of the
/// application's own catcher, if it has one, else ours.
///
/// Rocket asks the catchers no more at this point, so that is done here. Headers that are not about
/// what was answered, such as those of CORS and of Rocket's shield, stay.
pub(crate) async fn replace<'r>(
    request: &'r Request<'_>,
    response: &mut Response<'r>,
    error: &Error,
) {
    const ABOUT_THE_ANSWER: [&str; 13] = [
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
    let mut instead = match caught(request, status).await {
        Some(page) => page,
        None => plain(status),
    };
    instead.set_status(status);
    let said_itself: Vec<String> = instead
        .headers()
        .iter()
        .map(|header| header.name.as_str().to_ascii_lowercase())
        .collect();
    for header in response.headers().iter() {
        let name = header.name.as_str().to_ascii_lowercase();
        // A policy of what may run protects whatever is shown.
        let about_the_body =
            name.starts_with("content-") && !name.starts_with("content-security-policy");
        if name == "vary" {
            for entry in header.value.split(',').map(str::trim) {
                vary(&mut instead, entry.to_owned());
            }
        } else if !about_the_body
            && !ABOUT_THE_ANSWER.contains(&name.as_str())
            && !said_itself.contains(&name)
        {
            instead.adjoin_raw_header(header.name.as_str().to_owned(), header.value.into_owned());
        }
    }
    no_store(&mut instead);
    if status == Status::ServiceUnavailable {
        retry_after(&mut instead);
    }
    *response = instead;
}

/// Returns what the application's own catcher for `status` makes of `request`; `None` where there is
/// none, or it fails.
async fn caught<'r>(request: &'r Request<'_>, status: Status) -> Option<Response<'r>> {
    let depth = |catcher: &Catcher| catcher.base.path().segments().len();
    let path = request.uri().path();
    // As Rocket chooses: the longest base, and in that the one that is for this status alone.
    let catcher = request
        .rocket()
        .catchers()
        .filter(|catcher| catcher.code.is_none_or(|code| code == status.code))
        .filter(|catcher| catcher.base.path().segments().prefix_of(path.segments()))
        .max_by_key(|catcher| (depth(catcher), catcher.code.is_some()))?;
    // A catcher may panic before it returns a future, and in it.
    let page = AssertUnwindSafe(async { catcher.handler.handle(status, request).await });
    match page.catch_unwind().await {
        Ok(Ok(page)) => Some(page),
        Ok(Err(_)) | Err(_) => {
            log::error!("the application's catcher for {status} failed; a plain page is shown");
            None
        }
    }
}

/// Returns a page of ours.
fn plain<'r>(status: Status) -> Response<'r> {
    let text = match status {
        Status::ServiceUnavailable => {
            "503: What you sent could not be kept. Please try again in a moment.\n"
        }
        Status::Unauthorized => {
            "401: What you sent could not be kept, for it came without a session's token.\n"
        }
        _ => "500: What you sent could not be kept.\n",
    };
    let mut page = Response::new();
    page.set_header(ContentType::Plain);
    page.set_sized_body(text.len(), Cursor::new(text));
    page
}
