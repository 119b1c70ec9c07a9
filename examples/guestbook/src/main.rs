//! A guest book: its routes, and what they need.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod accounts;
mod admin;
mod assets;
mod browser;
mod catchers;
mod database;
mod entries;
mod error;
mod fields;
mod headers;
mod home;
mod latest;
mod layout;
mod live;
mod member;
mod moment;
mod my_sessions;
mod next;
mod page;
mod paging;
mod passwords;
mod sign_in;
mod sign_out;
mod sign_up;
#[cfg(test)]
mod tests;
mod this_session;

use rocket::{Build, Rocket, launch, routes};
use rocket_session_kit::{Sessions, SessionsFairing};

#[launch]
fn rocket() -> _ {
    guestbook(rocket::build(), Sessions::fairing())
}

/// Returns the application on `rocket`. The tests give it a database and a store of their own.
fn guestbook(rocket: Rocket<Build>, sessions: SessionsFairing) -> Rocket<Build> {
    rocket
        .attach(database::fairing())
        .attach(sessions)
        .attach(headers::fairing())
        .attach(catchers::waiting_time())
        .manage(live::News::new())
        .mount("/", routes![home::show, home::add])
        .mount("/", routes![sign_up::show, sign_up::submit])
        .mount(
            "/",
            routes![sign_in::show, sign_in::submit, sign_out::submit],
        )
        .mount("/", routes![this_session::show])
        .mount("/", routes![live::show, live::events])
        .mount(
            "/",
            routes![my_sessions::show, my_sessions::end, my_sessions::end_others],
        )
        .mount(
            "/",
            routes![admin::show, admin::end, admin::end_all, admin::sweep],
        )
        .mount("/", routes![assets::style, assets::live, assets::icon])
        .register("/", catchers::all())
}
