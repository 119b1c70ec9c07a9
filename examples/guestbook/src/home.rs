//! The guest book itself: its entries, and the form for the next one.

use askama::Template;
use rocket::form::{self, Contextual, Error as FieldError};
use rocket::response::Redirect;
use rocket::{FromForm, State, get, post, uri};
use rocket_session_kit::{Cache, CsrfForm, CsrfToken, Notify, Session};

use crate::database::Database;
use crate::entries::{Entry, PER_PAGE};
use crate::error::Result;
use crate::fields::Fields;
use crate::latest;
use crate::layout::{Frame, Layout};
use crate::live::News;
use crate::member::Member;
use crate::page::{FormResponse, Page, again, onward, page};
use crate::paging::Paging;

/// The longest entry, in characters.
const LONGEST: usize = 1000;

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    frame: Frame,
    visits: u64,
    entries: Vec<Entry>,
    paging: Paging,
    /// The tokens of the form, for a member.
    tokens: Option<Tokens>,
    form: Fields,
}

/// The token that no other site knows, and the token that can be sent once.
struct Tokens {
    csrf: CsrfToken,
    once: String,
}

/// The form for a new entry.
#[derive(FromForm)]
pub struct NewEntry<'r> {
    #[field(validate = is_an_entry())]
    text: &'r str,
    form_token: &'r str,
}

#[get("/?<page>")]
pub async fn show(
    page: Option<u32>,
    session: &Session,
    layout: Layout<'_>,
    database: &State<Database>,
) -> Result<Page> {
    session.increment("visits", 1)?;
    let form = Fields::default();
    let home = home(page.unwrap_or(1), form, session, &layout, database).await?;
    self::page(&home)
}

#[post("/entries", data = "<form>")]
pub async fn add(
    form: CsrfForm<Contextual<'_, NewEntry<'_>>>,
    member: Member<'_>,
    layout: Layout<'_>,
    database: &State<Database>,
    cache: &Cache,
    news: &State<News>,
) -> Result<FormResponse> {
    let Contextual { value, context } = form.into_inner();
    let Some(entry) = value else {
        let home = home(1, context.into(), member.session, &layout, database).await?;
        return again(&home);
    };
    let to_book = Redirect::to(uri!(show(_)));
    if !member.session.remove_form_token(entry.form_token).await? {
        return onward(Notify::warning(
            to_book,
            "You sent that form already. It counts once.",
        ));
    }
    database
        .add_entry(&member.account.name, &tidy(entry.text))
        .await?;
    latest::invalidate(cache).await?;
    news.wake();
    onward(Notify::success(
        to_book,
        "Your entry is in the book. Thank you!",
    ))
}

/// Returns the home page with the entries of `page`, and `form` as it was sent.
async fn home(
    page: u32,
    form: Fields,
    session: &Session,
    layout: &Layout<'_>,
    database: &Database,
) -> Result<Home> {
    let page = page.max(1);
    let entries = database.count_entries().await?;
    let tokens = session.user().map(|_| Tokens {
        csrf: session.csrf_token(),
        once: session.create_form_token(),
    });
    Ok(Home {
        visits: session.get("visits")?.unwrap_or_default(),
        entries: database.entries_of_page(page).await?,
        paging: Paging::new(page, entries, PER_PAGE, |page| {
            uri!(show(Some(page))).to_string()
        }),
        tokens,
        form,
        frame: layout.frame().await?,
    })
}

/// Returns `text` without space around it, and with the line ends of Unix.
fn tidy(text: &str) -> String {
    text.trim().replace("\r\n", "\n")
}

fn is_an_entry<'v>(text: &str) -> form::Result<'v, ()> {
    match tidy(text).chars().count() {
        0 => Err(FieldError::validation("Write something first."))?,
        1..=LONGEST => Ok(()),
        length => Err(FieldError::validation(format!(
            "This has {length} characters, and there is room for {LONGEST}."
        )))?,
    }
}
