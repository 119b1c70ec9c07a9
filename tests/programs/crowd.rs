//! An application that several processes serve at once, with requests that wait at a gate.

use rocket::{Build, Rocket, State, get, routes};
use rocket_session_kit::testing::Gate;
use rocket_session_kit::{Result, Session, Sessions};

#[get("/add/<key>")]
fn add(key: &str, session: &Session) -> Result<String> {
    Ok(session.increment(key, 1)?.to_string())
}

#[get("/keys")]
fn keys(session: &Session) -> String {
    session.keys().join(",")
}

#[get("/who")]
fn who(session: &Session) -> String {
    session.user().unwrap_or_else(|| "nobody".into())
}

#[get("/login/<user>")]
fn log_in(user: &str, session: &Session) {
    session.log_in(user);
}

#[get("/renew")]
fn renew(session: &Session) {
    session.renew();
}

#[get("/logout")]
fn log_out(session: &Session) {
    session.log_out();
}

/// Returns in how many sessions a user is logged in.
#[get("/places/<user>")]
async fn places(user: &str, sessions: &Sessions) -> Result<String> {
    Ok(sessions.of_user(user).await?.len().to_string())
}

#[get("/endall/<user>")]
async fn end_all(user: &str, sessions: &Sessions) -> Result<String> {
    Ok(sessions.end_all_of(user, None).await?.to_string())
}

/// Loads the session, and waits before it uses it.
#[get("/slow/<act>")]
async fn slow(act: &str, session: &Session, gate: &State<Gate>) -> Result<String> {
    gate.pass().await;
    match act {
        "add" => add("visits", session),
        "renew" => {
            renew(session);
            Ok(String::new())
        }
        "login" => {
            log_in("alice", session);
            Ok(String::new())
        }
        _ => Ok(keys(session)),
    }
}

/// Responds as soon as a request waits at the gate.
#[get("/arrived")]
async fn arrived(gate: &State<Gate>) {
    gate.arrived().await;
}

#[get("/open")]
fn open(gate: &State<Gate>) {
    gate.open();
}

/// Launches the application, until it is shut down.
pub(super) fn launch() {
    let launched = rocket::execute(rocket().launch());
    launched.expect("the application launches");
}

fn rocket() -> Rocket<Build> {
    let routes = routes![
        add, keys, who, log_in, renew, log_out, slow, arrived, open, places, end_all
    ];
    let rocket = rocket::build().manage(Gate::new()).mount("/", routes);
    rocket.attach(Sessions::fairing())
}
