//! That a request was sent by the application's own page, and not forged by another site's.

use std::fmt;
use std::ops::{Deref, DerefMut};

use aes_gcm::aead::{OsRng, rand_core::RngCore};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rocket::data::{self, Data, FromData};
use rocket::form::{self, DataField, Errors, Form, FromForm, FromFormField, Options, ValueField};
use rocket::http::{Method, Status};
use rocket::request::{self, FromRequest};
use rocket::{Ignite, Request, Rocket, Sentinel};
use subtle::ConstantTimeEq;

use crate::error::{Error, ErrorKind, Result};
use crate::origin::Origin;
use crate::session::Session;
use crate::sessions::Sessions;

/// The header that a script sends the token in.
const HEADER: &str = "X-CSRF-Token";

/// The field that a form sends the token in.
const FIELD: &str = "csrf_token";

/// What shows that a request comes from a page of this application: a secret of the session, which
/// another site can neither read nor guess.
///
/// `Display` writes it masked, differently each time, so that it cannot be guessed from the length
/// of compressed pages. It stays the same for the session until the log-in, so that a page may be
/// open in many windows. `Debug` does not show it.
///
/// As a guard it lets `GET`, `HEAD`, `OPTIONS` and `TRACE` pass, which must not change anything, and
/// asks all others for the header `X-CSRF-Token`. For forms take [`CsrfForm`].
///
/// # Errors
///
/// As a guard it fails with 403 when a browser says (`Sec-Fetch-Site`, or else `Origin`) that
/// another site sent the request, unless its `Origin` is one of `trusted_origins` under
/// `[default.sessions.csrf]`; and when the token is missing or wrong; with 503 when the store
/// does not answer.
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
    pub(crate) fn of(secret: &str) -> Self {
        Self(secret.to_owned())
    }

    /// Returns whether `shown` was written by `Display`.
    pub(crate) fn is_shown_as(&self, shown: &str) -> bool {
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
    /// Does not show it.
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

fn forbidden(why: &'static str) -> Error {
    Error::new(ErrorKind::Forbidden, "accept the request").because(why)
}

/// Fails when the browser says that another site sent `request`, and not one that is trusted.
fn check_site(request: &Request<'_>) -> Result<()> {
    let headers = request.headers();
    let fails = || Err(forbidden("another site sent it"));
    let trusted = &Sessions::of(request)?.config.csrf.trusted_origins;
    let mut origins = headers.get("Origin").peekable();
    let is_trusted = |origin| Origin::parse(origin).is_some_and(|it| trusted.contains(&it));
    if !trusted.is_empty() && origins.peek().is_some() && origins.all(is_trusted) {
        return Ok(());
    }
    // A browser sets these itself, whatever a page's script wants.
    let mut sites = headers.get("Sec-Fetch-Site").peekable();
    if sites.peek().is_some() {
        return match sites.all(|site| matches!(site, "same-origin" | "none")) {
            true => Ok(()),
            false => fails(),
        };
    }
    let named = || headers.get_one("Host").map(str::to_owned);
    let host = request.host().map(ToString::to_string).or_else(named);
    let own = |origin: &str| {
        let (Some((scheme, authority)), Some(host)) = (origin.split_once("://"), &host) else {
            return false;
        };
        // A browser leaves it out, and some proxies put it in.
        let port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return false,
        };
        let [one, other] = [authority, host].map(|name| name.strip_suffix(port).unwrap_or(name));
        one.eq_ignore_ascii_case(other)
    };
    match headers.get("Origin").all(own) {
        true => Ok(()),
        false => fails(),
    }
}

/// Fails when `request` changes something and `token` is none of the session's.
fn check_token(session: &Session, token: Option<&str>) -> Result<()> {
    match token {
        None => Err(forbidden("it has no CSRF token")),
        Some(token) if session.is_csrf_token(token) => Ok(()),
        Some(_) => Err(forbidden("its CSRF token is not of this session")),
    }
}

fn is_safe(request: &Request<'_>) -> bool {
    use Method::{Get, Head, Options, Trace};
    matches!(request.method(), Get | Head | Options | Trace)
}

#[rocket::async_trait]
impl<'r> FromRequest<'r> for CsrfToken {
    type Error = Error;

    async fn from_request(request: &'r Request<'_>) -> request::Outcome<Self, Error> {
        let session = match request.guard::<&Session>().await {
            request::Outcome::Success(session) => session,
            request::Outcome::Error(error) => return request::Outcome::Error(error),
            request::Outcome::Forward(status) => return request::Outcome::Forward(status),
        };
        let checked = match is_safe(request) {
            true => Ok(()),
            false => check_site(request)
                .and_then(|()| check_token(session, request.headers().get_one(HEADER))),
        };
        match checked {
            Ok(()) => request::Outcome::Success(session.csrf_token()),
            Err(error) => request::Outcome::Error((error.status(), error)),
        }
    }
}

impl Sentinel for CsrfToken {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}

/// A form that the application's own page sent: Rocket's `Form<T>`, with the session's
/// [`CsrfToken`] in the field `csrf_token`, or in the header `X-CSRF-Token`.
///
/// A form with no other field is a `CsrfForm`, without brackets.
///
/// `T` does not have that field. It is checked here and not by a field's type, for to a field of a
/// form without files Rocket shows the value alone, and not the request whose session has the token.
///
/// # Errors
///
/// As a guard it fails with 403 as [`CsrfToken`] does, with 422 when the form is not a `T`, and with
/// 503 when the store does not answer. For a form to be shown again with its mistakes take a
/// `CsrfForm<Contextual<'_, T>>`.
///
/// # Example
///
/// ```rust
/// use rocket::{FromForm, get, post};
/// use rocket_session_kit::{CsrfForm, CsrfToken, Session};
///
/// #[derive(FromForm)]
/// struct Entry<'r> { text: &'r str }
///
/// #[get("/")]
/// fn page(token: CsrfToken) -> String {
///     format!(r#"<form method="post"><input type="hidden" name="csrf_token" value="{token}">…"#)
/// }
///
/// #[post("/", data = "<entry>")]
/// fn add(entry: CsrfForm<Entry<'_>>) -> String {
///     entry.text.to_owned()
/// }
///
/// #[post("/logout", data = "<_form>")]
/// fn logout(_form: CsrfForm, session: &Session) {
///     session.log_out();
/// }
/// # rocket_session_kit::testing::doc(rocket::routes![page, add, logout], |client| {
/// # use rocket::http::{ContentType, Status};
/// # let page = client.get("/").dispatch().into_string().unwrap();
/// # let token = page.split('"').nth(7).unwrap();
/// # let send = |form: String| client.post("/").header(ContentType::Form).body(form).dispatch();
/// # assert_eq!(send("text=Hello".into()).status(), Status::Forbidden);
/// # assert_eq!(send(format!("text=Hello&csrf_token={token}")).into_string().unwrap(), "Hello");
/// # let logout = |form: String| client.post("/logout").header(ContentType::Form).body(form);
/// # assert_eq!(logout(String::new()).dispatch().status(), Status::Forbidden);
/// # assert_eq!(logout(format!("csrf_token={token}")).dispatch().status(), Status::Ok);
/// # });
/// ```
pub struct CsrfForm<T = NoFields>(T);

/// A form without fields, beside the token: what a [`CsrfForm`] has without brackets.
///
/// Fields that come nevertheless are passed over. `()` cannot take its place: Rocket may yet make
/// it a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoFields;

#[rocket::async_trait]
impl<'r> FromForm<'r> for NoFields {
    type Context = ();

    fn init(_: Options) -> Self::Context {}

    fn push_value(_: &mut Self::Context, _: ValueField<'r>) {}

    async fn push_data(_: &mut Self::Context, _: DataField<'r, '_>) {}

    fn finalize(_: Self::Context) -> form::Result<'r, Self> {
        Ok(Self)
    }
}

impl<T> CsrfForm<T> {
    /// Returns what the form says.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for CsrfForm<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for CsrfForm<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for CsrfForm<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CsrfForm").field(&self.0).finish()
    }
}

#[rocket::async_trait]
impl<'r, T: FromForm<'r>> FromData<'r> for CsrfForm<T> {
    type Error = Error;

    async fn from_data(request: &'r Request<'_>, data: Data<'r>) -> data::Outcome<'r, Self> {
        use data::Outcome;

        let session = match request.guard::<&Session>().await {
            request::Outcome::Success(session) => session,
            request::Outcome::Error(error) => return Outcome::Error(error),
            request::Outcome::Forward(status) => return Outcome::Forward((data, status)),
        };
        if let Err(error) = check_site(request) {
            return Outcome::Error((error.status(), error));
        }
        let unreadable = |status: Status| {
            let error = Error::new(ErrorKind::Invalid, "read the form");
            Outcome::Error((status, error.because("it does not fit, or is too large")))
        };
        let form = match Form::<WithToken<'r, T>>::from_data(request, data).await {
            Outcome::Success(form) => form.into_inner(),
            Outcome::Error((status, _)) => return unreadable(status),
            Outcome::Forward(forward) => return Outcome::Forward(forward),
        };
        let token = request.headers().get_one(HEADER).or(form.token);
        if let Err(error) = check_token(session, token) {
            return Outcome::Error((error.status(), error));
        }
        match form.rest {
            Ok(rest) => Outcome::Success(Self(rest)),
            Err(errors) => unreadable(errors.status()),
        }
    }
}

impl<T> Sentinel for CsrfForm<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}

/// A form of which one field is the token, and the rest a `T`.
struct WithToken<'r, T> {
    token: Option<&'r str>,
    rest: Result<T, Errors<'r>>,
}

struct WithTokenContext<'r, T: FromForm<'r>> {
    token: Option<&'r str>,
    rest: T::Context,
}

#[rocket::async_trait]
impl<'r, T: FromForm<'r>> FromForm<'r> for WithToken<'r, T> {
    type Context = WithTokenContext<'r, T>;

    fn init(options: Options) -> Self::Context {
        WithTokenContext {
            token: None,
            rest: T::init(options),
        }
    }

    fn push_value(context: &mut Self::Context, field: ValueField<'r>) {
        if field.name.source() == FIELD {
            context.token = Some(field.value);
        } else {
            T::push_value(&mut context.rest, field);
        }
    }

    async fn push_data(context: &mut Self::Context, field: DataField<'r, '_>) {
        if field.name.source() != FIELD {
            return T::push_data(&mut context.rest, field).await;
        }
        // Some programs, if no browser, say of every field what is in it.
        context.token = <&str as FromFormField>::from_data(field).await.ok();
    }

    fn push_error(context: &mut Self::Context, error: form::Error<'r>) {
        T::push_error(&mut context.rest, error);
    }

    fn finalize(context: Self::Context) -> form::Result<'r, Self> {
        Ok(Self {
            token: context.token,
            rest: T::finalize(context.rest),
        })
    }
}
