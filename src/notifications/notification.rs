//! A single notification, and the guard that takes the oldest one.

use std::fmt;
use std::sync::Arc;

use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};
use serde::de::DeserializeOwned;
use serde::ser::{Error as _, Serialize, SerializeStruct, Serializer};

use super::{Level, Notifications};
use crate::error::{Error, ErrorKind, Result, StoreWasDown};
use crate::message::StoredMessage;
use crate::record::read_value;
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
/// `message`, and `data` if the message has data.
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
    /// The JSON of the data.
    data: Option<String>,
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
            data: message.data_json().map(str::to_owned),
            shown: None,
        }
    }

    /// Returns the queue of the message: `success`, `info`, `warning`, `error`, or a queue of the
    /// application.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Returns the level of the message; `None` if it is in a queue of the application.
    pub fn level(&self) -> Option<Level> {
        Level::of(&self.queue)
    }

    /// Returns the text of the message, which then counts as read.
    pub fn message(&self) -> &str {
        self.note_read();
        &self.message
    }

    /// Returns the data that [`push_with`](Notifications::push_with) or
    /// [`Notify::with_data`](crate::Notify::with_data) added to the message, if there is any. The message
    /// then counts as read.
    ///
    /// # Errors
    ///
    /// When the data is not a `T`. The message does not count as read.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let data = self.data.as_deref().map(read_value).transpose()?;
        if data.is_some() {
            self.note_read();
        }
        Ok(data)
    }

    fn note_read(&self) {
        if let Some(shown) = &self.shown {
            shown.note();
        }
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
        let fields = 2 + usize::from(self.data.is_some());
        let mut object = serializer.serialize_struct("Notification", fields)?;
        object.serialize_field("queue", self.queue())?;
        object.serialize_field("message", self.message())?;
        if let Some(data) = &self.data {
            let data: serde_json::Value = serde_json::from_str(data).map_err(S::Error::custom)?;
            object.serialize_field("data", &data)?;
        }
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
