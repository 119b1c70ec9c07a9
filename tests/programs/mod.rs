//! Programs that the tests start. Each is an ignored test of this binary, so that it needs no build of
//! its own, and no `cargo run --example` offers it.

mod crowd;
mod shared;
mod worker;

use crate::support::process::run_program;

#[test]
#[ignore = "a program that other tests start"]
fn crowd() {
    run_program(|_| crowd::launch());
}

#[test]
#[ignore = "a program that other tests start"]
fn shared() {
    run_program(|_| shared::launch());
}

#[test]
#[ignore = "a program that other tests start"]
fn worker() {
    run_program(worker::work);
}
