//! Tests that let time pass without waiting: they set the clock of the sessions. Run the application with
//! `cargo run --example clock`, and its tests with `cargo test --example clock`.

use rocket::{Build, Rocket, get, post, routes};
use rocket_session_kit::{LoggedIn, Result, Session, Sessions};

#[post("/login")]
fn login(session: &Session) {
    session.log_in("ada");
}

#[get("/")]
fn diary(member: LoggedIn<'_>) -> String {
    format!("The diary of {}\n", member.user())
}

/// For what needs a recent proof of identity.
#[post("/delete")]
fn delete(member: LoggedIn<'_>) -> Result<&'static str> {
    const RECENT: std::time::Duration = std::time::Duration::from_secs(300);
    if !member.session().authenticated_within(RECENT) {
        return Ok("Please enter your password again.\n");
    }
    Ok("The diary is gone.\n")
}

#[rocket::launch]
pub(crate) fn rocket() -> Rocket<Build> {
    // Half an hour without a request, and eight hours in all.
    let figment = rocket::Config::figment()
        .merge(("sessions.idle_timeout", 1_800))
        .merge(("sessions.absolute_timeout", 28_800));
    rocket::custom(figment)
        .mount("/", routes![login, diary, delete])
        .attach(Sessions::fairing())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rocket::http::Status;
    use rocket::local::blocking::Client;
    use rocket_session_kit::Clock;
    use rocket_session_kit::testing::log_in;

    /// The application with its sessions in memory, a clock that only this test turns, and Ada
    /// logged in.
    fn application() -> (Client, Clock) {
        let clock = Clock::manual();
        let rocket = super::rocket();
        let figment = rocket.figment().clone().merge(("sessions.store", "memory"));
        let rocket = rocket.configure(figment).manage(clock.clone());
        let client = Client::tracked(rocket).expect("it launches");
        log_in(&client, "ada");
        (client, clock)
    }

    fn diary(client: &Client) -> Status {
        client.get("/").dispatch().status()
    }

    #[test]
    fn half_an_hour_without_a_request_ends_the_session() {
        let (client, clock) = application();
        clock.advance(Duration::from_secs(1_740));
        assert_eq!(diary(&client), Status::Ok, "after 29 minutes");
        clock.advance(Duration::from_secs(1_801));
        assert_eq!(diary(&client), Status::Unauthorized);
    }

    #[test]
    fn eight_hours_end_a_session_in_use() {
        let (client, clock) = application();
        for _ in 0..31 {
            clock.advance(Duration::from_secs(900));
            assert_eq!(diary(&client), Status::Ok);
        }
        clock.advance(Duration::from_secs(901));
        assert_eq!(diary(&client), Status::Unauthorized);
    }

    #[test]
    fn the_password_is_asked_for_again_after_five_minutes() {
        let (client, clock) = application();
        let delete = || {
            client
                .post("/delete")
                .dispatch()
                .into_string()
                .expect("it is text")
        };
        clock.advance(Duration::from_secs(301));
        assert!(delete().contains("password"));
        client.post("/login").dispatch();
        assert!(delete().contains("gone"));
    }
}
