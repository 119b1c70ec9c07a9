//! Why a session ended.

/// Why a session ended.
///
/// An [`Ended`](crate::EventKind::Ended) event and
/// [`Session::ended_because()`](crate::Session::ended_because) report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// A request of the session ended it, by [`log_out`](crate::Session::log_out) or
    /// [`end`](crate::Session::end).
    LoggedOut,
    /// The application ended it from elsewhere, by a method of [`Sessions`](crate::Sessions) or by
    /// [`Session::end_others`](crate::Session::end_others).
    EndedElsewhere,
    /// Its user had too many sessions, and a newer one took its place.
    Displaced,
    /// It was not used for `sessions.idle_timeout` seconds.
    IdleTimeout,
    /// It was older than `sessions.absolute_timeout` seconds.
    AbsoluteTimeout,
    /// A request removed its user and its last value.
    Emptied,
}

impl EndReason {
    const ALL: [Self; 6] = [
        Self::LoggedOut,
        Self::EndedElsewhere,
        Self::Displaced,
        Self::IdleTimeout,
        Self::AbsoluteTimeout,
        Self::Emptied,
    ];

    /// Returns the name of the reason, such as `logged_out`, for an audit log or a label.
    ///
    /// # Example
    ///
    /// ```rust
    /// assert_eq!(rocket_session_kit::EndReason::IdleTimeout.name(), "idle_timeout");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Self::LoggedOut => "logged_out",
            Self::EndedElsewhere => "ended_elsewhere",
            Self::Displaced => "displaced",
            Self::IdleTimeout => "idle_timeout",
            Self::AbsoluteTimeout => "absolute_timeout",
            Self::Emptied => "emptied",
        }
    }

    /// Returns the reason that is called `name`. A newer version may know more of them.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Returns whether somebody else than the visitor ended the session, who is told when the browser
    /// comes back.
    pub(crate) fn is_news(self) -> bool {
        matches!(self, Self::EndedElsewhere | Self::Displaced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_its_name() {
        for reason in EndReason::ALL {
            assert_eq!(EndReason::named(reason.name()), Some(reason));
        }
        assert_eq!(EndReason::named("forgotten"), None);
    }
}
