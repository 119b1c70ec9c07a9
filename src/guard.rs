//! The way in: from a request to the [`Session`] that its handler asks for.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::response::{self, Responder};
use rocket::tokio::sync::OnceCell;
use rocket::{Ignite, Request, Rocket, Sentinel};

use crate::config::{Transport, WhenStoreIsDown};
use crate::error::{Error, ErrorKind, Result, StoreWasDown};
use crate::id::SessionId;
use crate::logged_in::LoggedIn;
use crate::manager::Lookup;
use crate::message::StoredMessage;
use crate::notification::{Notification, Notifications, Notify};
use crate::session::{Credential, Session};
use crate::sessions::Sessions;

/// Where a request keeps its session once somebody asked for it.
#[derive(Default)]
pub(crate) struct Slot {
    opened: OnceCell<Opened>,
    /// What a responder left for the session, which only the way out can load.
    posted: Mutex<Option<Posted>>,
    /// Whether the head of the answer is all that is asked for. Rocket lets a `GET` route answer
    /// that, and tells it of a `GET`.
    head_only: AtomicBool,
    /// Whether the request was answered. What comes after that is another request.
    answered: AtomicBool,
    /// Takes the place of this one when the request is dispatched again, as a clone of a local
    /// request is.
    next: OnceLock<Box<Slot>>,
}

struct Opened {
    session: Result<Notifications>,
    _counted: Counted,
}

struct Posted {
    messages: Vec<StoredMessage>,
    _counted: Counted,
}

/// Counts the requests that have a session at this moment.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(sessions: &Sessions) -> Self {
        sessions.live.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(&sessions.live))
    }
}

impl Slot {
    /// Returns the slot of `request`.
    pub(crate) fn of<'r>(request: &'r Request<'_>) -> &'r Slot {
        let mut slot = request.local_cache(Slot::default);
        while let Some(next) = slot.next.get() {
            slot = next;
        }
        slot
    }

    /// Returns the session, or why there is none, if anybody asked for it.
    pub(crate) fn get(&self) -> Option<Result<&Session>> {
        let opened = self.opened.get()?;
        let session = opened.session.as_ref().map_err(Error::clone);
        Some(session.map(|notifications| &notifications.session))
    }

    /// Says that the head of the answer is all that is asked for.
    pub(crate) fn is_head_only(&self) {
        self.head_only.store(true, Ordering::Relaxed);
    }

    /// Leaves `message` for the session.
    pub(crate) fn post(&self, sessions: &Sessions, message: StoredMessage) {
        let posted = &mut *self.posted.lock();
        let posted = posted.get_or_insert_with(|| Posted {
            messages: Vec::new(),
            _counted: Counted::new(sessions),
        });
        posted.messages.push(message);
    }

    /// Returns what was left for the session.
    pub(crate) fn posted(&self) -> Vec<StoredMessage> {
        let posted = self.posted.lock().take();
        posted.map_or_else(Vec::new, |posted| posted.messages)
    }

    /// Says that the request is being answered.
    pub(crate) fn is_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Forgets the session if the request was answered before: the next guard loads it anew.
    /// Returns whether that is so. What a fairing does to the session on the way in is kept.
    pub(crate) fn begin_anew(&self) -> bool {
        let again = self.answered.load(Ordering::Relaxed);
        if again {
            self.next.get_or_init(Box::default);
        }
        again
    }

    /// Returns the session, which is loaded when this is the first to ask.
    pub(crate) async fn session<'r>(&'r self, request: &'r Request<'_>) -> Result<&'r Session> {
        let notifications = self.notifications(request).await?;
        Ok(&notifications.session)
    }

    /// The same, seen from its other side.
    async fn notifications<'r>(&'r self, request: &'r Request<'_>) -> Result<&'r Notifications> {
        let sessions = Sessions::of(request)?;
        let opened = self.opened.get_or_init(|| async {
            let _counted = Counted::new(sessions);
            let session = open(sessions, request).await;
            Opened {
                session: session.map(|session| {
                    if request.rocket().config().profile == rocket::Config::DEBUG_PROFILE {
                        session.watch_reads();
                    }
                    let leave = self.head_only.load(Ordering::Relaxed);
                    Notifications { session, leave }
                }),
                _counted,
            }
        });
        opened.await.session.as_ref().map_err(Error::clone)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Follows one request in: cookie or header, id, store, record, session.
async fn open(sessions: &Sessions, request: &Request<'_>) -> Result<Session> {
    let mut credential = Credential::Nothing;
    if sessions.config.transport != Transport::Header {
        let mut tried = None;
        for candidate in sessions.cookie()?.read(request) {
            let Some(opened) =
                candidate.filter(|opened| tried.replace(opened.id) != Some(opened.id))
            else {
                continue;
            };
            let cookie = Credential::Session {
                id: opened.id,
                outdated: opened.outdated,
            };
            match load(sessions, request, &opened.id, cookie).await? {
                Loaded::Session(session) => return Ok(session),
                Loaded::Tombstone => credential = Credential::Stale(opened.id),
                Loaded::Nothing => {}
            }
        }
    }
    if let Some(headers) = &sessions.headers {
        match headers.read(request)? {
            Some(id) => {
                credential = Credential::Token(id);
                if let Loaded::Session(session) = load(sessions, request, &id, credential).await? {
                    return Ok(session);
                }
            }
            None if sessions.config.transport == Transport::Header => {
                credential = Credential::NoToken;
            }
            None => {}
        }
    }
    Ok(Session::fresh(
        Arc::clone(&sessions.manager),
        credential,
        address(request),
    ))
}

/// What became of an id that a visitor credential.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it arrives, and a box would be one more allocation"
)]
enum Loaded {
    Session(Session),
    /// It is one that a session had until a moment ago.
    Tombstone,
    Nothing,
}

/// Loads the session under `id`, for a visitor who came with `credential`.
async fn load(
    sessions: &Sessions,
    request: &Request<'_>,
    id: &SessionId,
    credential: Credential,
) -> Result<Loaded> {
    let manager = || Arc::clone(&sessions.manager);
    match sessions.manager.load(id).await {
        Ok(Lookup::Live(record, version)) => Ok(Loaded::Session(Session::resumed(
            manager(),
            record,
            version,
            credential,
        ))),
        Ok(Lookup::Tombstone(_)) => Ok(Loaded::Tombstone),
        Ok(Lookup::Missing) => Ok(Loaded::Nothing),
        Err(_) if sessions.config.when_store_is_down == WhenStoreIsDown::Anonymous => {
            Ok(Loaded::Session(Session::unavailable(
                manager(),
                credential,
                address(request),
            )))
        }
        Err(error) => {
            StoreWasDown::note(request);
            Err(error)
        }
    }
}

fn address(request: &Request<'_>) -> Option<IpAddr> {
    request.remote().map(|peer| peer.ip())
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Session {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match Slot::of(request).session(request).await {
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
        match Slot::of(request).session(request).await {
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

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Notifications {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match Slot::of(request).notifications(request).await {
            Ok(notifications) => Outcome::Success(notifications),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for &Notifications {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Notification {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let taken = match Slot::of(request).notifications(request).await {
            Ok(notifications) => notifications.hand_out_oldest().await,
            Err(error) => Err(error),
        };
        match taken {
            Ok(Some(notification)) => Outcome::Success(notification),
            Ok(None) => Outcome::Forward(Status::NotFound),
            Err(error) => {
                if error.kind() == ErrorKind::Unavailable {
                    StoreWasDown::note(request);
                }
                Outcome::Error((error.status(), error))
            }
        }
    }
}

impl Sentinel for Notification {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}

impl<'r, 'o: 'r, R: Responder<'r, 'o>> Responder<'r, 'o> for Notify<R> {
    /// Leaves the message for the way out, where the session can be loaded. An answer that cannot
    /// be made leaves none.
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'o> {
        let sessions = match Sessions::of(request) {
            Ok(sessions) => sessions,
            Err(error) => return error.respond_to(request),
        };
        let response = self.responder.respond_to(request)?;
        Slot::of(request).post(sessions, self.message);
        Ok(response)
    }
}

impl<R> Sentinel for Notify<R> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r Sessions {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match Sessions::of(request) {
            Ok(sessions) => Outcome::Success(sessions),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for &Sessions {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
