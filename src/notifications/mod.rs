//! Notifications: messages for the next page, each of which is shown once.

mod level;
mod notification;
mod notify;
mod take;

use std::fmt;

use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};

use crate::dispatch;
use crate::error::{Error, Result};
use crate::guard;
use crate::message::StoredMessage;
use crate::record::write_value;
use crate::session::Session;
use crate::sessions::Sessions;

pub use level::Level;
pub use notification::Notification;
pub use notify::Notify;

/// The messages and named values for the next page of this visitor.
///
/// Take it as a request guard. Messages wait in queues: [`success`](Self::success),
/// [`info`](Self::info), [`warning`](Self::warning), [`error`](Self::error), and queues of your own
/// ([`push`](Self::push)). A name has one value at a time. Messages and values are part of the visitor's
/// [`Session`](crate::Session), apart from the session's own values, until a page takes them.
///
/// **Each message is delivered once**, even if several requests of the visitor take it at the same time.
/// It is first removed from the store, by a save of its own, and then returned. So it is gone even if
/// the handler fails afterwards, and it is lost if the store fails during the save. A request that takes
/// no message saves nothing. A `HEAD` request sees the messages, and leaves them in place.
///
/// A new message is saved together with the session's other changes, so a response with status 500
/// discards it. It survives [`Session::clear`](crate::Session::clear), and a log-in unless another user
/// was logged in before. It is removed when the session ends. A message after
/// [`log_out`](crate::Session::log_out) begins a new session. A handler that ends its own session with
/// [`Sessions::end_all_of`](crate::Sessions::end_all_of) must call that before it adds a message.
/// Otherwise the message ends with the session, and a line in the log reports it.
///
/// # Errors
///
/// The guard fails with 503 when the visitor has a session and the store does not respond.
///
/// # Example
///
/// ```rust
/// use rocket::response::Redirect;
/// use rocket::{get, post};
/// use rocket_session_kit::{Notifications, Result};
///
/// #[post("/save")]
/// fn save(notes: Notifications<'_>) -> Result<Redirect> {
///     notes.success("Saved")?;
///     Ok(Redirect::to("/"))
/// }
///
/// #[get("/")]
/// async fn index(notes: Notifications<'_>) -> Result<String> {
///     let notes = notes.take_all().await?;
///     Ok(notes.iter().map(|note| format!("{}: {note}\n", note.queue())).collect())
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![save, index], |client| {
/// # client.post("/save").dispatch();
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "success: Saved\n");
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "");
/// # });
/// ```
pub struct Notifications<'r> {
    session: &'r Session,
    /// Whether messages stay in place: the response to a `HEAD` request shows none.
    leave: bool,
}

impl<'r> Notifications<'r> {
    async fn of(request: &'r Request<'_>) -> Result<Self> {
        Ok(Self {
            session: guard::session(request).await?,
            leave: dispatch::is_head(request),
        })
    }
}

impl Notifications<'_> {
    /// Adds `message` to the end of the queue `success`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn success(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("success", message)
    }

    /// Adds `message` to the end of the queue `info`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn info(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("info", message)
    }

    /// Adds `message` to the end of the queue `warning`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn warning(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("warning", message)
    }

    /// Adds `message` to the end of the queue `error`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn error(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("error", message)
    }

    /// Adds `message` to the end of `queue`. It waits there until this page or a later one takes it.
    ///
    /// If there are then more messages than `notifications` and `notifications_size` under
    /// `[default.sessions.limits]` allow, the oldest are removed.
    ///
    /// # Errors
    ///
    /// When the message alone is larger than `notifications_size`
    /// ([`ErrorKind::Limit`](crate::ErrorKind::Limit)). The other messages are then unchanged.
    pub fn push(&self, queue: &str, message: impl AsRef<str>) -> Result<()> {
        self.session
            .notify(StoredMessage::queued(queue, message.as_ref()))
    }

    /// Adds `message` to the end of `queue`, with `data` of any serde type: for example a number from which
    /// the page makes a link. [`Notification::data`] returns it.
    ///
    /// # Errors
    ///
    /// When `data` cannot be written as JSON, and as [`push`](Self::push). The data counts towards
    /// `notifications_size`.
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::{get, post};
    /// use rocket_session_kit::{Notifications, Result};
    ///
    /// #[post("/order")]
    /// fn order(notes: Notifications<'_>) -> Result<()> {
    ///     notes.push_with("success", "Thank you for your order", 4711)
    /// }
    ///
    /// #[get("/")]
    /// async fn index(notes: Notifications<'_>) -> Result<String> {
    ///     let mut page = String::new();
    ///     for note in notes.take_all().await? {
    ///         page += &note.to_string();
    ///         if let Some(order) = note.data::<u32>()? {
    ///             page += &format!(" <a href=\"/orders/{order}\">{order}</a>");
    ///         }
    ///     }
    ///     Ok(page)
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![order, index], |client| {
    /// # client.post("/order").dispatch();
    /// # let page = client.get("/").dispatch().into_string().unwrap();
    /// # assert_eq!(page, "Thank you for your order <a href=\"/orders/4711\">4711</a>");
    /// # });
    /// ```
    pub fn push_with<T: serde::Serialize>(
        &self,
        queue: &str,
        message: impl AsRef<str>,
        data: T,
    ) -> Result<()> {
        let message = StoredMessage::queued(queue, message.as_ref());
        self.session.notify(message.with_data(write_value(&data)?))
    }

    /// Adds `message` to the end of `queue`, unless an identical message is waiting there. Returns
    /// whether it was added.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Notifications, Result};
    ///
    /// #[get("/")]
    /// fn page(notes: Notifications<'_>) -> Result<String> {
    ///     let first = notes.push_once("info", "We close at six")?;
    ///     Ok(format!("{first}, {} waits", notes.peek().len()))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![page], |client| {
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "true, 1 waits");
    /// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "false, 1 waits");
    /// # });
    /// ```
    pub fn push_once(&self, queue: &str, message: impl AsRef<str>) -> Result<bool> {
        self.session
            .notify_once(StoredMessage::queued(queue, message.as_ref()))
    }

    /// Returns the messages of all queues, the oldest first, and leaves them in place.
    pub fn peek(&self) -> Vec<Notification> {
        self.session.with_messages(|waiting| {
            let messages = waiting.iter().filter(|message| !message.named);
            messages.map(Notification::new).collect()
        })
    }

    /// Sets the value under `name`, which waits there until a page [takes](Self::take) it.
    ///
    /// Names, queues and the session's own values are independent of each other.
    ///
    /// # Errors
    ///
    /// When `value` cannot be written as JSON, and as [`push`](Self::push).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::{get, post};
    /// use rocket_session_kit::{Notifications, Result};
    ///
    /// #[post("/order")]
    /// fn order(notes: Notifications<'_>) -> Result<()> {
    ///     notes.set("order", 4711)
    /// }
    ///
    /// #[get("/thanks")]
    /// async fn thanks(notes: Notifications<'_>) -> Result<String> {
    ///     let order: Option<u32> = notes.take("order").await?;
    ///     Ok(order.map_or("Nothing new".into(), |number| format!("Your order is number {number}")))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![order, thanks], |client| {
    /// # let thanks = || client.get("/thanks").dispatch().into_string().unwrap();
    /// # client.post("/order").dispatch();
    /// # assert_eq!(thanks(), "Your order is number 4711");
    /// # assert_eq!(thanks(), "Nothing new");
    /// # });
    /// ```
    pub fn set<T: serde::Serialize>(&self, name: &str, value: T) -> Result<()> {
        self.session
            .notify(StoredMessage::named(name, write_value(&value)?))
    }
}

impl fmt::Debug for Notifications<'_> {
    /// Shows no message and no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifications").finish_non_exhaustive()
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for Notifications<'r> {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match Self::of(request).await {
            Ok(notifications) => Outcome::Success(notifications),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for Notifications<'_> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
