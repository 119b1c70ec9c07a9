//! The session of a Perl site, which a route can read.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;

use super::ACT;
use crate::decode_error::DecodeError;
use crate::error::{Error, ErrorKind, Result};
use crate::storable::{self, Image, Kind, Options, Value};

/// The session of a Perl site beside this application, as a request guard.
///
/// The site keeps a hash in Redis or Memcached, frozen by Storable's `nfreeze` or `freeze`. It is
/// read once in a request, and never written. `[default.sessions.perl]` in `Rocket.toml` sets the
/// cookie and the start of the keys.
///
/// A request without a session of the Perl site is forwarded to the next route;
/// `Option<&PerlSession>` is `None` then. The visitor's session in this application is a different
/// one: [`&Session`](crate::Session).
///
/// # Errors
///
/// The guard fails with 503 when the server cannot be reached in time. It fails with 500 when the
/// session is larger than `size`, or is not a Redis string. Rocket turns such an error into `None`,
/// too. If a page must not treat a visitor as a stranger while the server is down, take
/// `Result<&PerlSession, Error>`.
///
/// # Example
///
/// ```rust
/// use rocket::get;
/// use rocket_session_kit::{PerlSession, Result};
///
/// #[get("/")]
/// fn index(perl: Option<&PerlSession>) -> Result<String> {
///     let user: Option<String> = match perl {
///         Some(perl) => perl.get("user")?,
///         None => None,
///     };
///     Ok(user.map_or("Please log in.".into(), |user| format!("Hello, {user}.")))
/// }
/// ```
pub struct PerlSession {
    pub(super) image: Vec<u8>,
    pub(super) options: Options,
}

impl PerlSession {
    /// Returns the value under `name` as a `T`; `None` if there is none, or if it is `undef`.
    ///
    /// # Errors
    ///
    /// When the session is not an image of a hash, or when the value is not a `T` or takes more
    /// memory than `max_growth` allows.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let image = self.image()?;
        let found = hash(&image)?.get(name);
        let read = |value: Value<'_>| value.deserialize().map_err(|error| unread(&error));
        Ok(found.map(read).transpose()?.flatten())
    }

    /// Returns whether there is a value under `name`. Like Perl's `exists`, it counts `undef` as one.
    ///
    /// # Errors
    ///
    /// When the session is not an image of a hash.
    pub fn contains_key(&self, name: &str) -> Result<bool> {
        let image = self.image()?;
        Ok(hash(&image)?.get(name).is_some())
    }

    /// Returns the names of all values, in no order.
    ///
    /// # Errors
    ///
    /// When the session is not an image of a hash.
    pub fn keys(&self) -> Result<Vec<String>> {
        let image = self.image()?;
        let Kind::Hash(entries) = hash(&image)?.kind() else {
            return Ok(Vec::new());
        };
        let names = entries.map(|(name, _)| {
            let text = name.text().map(Cow::into_owned);
            text.unwrap_or_else(|| String::from_utf8_lossy(name.bytes()).into_owned())
        });
        Ok(names.collect())
    }

    /// Returns the whole session as a `T`, such as a struct or a `serde_json::Value`.
    ///
    /// # Errors
    ///
    /// When the session is not a Storable image, is not a `T`, or takes more memory than `max_growth`
    /// allows.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        storable::from_slice_with(&self.image, self.options).map_err(|error| unread(&error))
    }

    /// Returns the session with everything that Perl stored, including classes and references.
    ///
    /// # Errors
    ///
    /// When the session is not a Storable image.
    pub fn image(&self) -> Result<Image<'_>> {
        Image::parse_with(&self.image, self.options).map_err(|error| unread(&error))
    }
}

impl fmt::Debug for PerlSession {
    /// Shows no value and no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerlSession").finish_non_exhaustive()
    }
}

/// Returns the hash that `image` is, or refers to.
fn hash<'i>(image: &'i Image<'_>) -> Result<Value<'i>> {
    let end = image.root().referent();
    end.filter(|end| matches!(end.kind(), Kind::Hash(_)))
        .ok_or_else(|| Error::new(ErrorKind::Value, ACT).because("it is no hash"))
}

/// Returns the error about an image without the `detail` of the original, which may repeat data.
fn unread(error: &DecodeError) -> Error {
    Error::new(ErrorKind::Value, ACT).because(error.to_string())
}
