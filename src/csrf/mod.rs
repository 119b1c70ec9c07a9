//! Protection against forged requests: the application's own page sent this one, and no other site.

mod form;
mod site;
mod token;
mod with_token;

use crate::error::{Error, ErrorKind};

pub use form::{CsrfForm, NoFields};
pub use token::CsrfToken;

/// The header that a script sends the token in.
const HEADER: &str = "X-CSRF-Token";

/// The field that a form sends the token in.
const FIELD: &str = "csrf_token";

fn forbidden(why: &'static str) -> Error {
    Error::new(ErrorKind::Forbidden, "accept the request").because(why)
}
