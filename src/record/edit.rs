//! Changes to a record, within the limits of the configuration.

use super::Record;
use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::message::StoredMessage;

impl Record {
    /// Puts `json`, a JSON text, under `name`.
    ///
    /// # Errors
    ///
    /// When the session would exceed `limits`.
    pub(crate) fn set(&mut self, name: &str, json: &str, limits: &Limits) -> Result<()> {
        const ACT: &str = "put a value into the session";
        let beyond = |what: String| Err(Error::new(ErrorKind::Limit, ACT).because(what));
        let old = self.values.get(name).map(|old| name.len() + old.len());
        if name.len() > limits.key_length {
            return beyond(format!(
                "its name is longer than {} bytes (`sessions.limits.key_length`)",
                limits.key_length
            ));
        }
        if old.is_none() && self.len() >= limits.keys {
            return beyond(format!(
                "the session already has {} values (`sessions.limits.keys`)",
                limits.keys
            ));
        }
        if self.size() - old.unwrap_or(0) + name.len() + json.len() > limits.size {
            return Err(too_large(ACT, limits));
        }
        self.values.insert(name, json);
        Ok(())
    }

    /// Puts `json`, a JSON text, under `name`, without limits.
    pub(crate) fn put(&mut self, name: &str, json: &str) {
        self.values.insert(name, json);
    }

    /// Makes the changes between `own` and `now` to this record, as far as a request may make them to
    /// a session that another request renewed.
    pub(crate) fn bring_over(&mut self, own: &Self, now: &Self) {
        for (name, _) in own.values.iter() {
            if now.values.get(name).is_none() {
                self.values.remove(name);
            }
        }
        for (name, after) in now.values.iter() {
            if own.values.get(name) != Some(after) {
                self.put(name, after);
            }
        }
        if own.user.is_some() && now.user.is_none() {
            (self.user, self.log_in, self.listed) = (None, None, 0);
        }
        self.bring_lifetime_over(own, now);
        for message in &now.notifications {
            let mut known = own.notifications.iter().chain(&self.notifications);
            if known.all(|known| known.id != message.id) {
                self.notifications.push(message.clone());
            }
        }
    }

    /// Sets the user.
    ///
    /// # Errors
    ///
    /// When the session would exceed `limits`.
    pub(crate) fn set_user(&mut self, user: Option<&str>, limits: &Limits) -> Result<()> {
        let user_len = |user: Option<&str>| user.map_or(0, str::len);
        if self.size() - user_len(self.user()) + user_len(user) > limits.size {
            return Err(too_large("put the user into the session", limits));
        }
        if self.user() != user {
            (self.log_in, self.listed) = (None, 0);
        }
        self.user = user.map(str::to_owned);
        Ok(())
    }

    /// Adds `message`. A named value replaces the one before it. If there are then too many messages,
    /// the oldest are removed.
    ///
    /// # Errors
    ///
    /// When the message alone exceeds `limits`.
    pub(crate) fn notify(&mut self, message: StoredMessage, limits: &Limits) -> Result<()> {
        if message.size() > limits.notifications_size || limits.notifications == 0 {
            let why = format!(
                "it has more than {} bytes (`sessions.limits.notifications_size`), or the limit is \
                 zero (`sessions.limits.notifications`)",
                limits.notifications_size
            );
            let error = Error::new(ErrorKind::Limit, "put a notification into the session");
            return Err(error.because(why));
        }
        self.notifications
            .retain(|old| !(message.named && old.named && old.queue == message.queue));
        self.notifications.push(message);
        let mut size = self.messages_size();
        let mut excess = self
            .notifications
            .len()
            .saturating_sub(limits.notifications);
        let too_many = self.notifications.iter().take_while(|oldest| {
            let goes = excess > 0 || size > limits.notifications_size;
            size -= oldest.size();
            excess = excess.saturating_sub(1);
            goes
        });
        let too_many = too_many.count();
        self.notifications.drain(..too_many);
        Ok(())
    }
}

fn too_large(act: &'static str, limits: &Limits) -> Error {
    let why = format!(
        "the session would be larger than {} bytes (`sessions.limits.size`)",
        limits.size
    );
    Error::new(ErrorKind::Limit, act).because(why)
}
