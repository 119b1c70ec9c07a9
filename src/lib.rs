//! Server-side sessions for [Rocket](https://rocket.rs) 0.5.

mod answer;
mod change;
mod clock;
mod config;
mod cookie;
mod error;
mod fairing;
mod guard;
mod id;
mod keeper;
mod record;
mod seal;
mod session;
mod sessions;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod values;

pub use clock::Clock;
pub use error::{Error, ErrorKind, Result};
pub use id::SessionId;
pub use record::Record;
pub use session::Session;
pub use sessions::Sessions;
pub use store::{
    DirectoryStore, Durability, Expect, Head, MemoryStore, Revision, Save, Saved, SessionStore,
    Stored, Swept,
};
