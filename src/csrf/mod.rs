//! Protection against forged requests (CSRF).

mod form;
mod site;
mod token;
mod with_token;

use crate::error::{Error, ErrorKind};

pub use form::{CsrfForm, NoFields};
pub use token::CsrfToken;

/// The header in which a script sends the token.
const HEADER: &str = "X-CSRF-Token";

/// The field in which a form sends the token.
const FIELD: &str = "csrf_token";

fn forbidden(why: &'static str) -> Error {
    Error::new(ErrorKind::Forbidden, "accept the request").because(why)
}
