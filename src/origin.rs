//! The origin of a page: scheme, host and port, as a browser names it.

use std::fmt;

use rocket::http::uri::Authority;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An origin in one spelling, so that equal ones are equal: in lower case, and without the port that
/// goes without saying.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Origin(String);

impl Origin {
    /// Returns the origin that `text` names; `None` where it names anything else, or more.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let authority = Authority::parse(rest).ok()?;
        let (host, port) = (authority.host(), authority.port());
        let usual = match &*scheme.to_ascii_lowercase() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        // A name, an address, or one of version 6 in brackets.
        let is_of_host =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
        let with = |port: Option<u16>| match port {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        if host.is_empty() || !host.chars().all(is_of_host) || rest != with(port) {
            return None;
        }
        let place = with(port.filter(|port| *port != usual));
        Some(Self(format!("{scheme}://{place}").to_ascii_lowercase()))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(
                "an origin is a scheme, a host and perhaps a port, and nothing after them, as in \
                 \"https://app.example.com\" or \"http://localhost:5173\"",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        for (text, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.Com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            (
                "https://app.example.com:8443",
                "https://app.example.com:8443",
            ),
            ("http://[::1]:8000", "http://[::1]:8000"),
            ("http://127.0.0.1", "http://127.0.0.1"),
        ] {
            let found = Origin::parse(text).expect("it is one");
            assert_eq!(format!("{found:?}"), origin);
        }
    }

    #[test]
    fn invalid_origins_are_refused() {
        for no in [
            "",
            "null",
            "*",
            "app.example.com",
            "//app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/page",
            "https://app.example.com?a",
            "https://app.example.com#a",
            "https://user@app.example.com",
            "https://user:password@app.example.com",
            "https://user@app.example.com:443",
            "https://*.example.com",
            "https://app.example.com:",
            "https://app.example.com:port",
            "https://app.example.com:99999",
            "https://app.example.com, https://other.example.com",
            " https://app.example.com",
            "https://äpp.example.com",
            "ftp://app.example.com",
            "chrome-extension://abcdefgh",
        ] {
            assert!(Origin::parse(no).is_none(), "{no:?}");
        }
    }
}
