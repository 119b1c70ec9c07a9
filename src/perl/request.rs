//! The Perl session of one request: loaded when a guard first asks for it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use rocket::Request;
use rocket::tokio::sync::OnceCell;

use super::session::PerlSession;
use super::site::PerlSite;
use crate::error::{Error, Result};
use crate::sessions::Sessions;

/// The Perl session of a request, from the first guard that asks for it on.
#[derive(Default)]
pub(super) struct PerlRequest {
    loaded: OnceCell<Loaded>,
    has_response: AtomicBool,
    /// Takes the place of this one when the request is dispatched again, as a clone of a local
    /// request is.
    next: OnceLock<Box<PerlRequest>>,
}

struct Loaded {
    session: Result<Option<PerlSession>>,
    _live: Live,
}

/// Counts a request for as long as it holds a Perl session.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(live))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl PerlRequest {
    /// Returns the Perl session of `request` in its present dispatch.
    pub(super) fn of<'r>(request: &'r Request<'_>) -> &'r Self {
        let mut this = request.local_cache(Self::default);
        while let Some(next) = this.next.get() {
            this = next;
        }
        this
    }

    /// Returns the session, which the first call loads; `None` if the site has none for the visitor.
    pub(super) async fn session<'r>(
        &'r self,
        request: &'r Request<'_>,
    ) -> Result<Option<&'r PerlSession>> {
        Sessions::of(request)?;
        let site = PerlSite::of(request)?;
        let loaded = self.loaded.get_or_init(|| async {
            let _live = Live::new(&site.live);
            let session = site.load(request).await;
            Loaded { session, _live }
        });
        let session = loaded.await.session.as_ref();
        session.map(Option::as_ref).map_err(Error::clone)
    }

    /// Returns whether the visitor has a session, or `None` if no guard asked for one.
    pub(super) fn found(&self) -> Option<bool> {
        let loaded = self.loaded.get()?;
        Some(matches!(loaded.session, Ok(Some(_))))
    }

    /// Notes that the request has its response. A later dispatch is a request of its own.
    pub(super) fn has_response(&self) {
        self.has_response.store(true, Ordering::Relaxed);
    }

    /// Forgets the session if the request has had its response: the next guard loads it anew.
    pub(super) fn begin_anew(&self) {
        if self.has_response.load(Ordering::Relaxed) {
            self.next.get_or_init(Box::default);
        }
    }
}
