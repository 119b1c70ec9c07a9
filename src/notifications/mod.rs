//! Notifications: messages for the next page, each of which is shown once.

mod notification;
mod notify;

use std::fmt;

use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};
use serde::de::DeserializeOwned;

use crate::dispatch;
use crate::error::{Error, Result};
use crate::guard;
use crate::message::StoredMessage;
use crate::record::{read_value, write_value};
use crate::session::Session;
use crate::sessions::Sessions;

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

    /// Takes the messages of all queues, and returns them, the oldest first.
    ///
    /// # Errors
    ///
    /// When the store fails. The messages may then be lost, and are never shown twice.
    pub async fn take_all(&self) -> Result<Vec<Notification>> {
        self.take_messages(|_| true).await
    }

    /// Takes the messages of `queue`, and returns them, the oldest first.
    ///
    /// # Errors
    ///
    /// As [`take_all`](Self::take_all).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Notifications, Result};
    ///
    /// #[get("/")]
    /// async fn page(notes: Notifications<'_>) -> Result<String> {
    ///     notes.error("Too late")?;
    ///     notes.push("cart", "Milk was sold out")?;
    ///     let about_the_cart = notes.take_queue("cart").await?;
    ///     Ok(format!("{}, {} waits", about_the_cart[0], notes.peek().len()))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![page], |client| {
    /// # let page = client.get("/").dispatch().into_string().unwrap();
    /// # assert_eq!(page, "Milk was sold out, 1 waits");
    /// # });
    /// ```
    pub async fn take_queue(&self, queue: &str) -> Result<Vec<Notification>> {
        self.take_messages(|message| message.queue == queue).await
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

    /// Takes the value under `name`, and returns it, if there is one.
    ///
    /// # Errors
    ///
    /// When the value is not a `T`; it stays in place. When the store fails; the value may then be lost.
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let has_name = |message: &&StoredMessage| message.named && message.queue == name;
        // The type is checked before the value is taken.
        let pick = |waiting: &[StoredMessage]| match waiting.iter().find(has_name) {
            None => Ok(Vec::new()),
            Some(message) => read_value::<T>(message.value.get()).map(|_| vec![message.id]),
        };
        let taken = if self.leave {
            self.session
                .with_messages(|waiting| waiting.iter().find(has_name).cloned())
        } else {
            self.session.take_messages(pick).await?.pop()
        };
        taken
            .map(|message| read_value(message.value.get()))
            .transpose()
    }

    /// Takes the oldest message. It is put back if the handler does not read it.
    async fn hand_out_oldest(&self) -> Result<Option<Notification>> {
        let oldest = |waiting: &[StoredMessage]| {
            let first = waiting.iter().find(|message| !message.named);
            Ok(first.map(|message| message.id).into_iter().collect())
        };
        if self.leave {
            return Ok(self.peek().into_iter().next());
        }
        let taken = self.session.take_messages(oldest).await?.pop();
        Ok(taken.map(|message| {
            let shown = self.session.hand_out(message.clone());
            Notification::handed_out(&message, shown)
        }))
    }

    async fn take_messages(
        &self,
        wanted: impl Fn(&StoredMessage) -> bool,
    ) -> Result<Vec<Notification>> {
        let wanted = |message: &&StoredMessage| !message.named && wanted(message);
        if self.leave {
            return Ok(self.session.with_messages(|waiting| {
                let messages = waiting.iter().filter(wanted);
                messages.map(Notification::new).collect()
            }));
        }
        let pick = |waiting: &[StoredMessage]| {
            let messages = waiting.iter().filter(wanted);
            Ok(messages.map(|message| message.id).collect())
        };
        let taken = self.session.take_messages(pick).await?;
        Ok(taken.iter().map(Notification::new).collect())
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
