//! The layout around each page: who is signed in, the waiting notifications, and the latest entries.

use rocket::Request;
use rocket::outcome::try_outcome;
use rocket::request::{FromRequest, Outcome};
use rocket_session_kit::{Cache, CsrfToken, EndReason, Notification, Notifications, Session};

use crate::database::Database;
use crate::entries::Entry;
use crate::error::Result;
use crate::latest;

/// What the template `layout.html` shows.
#[derive(Default)]
pub struct Frame {
    pub path: String,
    /// Whether the page knows nothing about the visitor.
    pub is_bare: bool,
    pub who: Option<SignedIn>,
    pub goodbye: Option<&'static str>,
    pub notifications: Vec<Notification>,
    pub latest: Vec<Entry>,
}

/// The member who is signed in, and the token of the form that signs them out.
pub struct SignedIn {
    pub name: String,
    pub is_admin: bool,
    pub csrf: CsrfToken,
}

impl Frame {
    /// Returns a frame for a page that must not need the session.
    pub fn bare(request: &Request<'_>) -> Self {
        Self {
            path: request.uri().path().to_string(),
            is_bare: true,
            ..Self::default()
        }
    }

    /// Returns whether the page is the one at `path`, which the navigation marks.
    pub fn is_at(&self, path: &str) -> bool {
        self.path == path
    }
}

/// A request guard with all that a frame is made from.
pub struct Layout<'r> {
    path: String,
    session: &'r Session,
    notifications: Notifications<'r>,
    cache: &'r Cache,
    database: &'r Database,
}

impl Layout<'_> {
    /// Returns the frame of a page, with the notifications that wait. From then on they count as shown.
    pub async fn frame(&self) -> Result<Frame> {
        let mut frame = self.quiet_frame().await?;
        frame.notifications = self.notifications.take_all().await?;
        Ok(frame)
    }

    /// Returns the frame of an error page. The notifications wait for the next proper page.
    pub async fn quiet_frame(&self) -> Result<Frame> {
        Ok(Frame {
            path: self.path.clone(),
            is_bare: false,
            who: self.who().await?,
            goodbye: self.session.ended_because().and_then(goodbye),
            notifications: Vec::new(),
            latest: latest::entries(self.cache, self.database).await,
        })
    }

    async fn who(&self) -> Result<Option<SignedIn>> {
        let Some(user) = self.session.user() else {
            return Ok(None);
        };
        let account = self.database.account(&user).await?;
        Ok(account.map(|account| SignedIn {
            name: account.name,
            is_admin: account.is_admin,
            csrf: self.session.csrf_token(),
        }))
    }
}

/// Returns what to tell a visitor whose session ended without their doing.
fn goodbye(reason: EndReason) -> Option<&'static str> {
    match reason {
        EndReason::EndedElsewhere => Some("You were signed out from another place."),
        EndReason::Displaced => Some("You were signed out, because you signed in at other places."),
        EndReason::IdleTimeout => Some("You were signed out, because you were away for long."),
        EndReason::AbsoluteTimeout => Some("You were signed out, because some time has passed."),
        _ => None,
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Layout<'r> {
    type Error = rocket_session_kit::Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Self::Error> {
        Outcome::Success(Self {
            path: request.uri().path().to_string(),
            session: try_outcome!(request.guard().await),
            notifications: try_outcome!(request.guard().await),
            cache: try_outcome!(request.guard().await),
            database: Database::of(request),
        })
    }
}
