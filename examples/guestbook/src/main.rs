//! A guest book: its routes, and what they need.

use rocket::{get, launch, routes};
use rocket_session_kit::{Result, Session, Sessions};

#[get("/")]
fn index(session: &Session) -> Result<String> {
    Ok(format!("visits: {}\n", session.increment("visits", 1)?))
}

#[launch]
fn rocket() -> _ {
    rocket::build()
        .mount("/", routes![index])
        .attach(Sessions::fairing())
}
