//! A server that shuts down finishes the requests that it has begun.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

use rocket::futures::stream::BoxStream;
use rocket::local::asynchronous::Client;
use rocket_session_kit::store::{Revision, Save, Saved, SessionStore, Stored, Swept};
use rocket_session_kit::{Result, SessionId, Sessions};

use crate::support::process::{Server, wait_until};

#[test]
fn a_request_in_flight_at_shutdown_still_saves() {
    let there = tempfile::tempdir().unwrap();
    let mut server = Server::start("hello", there.path(), &[]);
    let (_, cookie, _) = server.get("/", None);
    let cookie = cookie.expect("a new visitor gets a cookie");
    // Another process holds the session's lock, so the save waits.
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
    wait_until("it was stopped", || {
        server.log().contains("Shutdown requested")
    });
    drop(lock);

    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    assert!(
        response.starts_with("HTTP/1.1 200") && response.ends_with("visits: 2\n"),
        "{response}"
    );
    assert!(
        server.process().wait(),
        "it ends well, with its sweep stopped"
    );

    let server = Server::start("hello", there.path(), &[]);
    assert_eq!(server.get("/", Some(&cookie)).2, "visits: 3\n");
}

/// A store whose sweep never ends by itself, and reports its start and its end.
struct Sweeping(mpsc::Sender<&'static str>);

struct Stopped(mpsc::Sender<&'static str>);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.send("stopped");
    }
}

#[rocket::async_trait]
impl SessionStore for Sweeping {
    async fn load_session(&self, _: &SessionId) -> Result<Option<Stored>> {
        Ok(None)
    }

    async fn save_session(&self, _: &SessionId, _: Save<'_>) -> Result<Saved> {
        Ok(Saved::Gone)
    }

    async fn delete_session(&self, _: &SessionId) -> Result<bool> {
        Ok(false)
    }

    async fn delete_session_if(&self, _: &SessionId, _: Revision) -> Result<bool> {
        Ok(false)
    }

    async fn delete_old_sessions(&self, minutes: u64) -> Result<Swept> {
        assert_eq!(minutes, u64::MAX, "only expired sessions are removed");
        self.0.send("begun").expect("the test waits");
        let _stopped = Stopped(self.0.clone());
        std::future::pending().await
    }

    fn iter_sessions(&self) -> BoxStream<'_, Result<(SessionId, Stored)>> {
        Box::pin(rocket::futures::stream::empty())
    }
}

#[test]
fn the_sweep_stops_at_shutdown() {
    let (sender, receiver) = mpsc::channel();
    let figment = crate::support::figment().merge(("sessions.sweep_every", 1));
    let rocket = rocket::custom(figment).attach(Sessions::with(Sweeping(sender)));
    let next = |what| assert_eq!(receiver.recv_timeout(Duration::from_secs(10)), Ok(what));
    rocket_session_kit::testing::run(async {
        let client = Client::untracked(rocket).await.unwrap();
        next("begun");
        client.rocket().shutdown().notify();
        // The runtime still exists.
        rocket::tokio::task::spawn_blocking(move || drop(client))
            .await
            .unwrap();
        next("stopped");
    });
}
