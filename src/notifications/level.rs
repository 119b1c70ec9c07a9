//! The levels of messages, which are the queues that every application has.

/// The level of a message, from the least to the most severe. The messages of a level wait in the queue
/// with its name.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::Level;
///
/// assert!(Level::Warning < Level::Error);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The queue `info`.
    Info,
    /// The queue `success`.
    Success,
    /// The queue `warning`.
    Warning,
    /// The queue `error`.
    Error,
}

impl Level {
    /// Returns the level of the messages in `queue`; `None` for a queue of the application.
    pub(super) fn of(queue: &str) -> Option<Self> {
        Some(match queue {
            "info" => Self::Info,
            "success" => Self::Success,
            "warning" => Self::Warning,
            "error" => Self::Error,
            _ => return None,
        })
    }
}
