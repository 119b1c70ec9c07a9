//! The command `man`, which prints the manual page of the program or of a command.

use clap::{Args, Command};
use clap_mangen::Man as Page;

use super::failure::{Failure, Outcome};
use super::text;

/// Print the manual page of the program, or of one command.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit man > rocket-session-kit.1\n  \
    rocket-session-kit man copy > rocket-session-kit-copy.1")]
pub(super) struct Man {
    /// The command.
    command: Option<String>,
}

impl Man {
    pub(super) fn run(&self, mut program: Command) -> Outcome {
        program.build();
        let page = match &self.command {
            None => program,
            Some(name) => program.find_subcommand(name).cloned().ok_or_else(|| {
                Failure::Usage(format!(
                    "there is no command `{}`; see `--help`",
                    text::plain(name, 40)
                ))
            })?,
        };
        let mut bytes = Vec::new();
        Page::new(page).render(&mut bytes)?;
        text::print(&bytes)
    }
}
