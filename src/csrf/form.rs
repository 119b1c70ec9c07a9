//! The data guard for forms with a CSRF token.

use std::fmt;
use std::ops::{Deref, DerefMut};

use rocket::data::{self, Data, FromData};
use rocket::form::{self, DataField, Form, FromForm, Options, ValueField};
use rocket::http::Status;
use rocket::{Ignite, Request, Rocket, Sentinel, request};

use super::with_token::WithToken;
use super::{HEADER, site, token};
use crate::error::{Error, ErrorKind};
use crate::session::Session;
use crate::sessions::Sessions;

/// A form that a page of the application sent: Rocket's `Form<T>`, with the session's
/// [`CsrfToken`](crate::CsrfToken) in the field `csrf_token` or in the header `X-CSRF-Token`.
///
/// `T` must not have a field `csrf_token`. A form with no other fields is a `CsrfForm`, without a type
/// parameter.
///
/// # Errors
///
/// The guard fails with 403 as [`CsrfToken`](crate::CsrfToken) does, with 422 when the form is not a
/// `T`, and with 503 when the store does not respond. To show a form again with its mistakes, take a
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
// The type of a field could not check the token: in a form without files, Rocket passes it only the
// value, and not the request.
pub struct CsrfForm<T = NoFields>(T);

/// A form with no fields but the token: the default type parameter of [`CsrfForm`].
///
/// It ignores all other fields.
// `()` would not do: a later Rocket may implement `FromForm` for it.
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
    /// Returns the form without the token.
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
        if let Err(error) = site::check(request) {
            return Outcome::Error((error.status(), error));
        }
        let unreadable = |status: Status| {
            let error = Error::new(ErrorKind::Invalid, "read the form");
            Outcome::Error((
                status,
                error.because("its fields are missing or invalid, or it is too large"),
            ))
        };
        let form = match Form::<WithToken<'r, T>>::from_data(request, data).await {
            Outcome::Success(form) => form.into_inner(),
            Outcome::Error((status, _)) => return unreadable(status),
            Outcome::Forward(forward) => return Outcome::Forward(forward),
        };
        let token = request.headers().get_one(HEADER).or(form.token);
        if let Err(error) = token::check(session, token) {
            return Outcome::Error((error.status(), error));
        }
        match form.fields {
            Ok(fields) => Outcome::Success(Self(fields)),
            Err(errors) => unreadable(errors.status()),
        }
    }
}

impl<T> Sentinel for CsrfForm<T> {
    fn abort(rocket: &Rocket<Ignite>) -> bool {
        Sessions::missing(rocket)
    }
}
