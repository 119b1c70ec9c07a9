//! One message that waited for this page, and the guard that takes it.

use std::fmt;
use std::sync::Arc;

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::Notifications;
use crate::error::{Error, ErrorKind, StoreWasDown};
use crate::message::StoredMessage;
use crate::session::Shown;
use crate::sessions::Sessions;

/// A message that waited for this page.
///
/// As a request guard it is the oldest that waits, taken: nobody else gets it. Where none waits, the
/// route is passed over, so `Option<Notification>` is what most pages want; that is `None` also
/// when the store fails. A message that is dropped without a look at it waits on, also when
/// another guard of the route sent the request elsewhere.
///
/// `Display` writes the message. In a template it is an object with the fields `queue` and
/// `message`.
///
/// # Example
///
/// ```rust
/// use rocket::get;
/// use rocket::response::Redirect;
/// use rocket_session_kit::{Notification, Notify};
///
/// # /*
/// #[post("/save")]
/// # */
/// #[get("/save")]
/// fn save() -> Notify<Redirect> {
///     Notify::success(Redirect::to("/"), "Saved")
/// }
///
/// #[get("/")]
/// fn index(note: Option<Notification>) -> String {
///     note.map_or("Nothing new".into(), |note| note.to_string())
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![save, index], |client| {
/// # client.get("/save").dispatch();
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "Saved");
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "Nothing new");
/// # });
/// ```
pub struct Notification {
    queue: String,
    message: String,
    /// Notes that the message was read, if a guard took it.
    shown: Option<Arc<Shown>>,
}

impl Notification {
    /// Returns `message`, which a guard took. Reading it is noted in `shown`.
    pub(super) fn handed_out(message: &StoredMessage, shown: Arc<Shown>) -> Self {
        Self {
            shown: Some(shown),
            ..Self::new(message)
        }
    }

    pub(super) fn new(message: &StoredMessage) -> Self {
        Self {
            queue: message.queue.clone(),
            message: message.text(),
            shown: None,
        }
    }

    /// Returns the queue that the message waited in: `success`, `info`, `warning`, `error`, or one
    /// of the application's own.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Returns the message, which is shown by that.
    pub fn message(&self) -> &str {
        if let Some(shown) = &self.shown {
            shown.note();
        }
        &self.message
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.message())
    }
}

impl fmt::Debug for Notification {
    /// Shows no message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notification").finish_non_exhaustive()
    }
}

impl Serialize for Notification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Notification", 2)?;
        object.serialize_field("queue", self.queue())?;
        object.serialize_field("message", self.message())?;
        object.end()
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Notification {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let taken = match Notifications::of(request).await {
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
