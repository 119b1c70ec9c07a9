//! An API whose clients send a token in a header, and no cookie. Run it with `cargo run --example tokens`, then
//!
//! ```console
//! $ curl -d 'name=ada&password=enigma' localhost:8000/tokens
//! $ curl -H 'Authorization: Bearer THE-TOKEN' -d 'text=buy tea' localhost:8000/notes
//! $ curl -H 'Authorization: Bearer THE-TOKEN' localhost:8000/notes
//! $ curl -H 'Authorization: Bearer THE-TOKEN' -X DELETE localhost:8000/tokens
//! ```

use rocket::form::Form;
use rocket::http::Status;
use rocket::{FromForm, delete, get, launch, post, routes};
use rocket_session_kit::{LoggedIn, Result, Session, Sessions};

#[derive(FromForm)]
struct Login<'r> {
    name: &'r str,
    password: &'r str,
}

impl Login<'_> {
    /// A real application compares hashes of passwords, and limits guesses.
    fn is_right(&self) -> bool {
        self.name == "ada" && self.password == "enigma"
    }
}

/// The response shows the token once: the server keeps a hash of it.
#[post("/tokens", data = "<login>")]
fn issue(login: Form<Login<'_>>, session: &Session) -> Result<(Status, String)> {
    if !login.is_right() {
        return Ok((Status::Forbidden, "wrong name or password".into()));
    }
    session.log_in(login.name);
    Ok((Status::Created, session.issue_token()?))
}

/// From then on, the token opens nothing.
#[delete("/tokens")]
fn revoke(member: LoggedIn<'_>) -> Status {
    member.session().log_out();
    Status::NoContent
}

#[get("/notes")]
fn notes(member: LoggedIn<'_>) -> Result<String> {
    let notes: Option<Vec<String>> = member.session().get("notes")?;
    Ok(notes.unwrap_or_default().join("\n"))
}

#[post("/notes", data = "<text>")]
fn note(text: Form<String>, member: LoggedIn<'_>) -> Result<Status> {
    let text = text.into_inner();
    let add = move |notes: &mut Vec<String>| notes.push(text.clone());
    member.session().update("notes", add)?;
    Ok(Status::Created)
}

#[launch]
pub(crate) fn rocket() -> _ {
    // The same as two lines in `Rocket.toml`: see docs/header-sessions.md.
    let figment = rocket::Config::figment()
        .merge(("sessions.transport", "header"))
        .merge(("sessions.header.names", ["Authorization"]));
    rocket::custom(figment)
        .mount("/", routes![issue, revoke, notes, note])
        .attach(Sessions::fairing())
}
