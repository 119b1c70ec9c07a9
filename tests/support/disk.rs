//! A small disk, for tests that fill it.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A disk, until this is dropped.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Disk {
    /// Mounts a disk of this size.
    pub(crate) fn mount(path: &Path, size: &str) -> Self {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size},mode=0700"))
            .args(["tmpfs".as_ref(), path.as_os_str()]);
        assert!(
            mount.status().is_ok_and(|status| status.success()),
            "this test must be allowed to mount a small tmpfs: run it as root"
        );
        Self(path.to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A server may still use it.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
