//! A single notification, and the guard that takes the oldest one.

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

/// A message for this page.
///
/// As a request guard it takes the oldest message, which no other request gets. If there is no message,
/// the request is forwarded to the next route, so most pages take `Option<Notification>`. That is `None`
/// if the store fails, too. A message that is dropped unread is put back, for example if another guard
/// of the route forwards the request.
///
/// `Display` writes the message. In a template it is an object with the fields `queue` and
/// `message`.
///
/// # Example
///
/// ```rust
/// use rocket::response::Redirect;
/// use rocket::{get, post};
/// use rocket_session_kit::{Notification, Notify};
///
/// #[post("/save")]
/// fn save() -> Notify<Redirect> {
///     Notify::success(Redirect::to("/"), "Saved")
/// }
///
/// #[get("/")]
/// fn index(note: Option<Notification>) -> String {
///     note.map_or("Nothing new".into(), |note| note.to_string())
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![save, index], |client| {
/// # client.post("/save").dispatch();
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "Saved");
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "Nothing new");
/// # });
/// ```
pub struct Notification {
    queue: String,
    message: String,
    /// Records that the message was read, if a guard took it.
    shown: Option<Arc<Shown>>,
}

impl Notification {
    /// Returns `message`, which a guard took. `shown` records that it is read.
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

    /// Returns the queue of the message: `success`, `info`, `warning`, `error`, or a queue of the
    /// application.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Returns the text of the message, which then counts as read.
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
