//! How the costs grow: with the size of a session, the number of sessions and the number of
//! connections, on each of the stores.
//!
//! `cargo bench --bench growth` takes some minutes, and writes its tables to `benches/results`.
//! After `--` it understands `size`, `sessions` and `connections` for one of the three parts,
//! `--large` for a million sessions (5 GB of disk in `TMPDIR`), and `--quick` for a trial that writes
//! nothing. `--stores=redis,sqlite` and `--acts=load,save` measure only these, and leave the other rows
//! of the tables as they are.

#![allow(missing_docs)]

mod client;
mod connections;
mod latencies;
mod place;
mod serve;
#[path = "../server/mod.rs"]
mod server;
mod sessions;
mod size;
mod table;

/// Processes and servers, as all tests start them.
#[expect(dead_code, clippy::unwrap_used, reason = "it is for tests")]
#[path = "../../tests/support"]
mod support {
    pub(crate) mod process;
    pub(crate) mod sql_server;
}

use std::time::Duration;

use rocket::tokio::runtime::Builder;

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    large: bool,
    quick: bool,
    /// The names of the stores, or nothing for all.
    stores: Option<&'static str>,
    /// The names of the acts on many sessions, or nothing for all.
    acts: Option<&'static str>,
}

impl Scale {
    /// Returns `seconds`, or a tenth of them in a trial.
    fn seconds(self, seconds: f64) -> Duration {
        Duration::from_secs_f64(if self.quick { seconds / 10.0 } else { seconds })
    }

    fn stores(self) -> impl Iterator<Item = &'static str> {
        let names = place::Place::NAMES.into_iter();
        names.filter(move |name| is_among(self.stores, name))
    }

    fn wants(self, act: &str) -> bool {
        is_among(self.acts, act)
    }
}

fn is_among(names: Option<&str>, name: &str) -> bool {
    names.is_none_or(|names| names.split(',').any(|one| one == name))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["serve", address, port] = arguments[..] {
        return serve::run(address, port.parse().expect("it is a number"));
    }
    // `cargo test --benches` only wants to know that it builds.
    if !arguments.contains(&"--bench") {
        return;
    }
    let option = |name: &str| {
        let mut values = arguments.iter().filter_map(|one| one.strip_prefix(name));
        values.next().map(|value| &*value.to_owned().leak())
    };
    let scale = Scale {
        large: arguments.contains(&"--large"),
        quick: arguments.contains(&"--quick"),
        stores: option("--stores="),
        acts: option("--acts="),
    };
    let parts: Vec<&str> = arguments
        .into_iter()
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let wanted = |part| parts.is_empty() || parts.contains(&part);

    allow_many_files();
    if wanted("size") {
        size::measure(scale);
    }
    // One thread for all clients: the other core is the server's.
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime starts");
    if wanted("sessions") {
        runtime.block_on(sessions::measure(scale));
    }
    if wanted("connections") {
        runtime.block_on(connections::measure(scale));
    }
}

/// Lets this process and its servers open as many files as the system allows.
fn allow_many_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("the limit may be raised");
}
