//! The session of a local client, which a test reads and changes as a handler does.

use std::sync::Arc;

use parking_lot::Mutex;
use rocket::Request;
use rocket::futures::FutureExt;
use rocket::futures::future::BoxFuture;
use rocket::http::{Cookie, CookieJar, Method, Status};
use rocket::local::{asynchronous, blocking};

use crate::guard;
use crate::session::Session;

/// One of Rocket's local clients: [`blocking::Client`] or [`asynchronous::Client`].
pub trait LocalClient {
    /// What a function of this module returns: a `T` for a blocking client, and a future of it for an
    /// asynchronous one.
    type Output<'c, T: 'c>
    where
        Self: 'c;

    #[doc(hidden)]
    fn act<'c, T: Send + 'static>(
        &'c self,
        act: impl FnOnce(&Session) -> T + Send + 'static,
    ) -> Self::Output<'c, T>;
}

impl LocalClient for blocking::Client {
    type Output<'c, T: 'c> = T;

    fn act<T: Send + 'static>(&self, act: impl FnOnce(&Session) -> T + Send + 'static) -> T {
        let request = self.req(Method::Trace, "/");
        let slot = Slot::defer(request.inner(), act);
        let response = request.dispatch();
        let cookies = response.cookies();
        let has = |cookie| is_kept(&self.cookies(), cookie);
        slot.take(response.status(), cookies.iter().all(has))
    }
}

impl LocalClient for asynchronous::Client {
    type Output<'c, T: 'c> = BoxFuture<'c, T>;

    fn act<'c, T: Send + 'static>(
        &'c self,
        act: impl FnOnce(&Session) -> T + Send + 'static,
    ) -> BoxFuture<'c, T> {
        let request = self.req(Method::Trace, "/");
        let slot = Slot::defer(request.inner(), act);
        async move {
            let response = request.dispatch().await;
            let cookies = response.cookies();
            let has = |cookie| is_kept(&self.cookies(), cookie);
            slot.take(response.status(), cookies.iter().all(has))
        }
        .boxed()
    }
}

/// Returns whether `jar` has `cookie`, or the cookie is a removal.
fn is_kept(jar: &CookieJar<'_>, cookie: &Cookie<'_>) -> bool {
    cookie.value().is_empty() || jar.get(cookie.name()).is_some()
}

/// The result of the test's function, once it has run.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T: Send + 'static> Slot<T> {
    /// Defers `act` until the fairing sends the response of `request`.
    fn defer(request: &Request<'_>, act: impl FnOnce(&Session) -> T + Send + 'static) -> Self {
        let slot = Arc::new(Mutex::new(None));
        let filled = Arc::clone(&slot);
        let deferred = guard::defer(request, move |session| {
            let result = act(session);
            *filled.lock() = Some(result);
            Ok(())
        });
        deferred.unwrap_or_else(|error| panic!("{error}"));
        Self(slot)
    }

    /// Returns the result, after a response with `status`. `keeps_cookies` is whether the client has
    /// the cookies of the response.
    fn take(self, status: Status, keeps_cookies: bool) -> T {
        let result = self.0.lock().take().unwrap_or_else(|| {
            panic!(
                "the session was not loaded: a fairing, a catcher or the rate limit of the application \
                 responded with {status}"
            )
        });
        assert!(
            ![401, 403, 500, 503].contains(&status.code),
            "the session was not saved: the response is {status}, and the log says why"
        );
        assert!(
            keeps_cookies,
            "the client keeps no cookies; make it with `Client::tracked`"
        );
        result
    }
}

/// Calls `act` with the session of `client`, saves the session, and returns what `act` returns.
///
/// `act` sees and does what a handler can see and do: it logs a user in, inserts a value, makes a
/// token for a form, or reads what the application kept. The changes are saved and the client gets
/// the cookie before this function returns.
///
/// The application sees a request `TRACE /`, which no route expects. It counts for a rate limit of the
/// whole application.
///
/// With an [`asynchronous::Client`], await the result.
///
/// # Panics
///
/// If the application has no sessions, the session cannot be loaded or saved, or the client keeps no
/// cookies. A panic of `act`, such as a failed assertion, fails the test too.
///
/// # Example
///
/// ```rust
/// use rocket::local::blocking::Client;
/// use rocket::{get, routes};
/// use rocket_session_kit::testing::with_session;
/// use rocket_session_kit::{MemoryStore, Result, Session, Sessions};
///
/// #[get("/")]
/// fn index(session: &Session) -> Result<String> {
///     Ok(session.increment("visits", 1)?.to_string())
/// }
///
/// let rocket = rocket::build().attach(Sessions::with(MemoryStore::new())).mount("/", routes![index]);
/// let client = Client::tracked(rocket).unwrap();
///
/// with_session(&client, |session| session.insert("visits", 41)).unwrap();
/// assert_eq!(client.get("/").dispatch().into_string().unwrap(), "42");
/// let visits: Option<u32> = with_session(&client, |session| session.get("visits")).unwrap();
/// assert_eq!(visits, Some(42));
/// ```
pub fn with_session<'c, C: LocalClient, T: Send + 'static>(
    client: &'c C,
    act: impl FnOnce(&Session) -> T + Send + 'static,
) -> C::Output<'c, T> {
    client.act(act)
}

/// Logs `user` in, as [`Session::log_in`] does, without a route for log-ins. `client` then has the
/// cookie of the session.
///
/// With an [`asynchronous::Client`], await the result.
///
/// # Panics
///
/// As [`with_session`].
///
/// # Example
///
/// ```rust
/// use rocket::http::Status;
/// use rocket::local::blocking::Client;
/// use rocket::{get, routes};
/// use rocket_session_kit::testing::log_in;
/// use rocket_session_kit::{LoggedIn, MemoryStore, Sessions};
///
/// #[get("/account")]
/// fn account(member: LoggedIn<'_>) -> String {
///     format!("The account of {}", member.user())
/// }
///
/// let rocket = rocket::build().attach(Sessions::with(MemoryStore::new())).mount("/", routes![account]);
/// let client = Client::tracked(rocket).unwrap();
/// assert_eq!(client.get("/account").dispatch().status(), Status::Unauthorized);
///
/// log_in(&client, "ann");
/// assert_eq!(client.get("/account").dispatch().into_string().unwrap(), "The account of ann");
/// ```
pub fn log_in<'c, C: LocalClient>(client: &'c C, user: &str) -> C::Output<'c, ()> {
    let user = user.to_owned();
    with_session(client, move |session| {
        session.log_in(&user);
    })
}
