//! The command `completions`, which prints a script that completes the commands in a shell.

use clap::{Args, Command};
use clap_complete::Shell;

use super::failure::Outcome;
use super::text;

/// Print a script that completes commands and options in a shell.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    rocket-session-kit completions bash > rocket-session-kit.bash\n  \
    rocket-session-kit completions fish > rocket-session-kit.fish\n  \
    rocket-session-kit completions zsh > _rocket-session-kit")]
pub(super) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self, mut program: Command) -> Outcome {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        text::print(&script)
    }
}
