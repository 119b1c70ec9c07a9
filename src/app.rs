//! The sessions of one application: their manager, settings and credentials.

use std::sync::{Arc, OnceLock};

use rocket::Response;

use crate::config::{Config, Transport};
use crate::cookie::{CookieTemplate, SessionCookie};
use crate::dispatch::ActiveRequests;
use crate::error::{Error, ErrorKind, Result};
use crate::header::TokenHeaders;
use crate::manager::SessionManager;
use crate::proxies::Proxies;
use crate::response;
use crate::store::SessionStore;

/// The sessions of one application: their manager, settings and credentials.
pub(crate) struct App {
    pub(crate) manager: Arc<SessionManager>,
    pub(crate) config: Config,
    form: CookieTemplate,
    /// The headers of tokens; `None` if sessions use cookies only.
    pub(crate) headers: Option<TokenHeaders>,
    /// Set at lift-off, when the secret key is known.
    cookie: OnceLock<SessionCookie>,
    pub(crate) active: ActiveRequests,
    /// The stores of the cache and the rate limit, if they have their own.
    pub(crate) others: Vec<Arc<dyn SessionStore>>,
    pub(crate) proxies: Arc<Proxies>,
}

impl App {
    pub(crate) fn new(
        manager: Arc<SessionManager>,
        config: Config,
        form: CookieTemplate,
        headers: Option<TokenHeaders>,
        active: ActiveRequests,
        others: Vec<Arc<dyn SessionStore>>,
        proxies: Arc<Proxies>,
    ) -> Self {
        Self {
            manager,
            config,
            form,
            headers,
            cookie: OnceLock::new(),
            active,
            others,
            proxies,
        }
    }

    /// Returns the session cookie without its value.
    pub(crate) fn template(&self) -> &CookieTemplate {
        &self.form
    }

    /// Returns the reader and writer of the session cookie.
    pub(crate) fn cookie(&self) -> Result<&SessionCookie> {
        self.cookie.get().ok_or_else(not_attached)
    }

    /// Adds the request headers of credentials to the `Vary` header of `response`.
    pub(crate) fn vary(&self, response: &mut Response<'_>) {
        if self.config.transport != Transport::Header {
            response::vary(response, "Cookie");
        }
        for name in self.headers.iter().flat_map(TokenHeaders::names) {
            response::vary(response, name.clone());
        }
    }

    /// Sets up the session cookie with the secret key of `rocket`.
    pub(crate) fn learn_key(&self, rocket: &rocket::Config) -> Result<()> {
        let cookie = self
            .form
            .with_keys(rocket, &self.config.previous_secret_keys)?;
        // A rocket can be launched again, with the same key.
        let _ = self.cookie.set(cookie);
        Ok(())
    }
}

/// Returns the error of a guard without the fairing.
pub(crate) fn not_attached() -> Error {
    Error::new(ErrorKind::Config, "find the sessions").because(
        "the fairing is not attached; add `.attach(Sessions::fairing())` to `rocket::build()`",
    )
}
