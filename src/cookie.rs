//! The cookie transport: from the raw `Cookie` header to an id, and from an id to a `Set-Cookie`
//! header.
//!
//! The cookie is what Rocket calls a private cookie: the id, [sealed](crate::seal) under the
//! application's `secret_key`. Rocket's own [`CookieJar`](rocket::http::CookieJar) reads it, but
//! cannot be used to write it: Rocket empties the jar before every catcher and turns it into
//! headers before the session is saved.

use std::borrow::Cow;
use std::iter;

use ::cookie::Cookie;
use percent_encoding::percent_decode_str;
use rocket::Request;
use rocket::config::SecretKey;
use rocket::figment::Figment;
use rocket::http::Header;

use crate::config::{CookieConfig, Prefix, SameSite};
use crate::error::{Error, Result};
use crate::id::SessionId;
use crate::private_cookie::PrivateCookie;

/// How many cookies of our name are tried: a hostile neighbour can plant more, and each costs a
/// decryption.
const CANDIDATES: usize = 4;

/// How the cookie looks: everything but the keys, which Rocket has ready only later.
#[derive(Clone)]
pub(crate) struct CookieForm {
    /// The cookie with its attributes and no value.
    blank: Cookie<'static>,
}

/// Opens and seals the cookie of one application.
pub(crate) struct SessionCookie {
    form: CookieForm,
    seal: PrivateCookie,
    previous: Vec<PrivateCookie>,
}

/// An id that a visitor presented, sealed by us.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) id: SessionId,
    /// Whether the seal is one of a previous key, so that the cookie should be sealed anew.
    pub(crate) outdated: bool,
}

impl CookieForm {
    /// Returns the form that `config` asks for; `debug` is whether this is the debug profile.
    ///
    /// # Errors
    ///
    /// When browsers would refuse such a cookie, or a setting could smuggle attributes in.
    pub(crate) fn new(config: &CookieConfig, debug: bool) -> Result<Self> {
        let refuse =
            |key: &str, why: &str| Err(Error::config(&format!("sessions.cookie.{key}"), why));
        let secure = config.secure.unwrap_or(!debug);
        let this_host_alone = config.domain.is_none() && config.path == "/";

        if !is_good_name(&config.name) {
            return refuse(
                "name",
                "a cookie's name has letters, digits, `-`, `_` and `.` only; choose such a name",
            );
        }
        if !config.path.starts_with('/') || !config.path.bytes().all(is_attribute) {
            return refuse(
                "path",
                "a cookie's path starts with `/` and has no `;`, no space and ASCII only; choose such a path",
            );
        }
        if config
            .domain
            .as_ref()
            .is_some_and(|domain| domain.is_empty() || !domain.bytes().all(is_domain))
        {
            return refuse(
                "domain",
                "a cookie's domain has letters, digits, `-` and `.` only; write a host's name or leave it out",
            );
        }
        if config.same_site == SameSite::None && !secure {
            return refuse(
                "same_site",
                "browsers refuse `None` without `secure = true`; set both or choose \"Lax\"",
            );
        }
        let prefix = match config.prefix {
            Prefix::Auto if secure && this_host_alone => "__Host-",
            Prefix::Auto if secure => "__Secure-",
            Prefix::Auto | Prefix::None => "",
            Prefix::Host if secure && this_host_alone => "__Host-",
            Prefix::Host => {
                return refuse(
                    "prefix",
                    "`__Host-` needs `secure = true`, `path = \"/\"` and no `domain`; set them so or choose another prefix",
                );
            }
            Prefix::Secure if secure => "__Secure-",
            Prefix::Secure => {
                return refuse(
                    "prefix",
                    "`__Secure-` needs `secure = true`; set it or choose another prefix",
                );
            }
        };
        if !secure && !debug {
            log::warn!(
                "sessions.cookie.secure is off: the session cookie travels over plain HTTP, where anybody on the way can read it"
            );
        }

        let mut blank = Cookie::new(format!("{prefix}{}", config.name), "");
        blank.set_path(config.path.clone());
        if let Some(domain) = &config.domain {
            blank.set_domain(domain.clone());
        }
        blank.set_secure(secure);
        blank.set_http_only(config.http_only);
        blank.set_same_site(match config.same_site {
            SameSite::Strict => ::cookie::SameSite::Strict,
            SameSite::Lax => ::cookie::SameSite::Lax,
            SameSite::None => ::cookie::SameSite::None,
        });
        blank.set_max_age(
            config
                .max_age
                .map(|seconds| rocket::time::Duration::seconds(seconds.into())),
        );
        Ok(Self { blank })
    }

    /// Adds the keys: those of `rocket`, as it really uses them, and those it used before.
    ///
    /// # Errors
    ///
    /// When Rocket has no key, for want of random numbers to make one.
    pub(crate) fn with_keys(
        &self,
        rocket: &rocket::Config,
        previous: &[SecretKey],
    ) -> Result<SessionCookie> {
        let previous = previous.iter().map(|key| {
            let secret_key = key.clone();
            let config = rocket::Config {
                secret_key,
                ..rocket::Config::default()
            };
            seal_of(&config, "sessions.previous_secret_keys")
        });
        Ok(SessionCookie {
            form: self.clone(),
            seal: seal_of(rocket, "secret_key")?,
            previous: previous.collect::<Result<_>>()?,
        })
    }
}

impl SessionCookie {
    /// Returns whether the cookie outlives the browser, so that it must be sent anew while its
    /// session goes on.
    pub(crate) fn has_max_age(&self) -> bool {
        self.form.blank.max_age().is_some()
    }

    /// Returns, for each cookie of our name that the visitor sent, the id in it, or `None` where
    /// the seal is not ours.
    pub(crate) fn read<'r>(
        &'r self,
        request: &'r Request<'_>,
    ) -> impl Iterator<Item = Option<Opened>> + 'r {
        values(request, self.form.blank.name())
            .take(CANDIDATES)
            .map(|value| self.open(value))
    }

    /// Returns the id that is sealed in `value`.
    fn open(&self, value: &str) -> Option<Opened> {
        // Rocket's jar encodes the signs of base64 that are no letters. We need not.
        let value = match value.contains('%') {
            true => percent_decode_str(value).decode_utf8().ok()?,
            false => Cow::Borrowed(value),
        };
        let seals =
            iter::once((&self.seal, false)).chain(self.previous.iter().map(|seal| (seal, true)));
        seals.into_iter().find_map(|(seal, outdated)| {
            let id = seal.open(self.form.blank.name(), &value, |id| id.parse().ok())?;
            Some(Opened { id, outdated })
        })
    }

    /// Returns the header that gives the visitor the session `id`.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers to give.
    pub(crate) fn set(&self, id: &SessionId) -> Result<Header<'static>> {
        let mut cookie = self.form.blank.clone();
        cookie.set_value(self.seal.seal(cookie.name(), &id.to_hex())?);
        Ok(Header::new("Set-Cookie", cookie.to_string()))
    }

    /// Returns the header that makes the browser forget the cookie. It repeats every attribute,
    /// else some browsers keep it.
    pub(crate) fn remove(&self) -> Header<'static> {
        let mut cookie = self.form.blank.clone();
        cookie.make_removal();
        Header::new("Set-Cookie", cookie.to_string())
    }
}

/// Returns the values of the cookies called `name` that the visitor sent.
pub(crate) fn values<'r>(request: &'r Request<'_>, name: &'r str) -> impl Iterator<Item = &'r str> {
    let mut headers = request.headers().get("Cookie").peekable();
    // Only a local client, in a test, has cookies without a header.
    let in_jar = match headers.peek() {
        Some(_) => None,
        None => request.cookies().get(name).map(Cookie::value),
    };
    // By the exact bytes of the name: Rocket's jar decodes names, so that `%5F%5FHost-id` would
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

/// Returns the secret key that Rocket uses, which is one that it makes itself in the debug profile.
///
/// Rocket has no accessor for it; a [`Config`](rocket::Config) as a provider of configuration hands
/// it out.
pub(crate) fn secret_of(config: &rocket::Config) -> Vec<u8> {
    let secret = Figment::from(config).extract_inner("secret_key");
    secret.unwrap_or_default()
}

/// Returns the seal that Rocket uses for private cookies.
fn seal_of(config: &rocket::Config, name: &str) -> Result<PrivateCookie> {
    PrivateCookie::new(&secret_of(config)).ok_or_else(|| {
        Error::config(
            name,
            "there is no key; make one with `openssl rand -base64 32`",
        )
    })
}

/// Returns whether a cookie can be called `name`.
pub(crate) fn is_good_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name)
}

/// What every browser and every decoder of percent signs leaves alone.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

/// RFC 6265, section 4.1.1: what an attribute's value may hold. (A space is left out: browsers trim
/// it.)
fn is_attribute(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b';'
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(change: impl FnOnce(&mut CookieConfig), debug: bool) -> Result<CookieForm> {
        let mut config = CookieConfig::default();
        change(&mut config);
        CookieForm::new(&config, debug)
    }

    fn name(change: impl FnOnce(&mut CookieConfig), debug: bool) -> String {
        form(change, debug)
            .expect("this works")
            .blank
            .name()
            .to_owned()
    }

    #[test]
    fn the_name_carries_the_strictest_prefix_that_the_settings_allow() {
        assert_eq!(name(|_| {}, true), "id");
        assert_eq!(name(|_| {}, false), "__Host-id");
        assert_eq!(name(|c| c.secure = Some(true), true), "__Host-id");
        assert_eq!(name(|c| c.secure = Some(false), false), "id");
        assert_eq!(
            name(|c| c.domain = Some("example.com".into()), false),
            "__Secure-id"
        );
        assert_eq!(name(|c| c.path = "/app".into(), false), "__Secure-id");
        assert_eq!(name(|c| c.prefix = Prefix::None, false), "id");
        assert_eq!(name(|c| c.prefix = Prefix::Secure, false), "__Secure-id");
    }

    #[test]
    fn a_cookie_that_browsers_would_refuse_or_misread_stops_the_launch() {
        type Change = fn(&mut CookieConfig);
        let refused: [(&str, Change); 14] = [
            ("name", |c| c.name = String::new()),
            ("name", |c| c.name = "a=b".into()),
            ("name", |c| c.name = "a; Secure".into()),
            ("name", |c| c.name = "a\r\nX: y".into()),
            ("name", |c| c.name = "a%62".into()),
            ("path", |c| c.path = String::new()),
            ("path", |c| c.path = "app".into()),
            ("path", |c| c.path = "/; Domain=evil".into()),
            ("domain", |c| c.domain = Some("evil; Path=/".into())),
            ("domain", |c| c.domain = Some(String::new())),
            ("same_site", |c| {
                (c.same_site, c.secure) = (SameSite::None, Some(false))
            }),
            ("prefix", |c| {
                (c.prefix, c.domain) = (Prefix::Host, Some("example.com".into()))
            }),
            ("prefix", |c| {
                (c.prefix, c.path) = (Prefix::Host, "/app".into())
            }),
            ("prefix", |c| {
                (c.prefix, c.secure) = (Prefix::Secure, Some(false))
            }),
        ];
        for (key, change) in refused {
            let error = form(change, false)
                .err()
                .expect("this cannot work")
                .to_string();
            assert!(error.contains(&format!("sessions.cookie.{key}")), "{error}");
        }
    }

    #[test]
    fn every_option_is_in_the_cookie_and_in_its_removal() {
        let form = form(
            |c| {
                c.domain = Some("example.com".into());
                c.path = "/app".into();
                c.same_site = SameSite::Strict;
                c.max_age = Some(60);
            },
            false,
        );
        let config = rocket::Config {
            secret_key: SecretKey::derive_from(&[7; 32]),
            ..rocket::Config::default()
        };
        let cookie = form.unwrap().with_keys(&config, &[]).unwrap();
        let (set, removal) = (cookie.set(&SessionId::random()).unwrap(), cookie.remove());
        for attribute in [
            "HttpOnly",
            "SameSite=Strict",
            "Secure",
            "Path=/app",
            "Domain=example.com",
        ] {
            assert!(
                set.value().contains(attribute) && removal.value().contains(attribute),
                "{attribute}"
            );
        }
        assert!(set.value().contains("Max-Age=60"), "{}", set.value());
        assert!(
            removal.value().contains("Max-Age=0") && removal.value().contains("Expires="),
            "{}",
            removal.value()
        );
        assert!(
            removal.value().starts_with("__Secure-id=;"),
            "{}",
            removal.value()
        );
        assert!(
            set.value().len() < 300,
            "a cookie is small: {} bytes",
            set.value().len()
        );
    }
}
