//! A session on its way out: its changes go into the store, its cookie into the response.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use rocket::futures::FutureExt;
use rocket::http::{Header, Status};
use rocket::{Request, Response};

use crate::cookie::SessionCookie;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::{self, Deferred};
use crate::response;
use crate::session::{Browser, CookieAction, Session};
use crate::sessions::Sessions;

/// What the fairing waits for before the response leaves.
pub(crate) type Finishing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Returns a future that is ready. It is empty, so that its box allocates nothing.
pub(crate) fn done<'a>() -> Finishing<'a> {
    struct Done;

    impl Future for Done {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }
    }

    Box::pin(Done)
}

/// Saves the session of `request`, if it asked for one, and says in `response` what follows from it.
/// `failed` is whether the request failed, so that its changes are not saved.
pub(crate) fn finish<'a, 'r: 'a>(
    request: &'r Request<'_>,
    response: &'a mut Response<'r>,
    failed: bool,
) -> Finishing<'a> {
    let deferred = guard::take_deferred(request);
    if !deferred.is_empty() && !failed {
        return Box::pin(deliver(deferred, request, response));
    }
    let Some(loaded) = guard::loaded(request) else {
        return done();
    };
    vary(request, response);
    challenge(request, response);
    let Ok(session) = loaded else {
        return done();
    };
    match session.finish_at_once(failed, browser(request)) {
        Some(action) => {
            if let Err(error) = act_on_cookie(action, request, response) {
                return Box::pin(replace(request, response, error));
            }
            keep_private(session, response);
            done()
        }
        None => Box::pin(save(session, request, response, failed)),
    }
}

/// Saves `session`, and says in `response` what became of it.
async fn save<'r>(
    session: &Session,
    request: &'r Request<'_>,
    response: &mut Response<'r>,
    failed: bool,
) {
    // An application's own function, given to `Session::update`, may run in here, and an id cannot
    // be made without random numbers. Rocket would drop the connection.
    let finish = AssertUnwindSafe(session.finish(failed, browser(request))).catch_unwind();
    let (action, error) = finish.await.unwrap_or_else(|_| {
        let why = "a function given to `Session::update` panicked, or the system has no random \
                   numbers to give";
        let error = Error::new(ErrorKind::Value, "save the session").because(why);
        (CookieAction::None, Some(error))
    });
    if let Some(error) = error {
        // A failure of the store was logged when it happened.
        if error.kind() != ErrorKind::Unavailable {
            error.log();
        }
        replace(request, response, error).await;
    }
    // Also beside an error: the handler may have saved the session before, under another id.
    match act_on_cookie(action, request, response) {
        Ok(()) => keep_private(session, response),
        Err(error) => {
            error.log();
            replace(request, response, error).await;
        }
    }
}

/// Makes the changes that responders deferred, and saves the session.
async fn deliver<'r>(
    deferred: Vec<Deferred>,
    request: &'r Request<'_>,
    response: &mut Response<'r>,
) {
    vary(request, response);
    match guard::session(request).await {
        Ok(session) => {
            let changed = deferred.into_iter().try_for_each(|change| change(session));
            if let Err(error) = changed {
                session.refuse(error);
            }
            save(session, request, response, false).await;
        }
        Err(error) => replace(request, response, error).await,
    }
}

/// Returns what the way out must know of the browser that sent `request`.
fn browser(request: &Request<'_>) -> Browser {
    let cookie = Sessions::of(request).and_then(Sessions::cookie);
    let mode = request.headers().get_one("Sec-Fetch-Mode");
    Browser {
        cookie_ages: cookie.is_ok_and(SessionCookie::has_max_age),
        navigates: mode.is_none_or(|mode| mode.eq_ignore_ascii_case("navigate")),
    }
}

/// Puts a response that reports `error` in the place of the one that was made.
async fn replace<'r>(request: &'r Request<'_>, response: &mut Response<'r>, error: Error) {
    response::replace(request, response, &error).await;
    challenge(request, response);
}

/// Says that the response is for its visitor alone, if it may show what is in their session.
fn keep_private(session: &Session, response: &mut Response<'_>) {
    if session.is_personal() {
        response::private(response);
    }
}

/// Says how to send a token, if that is what is missing.
fn challenge(request: &Request<'_>, response: &mut Response<'_>) {
    let headers = Sessions::of(request)
        .ok()
        .and_then(|sessions| sessions.headers.as_ref());
    let said = response.headers().contains("WWW-Authenticate");
    let refused = response.status() == Status::Unauthorized;
    if let Some(headers) = headers.filter(|_| refused && !said) {
        response.set_header(Header::new("WWW-Authenticate", headers.challenge()));
    }
}

/// Says which request headers a response depends on that was made with a session.
fn vary(request: &Request<'_>, response: &mut Response<'_>) {
    if let Ok(sessions) = Sessions::of(request) {
        sessions.vary(response);
    }
}

/// Sets the browser's cookie, or removes it, as `action` says.
fn act_on_cookie(
    action: CookieAction,
    request: &Request<'_>,
    response: &mut Response<'_>,
) -> Result<()> {
    let Ok(cookie) = Sessions::of(request).and_then(Sessions::cookie) else {
        return Ok(());
    };
    let header = match action {
        CookieAction::None => return Ok(()),
        CookieAction::Token => {
            response::no_store(response);
            return Ok(());
        }
        CookieAction::Set(id) => cookie.set(&id).inspect_err(Error::log)?,
        CookieAction::Remove => cookie.remove(),
    };
    // Beside other cookies, which `set_header` would remove.
    response.adjoin_header(header);
    response::no_store(response);
    Ok(())
}
