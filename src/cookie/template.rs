//! The session cookie without a value: its name and attributes, as configured and checked.

use ::cookie::Cookie;
use rocket::config::SecretKey;

use super::{SessionCookie, is_good_name};
use crate::config::{CookieConfig, Prefix, SameSite};
use crate::error::{Error, Result};
use crate::private_cookie::CookieCipher;
use crate::secret_key::secret_key;

/// The session cookie without a value. The keys are missing: Rocket has them ready only later.
#[derive(Clone)]
pub(crate) struct CookieTemplate {
    pub(super) cookie: Cookie<'static>,
}

impl CookieTemplate {
    /// Returns the cookie that `config` describes; `debug` is whether this is the debug profile.
    ///
    /// # Errors
    ///
    /// When browsers would refuse the cookie, or a setting would add an attribute.
    pub(crate) fn new(config: &CookieConfig, debug: bool) -> Result<Self> {
        let secure = config.secure.unwrap_or(!debug);
        check(config, secure)?;
        let prefix = prefix(config, secure)?;
        if !secure && !debug {
            log::warn!(
                "sessions.cookie.secure is off: the session cookie travels over plain HTTP, where anybody on the way can read it"
            );
        }

        let mut cookie = Cookie::new(format!("{prefix}{}", config.name), "");
        cookie.set_path(config.path.clone());
        if let Some(domain) = &config.domain {
            cookie.set_domain(domain.clone());
        }
        cookie.set_secure(secure);
        cookie.set_http_only(config.http_only);
        cookie.set_same_site(match config.same_site {
            SameSite::Strict => ::cookie::SameSite::Strict,
            SameSite::Lax => ::cookie::SameSite::Lax,
            SameSite::None => ::cookie::SameSite::None,
        });
        Ok(Self { cookie })
    }

    /// Returns the cookie, whose value is empty.
    pub(crate) fn cookie(&self) -> &Cookie<'static> {
        &self.cookie
    }

    /// Adds the keys: the one that `rocket` really uses, and the `previous` ones.
    ///
    /// # Errors
    ///
    /// When Rocket has no key, because the system has no random numbers to make one.
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
            cipher(&config, "sessions.previous_secret_keys")
        });
        Ok(SessionCookie {
            template: self.clone(),
            cipher: cipher(rocket, "secret_key")?,
            previous: previous.collect::<Result<_>>()?,
        })
    }
}

/// Returns the cipher that Rocket uses for private cookies. `name` is the setting of its key.
fn cipher(config: &rocket::Config, name: &str) -> Result<CookieCipher> {
    CookieCipher::new(&secret_key(config)).ok_or_else(|| {
        let why = "there is no key; make one with `openssl rand -base64 32`";
        Error::config(name, why)
    })
}

/// Checks that `config` describes a cookie that browsers accept, and nothing else.
fn check(config: &CookieConfig, secure: bool) -> Result<()> {
    if !is_good_name(&config.name) {
        let why =
            "a cookie's name consists of letters, digits, `-`, `_` and `.`; choose such a name";
        return Err(Error::config("sessions.cookie.name", why));
    }
    if !config.path.starts_with('/') || !config.path.bytes().all(is_of_path) {
        let why = "a cookie's path starts with `/` and consists of ASCII characters other than `;` and space; choose such a path";
        return Err(Error::config("sessions.cookie.path", why));
    }
    let is_domain = |domain: &String| !domain.is_empty() && domain.bytes().all(is_of_domain);
    if !config.domain.as_ref().is_none_or(is_domain) {
        let why = "a cookie's domain consists of letters, digits, `-` and `.`; set it to the name of a host, or remove it";
        return Err(Error::config("sessions.cookie.domain", why));
    }
    if config.same_site == SameSite::None && !secure {
        let why = "browsers refuse `None` without `secure = true`; set both, or choose \"Lax\"";
        return Err(Error::config("sessions.cookie.same_site", why));
    }
    Ok(())
}

/// Returns the start of the cookie's name.
fn prefix(config: &CookieConfig, secure: bool) -> Result<&'static str> {
    let this_host_alone = config.domain.is_none() && config.path == "/";
    let why = match config.prefix {
        Prefix::Auto | Prefix::Host if secure && this_host_alone => return Ok("__Host-"),
        Prefix::Auto | Prefix::Secure if secure => return Ok("__Secure-"),
        Prefix::Auto | Prefix::None => return Ok(""),
        Prefix::Host => {
            "`__Host-` needs `secure = true`, `path = \"/\"` and no `domain`; set them so, or choose another prefix"
        }
        Prefix::Secure => "`__Secure-` needs `secure = true`; set it, or choose another prefix",
    };
    Err(Error::config("sessions.cookie.prefix", why))
}

/// RFC 6265, section 4.1.1, allows these in an attribute's value. It allows spaces as well, which
/// browsers trim.
fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b';'
}

fn is_of_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;

    fn template(change: impl FnOnce(&mut CookieConfig), debug: bool) -> Result<CookieTemplate> {
        let mut config = CookieConfig::default();
        change(&mut config);
        CookieTemplate::new(&config, debug)
    }

    fn name(change: impl FnOnce(&mut CookieConfig), debug: bool) -> String {
        template(change, debug)
            .expect("this works")
            .cookie
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
            let error = template(change, false)
                .err()
                .expect("this cannot work")
                .to_string();
            assert!(error.contains(&format!("sessions.cookie.{key}")), "{error}");
        }
    }

    #[test]
    fn every_option_is_in_the_cookie_and_in_its_removal() {
        let template = template(
            |c| {
                c.domain = Some("example.com".into());
                c.path = "/app".into();
                c.same_site = SameSite::Strict;
            },
            false,
        );
        let config = rocket::Config {
            secret_key: SecretKey::derive_from(&[7; 32]),
            ..rocket::Config::default()
        };
        let cookie = template.unwrap().with_keys(&config, &[]).unwrap();
        let (set, removal) = (
            cookie.set(&SessionId::random(), Some(60)).unwrap(),
            cookie.remove(),
        );
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
