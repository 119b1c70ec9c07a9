//! Takes messages and values from the session, each for one page.

use serde::de::DeserializeOwned;

use super::{Level, Notification, Notifications};
use crate::error::Result;
use crate::message::StoredMessage;
use crate::record::read_value;

impl Notifications<'_> {
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

    /// Takes the messages of `level` and of the more severe levels, and returns them, the oldest first.
    /// The messages of other levels and of queues of the application keep waiting.
    ///
    /// # Errors
    ///
    /// As [`take_all`](Self::take_all).
    ///
    /// # Example
    ///
    /// ```rust
    /// use rocket::get;
    /// use rocket_session_kit::{Level, Notifications, Result};
    ///
    /// #[get("/")]
    /// async fn page(notes: Notifications<'_>) -> Result<String> {
    ///     notes.info("We close at six")?;
    ///     notes.warning("Milk is sold out")?;
    ///     notes.error("The payment failed")?;
    ///     let problems = notes.take_at_least(Level::Warning).await?;
    ///     Ok(format!("{} and {}, {} waits", problems[0], problems[1], notes.peek().len()))
    /// }
    /// # rocket_session_kit::testing::doc(rocket::routes![page], |client| {
    /// # let page = client.get("/").dispatch().into_string().unwrap();
    /// # assert_eq!(page, "Milk is sold out and The payment failed, 1 waits");
    /// # });
    /// ```
    pub async fn take_at_least(&self, level: Level) -> Result<Vec<Notification>> {
        let severe = |message: &StoredMessage| Level::of(&message.queue) >= Some(level);
        self.take_messages(severe).await
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
    pub(super) async fn hand_out_oldest(&self) -> Result<Option<Notification>> {
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
