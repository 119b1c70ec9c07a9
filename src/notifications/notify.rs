//! The responder that adds a notification for the next page.

use std::fmt;

use rocket::response::{self, Responder};
use rocket::{Ignite, Request, Rocket, Sentinel};
use serde::Serialize;

use crate::error::Result;
use crate::guard;
use crate::message::StoredMessage;
use crate::record::write_value;
use crate::sessions::Sessions;

/// A response with a message for the next page.
///
/// The message is saved after the response is made, together with the session's other changes. A
/// responder that fails, or a response with status 500, discards the message. If the message cannot be
/// saved, an error replaces the response: 503 if the store is down, 500 if the message is too large.
///
/// # Example
///
/// ```rust
/// use rocket::response::Redirect;
/// use rocket::{get, post};
/// use rocket_session_kit::{Notification, Notify};
///
/// #[post("/delete")]
/// fn delete() -> Notify<Redirect> {
///     Notify::new(Redirect::to("/"), "trash", "Thrown away")
/// }
///
/// #[get("/")]
/// fn index(note: Notification) -> String {
///     format!("{}: {note}", note.queue())
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![delete, index], |client| {
/// # client.post("/delete").dispatch();
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "trash: Thrown away");
/// # assert_eq!(client.get("/").dispatch().status(), rocket::http::Status::NotFound);
/// # });
/// ```
pub struct Notify<R> {
    responder: R,
    message: Result<StoredMessage>,
}

impl<R> Notify<R> {
    /// Returns `responder` with a message for `queue`.
    pub fn new(responder: R, queue: &str, message: impl AsRef<str>) -> Self {
        Self {
            responder,
            message: Ok(StoredMessage::queued(queue, message.as_ref())),
        }
    }

    /// Returns `responder` with a message for the queue `success`.
    pub fn success(responder: R, message: impl AsRef<str>) -> Self {
        Self::new(responder, "success", message)
    }

    /// Returns `responder` with a message for the queue `info`.
    pub fn info(responder: R, message: impl AsRef<str>) -> Self {
        Self::new(responder, "info", message)
    }

    /// Returns `responder` with a message for the queue `warning`.
    pub fn warning(responder: R, message: impl AsRef<str>) -> Self {
        Self::new(responder, "warning", message)
    }

    /// Returns `responder` with a message for the queue `error`.
    pub fn error(responder: R, message: impl AsRef<str>) -> Self {
        Self::new(responder, "error", message)
    }

    /// Adds `data` of any serde type to the message, which [`Notification::data`](crate::Notification::data)
    /// returns. If it cannot be written as JSON, the response is a 500.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::response::Redirect;
    /// use rocket::{get, post};
    /// use rocket_session_kit::{Notification, Notify, Result};
    ///
    /// #[post("/order")]
    /// fn order() -> Notify<Redirect> {
    ///     Notify::success(Redirect::to("/"), "Thank you").with_data(4711)
    /// }
    ///
    /// #[get("/")]
    /// fn index(note: Notification) -> Result<String> {
    ///     Ok(format!("{note} for order {:?}", note.data::<u32>()?))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![order, index], |client| {
    /// # client.post("/order").dispatch();
    /// # let page = client.get("/").dispatch().into_string().unwrap();
    /// # assert_eq!(page, "Thank you for order Some(4711)");
    /// # });
    /// ```
    #[must_use]
    pub fn with_data<T: Serialize>(self, data: T) -> Self {
        let message = self.message.and_then(|message| {
            let data = write_value(&data)?;
            Ok(message.with_data(data))
        });
        Self { message, ..self }
    }
}

impl<R> fmt::Debug for Notify<R> {
    /// Shows no message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").finish_non_exhaustive()
    }
}

impl<'r, 'o: 'r, R: Responder<'r, 'o>> Responder<'r, 'o> for Notify<R> {
    /// Keeps the message until the fairing handles the response, since a responder cannot load the
    /// session. A responder that fails adds no message.
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'o> {
        let response = self.responder.respond_to(request)?;
        let kept = self
            .message
            .and_then(|message| guard::defer(request, |session| session.notify(message)));
        match kept {
            Ok(()) => Ok(response),
            Err(error) => error.respond_to(request),
        }
    }
}

impl<R> Sentinel for Notify<R> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
