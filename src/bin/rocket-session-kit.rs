//! The program `rocket-session-kit`, for the stores that `Rocket.toml` can name.

use std::process::ExitCode;

use rocket_session_kit::cli;

fn main() -> ExitCode {
    cli::run(|_| Ok(None))
}
