//! The header transport: reads a session token from a header, and turns it into an id.

use rocket::Request;
use sha2::{Digest, Sha256};

use crate::config::HeaderConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;

/// The length of a token in bytes: a shorter one could be guessed, and identity providers make long
/// ones.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=4096;

/// The headers in which a token may be sent, the one that counts first.
pub(crate) struct TokenHeaders {
    names: Vec<String>,
}

impl TokenHeaders {
    /// Returns the headers that `config` names.
    ///
    /// # Errors
    ///
    /// When there is no name, or a name is invalid, repeated, or has a meaning of its own.
    pub(crate) fn new(config: &HeaderConfig) -> Result<Self> {
        let refuse = |why: String| Err(Error::config("sessions.header.names", why));
        if config.names.is_empty() {
            return refuse("no header is named; set it to [\"X-Auth-Token\"], for example".into());
        }
        for (at, name) in config.names.iter().enumerate() {
            if name.is_empty() || !name.bytes().all(is_name) {
                return refuse(
                    "a header's name consists of letters, digits, `-` and `_`; choose such a name"
                        .into(),
                );
            }
            if config.names[..at]
                .iter()
                .any(|before| before.eq_ignore_ascii_case(name))
            {
                return refuse(format!("`{name}` is there twice; remove one"));
            }
            let lower = name.to_ascii_lowercase();
            if RESERVED.contains(&lower.as_str())
                || RESERVED_PREFIXES
                    .iter()
                    .any(|family| lower.starts_with(family))
            {
                return refuse(format!(
                    "`{name}` has a meaning of its own; choose a name such as \"X-Auth-Token\""
                ));
            }
        }
        Ok(Self {
            names: config.names.clone(),
        })
    }

    /// Returns their names.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the `WWW-Authenticate` header of a 401: the headers in which a token may be sent.
    pub(crate) fn challenge(&self) -> String {
        let challenges =
            self.names
                .iter()
                .map(|name| match name.eq_ignore_ascii_case("Authorization") {
                    true => "Bearer".to_owned(),
                    false => format!("Token header=\"{name}\""),
                });
        challenges.collect::<Vec<_>>().join(", ")
    }

    /// Returns the id that belongs to the token of `request`; `None` if there is no token.
    ///
    /// # Errors
    ///
    /// When a header holds an invalid token, or more than one.
    pub(crate) fn read(&self, request: &Request<'_>) -> Result<Option<SessionId>> {
        for name in &self.names {
            let mut values = request.headers().get(name);
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return Err(not_accepted("there is more than one"));
            }
            let value = value.trim_ascii();
            let token = match value.split_at_checked("Bearer ".len()) {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer ") => token,
                _ => value,
            };
            if !LENGTHS.contains(&token.len()) {
                return Err(not_accepted("it needs 16 to 4096 characters"));
            }
            // Proxies join two headers of one name with a comma.
            if !token
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
            {
                return Err(not_accepted(
                    "it may consist of ASCII letters, digits and punctuation marks other than a comma",
                ));
            }
            return Ok(Some(id(name, token)));
        }
        Ok(None)
    }
}

/// Names that browsers, servers or proxies give a meaning, in lower case.
const RESERVED: [&str; 16] = [
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "from",
    "host",
    "origin",
    "range",
    "referer",
    "set-cookie",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// The prefixes of further such names, in lower case.
const RESERVED_PREFIXES: [&str; 8] = [
    "accept",
    "content-",
    "if-",
    "proxy-",
    "sec-",
    "x-csrf-",
    "x-forwarded",
    "x-real-",
];

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Returns the id of the session that belongs to `token`. The id does not reveal the token.
pub(crate) fn id(name: &str, token: &str) -> SessionId {
    let mut hash = Sha256::new_with_prefix("rocket_session_kit: a session's token\0");
    hash.update(name.to_ascii_lowercase());
    hash.update(b"\0");
    hash.update(token);
    let digest: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    SessionId::of_token(half)
}

/// Returns the error that says why a token is not accepted. It shows nothing of the token.
fn not_accepted(why: &'static str) -> Error {
    Error::new(ErrorKind::Unauthorized, "accept the session's token").because(why)
}

/// Returns the error of a change that cannot be saved because the request has no token.
pub(crate) fn missing() -> Error {
    Error::new(ErrorKind::Unauthorized, "keep the session")
        .because("the request has no token; see `sessions.header.names`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(names: &[&str]) -> Result<TokenHeaders> {
        TokenHeaders::new(&HeaderConfig {
            names: names.iter().map(|&name| name.to_owned()).collect(),
        })
    }

    #[test]
    fn invalid_names_are_refused() {
        assert!(headers(&["X-Auth-Token", "Authorization"]).is_ok());
        for bad in [
            &[][..],
            &[""],
            &["X Auth"],
            &["X-Auth\r\n"],
            &["X:"],
            &["cookie"],
            &["HOST"],
            &["accept-language"],
            &["X-Forwarded-For"],
            &["X-CSRF-Token"],
            &["X-Auth", "x-auth"],
        ] {
            let error = headers(bad).err().expect("it cannot work").to_string();
            assert!(error.contains("sessions.header.names"), "{error}");
        }
    }

    #[test]
    fn the_id_of_a_token_never_changes() {
        let token = "0123456789abcdef0123456789abcdef";
        // Later versions must find the sessions that this one saved.
        assert_eq!(
            id("X-Auth-Token", token).to_hex(),
            "9a0dbfa5da698d9facf494af864582bf"
        );
        assert_eq!(id("x-auth-token", token), id("X-Auth-Token", token));
        assert_ne!(id("X-Other", token), id("X-Auth-Token", token));
        assert!(
            id("X-Auth-Token", token)
                .to_hex()
                .parse::<SessionId>()
                .is_ok()
        );
    }
}
