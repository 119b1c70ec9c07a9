//! If the system provides no random numbers, the response is an error, and no weaker id is made.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::process::{Process, Server, wait_until};

/// Makes the calls of `server` for random numbers fail from the `nth` on, until this is dropped.
///
/// Each thread has its own count.
fn without_random_numbers(server: &mut Server, directory: &Path, nth: u32) -> Process {
    let said = directory.join(format!("strace-{nth}"));
    let strace = Process::start(
        Command::new("strace")
            .args(["-f", "-e", "trace=getrandom", "-e"])
            .arg(format!("inject=getrandom:error=EIO:when={nth}+"))
            .args(["-p", &server.process().id().to_string()])
            .stdout(Stdio::null())
            .stderr(File::create(&said).expect("there is room for a file")),
    );
    wait_until("strace is attached", || {
        let said = BufReader::new(File::open(&said).expect("it was made"));
        said.lines()
            .map_while(Result::ok)
            .any(|line| line.contains("attached"))
    });
    strace
}

#[test]
fn a_request_without_random_numbers_gets_a_response_and_no_cookie() {
    let there = tempfile::tempdir().expect("there is room for a directory");
    let settings = [("ROCKET_WORKERS", "1")];
    let mut server = Server::start("hello", there.path(), &settings);
    let (_, cookie, body) = server.get("/", None);
    let cookie = cookie.expect("a session begins");
    assert_eq!(body, "visits: 1\n");

    // From the first number on, then from the second: at the end, from the one after the cookie's nonce.
    let mut refused = 0;
    loop {
        let strace = without_random_numbers(&mut server, there.path(), refused + 1);
        match server.get("/", None) {
            (200, Some(_), body) if body == "visits: 1\n" => break,
            (500 | 503, None, _) => refused += 1,
            other => panic!("without the random number {}: {other:?}", refused + 1),
        }
        drop(strace);
    }
    assert!(refused >= 2, "an id and a nonce are random");

    // An existing session is unchanged, and everything works again.
    let strace = without_random_numbers(&mut server, there.path(), 1);
    let (status, set, _) = server.get("/", Some(&cookie));
    assert!(matches!(status, 500 | 503), "{status}");
    assert_eq!(set, None);
    drop(strace);
    let (status, _, body) = server.get("/", Some(&cookie));
    assert_eq!((status, &*body), (200, "visits: 2\n"));
    assert!(server.get("/", None).1.is_some());
}
