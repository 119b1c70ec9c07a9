//! Races that only the inside of the directory store can set up.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::cancel::CancelToken;
use super::dir::Dir;
use super::session_file::Content;
use crate::id::SessionId;
use crate::store::edit;
use crate::store::{Key, Namespace, Precondition, RecordHeader, Revision};

fn directory() -> (TempDir, Dir) {
    let parent = tempfile::tempdir().expect("there is room");
    let dir = Dir::new(parent.path().join("sessions"));
    dir.prepare().expect("it can be created");
    (parent, dir)
}

fn content(revision: u8) -> Content {
    let bytes = format!(r#"{{"rev":"{revision:016x}","expires":99999999999,"#).into_bytes();
    Content {
        header: RecordHeader::read(&bytes).expect("this is a header"),
        bytes,
    }
}

/// Returns the content of all files in a directory and in its subdirectories.
fn tree(path: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(path).expect("it can be listed") {
        let path = entry.expect("it can be listed").path();
        match path.is_dir() {
            true => all.extend(tree(&path)),
            false => {
                let text = fs::read_to_string(&path).expect("it is text");
                all.insert(path, text);
            }
        }
    }
    all
}

/// The session is saved after the sweep found it expired, and before the sweep has the lock.
#[test]
fn a_sweep_checks_again_under_the_lock() {
    let (_parent, dir) = directory();
    let (cancel, _guard) = CancelToken::new();
    let name = SessionId::random().to_hex();
    dir.save(&name, &content(1), Precondition::Absent, &cancel)
        .expect("it is saved");
    let swept = dir.remove_if_still_old(&name, u64::MAX, &cancel);
    assert!(!swept.expect("it can be checked"));
    assert!(dir.load(&name).expect("it can be read").is_some());
    let swept = dir.remove_if_still_old(&name, 0, &cancel);
    assert!(swept.expect("it can be checked"));
    assert!(dir.load(&name).expect("it can be read").is_none());
}

/// The call is dropped while its thread is already at work.
#[test]
fn a_cancelled_call_takes_no_further_step() {
    let (parent, dir) = directory();
    let namespace = Namespace::new("cache").expect("this is a name");
    let other_namespace = Namespace::new("b").expect("this is a name");
    let (key, other_key) = (namespace.key("a"), other_namespace.key("b"));
    let (old, new) = (SessionId::random().to_hex(), SessionId::random().to_hex());
    let (cancel, guard) = CancelToken::new();
    let set = |key: &Key, cancel: &CancelToken| dir.edit(key, edit::set(b"x", None), cancel);
    dir.save(&old, &content(1), Precondition::Absent, &cancel)
        .expect("it is saved");
    set(&key, &cancel).expect("it is set");
    let before = tree(parent.path());
    assert_eq!(before.len(), 2);

    drop(guard);
    let unchanged = Precondition::Revision(Revision(1));
    let mut names = vec!["a".into()];
    let refused = [
        dir.save(&old, &content(2), unchanged, &cancel).is_err(),
        dir.save(&new, &content(2), Precondition::Absent, &cancel)
            .is_err(),
        dir.delete(&old, &cancel).is_err(),
        dir.delete_if(&old, Revision(1), &cancel).is_err(),
        dir.quarantine(&old, &cancel).is_err(),
        dir.sweep(0, &cancel).is_err(),
        set(&key, &cancel).is_err(),
        set(&other_key, &cancel).is_err(),
        dir.edit(&key, edit::take, &cancel).is_err(),
        dir.clear(&namespace, &mut names, &cancel).is_err(),
    ];
    assert_eq!(refused, [true; 10]);
    assert!(tree(parent.path()) == before, "a file was changed");
    assert!(!dir.subdirectory("b").path.exists());
}
