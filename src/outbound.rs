//! Saves the session of a request, and sets the cookie of its response.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll};

use rocket::futures::FutureExt;
use rocket::http::{Header, Status};
use rocket::{Request, Response};

use crate::app::App;
use crate::ended_here::EndedHere;
use crate::error::{Error, ErrorKind, Result};
use crate::guard::{self, Deferred, Used};
use crate::response;
use crate::session::{Browser, CookieAction, Session};
use crate::sessions::Sessions;

/// The work that the fairing finishes before the response is sent.
pub(crate) type Finishing<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Returns a ready future. Its type has no size, so its box allocates nothing.
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

/// Saves the session of `request`, if one was loaded, and sets the headers of `response`. `failed`
/// is whether the request failed. Then its changes are not saved.
pub(crate) fn finish<'a, 'r: 'a>(
    request: &'r Request<'_>,
    response: &'a mut Response<'r>,
    failed: bool,
) -> Finishing<'a> {
    let Used { loaded, deferred } = guard::used(request);
    let Ok(sessions) = Sessions::of(request) else {
        return done();
    };
    if !deferred.is_empty() && !failed {
        return Box::pin(deliver(sessions, deferred, request, response));
    }
    let ended_here = EndedHere::existing(request);
    let Some(loaded) = loaded else {
        if let Some(ended_here) = ended_here {
            remove_cookie_of_ended(sessions, ended_here, request, response);
        }
        return done();
    };
    sessions.vary(response);
    challenge(sessions, response);
    let Ok(session) = loaded else {
        return done();
    };
    match session.finish_at_once(failed, browser(request)) {
        Some(action) => {
            let action = corrected(action, session, ended_here);
            if let Err(error) = act_on_cookie(sessions, session, action, response) {
                return Box::pin(replace(sessions, request, response, error));
            }
            keep_private(session, response);
            done()
        }
        None => Box::pin(save(sessions, session, request, response, failed)),
    }
}

/// Saves `session`, and sets the cookie, or replaces `response` by an error page.
async fn save<'r>(
    sessions: &App,
    session: &Session,
    request: &'r Request<'_>,
    response: &mut Response<'r>,
    failed: bool,
) {
    // A function given to `Session::update` may panic in here, and so may a random id without
    // random numbers. Rocket would drop the connection.
    let finish = AssertUnwindSafe(session.finish(failed, browser(request))).catch_unwind();
    let (action, error) = finish.await.unwrap_or_else(|_| {
        let why = "a function given to `Session::update` panicked, or the system has no random \
                   numbers";
        let error = Error::new(ErrorKind::Value, "save the session").because(why);
        (CookieAction::None, Some(error))
    });
    if let Some(error) = error {
        // A failure of the store is already in the log.
        if error.kind() != ErrorKind::Unavailable {
            error.log();
        }
        replace(sessions, request, response, error).await;
    }
    let action = corrected(action, session, EndedHere::existing(request));
    // The cookie is set after an error too: the handler may have saved the session earlier, under
    // another id.
    match act_on_cookie(sessions, session, action, response) {
        Ok(()) => keep_private(session, response),
        Err(error) => {
            error.log();
            replace(sessions, request, response, error).await;
        }
    }
}

/// Makes the deferred changes of responders, and saves the session.
async fn deliver<'r>(
    sessions: &App,
    deferred: Vec<Deferred>,
    request: &'r Request<'_>,
    response: &mut Response<'r>,
) {
    sessions.vary(response);
    match guard::session(request).await {
        Ok(session) => {
            let changed = deferred.into_iter().try_for_each(|change| change(session));
            if let Err(error) = changed {
                session.refuse(error);
            }
            save(sessions, session, request, response, false).await;
        }
        Err(error) => replace(sessions, request, response, error).await,
    }
}

/// Returns the cookie action for `session` if the request may have ended it by
/// [`Sessions`], where `action` would be right otherwise.
fn corrected(
    action: CookieAction,
    session: &Session,
    ended_here: Option<&EndedHere>,
) -> CookieAction {
    match ended_here {
        Some(ended_here) => ended_here.action(action, session.presented()),
        None => action,
    }
}

/// Removes the cookie of `request` if the request has ended its session without loading it.
fn remove_cookie_of_ended(
    sessions: &App,
    ended_here: &EndedHere,
    request: &Request<'_>,
    response: &mut Response<'_>,
) {
    let Ok(cookie) = sessions.cookie() else {
        return;
    };
    let mut presented = cookie.read(request).flatten();
    if presented.any(|opened| ended_here.contains(opened.id)) {
        response.adjoin_header(cookie.remove());
        response::no_store(response);
    }
}

/// Returns the cookie properties of the browser that sent `request`.
fn browser<'r>(request: &'r Request<'_>) -> Browser<'r> {
    Browser {
        headers: Some(request.headers()),
    }
}

/// Replaces the response by one that reports `error`.
async fn replace<'r>(
    sessions: &App,
    request: &'r Request<'_>,
    response: &mut Response<'r>,
    error: Error,
) {
    response::replace(request, response, &error).await;
    challenge(sessions, response);
}

/// Marks the response as private, if it may show the contents of a session.
fn keep_private(session: &Session, response: &mut Response<'_>) {
    if session.is_personal() {
        response::private(response);
    }
}

/// Adds the `WWW-Authenticate` header to a 401 response, if tokens are allowed.
fn challenge(sessions: &App, response: &mut Response<'_>) {
    const NAME: &str = "WWW-Authenticate";
    if let Some(headers) = &sessions.headers
        && response.status() == Status::Unauthorized
        && !response.headers().contains(NAME)
    {
        response.set_header(Header::new(NAME, headers.challenge()));
    }
}

/// Sets or removes the browser's cookie, as `action` says.
fn act_on_cookie(
    sessions: &App,
    session: &Session,
    action: CookieAction,
    response: &mut Response<'_>,
) -> Result<()> {
    let Ok(cookie) = sessions.cookie() else {
        return Ok(());
    };
    let header = match action {
        CookieAction::None => return Ok(()),
        CookieAction::Token => {
            response::no_store(response);
            return Ok(());
        }
        CookieAction::Set(id) => cookie
            .set(&id, session.cookie_age())
            .inspect_err(Error::log)?,
        CookieAction::Remove => cookie.remove(),
    };
    // `set_header` would remove other cookies.
    response.adjoin_header(header);
    response::no_store(response);
    Ok(())
}
