//! The page that makes an account and signs its owner in.

use askama::Template;
use rocket::form::{self, Contextual, Error as FieldError};
use rocket::response::Redirect;
use rocket::{FromForm, State, get, post, uri};
use rocket_session_kit::{By, CsrfForm, CsrfToken, Limit, Notify, RateLimit, Session};

use crate::database::Database;
use crate::error::Result;
use crate::fields::Fields;
use crate::home;
use crate::layout::{Frame, Layout};
use crate::page::{FormResponse, Page, again, onward, page};
use crate::passwords;

/// Sixty new accounts in an hour from one address. Each costs a slow hash.
pub struct SignUps;

impl Limit for SignUps {
    const NAME: &'static str = "sign-ups";
    const LIMIT: u32 = 60;
    const WINDOW: u64 = 3600;
    const BY: By = By::Address;
}

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage {
    frame: Frame,
    csrf: CsrfToken,
    form: Fields,
}

/// The form for a new account.
#[derive(FromForm)]
pub struct SignUp<'r> {
    #[field(validate = is_a_name())]
    name: &'r str,
    #[field(validate = is_a_password())]
    password: &'r str,
    #[field(validate = is_the_same(self.password))]
    #[allow(dead_code, reason = "it is only compared")]
    password_again: &'r str,
}

#[get("/sign-up")]
pub async fn show(session: &Session, layout: Layout<'_>) -> Result<Page> {
    page(&sign_up(Fields::default(), session, &layout).await?)
}

#[post("/sign-up", data = "<form>")]
pub async fn submit(
    _limit: RateLimit<SignUps>,
    form: CsrfForm<Contextual<'_, SignUp<'_>>>,
    session: &Session,
    layout: Layout<'_>,
    database: &State<Database>,
) -> Result<FormResponse> {
    let Contextual { value, context } = form.into_inner();
    let form = Fields::from(context);
    let Some(SignUp { name, password, .. }) = value else {
        return again(&sign_up(form, session, &layout).await?);
    };
    let hash = passwords::hash(password).await?;
    let Some(account) = database.add_account(name, &hash).await? else {
        let form = form.with_error("name", "This name is taken. Choose another one.");
        return again(&sign_up(form, session, &layout).await?);
    };
    session.log_in(&account.name);
    let welcome = match account.is_admin {
        true => "Welcome! Yours is the first account, so you are the administrator.",
        false => "Welcome! Your account is ready, and you are signed in.",
    };
    onward(Notify::success(Redirect::to(uri!(home::show(_))), welcome))
}

async fn sign_up(form: Fields, session: &Session, layout: &Layout<'_>) -> Result<SignUpPage> {
    Ok(SignUpPage {
        csrf: session.csrf_token(),
        form,
        frame: layout.frame().await?,
    })
}

fn is_a_name<'v>(name: &str) -> form::Result<'v, ()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !(2..=24).contains(&name.chars().count()) {
        Err(FieldError::validation("A name has 2 to 24 characters."))?;
    }
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(is_allowed) {
        Err(FieldError::validation(
            "A name begins with a letter from A to Z. After it come letters, digits, “-” and “_”.",
        ))?;
    }
    Ok(())
}

fn is_a_password<'v>(password: &str) -> form::Result<'v, ()> {
    match password.chars().count() {
        8..=256 => Ok(()),
        0..8 => Err(FieldError::validation(
            "A password has at least 8 characters.",
        ))?,
        _ => Err(FieldError::validation(
            "A password has at most 256 characters.",
        ))?,
    }
}

fn is_the_same<'v>(again: &str, password: &str) -> form::Result<'v, ()> {
    match again == password {
        true => Ok(()),
        false => Err(FieldError::validation("The two passwords differ."))?,
    }
}
