//! The cookie transport: from the `Cookie` header to a session id, and from an id to `Set-Cookie`.
//!
//! The cookie is one of Rocket's [private cookies](crate::private_cookie): the id, encrypted under
//! the application's `secret_key`. Rocket's own [`CookieJar`](rocket::http::CookieJar) can read it,
//! but cannot be used to write it: Rocket empties the jar before every catcher, and turns it into
//! headers before the session is saved.

mod template;

use std::borrow::Cow;
use std::iter;

use ::cookie::Cookie;
use percent_encoding::percent_decode_str;
use rocket::Request;
use rocket::http::Header;
use rocket::time::Duration;

use crate::error::Result;
use crate::id::SessionId;
use crate::private_cookie::CookieCipher;

pub(crate) use template::CookieTemplate;

/// The number of cookies with the session's name that are decrypted in one request. Another site on
/// the same domain can plant more.
const CANDIDATES: usize = 4;

/// The session cookie of one application, with its keys.
pub(crate) struct SessionCookie {
    template: CookieTemplate,
    cipher: CookieCipher,
    /// The ciphers under previous keys.
    previous: Vec<CookieCipher>,
}

/// A session id from a cookie that this application encrypted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DecryptedId {
    pub(crate) id: SessionId,
    /// Whether the cookie is encrypted under a previous key, and should be replaced.
    pub(crate) outdated: bool,
}

impl SessionCookie {
    /// Returns, for each cookie with the session's name in `request`, the id in it, or `None` if the
    /// cookie is not encrypted under one of the application's keys.
    pub(crate) fn read<'r>(
        &'r self,
        request: &'r Request<'_>,
    ) -> impl Iterator<Item = Option<DecryptedId>> + 'r {
        values(request, self.template.cookie.name())
            .take(CANDIDATES)
            .map(|value| self.decrypt(value))
    }

    /// Returns the id that is encrypted in `value`.
    fn decrypt(&self, value: &str) -> Option<DecryptedId> {
        // Rocket's jar percent-encodes the `+`, `/` and `=` of base64. This crate does not.
        let value = match value.contains('%') {
            true => percent_decode_str(value).decode_utf8().ok()?,
            false => Cow::Borrowed(value),
        };
        let previous = self.previous.iter().map(|cipher| (cipher, true));
        let mut ciphers = iter::once((&self.cipher, false)).chain(previous);
        ciphers.find_map(|(cipher, outdated)| {
            let name = self.template.cookie.name();
            let id = cipher.decrypt(name, &value, |id| id.parse().ok())?;
            Some(DecryptedId { id, outdated })
        })
    }

    /// Returns the header that gives the visitor the session `id`, for `max_age` seconds or until the
    /// browser is closed.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers to give.
    pub(crate) fn set(&self, id: &SessionId, max_age: Option<u64>) -> Result<Header<'static>> {
        let mut cookie = self.template.cookie.clone();
        let seconds = |seconds: u64| Duration::seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
        cookie.set_max_age(max_age.map(seconds));
        cookie.set_value(self.cipher.encrypt(cookie.name(), &id.to_hex())?);
        Ok(Header::new("Set-Cookie", cookie.to_string()))
    }

    /// Returns the header that makes the browser remove the cookie. It repeats every attribute,
    /// else some browsers keep the cookie.
    pub(crate) fn remove(&self) -> Header<'static> {
        let mut cookie = self.template.cookie.clone();
        cookie.make_removal();
        Header::new("Set-Cookie", cookie.to_string())
    }
}

/// Returns the values of all cookies called `name` in `request`.
pub(crate) fn values<'r>(request: &'r Request<'_>, name: &'r str) -> impl Iterator<Item = &'r str> {
    let mut headers = request.headers().get("Cookie").peekable();
    // Only the local client of a test has cookies without a header.
    let in_jar = match headers.peek() {
        Some(_) => None,
        None => request.cookies().get(name).map(Cookie::value),
    };
    // The name must match byte by byte. Rocket's jar decodes names, so that `%5F%5FHost-id` would
    // pass for `__Host-id`.
    let in_headers = headers
        .flat_map(|header| header.split(';'))
        .filter_map(move |pair| {
            pair.trim_matches([' ', '\t'])
                .strip_prefix(name)?
                .strip_prefix('=')
        });
    in_jar.into_iter().chain(in_headers)
}

/// Returns whether a cookie can be called `name`: every browser and every percent-decoder leaves
/// these characters alone.
pub(crate) fn is_good_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && name.bytes().all(is_of_name)
}
