//! A command that failed: the error, and whether the server may have executed it.

use std::io;

use memcache::exp::Error as Cause;

use crate::error::Error;

/// A command that failed.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) kind: FailureKind,
}

/// How far a failed command got.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The server has not executed it.
    NotSent,
    /// It was not sent, because its CAS may belong to an earlier run of the server.
    StaleCas,
    /// The server may have executed it.
    Unknown,
    /// The server could not execute it. It may have dropped the item.
    ServerError,
    /// The server refused it, because the item does not suit the command.
    Rejected,
}

impl FailureKind {
    /// Returns the kind of a failure that occurs after the command was sent.
    pub(super) fn after_sending(cause: &Cause) -> Self {
        match cause {
            Cause::Server(_) => Self::ServerError,
            Cause::Rejected(_) => Self::Rejected,
            _ => Self::Unknown,
        }
    }
}

pub(super) fn timed_out() -> Cause {
    Cause::Io(io::ErrorKind::TimedOut.into())
}

pub(super) fn is_timeout(cause: &Cause) -> bool {
    matches!(cause, Cause::Io(error) if error.kind() == io::ErrorKind::TimedOut)
}

/// The reason for a call that took too long.
pub(super) const NO_RESPONSE: &str = "it did not respond in time";

/// Returns the cause in this crate's words: the driver's text quotes the key.
pub(super) fn reason(cause: &Cause) -> &'static str {
    match cause {
        Cause::Io(error) => io_reason(error),
        Cause::Server(text) if text.contains("out of memory") => "it has no memory left",
        Cause::Server(_) => "it returned an error",
        _ => "it returned an unexpected response",
    }
}

pub(super) fn io_reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "the connection was refused; is the server running?",
        io::ErrorKind::TimedOut => NO_RESPONSE,
        _ => "the connection failed",
    }
}
