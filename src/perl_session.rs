//! The session that a Perl site keeps in Redis or Memcached, read and never written.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rocket::futures::stream::{FuturesUnordered, StreamExt};
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};
use rocket::tokio::sync::OnceCell;
use rocket::{Ignite, Request, Response, Rocket, Sentinel};
use serde::de::DeserializeOwned;

use crate::config::PerlConfig;
use crate::cookie;
use crate::dispatch::{self, Active};
use crate::error::{Error, ErrorKind, Result, StoreWasDown};
use crate::response;
use crate::sessions::Sessions;
use crate::storable::{self, Image, Kind, Options, Value};
use crate::store::Server;
use crate::store::bounded::Bounds;

const ACT: &str = "read the Perl session";

/// How long an id may be.
const LONGEST_ID: usize = 128;

/// The most bytes that `size` may allow: what Redis takes for a value.
const LARGEST: usize = 512 * 1024 * 1024;

/// The session of a Perl site, on whose domain this application runs too: a hash that the site
/// keeps in Redis or Memcached by Storable's `nfreeze` or `freeze`.
///
/// It is only read. `[default.sessions.perl]` in `Rocket.toml` says by which cookie, and under
/// which keys. `Option<&PerlSession>` is `None` for a visitor whom the Perl site does not know;
/// without `Option` such a request is forwarded to the next route. It is loaded once in a request.
///
/// Who the visitor is to *this* application is another question: a session of its own is had from
/// [`&Session`](crate::Session).
///
/// # Errors
///
/// As a guard it fails with 503 when the server does not answer, and with 500 when what is there is
/// larger than `size`, or of another type than a string of Redis. Rocket makes `None` of a guard
/// that fails, too: where a visitor must not pass for a stranger while the server is down, take
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
    image: Vec<u8>,
    options: Options,
}

impl PerlSession {
    /// Returns the value under `name` as a `T`; `None` where there is none, or `undef`.
    ///
    /// # Errors
    ///
    /// When what the site keeps is no image of Storable, is no hash, when the value is not a `T`, or
    /// would take more memory than `max_growth` allows.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let image = self.image()?;
        let found = hash(&image)?.get(name);
        let read = |value: Value<'_>| value.deserialize().map_err(|error| unread(&error));
        Ok(found.map(read).transpose()?.flatten())
    }

    /// Returns whether there is a value under `name`, be it `undef`, as Perl's `exists` does.
    ///
    /// # Errors
    ///
    /// When what the site keeps is no image of Storable, or is no hash.
    pub fn contains_key(&self, name: &str) -> Result<bool> {
        let image = self.image()?;
        Ok(hash(&image)?.get(name).is_some())
    }

    /// Returns the names of all values, in no order.
    ///
    /// # Errors
    ///
    /// When what the site keeps is no image of Storable, or is no hash.
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

    /// Returns the whole session as a `T`, a struct or a `serde_json::Value` for example.
    ///
    /// # Errors
    ///
    /// When what the site keeps is no image of Storable, is not a `T`, or would take more memory than
    /// `max_growth` allows.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        storable::from_slice_with(&self.image, self.options).map_err(|error| unread(&error))
    }

    /// Returns the session as Perl has it, with the classes of objects and what refers to what.
    ///
    /// # Errors
    ///
    /// When what the site keeps is no image of Storable.
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

/// Tells what is wrong with an image. Its own error holds a type's words, which may repeat data.
fn unread(error: &storable::Error) -> Error {
    Error::new(ErrorKind::Value, ACT).because(error.to_string())
}

/// Where a Perl site keeps its sessions, and the cookie that names them.
pub(crate) struct PerlSite {
    cookie_name: String,
    key_prefix: String,
    size: usize,
    options: Options,
    bounds: Arc<Bounds>,
    /// Each is asked: which of them has a key, only the site's own client knows.
    servers: Vec<Arc<dyn Server>>,
}

impl PerlSite {
    /// Returns the site that `config` tells of; `None` where it tells of none.
    ///
    /// # Errors
    ///
    /// When a setting could never work.
    pub(crate) fn new(
        config: &PerlConfig,
        bounds: Arc<Bounds>,
        servers: Vec<Arc<dyn Server>>,
    ) -> Result<Option<Self>> {
        let Some(cookie_name) = config.cookie_name.clone() else {
            if *config == PerlConfig::default() {
                return Ok(None);
            }
            let why = "no cookie is named; set it to the one that holds the Perl site's session id";
            return Err(Error::config("sessions.perl.cookie_name", why));
        };
        if !cookie::is_good_name(&cookie_name) {
            let why = "a cookie's name has letters, digits, `-`, `_` and `.` only; it is to be that of the Perl site";
            return Err(Error::config("sessions.perl.cookie_name", why));
        }
        let plain = config
            .key_prefix
            .bytes()
            .all(|byte| byte.is_ascii_graphic());
        if !plain || config.key_prefix.len() > 100 {
            let why = "it has at most 100 letters, digits and punctuation marks of ASCII; set it to what the Perl site's keys begin with";
            return Err(Error::config("sessions.perl.key_prefix", why));
        }
        if !(1..=LARGEST).contains(&config.size) {
            let why = format!("a session has between 1 and {LARGEST} bytes; set it to that");
            return Err(Error::config("sessions.perl.size", why));
        }
        if config.max_growth == 0 {
            let why = "a session takes at least as much memory as it has bytes; set it to 64, for example";
            return Err(Error::config("sessions.perl.max_growth", why));
        }
        Ok(Some(Self {
            cookie_name,
            key_prefix: config.key_prefix.clone(),
            size: config.size,
            options: Options::new().max_growth(config.max_growth),
            bounds,
            servers,
        }))
    }

    /// Returns the site that the application which answers `request` is configured for.
    pub(crate) fn of<'r>(request: &'r Request<'_>) -> Result<&'r Self> {
        request.rocket().state().ok_or_else(not_configured)
    }

    /// Returns whether a rocket with the guard lacks the site, and says so.
    pub(crate) fn missing(rocket: &Rocket<Ignite>) -> bool {
        let missing = rocket.state::<Self>().is_none();
        if missing {
            log::error!("{}", not_configured());
        }
        missing
    }

    /// Returns the session that `request` comes with.
    pub(crate) async fn load(&self, request: &Request<'_>) -> Result<Option<PerlSession>> {
        // Of several cookies Perl takes the first.
        let Some(id) = cookie::values(request, &self.cookie_name)
            .next()
            .and_then(id)
        else {
            return Ok(None);
        };
        let key = format!("{}{id}", self.key_prefix);
        let ask = async |server: &dyn Server| {
            let answer = server.read(&key, self.size + 1);
            self.bounds.call(ACT, answer).await
        };
        let asked = self.servers.iter().map(|server| ask(&**server));
        let mut answers: FuturesUnordered<_> = asked.collect();
        let mut failed = None;
        // The first that has it will do: one that is down need not be waited for.
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(image)) if image.len() > self.size => {
                    let why = format!(
                        "it has more than {} bytes (`sessions.perl.size`)",
                        self.size
                    );
                    return Err(Error::new(ErrorKind::Limit, ACT).because(why));
                }
                Ok(Some(image)) => {
                    let options = self.options;
                    return Ok(Some(PerlSession { image, options }));
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

/// Returns the id in a cookie's value, if it is one that a Perl site makes: it becomes part of a
/// key.
fn id(value: &str) -> Option<Cow<'_, str>> {
    // Perl encodes what base64 has beside letters and digits.
    let id = percent_decode_str(value).decode_utf8().ok()?;
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,@~=+/".contains(&byte);
    // No site makes `..`, and whatever else goes by the keys may take it for a way up.
    let plain = id.bytes().all(usual) && !id.contains("..");
    (!id.is_empty() && id.len() <= LONGEST_ID && plain).then_some(id)
}

/// The session of the Perl site, from when something first asks for it.
#[derive(Default)]
struct State(OnceCell<(Result<Option<PerlSession>>, Active)>);

/// Returns the session of the Perl site. The first call loads it.
async fn load<'r>(request: &'r Request<'_>) -> Result<Option<&'r PerlSession>> {
    let (sessions, site) = (Sessions::of(request)?, PerlSite::of(request)?);
    let State(loaded) = dispatch::state(request);
    let loaded = loaded.get_or_init(|| async {
        let active = sessions.active.enter();
        (site.load(request).await, active)
    });
    let session = loaded.await.0.as_ref();
    session.map(Option::as_ref).map_err(Error::clone)
}

/// Says in `response` what follows from the session of the Perl site, if `request` asked for it.
pub(crate) fn write_headers(request: &Request<'_>, response: &mut Response<'_>) {
    let State(loaded) = dispatch::state(request);
    if let Some((session, _)) = loaded.get() {
        response::vary(response, "Cookie");
        if let Ok(Some(_)) = session {
            response::private(response);
        }
    }
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for &'r PerlSession {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        match load(request).await {
            Ok(Some(session)) => Outcome::Success(session),
            Ok(None) => Outcome::Forward(Status::Unauthorized),
            Err(error) => {
                if error.kind() == ErrorKind::Unavailable {
                    StoreWasDown::note(request);
                }
                Outcome::Error((error.status(), error))
            }
        }
    }
}

impl Sentinel for &PerlSession {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket) || PerlSite::missing(rocket)
    }
}

/// What the guard says that finds no site.
fn not_configured() -> Error {
    Error::new(ErrorKind::Config, "find the Perl site").because(
        "nothing is configured; set `cookie_name` under `[default.sessions.perl]` in Rocket.toml, \
         and add `.attach(Sessions::fairing())` to `rocket::build()`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_perl_site_makes_is_an_id() {
        for good in [
            "0123456789abcdef0123456789abcdef",
            "aZ-_.,@~",
            "YWJj%2B%2F%3D",
        ] {
            assert!(id(good).is_some(), "{good}");
        }
        assert_eq!(id("a%2Bb").unwrap(), "a+b");
        for bad in [
            "", "a b", "a\r\nb", "a%0d%0ab", "a%00", "a:b", "a*", "a?b", "a[b]", "%ff", "\u{e9}",
            "{a}", "a;b", "\"a\"", "..", "a/../b", "%2e.",
        ] {
            assert!(id(bad).is_none(), "{bad:?}");
        }
        assert!(id(&"a".repeat(128)).is_some());
        assert!(id(&"a".repeat(129)).is_none());
    }
}
