//! The request guards `&Session` and `LoggedIn`, which load the session of a request.

use std::sync::Arc;

use parking_lot::Mutex;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::tokio::sync::OnceCell;
use rocket::{Ignite, Request, Rocket, Sentinel};

use crate::app::App;
use crate::config::{Transport, WhenStoreIsDown};
use crate::dispatch::{self, Active};
use crate::end_reason::EndReason;
use crate::error::{Error, Result, StoreWasDown};
use crate::events::{CookieFault, EventKind, SessionEvent};
use crate::id::SessionId;
use crate::logged_in::LoggedIn;
use crate::manager::Presented;
use crate::session::{Credential, Session};
use crate::sessions::Sessions;

/// A change that a responder makes to a session that only the fairing can load.
pub(crate) type Deferred = Box<dyn FnOnce(&Session) -> Result<()> + Send>;

/// The session of a request, and the changes deferred for it.
#[derive(Default)]
struct State {
    opened: OnceCell<(Result<Session>, Active)>,
    deferred: Mutex<Option<(Vec<Deferred>, Active)>>,
}

/// Returns the session of `request`. The first call loads it.
pub(crate) async fn session<'r>(request: &'r Request<'_>) -> Result<&'r Session> {
    let sessions = Sessions::of(request)?;
    let opened = dispatch::state::<State>(request)
        .opened
        .get_or_init(|| async {
            let active = sessions.active.enter();
            let mut session = open(sessions, request).await;
            if let Ok(session) = &mut session {
                session.set_client(sessions.proxies.client(request));
            }
            if request.rocket().config().profile == rocket::Config::DEBUG_PROFILE {
                session.iter().for_each(Session::watch_reads);
            }
            (session, active)
        });
    opened.await.0.as_ref().map_err(Error::clone)
}

/// The session of a request that is about to be finished.
#[derive(Default)]
pub(crate) struct Used<'r> {
    /// The session, or the error of its load, if a guard has loaded it.
    pub(crate) loaded: Option<&'r Result<Session>>,
    /// The changes that were deferred for it.
    pub(crate) deferred: Vec<Deferred>,
}

/// Returns the session of `request`, and takes the deferred changes.
pub(crate) fn used<'r>(request: &'r Request<'_>) -> Used<'r> {
    let Some(state) = dispatch::existing::<State>(request) else {
        return Used::default();
    };
    let deferred = state.deferred.lock().take();
    Used {
        loaded: state.opened.get().map(|(session, _)| session),
        deferred: deferred.map_or_else(Vec::new, |(changes, _)| changes),
    }
}

/// Defers `change` to the session of `request` until its response is sent.
///
/// # Errors
///
/// If the application has no sessions.
pub(crate) fn defer(
    request: &Request<'_>,
    change: impl FnOnce(&Session) -> Result<()> + Send + 'static,
) -> Result<()> {
    let sessions = Sessions::of(request)?;
    let deferred = &mut *dispatch::state::<State>(request).deferred.lock();
    let (changes, _) = deferred.get_or_insert_with(|| (Vec::new(), sessions.active.enter()));
    changes.push(Box::new(change));
    Ok(())
}

/// Opens the session of a request: from its cookie or token to the id, the record and the session.
async fn open(sessions: &App, request: &Request<'_>) -> Result<Session> {
    let (mut credential, mut ended) = (Credential::Nothing, None);
    if sessions.config.transport != Transport::Header {
        let mut tried = None;
        for candidate in sessions.cookie()?.read(request) {
            let Some(opened) = candidate else {
                reject(sessions, request, CookieFault::Undecryptable);
                continue;
            };
            if tried.replace(opened.id) == Some(opened.id) {
                continue;
            }
            let cookie = Credential::Session {
                id: opened.id,
                outdated: opened.outdated,
                moved: false,
            };
            let fault = match load(sessions, request, &opened.id, cookie).await? {
                Loaded::Session(session) => return Ok(session),
                Loaded::Moved => {
                    credential = Credential::Stale(opened.id);
                    CookieFault::Renewed
                }
                Loaded::Ended(reason) => {
                    ended = ended.or(reason);
                    CookieFault::Ended
                }
                Loaded::Expired(reason) => {
                    ended = ended.or(Some(reason));
                    continue;
                }
                Loaded::Nothing => CookieFault::Unknown,
            };
            reject(sessions, request, fault);
        }
    }
    if let Some(headers) = &sessions.headers {
        match headers.read(request)? {
            Some(id) => {
                credential = Credential::Token(id);
                match load(sessions, request, &id, credential).await? {
                    Loaded::Session(session) => return Ok(session),
                    Loaded::Ended(reason) => ended = reason,
                    Loaded::Expired(reason) => ended = Some(reason),
                    Loaded::Moved | Loaded::Nothing => {}
                }
            }
            None if sessions.config.transport == Transport::Header => {
                credential = Credential::NoToken;
            }
            None => {}
        }
    }
    let manager = Arc::clone(&sessions.manager);
    let mut session = Session::fresh(manager, credential, sessions.proxies.client(request));
    session.set_ended(ended);
    Ok(session)
}

/// The result of a presented id.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
enum Loaded {
    Session(Session),
    /// The session moved a moment ago.
    Moved,
    /// The session ended, for this reason if it is known.
    Ended(Option<EndReason>),
    /// The session timed out.
    Expired(EndReason),
    Nothing,
}

/// Loads the session under `id`, for a request with `credential`.
async fn load(
    sessions: &App,
    request: &Request<'_>,
    id: &SessionId,
    credential: Credential,
) -> Result<Loaded> {
    let manager = || Arc::clone(&sessions.manager);
    match sessions.manager.load(id).await {
        Ok(Presented::Live(record, version)) => Ok(Loaded::Session(Session::resumed(
            manager(),
            record,
            version,
            credential.of_version(&version),
        ))),
        Ok(Presented::Moved) => Ok(Loaded::Moved),
        Ok(Presented::Ended(reason)) => Ok(Loaded::Ended(reason)),
        Ok(Presented::Expired(reason, record)) => {
            sessions.manager.listeners().tell(SessionEvent {
                kind: EventKind::Expired(reason),
                user: record.user(),
                address: sessions.proxies.client(request),
            });
            Ok(Loaded::Expired(reason))
        }
        Ok(Presented::Missing) => Ok(Loaded::Nothing),
        Err(_) if sessions.config.when_store_is_down == WhenStoreIsDown::Anonymous => {
            Ok(Loaded::Session(Session::unavailable(
                manager(),
                credential,
                sessions.proxies.client(request),
            )))
        }
        Err(error) => {
            StoreWasDown::note(request);
            Err(error)
        }
    }
}

/// Tells the listeners that a cookie of `request` opens no session.
fn reject(sessions: &App, request: &Request<'_>, fault: CookieFault) {
    let event = SessionEvent::new(EventKind::CookieRejected(fault));
    sessions.manager.listeners().tell(SessionEvent {
        address: sessions.proxies.client(request),
        ..event
    });
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Session {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match session(request).await {
            Ok(session) => Outcome::Success(session),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for &Session {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for LoggedIn<'r> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match session(request).await {
            Ok(session) => match session.user() {
                Some(user) => Outcome::Success(Self { user, session }),
                None => Outcome::Forward(Status::Unauthorized),
            },
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for LoggedIn<'_> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
