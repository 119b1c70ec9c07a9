//! The directory at launch: it is created, or checked and closed to other users.

use std::fs::{self, DirBuilder, DirEntry, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};

use super::dir::{CORRUPT, Dir, TEMPORARY};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::store::Namespace;

impl Dir {
    /// Creates the directory, or checks the existing one.
    pub(super) fn prepare(&self) -> Result<()> {
        let unusable = |why: String| {
            Error::new(ErrorKind::Config, "use the directory")
                .at(self.path.display())
                .because(why)
        };
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let why =
                    "its parent does not exist; create that, or set `sessions.directory.path`";
                return Err(unusable(why.into()));
            }
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unusable(format!(
                    "it cannot be created ({error}); create it for this user, or set `sessions.directory.path`"
                )));
            }
            _ => {}
        }
        let metadata = fs::metadata(&self.path).map_err(|error| {
            unusable(format!(
                "it cannot be read ({error}); let this user read it"
            ))
        })?;
        if !metadata.is_dir() {
            let why = "it is not a directory; remove it, or set `sessions.directory.path`";
            return Err(unusable(why.into()));
        }
        if metadata.uid() != self.owner {
            let why = "it belongs to another user; `chown` it to the user of the application";
            return Err(unusable(why.into()));
        }
        if metadata.mode() & 0o077 != 0 {
            let closed = self.close(metadata.mode());
            if !closed.is_ok_and(|closed| closed) {
                let why = "others than its owner have access to it, and its files may be theirs; run `chmod 700` \
                           on it, or set `sessions.directory.path` to a new directory inside it";
                return Err(unusable(why.into()));
            }
            log::warn!(
                "others than its owner had access to the directory `{}`; it is now closed to them (mode 700)",
                self.path.display()
            );
        }
        if let Err(error) = self.temporary() {
            return Err(unusable(format!(
                "it cannot be written to ({error}); let this user write to it, or set `sessions.directory.path`"
            )));
        }
        Ok(())
    }

    /// Closes the directory with mode `mode` to others than its owner. Returns `false` if it may
    /// hold files that others need or put there.
    fn close(&self, mode: u32) -> io::Result<bool> {
        let others_could_write = mode & 0o022 != 0;
        let holds_only_ours = || -> io::Result<bool> {
            for entry in fs::read_dir(&self.path)? {
                if others_could_write || !self.could_have_made(&entry?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if !holds_only_ours()? {
            return Ok(false);
        }
        fs::set_permissions(&self.path, Permissions::from_mode(0o700))?;
        // Some file systems have one mode for all files. And another user may have added a file
        // just before.
        let closed = fs::metadata(&self.path)?.mode() & 0o077 == 0;
        Ok(closed && holds_only_ours()?)
    }

    /// Returns whether an entry has the name, mode and owner that the store gives its files.
    fn could_have_made(&self, entry: &DirEntry) -> io::Result<bool> {
        let (name, metadata) = (entry.file_name(), entry.metadata()?);
        let name = name.to_string_lossy();
        let has_our_name = match metadata.is_dir() {
            true => Namespace::new(&name).is_ok(),
            false => {
                let quarantined = name
                    .strip_suffix(CORRUPT)
                    .and_then(|id| id.strip_suffix('.'));
                let id = quarantined.unwrap_or(&name).parse::<SessionId>();
                metadata.is_file() && (id.is_ok() || name.starts_with(TEMPORARY))
            }
        };
        Ok(has_our_name && metadata.uid() == self.owner && metadata.mode() & 0o077 == 0)
    }
}
