//! The lifetime of one session, where it differs from the configuration.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Record;
use crate::unknown_fields::{UnknownFields, split};

/// The lifetime of one session, where it differs from the configuration.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct Lifetime {
    /// The idle timeout in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<u64>,
    /// The absolute timeout in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) absolute: Option<u64>,
    /// The maximum age of the session's cookie in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_age: Option<u64>,
    /// When the session got its id, in seconds since 1970; not set: at its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) renewed: Option<u64>,
    /// Whether a browser got this id by an earlier one, in the grace of a renewal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) adopted: bool,
    /// The longest idle timeout of the session's copies in seconds, if it is longer than the
    /// configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) of_copies: Option<u64>,
    /// The fields that a newer version wrote.
    #[serde(flatten, skip_deserializing)]
    unknown: UnknownFields,
}

/// The parts of a session's lifetime that a request sets, in seconds.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OwnTimeouts {
    pub(crate) idle: Option<u64>,
    pub(crate) absolute: Option<u64>,
    pub(crate) max_age: Option<u64>,
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let (own, unknown) = split(source, |known| Self::deserialize(known))?;
        Ok(Self { unknown, ..own })
    }
}

impl Lifetime {
    fn own(&self) -> OwnTimeouts {
        OwnTimeouts {
            idle: self.idle,
            absolute: self.absolute,
            max_age: self.max_age,
        }
    }
}

impl Record {
    /// Sets the timeouts that are in `own`, and keeps the others.
    pub(crate) fn set_timeouts(&mut self, own: OwnTimeouts) {
        let lifetime = self.lifetime.get_or_insert_default();
        lifetime.idle = own.idle.or(lifetime.idle);
        lifetime.absolute = own.absolute.or(lifetime.absolute);
        lifetime.max_age = own.max_age.or(lifetime.max_age);
    }

    /// Gives the session the timeouts of the configuration.
    pub(crate) fn reset_timeouts(&mut self) {
        let of_copies = self.of_copies();
        self.lifetime = None;
        self.note_copies(of_copies);
    }

    /// Notes the longest idle timeout of the session's copies.
    pub(crate) fn note_copies(&mut self, of_copies: Option<u64>) {
        if of_copies.is_some() || self.lifetime.is_some() {
            self.lifetime.get_or_insert_default().of_copies = of_copies;
        }
    }

    /// Returns the longest idle timeout of the session's copies, if it is longer than the
    /// configuration's.
    pub(crate) fn of_copies(&self) -> Option<u64> {
        self.lifetime
            .as_ref()
            .and_then(|lifetime| lifetime.of_copies)
    }

    /// Notes that the session got a new id, at `renewed` if the age of ids counts.
    pub(crate) fn note_renewal(&mut self, renewed: Option<u64>) {
        if renewed.is_some() || self.lifetime.is_some() {
            let lifetime = self.lifetime.get_or_insert_default();
            (lifetime.renewed, lifetime.adopted) = (renewed, false);
        }
    }

    /// Notes that a browser with an earlier id gets this one.
    pub(crate) fn adopt(&mut self) {
        self.lifetime.get_or_insert_default().adopted = true;
    }

    /// Returns whether a browser with an earlier id got this one.
    pub(crate) fn is_adopted(&self) -> bool {
        let lifetime = self.lifetime.as_ref();
        lifetime.is_some_and(|lifetime| lifetime.adopted)
    }

    /// Makes the changes of the lifetime between `own` and `now` to this record.
    pub(super) fn bring_lifetime_over(&mut self, own: &Self, now: &Self) {
        let timeouts = |record: &Self| record.lifetime.as_ref().map(|lifetime| lifetime.own());
        if let Some(timeouts) = timeouts(now).filter(|now| timeouts(own) != Some(*now)) {
            self.set_timeouts(timeouts);
        }
        if now.forked {
            self.note_copies(now.of_copies());
        }
    }
}
