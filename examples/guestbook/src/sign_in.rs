//! The page that signs a member in, with limits for those who guess passwords.

use std::time::Duration;

use askama::Template;
use rocket::response::Redirect;
use rocket::{Either, FromForm, State, get, post, uri};
use rocket_session_kit::{
    By, CsrfForm, CsrfToken, KeyedRateLimit, Limit, Notify, RateLimit, Session,
};

use crate::accounts::Account;
use crate::database::Database;
use crate::error::Result;
use crate::layout::{Frame, Layout};
use crate::next;
use crate::page::{FormResponse, Page, again, onward, page};
use crate::passwords;

/// How long a log-in is remembered.
const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Thirty log-ins in a quarter of an hour from one address.
pub struct SignIns;

impl Limit for SignIns {
    const NAME: &'static str = "sign-ins";
    const LIMIT: u32 = 30;
    const WINDOW: u64 = 900;
    const BY: By = By::Address;
}

/// Five wrong passwords of one account in a quarter of an hour.
pub struct Passwords;

impl Limit for Passwords {
    const NAME: &'static str = "passwords";
    const LIMIT: u32 = 5;
    const WINDOW: u64 = 900;
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'f> {
    frame: Frame,
    csrf: CsrfToken,
    /// Where the form is sent: here, with the page to go on to.
    action: String,
    name: &'f str,
    remember: bool,
    failed: bool,
}

/// The form with the name and the password.
#[derive(FromForm)]
pub struct SignIn<'r> {
    name: &'r str,
    password: &'r str,
    remember: bool,
}

#[get("/sign-in?<next>")]
pub async fn show(
    next: Option<&str>,
    session: &Session,
    layout: Layout<'_>,
) -> Result<Either<Redirect, Page>> {
    if session.user().is_some() {
        return Ok(Either::Left(Redirect::to(next::local_path(next))));
    }
    let form = SignInPage {
        csrf: session.csrf_token(),
        action: action(next),
        name: "",
        remember: false,
        failed: false,
        frame: layout.frame().await?,
    };
    Ok(Either::Right(page(&form)?))
}

#[post("/sign-in?<next>", data = "<form>")]
pub async fn submit(
    next: Option<&str>,
    _limit: RateLimit<SignIns>,
    form: CsrfForm<SignIn<'_>>,
    attempts: KeyedRateLimit<'_, Passwords>,
    session: &Session,
    layout: Layout<'_>,
    database: &State<Database>,
) -> Result<FormResponse> {
    // As the database compares names. It counts before the password is checked.
    let key = form.name.to_ascii_lowercase();
    attempts.count(&key).await?;
    let Some(account) = verified(&form, database).await? else {
        return again(&SignInPage {
            csrf: session.csrf_token(),
            action: action(next),
            name: form.name,
            remember: form.remember,
            failed: true,
            frame: layout.frame().await?,
        });
    };
    attempts.reset(&key).await?;
    let log_in = session.log_in(&account.name);
    if form.remember {
        log_in.remember(MONTH);
    }
    let hello = format!("Welcome back, {}.", account.name);
    onward(Notify::success(Redirect::to(next::local_path(next)), hello))
}

/// Returns the account whose name and password were sent. Whichever of them is wrong, it is `None`
/// after the same time.
async fn verified(form: &SignIn<'_>, database: &Database) -> Result<Option<Account>> {
    let hash = database.password_hash(form.name).await?;
    match passwords::verify(form.password, hash).await? {
        true => Ok(database.account(form.name).await?),
        false => Ok(None),
    }
}

fn action(next: Option<&str>) -> String {
    uri!(submit(next)).to_string()
}
