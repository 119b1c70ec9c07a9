//! Ctrl-C: a command stops after the item at hand.

use rocket::futures::future::BoxFuture;
use rocket::tokio;
use rocket::tokio::sync::watch;

/// Whether the user has pressed Ctrl-C.
#[derive(Clone)]
pub(super) struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Begins to listen for it.
    pub(super) fn listen() -> Self {
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                let _ = sender.send(true);
            }
            // Without a listener, the signal would end the process.
            std::future::pending::<()>().await;
        });
        Self(receiver)
    }

    pub(super) fn happened(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it.
    pub(super) fn wait(&self) -> BoxFuture<'static, ()> {
        let mut receiver = self.0.clone();
        Box::pin(async move {
            if receiver.wait_for(|happened| *happened).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}
