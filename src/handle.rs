//! The public name of a session, which ends the session and opens nothing.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::form::{self, FromFormField, ValueField};
use rocket::request::FromParam;
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};

/// A part of a SHA-256: long enough that nobody finds another text with the same.
type ShortHash = [u8; 16];

/// The name of a user in the keys of a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UserKey(ShortHash);

/// The public name of a session, for example in a form that [ends](crate::Sessions::end_by) the
/// session. It opens nothing, and it stays the same when the session is renewed.
///
/// [`UserSession::handle`](crate::UserSession::handle) returns that of a session of a user, and
/// [`Record::handle`](crate::Record::handle) that of any session. It is made from hashes of the user and
/// of the session, and is as hard to guess as the id of a session. Show it only to those who may end the
/// session.
///
/// It is the text that `Display` writes and that `parse` reads, of 43 letters, digits, `-` and `_`. A
/// route takes it as a parameter, and a form as a field.
///
/// # Example
///
/// ```rust
/// use rocket_session_kit::SessionHandle;
///
/// let text = "0123456789-_0123456789-_0123456789-_0123454";
/// let handle: SessionHandle = text.parse().unwrap();
/// assert_eq!(handle.to_string(), text);
/// assert_eq!(format!("{handle:?}"), "SessionHandle(..)");
/// assert!("../../etc/passwd".parse::<SessionHandle>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionHandle {
    user: UserKey,
    session: ShortHash,
}

impl UserKey {
    pub(crate) fn of(user: &str) -> Self {
        Self(hash("rocket_session_kit: a user\0", user.as_bytes()))
    }

    /// Returns what stands for the user in the handle of a session in which nobody is logged in.
    pub(crate) fn nobody() -> Self {
        Self(hash("rocket_session_kit: nobody\0", &[]))
    }

    /// Returns the text that names the user in the keys of a store.
    pub(crate) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl SessionHandle {
    /// Returns the handle of the session with `tag`, in which the user with the key `user` is logged
    /// in.
    pub(crate) fn new(user: UserKey, tag: u64) -> Self {
        let session = hash(
            "rocket_session_kit: a session of a user\0",
            &tag.to_be_bytes(),
        );
        Self { user, session }
    }

    pub(crate) fn user(&self) -> UserKey {
        self.user
    }

    /// Returns whether it is a handle of the session with `tag`, whoever was its user.
    pub(crate) fn has_tag(&self, tag: u64) -> bool {
        Self::new(self.user, tag) == *self
    }
}

fn hash(kind: &str, bytes: &[u8]) -> ShortHash {
    let digest = Sha256::new_with_prefix(kind).chain_update(bytes).finalize();
    std::array::from_fn(|at| digest[at])
}

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode([self.user.0, self.session].concat()))
    }
}

impl FromStr for SessionHandle {
    type Err = Error;

    /// Parses the text of a handle.
    ///
    /// # Errors
    ///
    /// When `text` is anything else.
    fn from_str(text: &str) -> Result<Self, Error> {
        let not_a_handle = || Error::new(ErrorKind::Invalid, "read the handle of a session");
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| not_a_handle())?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| not_a_handle())?;
        let (user, session) = bytes.split_at(16);
        match (user.try_into(), session.try_into()) {
            (Ok(user), Ok(session)) => Ok(Self {
                user: UserKey(user),
                session,
            }),
            _ => Err(not_a_handle()),
        }
    }
}

impl<'r> FromParam<'r> for SessionHandle {
    type Error = Error;

    fn from_param(param: &'r str) -> Result<Self, Error> {
        param.parse()
    }
}

impl<'r> FromFormField<'r> for SessionHandle {
    fn from_value(field: ValueField<'r>) -> form::Result<'r, Self> {
        let not_a_handle = || form::Error::validation("this is not the handle of a session");
        Ok(field.value.parse().map_err(|_| not_a_handle())?)
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionHandle(..)")
    }
}
