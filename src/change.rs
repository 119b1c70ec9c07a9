//! The changes of a request to its session, which can be made again to a newer record.

use std::fmt;

use serde_json::value::RawValue;

use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::message::StoredMessage;
use crate::record::{LogIn, OwnTimeouts, Record, read_value, write_value};
use crate::values::Values;

/// One change of a request to its session.
///
/// A request changes the record that it loaded. If another request saved in the meantime, the changes
/// are made again to the newer record. So changes of different values are both kept, increments add
/// up, a removed value stays removed, and of two values inserted under one name the later stays.
pub(crate) enum Change {
    Insert(String, Box<RawValue>),
    /// As `Insert`, for a value that the request read before. The last field is the value that it
    /// read.
    Overwrite(String, Box<RawValue>, Option<Box<str>>),
    Remove(String),
    Increment(String, i64),
    Update(String, Update),
    Clear,
    SetUser(Option<String>),
    /// Logs a user in, at a time in seconds since 1970.
    LogIn {
        user: String,
        at: u64,
    },
    /// Notes that this user has proved their identity again, at a time in seconds since 1970.
    Reauthenticate {
        user: String,
        at: u64,
    },
    /// Sets the timeouts of the session alone.
    SetTimeouts(OwnTimeouts),
    Notify(StoredMessage),
    /// As `Notify`, unless an identical message is waiting.
    NotifyOnce(StoredMessage),
    /// Returns a message that this request took, and did not show.
    PutBack(StoredMessage),
    AddToken(String),
    AddCsrf(String),
}

/// The largest number of form tokens in a session. Beyond it the oldest is removed.
pub(crate) const TOKENS: usize = 32;

/// The largest number of concurrent requests that each give a session its first CSRF token.
const CSRF: usize = 8;

/// Makes the new JSON of a value from the old.
pub(crate) type Update = Box<dyn Fn(Option<&str>) -> Result<Box<RawValue>> + Send + Sync>;

impl Change {
    /// Makes the change to `record`.
    ///
    /// # Errors
    ///
    /// When the record would exceed `limits`, or the value has the wrong type. The record is then
    /// unchanged.
    pub(crate) fn apply(&self, record: &mut Record, limits: &Limits) -> Result<()> {
        match self {
            Self::Insert(name, value) | Self::Overwrite(name, value, _) => {
                record.set(name, value.get(), limits)
            }
            Self::Remove(name) => {
                record.values.remove(name);
                Ok(())
            }
            Self::Increment(name, by) => {
                let old = record.get::<i64>(name)?.unwrap_or(0);
                let new = old.checked_add(*by).ok_or_else(|| {
                    Error::new(ErrorKind::Value, "increment a value of the session")
                        .because("the sum does not fit into 64 bits")
                })?;
                record.set(name, &new.to_string(), limits)
            }
            Self::Update(name, update) => {
                let new = update(record.values.get(name))?;
                record.set(name, new.get(), limits)
            }
            Self::Clear => {
                record.values = Values::default();
                Ok(())
            }
            Self::SetUser(user) => record.set_user(user.as_deref(), limits),
            Self::LogIn { user, at } => {
                let mut next = record.clone();
                if record.user().is_some_and(|other| other != user) {
                    // Data of one user is never shown to another user of the same browser.
                    next.values = Values::default();
                    next.notifications = Vec::new();
                }
                forget_tokens(&mut next);
                next.set_user(Some(user), limits)?;
                next.log_in = Some(Box::new(LogIn::new(*at)));
                next.reset_timeouts();
                *record = next;
                Ok(())
            }
            Self::Reauthenticate { user, at } => {
                // Another request may have changed the user.
                if record.user() == Some(user) {
                    forget_tokens(record);
                    let log_in = || Box::new(LogIn::new(*at));
                    record.log_in.get_or_insert_with(log_in).at = *at;
                }
                Ok(())
            }
            Self::SetTimeouts(own) => {
                record.set_timeouts(*own);
                Ok(())
            }
            Self::Notify(message) => record.notify(message.clone(), limits),
            Self::NotifyOnce(message) => {
                let mut waiting = record.notifications.iter();
                if waiting.any(|other| other.is_duplicate_of(message)) {
                    return Ok(());
                }
                record.notify(message.clone(), limits)
            }
            Self::PutBack(message) => {
                record.notifications.insert(0, message.clone());
                Ok(())
            }
            Self::AddToken(token) => {
                record.tokens.push(token.clone());
                if record.tokens.len() > TOKENS {
                    record.tokens.remove(0);
                }
                Ok(())
            }
            Self::AddCsrf(secret) => {
                if record.csrf.len() < CSRF {
                    record.csrf.push(secret.clone());
                }
                Ok(())
            }
        }
    }

    /// Returns whether it sets the user.
    pub(crate) fn is_about_the_user(&self) -> bool {
        matches!(self, Self::SetUser(_) | Self::LogIn { .. })
    }

    /// Returns whether it must not be made to a session that another request renewed. The renewal may
    /// protect the session from a client that knew the old id.
    pub(crate) fn stays_behind(&self) -> bool {
        // A log-out grants no access.
        matches!(
            self,
            Self::SetUser(Some(_))
                | Self::LogIn { .. }
                | Self::Reauthenticate { .. }
                | Self::SetTimeouts(_)
                | Self::AddToken(_)
                | Self::AddCsrf(_)
        )
    }

    /// Returns the message that it adds to the session.
    pub(crate) fn message(&self) -> Option<&StoredMessage> {
        match self {
            Self::Notify(message) | Self::NotifyOnce(message) | Self::PutBack(message) => {
                Some(message)
            }
            _ => None,
        }
    }

    /// Returns the form token that it adds to the session.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::AddToken(token) => Some(token),
            _ => None,
        }
    }

    /// Returns whether the next change, `later`, makes it ineffective.
    pub(crate) fn is_superseded_by(&self, later: &Change) -> bool {
        let (Self::Insert(name, _) | Self::Overwrite(name, ..) | Self::Remove(name)) = later else {
            return false;
        };
        match self {
            Self::Insert(own, _)
            | Self::Overwrite(own, ..)
            | Self::Remove(own)
            | Self::Increment(own, _)
            | Self::Update(own, _) => own == name,
            _ => false,
        }
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insert(..) => "Insert",
            Self::Overwrite(..) => "Overwrite",
            Self::Remove(..) => "Remove",
            Self::Increment(..) => "Increment",
            Self::Update(..) => "Update",
            Self::Clear => "Clear",
            Self::SetUser(..) => "SetUser",
            Self::LogIn { .. } => "LogIn",
            Self::Reauthenticate { .. } => "Reauthenticate",
            Self::SetTimeouts(..) => "SetTimeouts",
            Self::Notify(..) => "Notify",
            Self::NotifyOnce(..) => "NotifyOnce",
            Self::PutBack(..) => "PutBack",
            Self::AddToken(..) => "AddToken",
            Self::AddCsrf(..) => "AddCsrf",
        })
    }
}

/// Removes the form tokens and the CSRF secrets of `record`: an attacker who planted or read the
/// session knows them.
fn forget_tokens(record: &mut Record) {
    record.tokens = Vec::new();
    record.csrf = Vec::new();
}

/// Logs a warning if `changes` overwrite a value in `newer` that another request changed after this
/// one had read it.
pub(crate) fn warn_of_lost_updates(changes: &[Change], newer: &Record) {
    let overwrites = |change: &Change| match change {
        Change::Overwrite(name, _, read) => newer.values.get(name) != read.as_deref(),
        _ => false,
    };
    if changes.iter().any(overwrites) {
        log::warn!(
            "a request read a value of its session by `get` and wrote it by `insert`; another request \
             changed it in between, and that change is overwritten. Use `session.update` or \
             `session.increment`, which lose no change"
        );
    }
}

/// Returns an [`Update`] from a function on a typed value.
pub(crate) fn typed_update<T, F>(f: F) -> Update
where
    T: serde::de::DeserializeOwned + serde::Serialize + Default,
    F: Fn(&mut T) + Send + Sync + 'static,
{
    Box::new(move |old| {
        let mut value = old.map(read_value::<T>).transpose()?.unwrap_or_default();
        f(&mut value);
        write_value(&value)
    })
}
