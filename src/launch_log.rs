//! The lines that the launch writes into the log: the sessions in one line, and what browsers need.

use crate::app::App;
use crate::config::Transport;
use crate::header::TokenHeaders;

/// Logs how the sessions are kept, and a warning if no browser may send their cookie.
pub(crate) fn log(sessions: &App, rocket: &rocket::Config) {
    let config = &sessions.config;
    let (store, idle) = (sessions.manager.store().name(), config.idle_timeout);
    let absolute = match config.absolute_timeout {
        0 => "no absolute timeout".to_owned(),
        seconds => format!("absolute timeout {seconds} s"),
    };
    let credentials = credentials(sessions);
    log::info!(
        "sessions in the store `{store}`, by {credentials}; idle timeout {idle} s, {absolute}"
    );
    let cookie = sessions.template().cookie();
    let is_release = rocket.profile != rocket::Config::DEBUG_PROFILE;
    // Proxies that the application trusts are there to speak TLS.
    let speaks_tls = rocket.tls_enabled() || !config.proxies.is_empty();
    let has_cookie = config.transport != Transport::Header;
    if is_release && has_cookie && cookie.secure() == Some(true) && !speaks_tls {
        let name = cookie.name();
        log::warn!(
            "browsers send the cookie `{name}` over HTTPS alone, and Rocket is configured without TLS: put a \
             proxy that speaks TLS in front of the application, and name it in \
             `sessions.proxies`; or, for a local test over plain HTTP, set \
             `sessions.cookie.secure = false`"
        );
    }
}

/// Returns the cookie and the headers by which sessions are found.
fn credentials(sessions: &App) -> String {
    let cookie = sessions.template().cookie().to_string();
    let (name, attributes) = cookie.split_once("=; ").unwrap_or((&cookie, ""));
    let max_age = sessions.config.cookie.max_age;
    let max_age = max_age.map_or(String::new(), |age| format!("; Max-Age={age}"));
    let cookie = format!("the cookie `{name}` ({attributes}{max_age})");
    let headers = sessions.headers.as_ref().map(TokenHeaders::names);
    let headers = headers.map(|names| format!("a token in `{}`", names.join("`, `")));
    match (sessions.config.transport, headers) {
        (Transport::Header, Some(headers)) => headers,
        (_, Some(headers)) => format!("{cookie} or {headers}"),
        (_, None) => cookie,
    }
}
