//! What a request does to a session, in a form that can be done again to a newer record.

use std::fmt;

use serde_json::value::RawValue;

use crate::config::Limits;
use crate::error::{Error, ErrorKind, Result};
use crate::message::StoredMessage;
use crate::record::{Record, read_value, write_value};
use crate::values::Values;

/// One thing that a request did to its session.
///
/// A request works on the record that it loaded. When another request saved meanwhile, the changes,
/// not the outcome, are done again to the newer record: two requests that change different values
/// both win, increments add up, a removal stays a removal, and of two whole values under one name
/// the later stays.
pub(crate) enum Change {
    Insert(String, Box<RawValue>),
    /// The same, of a value that the request had read before. The last is what it had read.
    Overwrite(String, Box<RawValue>, Option<Box<RawValue>>),
    Remove(String),
    Increment(String, i64),
    Update(String, Update),
    Clear,
    SetUser(Option<String>),
    LogIn(String),
    Notify(StoredMessage),
    /// Unless one that says the same waits.
    NotifyOnce(StoredMessage),
    /// What was taken out by this request, and not looked at.
    PutBack(StoredMessage),
    AddToken(String),
    AddCsrf(String),
}

/// How many form tokens a session has at most; beyond it the oldest goes.
pub(crate) const TOKENS: usize = 32;

/// How many requests may give a session its first CSRF token at the same time.
const CSRF: usize = 8;

/// Makes a value's new JSON from its old.
pub(crate) type Update = Box<dyn Fn(Option<&RawValue>) -> Result<Box<RawValue>> + Send + Sync>;

impl Change {
    /// Does it to `record`.
    ///
    /// # Errors
    ///
    /// When the record would outgrow `limits`, or the value there is not one that this can be done
    /// to. The record is then as it was.
    pub(crate) fn apply(&self, record: &mut Record, limits: &Limits) -> Result<()> {
        match self {
            Self::Insert(name, value) | Self::Overwrite(name, value, _) => {
                record.set(name, value.clone(), limits)
            }
            Self::Remove(name) => {
                record.values.remove(name);
                Ok(())
            }
            Self::Increment(name, by) => {
                let old = record.get::<i64>(name)?.unwrap_or(0);
                let new = old.checked_add(*by).ok_or_else(|| {
                    Error::new(ErrorKind::Value, "increment a value of the session")
                        .because("the sum is beyond 64 bits")
                })?;
                record.set(name, write_value(&new)?, limits)
            }
            Self::Update(name, update) => {
                let new = update(record.values.get(name))?;
                record.set(name, new, limits)
            }
            Self::Clear => {
                record.values = Values::new();
                Ok(())
            }
            Self::SetUser(user) => record.set_user(user.as_deref(), limits),
            Self::LogIn(user) => {
                let mut next = record.clone();
                if record.user().is_some_and(|other| other != user) {
                    // Nothing of one user is ever shown to another who logs in with the same
                    // browser.
                    next.values = Values::new();
                    next.notifications = Vec::new();
                }
                // Whoever planted the session, or looked at it, knows these.
                next.tokens = Vec::new();
                next.csrf = Vec::new();
                next.set_user(Some(user), limits)?;
                *record = next;
                Ok(())
            }
            Self::Notify(message) => record.notify(message.clone(), limits),
            Self::NotifyOnce(message) => {
                let mut waiting = record.notifications.iter();
                if waiting.any(|other| other.says_the_same_as(message)) {
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

    /// Returns whether it says who the visitor is.
    pub(crate) fn is_about_the_user(&self) -> bool {
        matches!(self, Self::SetUser(_) | Self::LogIn(_))
    }

    /// Returns whether no request does it to a session that was renewed under its hands: the session
    /// may have been renewed so that whoever knew it before has no part in it.
    pub(crate) fn stays_behind(&self) -> bool {
        // To say that nobody is logged in takes away, and gives nothing.
        matches!(
            self,
            Self::SetUser(Some(_)) | Self::LogIn(_) | Self::AddToken(_) | Self::AddCsrf(_)
        )
    }

    /// Returns the notification that it brings into the session.
    pub(crate) fn message(&self) -> Option<&StoredMessage> {
        match self {
            Self::Notify(message) | Self::NotifyOnce(message) | Self::PutBack(message) => {
                Some(message)
            }
            _ => None,
        }
    }

    /// Returns the form token that it brings into the session.
    pub(crate) fn token(&self) -> Option<&str> {
        match self {
            Self::AddToken(token) => Some(token),
            _ => None,
        }
    }

    /// Returns whether `later`, coming next, leaves nothing of it.
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
            Self::LogIn(..) => "LogIn",
            Self::Notify(..) => "Notify",
            Self::NotifyOnce(..) => "NotifyOnce",
            Self::PutBack(..) => "PutBack",
            Self::AddToken(..) => "AddToken",
            Self::AddCsrf(..) => "AddCsrf",
        })
    }
}

/// Says in the log that `changes`, made to `newer`, overwrite what another request put there after
/// this one had read it.
pub(crate) fn warn_of_lost_updates(changes: &[Change], newer: &Record) {
    let overwrites = |change: &Change| match change {
        Change::Overwrite(name, _, read) => {
            let there = newer.values.get(name).map(RawValue::get);
            there != read.as_deref().map(RawValue::get)
        }
        _ => false,
    };
    if changes.iter().any(overwrites) {
        log::warn!(
            "a value of a session was read by `get` and written by `insert`, and another request \
             changed it in between; that change is overwritten. `session.update` and \
             `session.increment` build on what is there, and lose nothing"
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
