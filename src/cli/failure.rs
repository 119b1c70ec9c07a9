//! Why a command failed, and the exit code that says so.

use std::fmt;
use std::io;

use crate::error::Error;

/// Why a command did not do its work.
pub(super) enum Failure {
    /// The store or the configuration failed, or a part of the work was refused.
    Failed(String),
    /// The arguments are no command.
    Usage(String),
    NotFound(String),
    /// The user pressed Ctrl-C; the sentence says how far the command came.
    Interrupted(String),
    /// The reader of the output has gone.
    ClosedPipe,
}

/// The result of a command.
pub(super) type Outcome<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    /// Returns the exit code of the program.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::ClosedPipe => 0,
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::Interrupted(_) => 130,
        }
    }

    /// Returns the same failure, which also says how far the command came.
    pub(super) fn after(self, progress: impl fmt::Display) -> Self {
        match self {
            Self::Failed(why) => Self::Failed(format!("{why}\n{progress}")),
            other => other,
        }
    }

    /// Returns the text for the user, if there is any.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Failed(text)
            | Self::Usage(text)
            | Self::NotFound(text)
            | Self::Interrupted(text) => Some(text),
            Self::ClosedPipe => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ClosedPipe,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}
