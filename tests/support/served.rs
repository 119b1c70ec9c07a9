//! The application of these tests, on a real socket.

use std::sync::mpsc;
use std::thread::JoinHandle;

use rocket::fairing::AdHoc;
use rocket::figment::Figment;
use rocket::{Build, Rocket, Shutdown};
use rocket_session_kit::{MemoryStore, Sessions};

use super::app::{Gates, figment, routes};

/// A server in this process. It shuts down when this is dropped.
pub(crate) struct Served {
    pub(crate) port: u16,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub(crate) fn launch(settings: impl FnOnce(Figment) -> Figment) -> Self {
        Self::built(settings, |rocket| rocket)
    }

    /// The same, with more routes.
    pub(crate) fn built(
        settings: impl FnOnce(Figment) -> Figment,
        build: impl FnOnce(Rocket<Build>) -> Rocket<Build>,
    ) -> Self {
        let rocket = rocket::custom(settings(figment()))
            .manage(Gates::default())
            .mount("/", routes())
            .attach(Sessions::with(MemoryStore::new()));
        Self::of(build(rocket))
    }

    /// The same for another application.
    pub(crate) fn of(rocket: Rocket<Build>) -> Self {
        let settings = rocket.figment().clone();
        let settings = settings.merge(("port", 0)).merge(("shutdown.ctrlc", false));
        let (sender, receiver) = mpsc::channel();
        let lifted = AdHoc::on_liftoff("tells its port", move |rocket| {
            Box::pin(async move {
                let _ = sender.send((rocket.config().port, rocket.shutdown()));
            })
        });
        let rocket = rocket.configure(settings).attach(lifted);
        let thread = std::thread::spawn(|| {
            rocket::execute(async {
                rocket.launch().await.expect("the server launches");
            });
        });
        let (port, shutdown) = receiver.recv().expect("the server lifts off");
        Self {
            port,
            shutdown,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        // By name: browsers treat this one like https.
        format!("http://localhost:{}{path}", self.port)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shutdown.clone().notify();
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
