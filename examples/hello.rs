//! Counts the visits of each visitor: `cargo run --example hello`, then twice `curl -c jar -b jar
//! localhost:8000/`.

use rocket::{get, launch, routes};
use rocket_session_kit::{Result, Session, Sessions};

#[get("/")]
fn index(session: &Session) -> Result<String> {
    let visits = session.increment("visits", 1)?;
    Ok(format!("visits: {visits}\n"))
}

#[launch]
fn rocket() -> _ {
    let rocket = rocket::build().mount("/", routes![index]);
    rocket.attach(Sessions::fairing())
}
