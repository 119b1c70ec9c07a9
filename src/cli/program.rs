//! The commands and options of the program.

use std::path::PathBuf;

use clap::{Command, Parser, Subcommand};

use super::check::Check;
use super::completions::Completions;
use super::copy::Copy;
use super::end::End;
use super::import::Import;
use super::list::List;
use super::man::Man;
use super::show::Show;
use super::stats::Stats;
use super::sweep::Sweep;

/// Manages the sessions of a Rocket application.
///
/// It reads the same `Rocket.toml`, profile and environment as the application: run it in the working
/// directory of the application, with the variables of the application. It needs no secret key. A
/// session is named by its handle, which opens nothing.
#[derive(Parser)]
#[command(name = NAME, version, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
pub(super) struct Program {
    /// The file of the configuration, instead of `Rocket.toml`.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The profile, instead of `ROCKET_PROFILE`; without both it is `debug` or `release`, as this program was built.
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) profile: Option<String>,
    #[command(subcommand)]
    pub(super) act: Act,
}

#[derive(Subcommand)]
pub(super) enum Act {
    Check(Check),
    List(List),
    Show(Show),
    End(End),
    Sweep(Sweep),
    Stats(Stats),
    Import(Import),
    Copy(Copy),
    Completions(Completions),
    Man(Man),
}

/// The name of the program of this crate.
pub(super) const NAME: &str = "rocket-session-kit";

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    the store or the configuration failed, or a part of the work was refused
  2    the arguments are invalid
  3    there is no session with this handle
  130  stopped by Ctrl-C";

/// Gives the command the name by which this process was started, which may be an application's own.
pub(super) fn named(command: Command) -> Command {
    let started = std::env::args_os().next().map(PathBuf::from);
    let name = started
        .as_deref()
        .and_then(|path| path.file_name()?.to_str());
    match name {
        // It lives as long as the process.
        Some(name) if name != NAME => command.name(&*name.to_owned().leak()),
        _ => command,
    }
}
