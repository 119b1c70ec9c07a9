//! Log-in and log-out: a members' page, forms that no other site can forge, and a limit on guesses.
//! Run it with `cargo run --example login`, and open <http://127.0.0.1:8000>. The password of Ada is "enigma".

use rocket::response::Redirect;
use rocket::response::content::RawHtml;
use rocket::{FromForm, get, launch, post, routes, uri};
use rocket_session_kit::{
    CsrfForm, CsrfToken, KeyedRateLimit, Limit, LoggedIn, Notification, Notify, Result, Session,
    Sessions,
};

#[derive(FromForm)]
struct Login<'r> {
    name: &'r str,
    password: &'r str,
}

impl Login<'_> {
    /// A real application compares hashes of passwords: see the guest book.
    fn is_right(&self) -> bool {
        self.name == "Ada" && self.password == "enigma"
    }
}

/// Five guesses per account in five minutes.
struct Guesses;

impl Limit for Guesses {
    const NAME: &'static str = "guesses";
    const LIMIT: u32 = 5;
    const WINDOW: u64 = 300;
}

#[get("/")]
fn members(member: LoggedIn<'_>, csrf: CsrfToken) -> RawHtml<String> {
    // Escape the name of a user if users choose their names: a template does that.
    let user = member.user();
    RawHtml(format!(
        r#"<!doctype html><title>Members</title><p>Hello, {user}.</p>
<form method="post" action="/logout"><input type="hidden" name="csrf_token" value="{csrf}"><button>Log out</button></form>"#
    ))
}

/// Nobody is logged in: `members` has passed the request on.
#[get("/", rank = 2)]
fn form(csrf: CsrfToken, note: Option<Notification>) -> RawHtml<String> {
    let note = note.map_or(String::new(), |note| format!("<p>{note}</p>"));
    RawHtml(format!(
        r#"<!doctype html><title>Log in</title>{note}
<form method="post" action="/login"><input type="hidden" name="csrf_token" value="{csrf}">
<label>Name <input name="name"></label> <label>Password <input name="password" type="password"></label>
<button>Log in</button></form>"#
    ))
}

#[post("/login", data = "<login>")]
async fn login(
    login: CsrfForm<Login<'_>>,
    session: &Session,
    guesses: KeyedRateLimit<'_, Guesses>,
) -> Result<Notify<Redirect>> {
    guesses.count(login.name).await?;
    let page = Redirect::to(uri!(members));
    if !login.is_right() {
        return Ok(Notify::error(page, "The name or the password is wrong."));
    }
    guesses.reset(login.name).await?;
    session.log_in(login.name);
    Ok(Notify::success(page, "Welcome."))
}

#[post("/logout", data = "<_form>")]
fn logout(_form: CsrfForm, session: &Session) -> Redirect {
    session.log_out();
    Redirect::to(uri!(members))
}

#[launch]
pub(crate) fn rocket() -> _ {
    let rocket = rocket::build().mount("/", routes![members, form, login, logout]);
    rocket.attach(Sessions::fairing())
}
