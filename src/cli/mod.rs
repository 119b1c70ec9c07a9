//! The program `rocket-session-kit`, which manages the sessions of an application from the command line.

mod age;
mod application;
mod check;
mod completions;
mod copy;
mod end;
mod failure;
mod import;
mod interrupt;
mod list;
mod listed;
mod man;
mod old_system;
mod probe;
mod program;
mod progress;
mod show;
mod stats;
mod sweep;
mod text;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches};
use rocket::figment::Figment;
use rocket::tokio;

use self::application::{Application, Own, Purpose};
use self::failure::{Failure, Outcome};
use self::interrupt::Interrupt;
use self::program::{Act, Program};
use crate::error::Result;
use crate::store::SessionStore;

/// How long a thread may still wait for the disk when the program ends.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Runs the program `rocket-session-kit` with the arguments of this process, and returns its exit code.
///
/// `own` returns the store of an application that has [its own](crate::Sessions::with), or `None` for
/// the one that `Rocket.toml` names. It is called for the configuration of the application, and for that
/// of the target of `copy`. A command that lists, shows or ends sessions does not
/// [set the store up](SessionStore::setup), so a store should create its tables there.
///
/// # Example
///
/// A program for the sessions of a shop. Its `main` returns what `run` returns.
///
/// ```rust
/// use std::process::ExitCode;
/// use std::sync::Arc;
///
/// use rocket_session_kit::store::SessionStore;
/// use rocket_session_kit::{MemoryStore, cli};
///
/// fn shop() -> ExitCode {
///     cli::run(|figment| {
///         // Your store in place of `MemoryStore`. `copy --to` may lead to a store of this crate.
///         if !figment.contains("shop") {
///             return Ok(None);
///         }
///         let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new());
///         Ok(Some(store))
///     })
/// }
/// # // This process has no arguments, and the program needs a command.
/// # assert_eq!(format!("{:?}", shop()), format!("{:?}", ExitCode::from(2)));
/// ```
pub fn run(own: impl Fn(&Figment) -> Result<Option<Arc<dyn SessionStore>>>) -> ExitCode {
    let program = program::named(Program::command());
    let parsed = program
        .clone()
        .try_get_matches()
        .and_then(|matches| Program::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // If nobody reads it, there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match arguments.act {
        Act::Completions(completions) => completions.run(program),
        Act::Man(man) => man.run(program),
        _ => manage(&arguments, &own),
    };
    let Err(failure) = done else {
        return ExitCode::SUCCESS;
    };
    if let Some(text) = failure.text() {
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    ExitCode::from(failure.code())
}

/// Runs a command that needs the store.
fn manage(arguments: &Program, own: Own<'_>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("cannot begin to work: {error}")))?;
    let done = runtime.block_on(async {
        let interrupt = Interrupt::listen();
        let work = act(arguments, own, &interrupt);
        match arguments.act {
            // These stop by themselves, after the item at hand.
            Act::Copy(_) | Act::End(_) | Act::Import(_) => work.await,
            _ => tokio::select! {
                done = work => done,
                () = interrupt.wait() => Err(Failure::Interrupted("stopped".into())),
            },
        }
    });
    runtime.shutdown_timeout(LAST_WAIT);
    done
}

async fn act(arguments: &Program, own: Own<'_>, interrupt: &Interrupt) -> Outcome {
    let (file, profile) = (arguments.config.as_deref(), arguments.profile.as_deref());
    let figment = application::figment(file, profile)?;
    let open = |purpose| Application::open(&figment, own, purpose);
    match &arguments.act {
        Act::Check(check) => check.run(&figment, own).await,
        Act::List(list) => list.run(&open(Purpose::Use).await?).await,
        Act::Show(show) => show.run(&open(Purpose::Use).await?).await,
        Act::End(end) => end.run(&open(Purpose::Use).await?, interrupt).await,
        Act::Sweep(sweep) => sweep.run(&open(Purpose::UseAll).await?).await,
        Act::Stats(stats) => stats.run(&open(Purpose::Use).await?).await,
        Act::Import(import) => {
            let purpose = import.purpose();
            import.run(&open(purpose).await?, interrupt).await
        }
        Act::Copy(copy) => {
            let from = open(Purpose::Use).await?;
            copy.run(&from, figment.profile(), own, interrupt).await
        }
        Act::Completions(_) | Act::Man(_) => Ok(()),
    }
}
