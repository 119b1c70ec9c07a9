//! The way in: from a request to the [`Session`] that its handler asks for.

use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::tokio::sync::OnceCell;
use rocket::{Ignite, Request, Rocket, Sentinel};

use crate::config::WhenStoreIsDown;
use crate::error::{Error, Result, StoreWasDown};
use crate::keeper::Found;
use crate::session::{Presented, Session};
use crate::sessions::Sessions;

/// Where a request keeps its session once somebody asked for it.
#[derive(Default)]
pub(crate) struct Slot {
    opened: OnceCell<Opened>,
    /// Takes the place of this one when the request is dispatched again, as a clone of a local
    /// request is.
    next: OnceLock<Box<Slot>>,
}

struct Opened {
    session: Result<Session>,
    _counted: Counted,
}

/// Counts the requests that have a session at this moment.
struct Counted(Arc<AtomicUsize>);

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
    pub(crate) fn get(&self) -> Option<&Result<Session>> {
        self.opened.get().map(|opened| &opened.session)
    }

    /// Forgets the session: the next guard loads it anew.
    pub(crate) fn reset(&self) {
        if self.opened.initialized() {
            self.next.get_or_init(Box::default);
        }
    }

    /// Returns the session, which is loaded when this is the first to ask.
    pub(crate) async fn session<'r>(&'r self, request: &'r Request<'_>) -> Result<&'r Session> {
        let sessions = Sessions::of(request)?;
        let opened = self.opened.get_or_init(|| async {
            let live = Arc::clone(&sessions.live);
            live.fetch_add(1, Ordering::AcqRel);
            Opened {
                session: open(sessions, request).await,
                _counted: Counted(live),
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

/// Follows one request in: cookie, id, store, record, session.
async fn open(sessions: &Sessions, request: &Request<'_>) -> Result<Session> {
    let address = request.remote().map(|peer| peer.ip());
    let mut presented = Presented::Nothing;
    let mut tried = None;
    for candidate in sessions.cookie()?.read(request) {
        let Some(opened) = candidate.filter(|opened| tried.replace(opened.id) != Some(opened.id))
        else {
            presented = presented.or(Presented::Stale);
            continue;
        };
        match sessions.keeper.load(&opened.id).await {
            Ok(Found::Live(record, held)) => {
                return Ok(Session::resumed(
                    Arc::clone(&sessions.keeper),
                    record,
                    held,
                    opened.outdated,
                ));
            }
            Ok(Found::Parted(_)) => presented = Presented::Parted,
            Ok(Found::Nothing) => presented = presented.or(Presented::Stale),
            Err(_) if sessions.config.when_store_is_down == WhenStoreIsDown::Anonymous => {
                return Ok(Session::unavailable(
                    Arc::clone(&sessions.keeper),
                    opened.id,
                    address,
                ));
            }
            Err(error) => {
                StoreWasDown::note(request);
                return Err(error);
            }
        }
    }
    Ok(Session::fresh(
        Arc::clone(&sessions.keeper),
        presented,
        address,
    ))
}

impl Presented {
    fn or(self, other: Self) -> Self {
        if self == Self::Nothing { other } else { self }
    }
}

type GuardFuture<'a, T> = Pin<Box<dyn Future<Output = Outcome<T, Error>> + Send + 'a>>;

impl<'r> FromRequest<'r> for &'r Session {
    type Error = Error;

    // Written without `async` so that it can see its caller.
    #[track_caller]
    fn from_request<'life0, 'async_trait>(
        request: &'r Request<'life0>,
    ) -> GuardFuture<'async_trait, Self>
    where
        'r: 'async_trait,
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let caller = Location::caller();
        Box::pin(async move {
            match Slot::of(request).session(request).await {
                Ok(session) if session.is_new() && is_option(caller, request).await => {
                    Outcome::Forward(Status::Unauthorized)
                }
                Ok(session) => Outcome::Success(session),
                Err(error) => Outcome::Error((error.status(), error)),
            }
        })
    }
}

impl Sentinel for &Session {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}

/// Returns whether `caller`, who asks for a `T`, is Rocket's guard `Option<T>`.
///
/// `Option<&Session>` is to be `None` for a visitor who has no session yet, and `&Session` an empty
/// one. Rocket implements the guard `Option<T>` for every `T` and tells `T` nothing of it: where it
/// calls from is the one thing that differs. Where that is, a guard that does nothing else finds
/// out.
async fn is_option(caller: &Location<'_>, request: &Request<'_>) -> bool {
    static FOUND: OnceLock<&'static Location<'static>> = OnceLock::new();

    struct Probe;

    impl<'r> FromRequest<'r> for Probe {
        type Error = Error;

        #[track_caller]
        fn from_request<'life0, 'async_trait>(
            _: &'r Request<'life0>,
        ) -> GuardFuture<'async_trait, Self>
        where
            'r: 'async_trait,
            'life0: 'async_trait,
            Self: 'async_trait,
        {
            let caller = Location::caller();
            FOUND.get_or_init(|| caller);
            Box::pin(std::future::ready(Outcome::Success(Self)))
        }
    }

    if FOUND.get().is_none() {
        let _ = <Option<Probe>>::from_request(request).await;
    }
    // Line 0 is what a build that leaves places out gives for all of them.
    FOUND
        .get()
        .is_some_and(|place| *place == caller && place.line() > 0)
}

impl<'r> FromRequest<'r> for &'r Sessions {
    type Error = Error;

    fn from_request<'life0, 'async_trait>(
        request: &'r Request<'life0>,
    ) -> GuardFuture<'async_trait, Self>
    where
        'r: 'async_trait,
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(std::future::ready(match Sessions::of(request) {
            Ok(sessions) => Outcome::Success(sessions),
            Err(error) => Outcome::Error((error.status(), error)),
        }))
    }
}

impl Sentinel for &Sessions {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
