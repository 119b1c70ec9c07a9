//! The sessions of Python systems are imported, once, and what is refused is told with its reason.

use std::fs;

use super::{KINDS, Site, StoreKind};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/python");

/// Returns a directory of Session3 whose sessions were used just now.
fn session3() -> tempfile::TempDir {
    let there = tempfile::tempdir().expect("there is room for a directory");
    for file in fs::read_dir(format!("{DATA}/session3")).expect("it is there") {
        let file = file.expect("it can be read");
        let mut bytes = fs::read(file.path()).expect("it can be read");
        touch(&mut bytes);
        fs::write(there.path().join(file.file_name()), bytes).expect("there is room");
    }
    there
}

/// Sets the time of last use in a pickle.
fn touch(bytes: &mut [u8]) {
    let name = b"_access_time";
    let at = bytes.windows(name.len()).position(|window| window == name);
    let at = at.expect("it has a time of last use") + name.len();
    let float = bytes[at..]
        .iter()
        .position(|byte| *byte == b'G')
        .expect("it is a float")
        + at;
    let now = super::seconds() as f64;
    bytes[float + 1..float + 9].copy_from_slice(&now.to_be_bytes());
}

#[test]
fn sessions_of_session3_are_imported_once() {
    for kind in KINDS {
        let (site, old) = (Site::new(kind), session3());
        fs::write(old.path().join("README"), "no session").expect("there is room");
        fs::write(old.path().join("broken"), b"\x80\x02}q").expect("there is room");
        let import = |more: &[&str]| {
            let path = old.path().to_str().expect("it is text");
            site.run(&[&["import", "--from", "session3", path], more].concat())
        };
        let dry = import(&["--dry-run"]);
        assert_eq!(
            dry.out,
            "2 sessions would be imported, 1 refused, 1 other files skipped\n"
        );
        assert_eq!(site.count(), 0, "{kind:?}");
        let done = import(&[]);
        assert_eq!(
            done.out,
            "2 sessions imported, 1 refused, 1 other files skipped\n"
        );
        let error = done.fails(1);
        assert!(error.starts_with("refused: 1 session: "), "{error}");
        assert!(
            !error.contains("broken"),
            "the name of a file is a secret: {error}"
        );
        let again = import(&[]).out;
        assert_eq!(
            again,
            "0 sessions imported, 2 imported before, 1 refused, 1 other files skipped\n"
        );
        let all = site.list(&[]);
        assert_eq!(all.len(), 2);
        let user = all.iter().find_map(|session| session["user"].as_str());
        let user = user.expect("one of them has a user");
        // The index of the user has it.
        assert_eq!(site.run(&["end", "--user", user]).ok(), "1 session ended\n");
    }
}

#[test]
fn a_session_that_has_expired_is_not_imported() {
    let site = Site::new(StoreKind::Directory);
    let done = site
        .run(&["import", "--from", "session3", &format!("{DATA}/session3")])
        .ok();
    assert_eq!(done, "0 sessions imported, 2 expired\n");
}

#[test]
fn sessions_of_pycket_and_pyramid_kvs_are_imported_from_redis() {
    let (site, old) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Redis));
    let server = old.redis.as_ref().expect("it is on Redis");
    let mut client = redis::Client::open(server.url()).expect("it is a URL");
    let mut put = |db: u8, key: &str, file: &str| {
        let bytes = fs::read(format!("{DATA}/{file}")).expect("it is there");
        let () = redis::pipe()
            .cmd("SELECT")
            .arg(db)
            .ignore()
            .set(key, bytes)
            .ignore()
            .query(&mut client)
            .expect("there is room");
    };
    let key = "0f5c6d1e-8a7b-4c3d-9e2f-1a0b4c5d6e7f";
    put(1, key, "pycket-session");
    put(2, key, "pycket-notifications");
    put(3, "session::one", "pyramid_kvs-json");
    put(3, "session::two", "pyramid_kvs-pickle");
    put(3, "other::two", "pyramid_kvs-pickle");
    let [one, two, three] = [1, 2, 3].map(|db| format!("{}/{db}", server.url()));
    let pycket = ["import", "--from", "pycket", &one, "--notifications", &two];
    assert_eq!(site.run(&pycket).ok(), "1 session imported\n");
    assert_eq!(
        site.run(&pycket).ok(),
        "0 sessions imported, 1 imported before\n"
    );
    let pyramid = ["import", "--from", "pyramid_kvs", &three];
    assert_eq!(site.run(&pyramid).ok(), "2 sessions imported\n");
    let other = [
        "import",
        "--from",
        "pyramid_kvs",
        &three,
        "--prefix",
        "other::",
    ];
    assert_eq!(site.run(&other).ok(), "1 session imported\n");
    assert_eq!(site.list(&["--anonymous"]).len(), 4);
    let nowhere = "redis://:hunter2@127.0.0.1:1";
    let error = site
        .run(&["import", "--from", "pyramid_kvs", nowhere])
        .fails(1);
    assert!(!error.contains("hunter2"), "{error}");
    site.run(&["import", "--from", "session3", "/nowhere"])
        .fails(1);
    site.run(&["import", "--from", "flask", "/nowhere"])
        .fails(2);
}
