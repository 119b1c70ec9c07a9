//! The Perl site: its cookie, its keys, and the servers that hold its sessions.

use std::borrow::Cow;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use rocket::futures::stream::{FuturesUnordered, StreamExt};
use rocket::{Ignite, Request, Rocket};

use super::ACT;
use super::session::PerlSession;
use crate::config::PerlConfig;
use crate::cookie;
use crate::error::{Error, ErrorKind, Result};
use crate::storable::Options;
use crate::store::Server;
use crate::store::bounded::Bounds;

/// The longest session id that is accepted, in bytes.
const LONGEST_ID: usize = 128;

/// The largest `size` that can be set, in bytes: Redis takes no larger value.
const LARGEST: usize = 512 * 1024 * 1024;

/// A Perl site: the cookie with its session ids, and the servers that hold its sessions.
pub(crate) struct PerlSite {
    cookie_name: String,
    key_prefix: String,
    size: usize,
    options: Options,
    bounds: Arc<Bounds>,
    /// All of them are read: only the site's own client knows which of them has a key.
    servers: Vec<Arc<dyn Server>>,
}

impl PerlSite {
    /// Returns the site that `config` describes, or `None` if it describes none.
    ///
    /// # Errors
    ///
    /// When a setting cannot work.
    pub(super) fn new(
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
            let why = "the name of a cookie has only letters, digits, `-`, `_` and `.`; set it to the cookie of the Perl site";
            return Err(Error::config("sessions.perl.cookie_name", why));
        }
        let plain = config
            .key_prefix
            .bytes()
            .all(|byte| byte.is_ascii_graphic());
        if !plain || config.key_prefix.len() > 100 {
            let why = "it has at most 100 letters, digits and punctuation marks of ASCII; set it to the start of the Perl site's keys";
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

    /// Returns the Perl site of the application that handles `request`.
    ///
    /// # Errors
    ///
    /// When none is configured.
    pub(super) fn of<'r>(request: &'r Request<'_>) -> Result<&'r Self> {
        request.rocket().state().ok_or_else(not_configured)
    }

    /// Returns whether `rocket` manages no Perl site, and logs that as an error.
    pub(super) fn missing(rocket: &Rocket<Ignite>) -> bool {
        let missing = rocket.state::<Self>().is_none();
        if missing {
            log::error!("{}", not_configured());
        }
        missing
    }

    /// Loads the session whose id is in the cookie of `request`.
    pub(super) async fn load(&self, request: &Request<'_>) -> Result<Option<PerlSession>> {
        // Perl takes the first of several cookies.
        let Some(id) = cookie::values(request, &self.cookie_name)
            .next()
            .and_then(id)
        else {
            return Ok(None);
        };
        let key = format!("{}{id}", self.key_prefix);
        let read = async |server: &dyn Server| {
            let read = server.read(&key, self.size + 1);
            self.bounds.call(ACT, read).await
        };
        let reads = self.servers.iter().map(|server| read(&**server));
        let mut reads: FuturesUnordered<_> = reads.collect();
        let mut failed = None;
        // The first session that is found is the one: no server that is down delays it.
        while let Some(read) = reads.next().await {
            match read {
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

/// Returns the id in a cookie's value, or `None` if no Perl site makes such an id: it becomes part of
/// a key.
fn id(value: &str) -> Option<Cow<'_, str>> {
    // Perl sites encode the characters of base64 that are neither letters nor digits.
    let id = percent_decode_str(value).decode_utf8().ok()?;
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.,@~=+/".contains(&byte);
    // No site makes `..`, and a program behind the keys may take it for a parent directory.
    let plain = id.bytes().all(usual) && !id.contains("..");
    (!id.is_empty() && id.len() <= LONGEST_ID && plain).then_some(id)
}

/// Returns the error of a guard without a site.
fn not_configured() -> Error {
    Error::new(ErrorKind::Config, "find the Perl site").because(
        "none is configured; set `cookie_name` under `[default.sessions.perl]` in Rocket.toml, \
         and add `.attach(Sessions::fairing())` to `rocket::build()`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_only_characters_that_perl_sites_use() {
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
