//! Messages for the next page: each is shown once, by whichever page asks first.

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

/// The messages, and named values, that wait for the next page of this visitor.
///
/// Take it as a request guard. Messages wait in queues: [`success`](Self::success),
/// [`info`](Self::info), [`warning`](Self::warning), [`error`](Self::error), and any that
/// [`push`](Self::push) names. Values wait under a name, one at a time. They are kept in the
/// visitor's [`Session`](crate::Session), under a heading of their own, until they are taken.
///
/// **Each is delivered once**, however many requests of the visitor ask at the same time: what is
/// taken is first taken out of the store, by a save of its own, and then returned. So it is gone
/// also when the handler fails afterwards, and nobody gets it when the store fails while it is being
/// taken. A request that takes nothing, or finds nothing, saves nothing. A `HEAD` request is shown
/// what waits and leaves it.
///
/// What is pushed is saved with the session, and under its rules: not by an answer with status 500.
/// It survives a log-in, unless somebody else was logged in before, and
/// [`Session::clear`](crate::Session::clear); it ends with the session. A message after
/// [`log_out`](crate::Session::log_out) begins a new one. A handler that ends its own session by
/// [`Sessions::end_all_of`](crate::Sessions::end_all_of) calls that first, if its message is to be
/// kept: else the message goes with the session, and a line in the log says so.
///
/// # Errors
///
/// As a guard it fails with 503 when the visitor has a session and the store does not answer.
///
/// # Example
///
/// ```rust
/// use rocket::get;
/// use rocket::response::Redirect;
/// use rocket_session_kit::{Notifications, Result};
///
/// # /*
/// #[post("/save")]
/// # */
/// #[get("/save")]
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
/// # client.get("/save").dispatch();
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "success: Saved\n");
/// # assert_eq!(client.get("/").dispatch().into_string().unwrap(), "");
/// # });
/// ```
pub struct Notifications<'r> {
    session: &'r Session,
    /// Whether messages stay where they are: the response to a `HEAD` request shows none.
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
    /// Lets `message` wait at the end of the queue `success`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn success(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("success", message)
    }

    /// Lets `message` wait at the end of the queue `info`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn info(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("info", message)
    }

    /// Lets `message` wait at the end of the queue `warning`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn warning(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("warning", message)
    }

    /// Lets `message` wait at the end of the queue `error`.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn error(&self, message: impl AsRef<str>) -> Result<()> {
        self.push("error", message)
    }

    /// Lets `message` wait at the end of `queue`, until a page takes it: a later one, or this.
    ///
    /// Where more wait than `notifications` and `notifications_size` under
    /// `[default.sessions.limits]` allow, the oldest make room for it.
    ///
    /// # Errors
    ///
    /// When it is larger than `notifications_size` under `[default.sessions.limits]`, by itself
    /// ([`ErrorKind::Limit`](crate::ErrorKind::Limit)). What waits already waits on.
    pub fn push(&self, queue: &str, message: impl AsRef<str>) -> Result<()> {
        self.session
            .notify(StoredMessage::queued(queue, message.as_ref()))
    }

    /// As [`push`](Self::push), unless the same message waits in the queue already. Returns whether
    /// it did not.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    ///
    /// # Example
    ///
    /// ```rust
    /// # use rocket::get;
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

    /// Takes all messages, of all queues, and returns them, the oldest first.
    ///
    /// # Errors
    ///
    /// When the store fails. The messages may be lost then; they are never shown twice.
    pub async fn take_all(&self) -> Result<Vec<Notification>> {
        self.take_messages(|_| true).await
    }

    /// Takes all messages of `queue`, and returns them, the oldest first.
    ///
    /// # Errors
    ///
    /// As [`take_all`](Self::take_all).
    ///
    /// # Example
    ///
    /// ```rust
    /// # use rocket::get;
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

    /// Returns the messages of all queues, the oldest first, and leaves them there.
    pub fn peek(&self) -> Vec<Notification> {
        self.session.with_messages(|waiting| {
            let messages = waiting.iter().filter(|message| !message.named);
            messages.map(Notification::new).collect()
        })
    }

    /// Lets `value` wait under `name`, in the place of what waits there, until it is
    /// [taken](Self::take). Names clash neither with queues nor with the session's own values.
    ///
    /// # Errors
    ///
    /// When `value` has no form in JSON, and as [`push`](Self::push).
    ///
    /// # Example
    ///
    /// ```rust
    /// # use rocket::get;
    /// use rocket_session_kit::{Notifications, Result};
    ///
    /// #[get("/order")]
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
    /// # client.get("/order").dispatch();
    /// # assert_eq!(thanks(), "Your order is number 4711");
    /// # assert_eq!(thanks(), "Nothing new");
    /// # });
    /// ```
    pub fn set<T: serde::Serialize>(&self, name: &str, value: T) -> Result<()> {
        self.session
            .notify(StoredMessage::named(name, write_value(&value)?))
    }

    /// Takes the value that waits under `name`, and returns it, if there is one.
    ///
    /// # Errors
    ///
    /// When there is a value and it is not a `T`: it waits on. When the store fails: the value may
    /// be lost then.
    pub async fn take<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let is_it = |message: &&StoredMessage| message.named && message.queue == name;
        // Whether it is a `T` is found out before it is taken.
        let pick = |waiting: &[StoredMessage]| match waiting.iter().find(is_it) {
            None => Ok(Vec::new()),
            Some(message) => read_value::<T>(&message.value).map(|_| vec![message.id]),
        };
        let taken = if self.leave {
            self.session
                .with_messages(|waiting| waiting.iter().find(is_it).cloned())
        } else {
            self.session.take_messages(pick).await?.pop()
        };
        taken.map(|message| read_value(&message.value)).transpose()
    }

    /// Takes the oldest message, to be put back if nobody looks at it.
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
