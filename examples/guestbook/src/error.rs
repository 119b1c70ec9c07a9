//! The error of a handler, which becomes the page for its status.

use std::fmt;

use rocket::http::Status;
use rocket::response::{self, Responder};
use rocket::{Request, error};

/// What a handler returns.
pub type Result<T> = std::result::Result<T, Error>;

/// What can fail while a page is made.
#[derive(Debug)]
pub enum Error {
    /// The session, the cache or a limit: the error knows its status, such as 503 or 429.
    Session(rocket_session_kit::Error),
    Database(sqlx::Error),
    Template(askama::Error),
    Password(argon2::password_hash::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(error) => error.fmt(f),
            Self::Database(error) => write!(f, "the database failed: {error}"),
            Self::Template(error) => write!(f, "cannot make a page: {error}"),
            Self::Password(error) => write!(f, "cannot hash a password: {error}"),
        }
    }
}

impl<'r> Responder<'r, 'static> for Error {
    /// Leaves the page to the catcher for the status.
    fn respond_to(self, request: &'r Request<'_>) -> response::Result<'static> {
        if let Self::Session(error) = self {
            return error.respond_to(request);
        }
        error!("{self}");
        Err(Status::InternalServerError)
    }
}

impl From<rocket_session_kit::Error> for Error {
    fn from(error: rocket_session_kit::Error) -> Self {
        Self::Session(error)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<askama::Error> for Error {
    fn from(error: askama::Error) -> Self {
        Self::Template(error)
    }
}

impl From<argon2::password_hash::Error> for Error {
    fn from(error: argon2::password_hash::Error) -> Self {
        Self::Password(error)
    }
}
