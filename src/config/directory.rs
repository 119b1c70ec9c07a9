//! `[default.sessions.directory]`: the directory with one file per session.

use rocket::figment::value::magic::RelativePathBuf;
use serde::{Deserialize, Serialize};

use super::settings::settings;

settings! {
    /// `[default.sessions.directory]`
    ///
    /// Used if a store is `"directory"`.
    #[derive(Clone, Debug, Deserialize, Serialize)]
    pub(crate) struct DirectoryConfig {
        /// The directory, relative to the `Rocket.toml` that names it. If it does not exist, it is created; its parent must
        /// exist.
        pub(crate) path: RelativePathBuf = "sessions".into(),
        /// The state of a saved session that survives a power failure. `"none"`: the one that the system has written by
        /// then. `"data"`: the session before or after the save. `"full"`: the session after the save.
        pub(crate) sync: Durability = Durability::None,
    }
}

impl PartialEq for DirectoryConfig {
    /// Compares the paths as they are written, whichever file names them.
    fn eq(&self, other: &Self) -> bool {
        self.path.original() == other.path.original() && self.sync == other.sync
    }
}

/// The state of a saved session that survives a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The state that the system has written by then. This is the default: a session is rarely worth
    /// a wait for the disk.
    #[default]
    None,
    /// The session as it was before the save or as it is after it: its data is on the disk before
    /// the file is renamed into place.
    Data,
    /// The session as it is after the save: the directory's entry is on the disk, too.
    Full,
}
