//! A server that is told to stop finishes what it has begun.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::process::{Server, wait_until};

#[test]
fn a_request_in_flight_at_shutdown_still_saves() {
    let there = tempfile::tempdir().unwrap();
    let mut server = Server::start("hello", there.path(), &[]);
    let (_, cookie, _) = server.get("/", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    // Somebody else has the session's lock, so that the save waits.
    let file = std::fs::read_dir(there.path().join("sessions"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let lock = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    fs2::FileExt::lock_exclusive(&lock).unwrap();

    let address = server.url("").replace("http://", "");
    let mut connection = TcpStream::connect(address).unwrap();
    write!(
        connection,
        "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nCookie: {cookie}\r\n\r\n"
    )
    .unwrap();
    wait_until("the handler is done", || {
        server.log().matches("Outcome").count() == 2
    });
    server.process().signal("TERM");
    wait_until("it was told to stop", || {
        server.log().contains("Shutdown requested")
    });
    drop(lock);

    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("visits: 2\n"),
        "{answer}"
    );
    assert!(
        server.process().wait(),
        "it ends well, with its sweep stopped"
    );

    let server = Server::start("hello", there.path(), &[]);
    assert_eq!(server.get("/", Some(&cookie)).2, "visits: 3\n");
}
