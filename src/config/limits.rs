//! `[default.sessions.limits]`: how large a session may be.

use serde::{Deserialize, Serialize};

use super::settings::settings;
use crate::error::{Error, Result};

settings! {
    /// `[default.sessions.limits]`
    ///
    /// A change that would exceed a limit fails, and the stored session stays as it was.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
    pub(crate) struct Limits {
        /// Bytes that the names and values of one session may take.
        pub(crate) size: usize = 262_144,
        /// Number of values in one session.
        pub(crate) keys: usize = 1024,
        /// Bytes that the name of one value may take.
        pub(crate) key_length: usize = 256,
        /// Number of notifications that wait in one session.
        pub(crate) notifications: usize = 64,
        /// Bytes that the notifications of one session may take.
        pub(crate) notifications_size: usize = 65_536,
    }
}

impl Limits {
    /// The largest session that a [`DirectoryStore`](crate::DirectoryStore) accepts, without its
    /// notifications.
    pub(crate) const LARGEST: usize = 4 * 1024 * 1024;

    /// How much it accepts for the notifications of a session.
    pub(crate) const LARGEST_NOTIFICATIONS: usize = 1024 * 1024;

    /// Checks that a store can hold what the limits allow.
    pub(super) fn check(&self) -> Result<()> {
        if self.size > Self::LARGEST {
            let why = format!(
                "a session cannot be larger than {} bytes; set it to that or less",
                Self::LARGEST
            );
            return Err(Error::config("sessions.limits.size", why));
        }
        if self.notifications_size > Self::LARGEST_NOTIFICATIONS {
            let why = format!(
                "the notifications of a session cannot take more than {} bytes; set it to that or \
                 less",
                Self::LARGEST_NOTIFICATIONS
            );
            return Err(Error::config("sessions.limits.notifications_size", why));
        }
        Ok(())
    }
}
