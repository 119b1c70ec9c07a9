//! The CSRF token, and the guard that requires it in a header.

use std::fmt;

use aes_gcm::aead::{OsRng, rand_core::RngCore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::http::Method;
use rocket::request::{FromRequest, Outcome};
use rocket::{Ignite, Request, Rocket, Sentinel};
use subtle::ConstantTimeEq;

use super::{HEADER, forbidden, site};
use crate::error::{Error, Result};
use crate::session::Session;
use crate::sessions::Sessions;

/// The proof that a request comes from a page of this application: a secret of the session, which
/// other sites can neither read nor guess.
///
/// `Display` writes the token with a new random mask each time, so that the length of compressed pages
/// does not reveal it. The token of a session does not change until the visitor logs in, so a page can
/// be open in several windows. `Debug` does not show the token.
///
/// As a guard it requires the header `X-CSRF-Token`, except in requests with the methods `GET`, `HEAD`,
/// `OPTIONS` and `TRACE`. Handlers of these methods must not change anything. For forms, take
/// [`CsrfForm`](crate::CsrfForm).
///
/// # Errors
///
/// The guard fails with 403 when the token is missing or invalid, and when the browser reports that
/// another site sent the request (in `Sec-Fetch-Site`, or else in `Origin`). Sites whose `Origin` is in
/// `trusted_origins` under `[default.sessions.csrf]` are allowed. It fails with 503 when the store does
/// not respond.
///
/// # Example
///
/// ```rust
/// use rocket::{get, post};
/// use rocket_session_kit::CsrfToken;
///
/// #[get("/")]
/// fn page(token: CsrfToken) -> String {
///     token.to_string()
/// }
///
/// #[post("/like")]
/// fn like(_token: CsrfToken) -> &'static str {
///     "liked"
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![page, like], |client| {
/// # use rocket::http::{Header, Status};
/// # let token = client.get("/").dispatch().into_string().unwrap();
/// # assert_eq!(client.post("/like").dispatch().status(), Status::Forbidden);
/// # let like = client.post("/like").header(Header::new("X-CSRF-Token", token));
/// # assert_eq!(like.dispatch().status(), Status::Ok);
/// # });
/// ```
#[derive(Clone)]
pub struct CsrfToken(String);

impl CsrfToken {
    /// Returns the token whose secret is `secret`.
    fn of(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    /// Returns whether `shown` is this token as `Display` writes it.
    fn is_shown_as(&self, shown: &str) -> bool {
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(shown) else {
            return false;
        };
        let (mask, masked) = bytes.split_at(bytes.len() / 2);
        let secret: Vec<u8> = mask.iter().zip(masked).map(|(a, b)| a ^ b).collect();
        mask.len() == masked.len() && secret.ct_eq(self.0.as_bytes()).into()
    }
}

impl fmt::Display for CsrfToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.0.as_bytes();
        let mut bytes = vec![0; 2 * secret.len()];
        let (mask, masked) = bytes.split_at_mut(secret.len());
        OsRng.fill_bytes(mask);
        for (at, byte) in masked.iter_mut().enumerate() {
            *byte = mask[at] ^ secret[at];
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl fmt::Debug for CsrfToken {
    /// Does not show the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrfToken").finish_non_exhaustive()
    }
}

impl serde::Serialize for CsrfToken {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Session {
    /// Returns the session's [`CsrfToken`], for a page with a form or a script.
    ///
    /// The first call puts the token's secret into the session, and begins one if there is none.
    pub fn csrf_token(&self) -> CsrfToken {
        CsrfToken::of(&self.csrf_secret())
    }
}

/// Fails if `token` is missing, or does not belong to `session`.
pub(super) fn check(session: &Session, token: Option<&str>) -> Result<()> {
    match token {
        None => Err(forbidden("it has no CSRF token")),
        Some(token) if session.any_csrf_secret(|own| CsrfToken::of(own).is_shown_as(token)) => {
            Ok(())
        }
        Some(_) => Err(forbidden("its CSRF token does not belong to this session")),
    }
}

fn is_safe(request: &Request<'_>) -> bool {
    use Method::{Get, Head, Options, Trace};
    matches!(request.method(), Get | Head | Options | Trace)
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for CsrfToken {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, Error> {
        let session = match request.guard::<&Session>().await {
            Outcome::Success(session) => session,
            Outcome::Error(error) => return Outcome::Error(error),
            Outcome::Forward(status) => return Outcome::Forward(status),
        };
        let checked = match is_safe(request) {
            true => Ok(()),
            false => site::check(request)
                .and_then(|()| check(session, request.headers().get_one(HEADER))),
        };
        match checked {
            Ok(()) => Outcome::Success(session.csrf_token()),
            Err(error) => Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for CsrfToken {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
