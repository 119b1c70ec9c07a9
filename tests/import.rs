//! Sessions of Python systems become sessions here, and hostile input becomes an error.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use rocket::futures::TryStreamExt;
use rocket::http::Cookie;
use rocket::local::asynchronous::Client;
use rocket_session_kit::import::{Session3Directory, keep, pycket, pyramid_kvs, session3};
use rocket_session_kit::{DecodeError, DecodeErrorKind, Notifications, Record, Session, Sessions};
use serde_json::Value;

use crate::support::log::lines_with;
use crate::support::process::wait_until;
use crate::support::{App, Backend, Gates, on_every_store};

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/python/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("it is kept in the repository")
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_763_745_460)
}

/// The values as the stored JSON text, byte for byte.
fn texts(record: &Record) -> Vec<(String, String)> {
    let names = record.keys().into_iter();
    names
        .map(|name| {
            let raw: Option<Box<serde_json::value::RawValue>> = record.get(&name).unwrap();
            let text = raw.expect("it was listed").get().to_owned();
            (name, text)
        })
        .collect()
}

fn expected(without: &[&str]) -> Vec<(String, String)> {
    [
        ("name", r#""Zoë 😀""#),
        ("visits", "3"),
        ("big", "1208925819614629174706176"),
        ("minus", "-1180591620717411303424"),
        ("price", "1.5"),
        ("yes", "true"),
        ("nothing", "null"),
        ("list", r#"[1,[2,{"deep":"x"}]]"#),
        ("pair", r#"[1,"two"]"#),
        ("set", "[7]"),
        ("bytes", r#""plain""#),
        ("when", r#""2026-11-21T04:38:19.000123""#),
        ("day", r#""2026-11-21""#),
        ("ordered", r#"{"b":1,"a":2}"#),
    ]
    .iter()
    .filter(|(name, _)| !without.contains(name))
    .map(|&(name, text)| (name.to_owned(), text.to_owned()))
    .collect()
}

#[test]
fn pycket_sessions_in_redis_are_read_byte_for_byte() {
    let (session, notifications) = (data("pycket-session"), data("pycket-notifications"));
    let imported = pycket(Some(&session), Some(&notifications), now()).unwrap();
    assert_eq!(texts(&imported), expected(&[]));
    assert_eq!(imported.created_at(), now());
    assert_eq!(imported.user(), None);
}

#[test]
fn pyramid_kvs_sessions_in_redis_are_read_from_both_codecs() {
    for (name, without) in [
        ("pyramid_kvs-pickle", &[][..]),
        ("pyramid_kvs-json", &["bytes", "set", "when", "day"]),
    ] {
        let imported = pyramid_kvs(&data(name), now()).unwrap();
        let compact = |(name, text): (String, String)| {
            let value: Value = serde_json::from_str(&text).unwrap();
            (name, value.to_string())
        };
        let read: Vec<_> = texts(&imported).into_iter().map(compact).collect();
        let want: Vec<_> = expected(without).into_iter().map(compact).collect();
        assert_eq!(read, want, "{name}");
    }
}

#[test]
fn session3_sessions_are_read_with_user_times_address_and_tokens() {
    let plain = session3(&data("session3/8JkxvbRB2qQ")).unwrap();
    assert_eq!(plain.user(), Some("anna"));
    assert_eq!(plain.remote_address(), "192.0.2.7".parse().ok());
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(plain.created_at(), at(1_763_700_000));
    assert_eq!(plain.accessed_at(), at(1_763_700_100));
    assert_eq!(
        texts(&plain),
        [("shelf".into(), r#"["own","attribute"]"#.into())]
    );
    let full = session3(&data("session3/Zw7fQdGmX0s")).unwrap();
    assert_eq!(full.user(), Some("42"));
    assert_eq!(texts(&full), expected(&[]));
}

#[test]
fn a_directory_of_session3_gives_its_sessions_and_counts_the_rest() {
    crate::support::log::keep();
    let there = tempfile::tempdir().unwrap();
    let path = there.path();
    let whole = data("session3/8JkxvbRB2qQ");
    std::fs::write(path.join("good"), &whole).unwrap();
    std::fs::write(path.join("cut"), &whole[..40]).unwrap();
    std::fs::write(path.join("huge"), vec![0x80; 2 << 20]).unwrap();
    // Five that are not sessions.
    std::fs::write(path.join("empty"), "").unwrap();
    std::fs::write(path.join("README"), "nothing").unwrap();
    std::fs::write(path.join("dict"), b"\x80\x02}.").unwrap();
    std::fs::create_dir(path.join("directory")).unwrap();
    std::os::unix::fs::symlink(path.join("good"), path.join("link")).unwrap();

    let mut sessions = Session3Directory::open(path).unwrap();
    let mut found: Vec<_> = sessions
        .by_ref()
        .map(|(name, read)| (name.into_string().unwrap(), kind(read)))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        found,
        [
            ("cut".into(), Some(DecodeErrorKind::Truncated)),
            ("good".into(), None),
            ("huge".into(), Some(DecodeErrorKind::TooLarge)),
        ]
    );
    assert_eq!(sessions.skipped(), 5);
    assert!(!lines_with("empty files of Session3").is_empty());
}

#[rocket::get("/notes")]
async fn notes(notes: Notifications<'_>) -> rocket_session_kit::Result<String> {
    let saved: Option<Value> = notes.take("saved").await?;
    let left: Option<u8> = notes.take("left").await?;
    let all = notes.take_all().await?.into_iter();
    let all: Vec<_> = all
        .map(|note| format!("{}: {note}", note.queue()))
        .collect();
    Ok(format!("{saved:?} {left:?} {all:?}"))
}

#[rocket::get("/token/<token>")]
async fn token(token: &str, session: &Session) -> rocket_session_kit::Result<String> {
    Ok(session.remove_form_token(token).await?.to_string())
}

/// An imported session continues here, with all of its data.
async fn an_imported_session_goes_on(backend: Backend) {
    let clock = rocket_session_kit::Clock::system();
    let rocket = rocket::custom(backend.figment("idle_timeout=999999999"))
        .manage(clock)
        .manage(Gates::default())
        .mount("/", crate::support::routes())
        .mount("/", rocket::routes![notes, token])
        .attach(Sessions::fairing());
    let client = Client::untracked(rocket).await.unwrap();
    let sessions: &Sessions = client.rocket().state().unwrap();
    let import = async |record: Record| {
        let day = Duration::from_secs(86_400);
        let kept = keep(sessions.store().clone(), record, day).await.unwrap();
        kept.expect("there is something in it").to_hex()
    };
    let ask = async |id: &str, path: &str| {
        let cookie = Cookie::new("id", id.to_owned());
        let request = client.get(path.to_owned()).private_cookie(cookie);
        request.dispatch().await.into_string().await.unwrap()
    };

    let (session, notifications) = (data("pycket-session"), data("pycket-notifications"));
    let one = import(pycket(Some(&session), Some(&notifications), now()).unwrap()).await;
    assert_eq!(ask(&one, "/add/visits/1").await, "4");
    assert_eq!(
        ask(&one, "/notes").await,
        r#"Some(Object {"text": String("Saved.")}) Some(2) []"#
    );
    assert_eq!(ask(&one, "/notes").await, "None None []");

    let two = import(pyramid_kvs(&data("pyramid_kvs-pickle"), now()).unwrap()).await;
    assert_eq!(
        ask(&two, "/get/when").await,
        r#""2026-11-21T04:38:19.000123""#
    );
    assert_eq!(
        ask(&two, "/notes").await,
        r#"None None ["info: Saved.", "info: Saved.", "warnings: {\"code\":7}"]"#
    );

    let three = import(session3(&data("session3/8JkxvbRB2qQ")).unwrap()).await;
    assert_eq!(ask(&three, "/who").await, "anna");
    // The first of 33 was removed before.
    for (token, used) in [
        ("token-0", "false"),
        ("token-1", "true"),
        ("token-1", "false"),
    ] {
        assert_eq!(ask(&three, &format!("/token/{token}")).await, used);
    }
    // If there are more tokens than a session may have here, the newest are imported.
    let many: String = (0..40).map(|n| format!("S'token-{n}'\n")).collect();
    let many = [b"](", many.as_bytes(), b"e"].concat();
    let many = with_attributes(&[("_form_tokens", &many)]);
    let four = import(session3(&many).unwrap()).await;
    assert_eq!(ask(&four, "/token/token-7").await, "false");
    assert_eq!(ask(&four, "/token/token-8").await, "true");

    let all: Vec<_> = sessions.iter_sessions().try_collect().await.unwrap();
    assert_eq!(all.len(), 4);

    let empty = pyramid_kvs(b"{}", now()).unwrap();
    let day = Duration::from_secs(86_400);
    assert_eq!(
        keep(sessions.store().clone(), empty, day).await.unwrap(),
        None
    );
}

on_every_store! {
    an_imported_session_goes_on
    an_imported_session_is_one_of_its_user
}

/// Returns the page for a visitor of `app` with an imported session.
async fn ask(app: &App, record: Record, paths: &[&str]) -> Vec<(u16, String)> {
    let long = Duration::from_secs(864_000);
    let id = keep(app.sessions().store().clone(), record, long)
        .await
        .unwrap();
    let id = id.expect("there is something in it").to_hex();
    let mut responses = Vec::new();
    for path in paths {
        let cookie = Cookie::new("id", id.clone());
        let request = app.client.get(path.to_string()).private_cookie(cookie);
        let response = request.dispatch().await;
        let status = response.status().code;
        responses.push((status, response.into_string().await.unwrap_or_default()));
    }
    responses
}

#[rocket::async_test]
async fn an_imported_session_expires_after_the_idle_timeout() {
    let app = App::launch().await;
    let at = |before: u64| {
        let now = app.clock.now() - Duration::from_secs(before);
        pyramid_kvs(br#"{"n": 1}"#, now).unwrap()
    };
    let paths = &["/get/n"];
    assert_eq!(ask(&app, at(86_000), paths).await, [(200, "1".into())]);
    assert_eq!(ask(&app, at(87_000), paths).await, [(200, "none".into())]);
    // Its host's clock was ahead by many years: the time of last use is now.
    let ahead = with_attributes(&[("_access_time", b"F9e9\n"), ("user", b"S'anna'\n")]);
    assert_eq!(session3(&ahead).unwrap().user(), Some("anna"));
    let now = SystemTime::now();
    let id = keep(
        app.sessions().store().clone(),
        session3(&ahead).unwrap(),
        Duration::from_secs(60),
    )
    .await
    .unwrap();
    let (_, kept) = app
        .list()
        .await
        .into_iter()
        .find(|(own, _)| Some(*own) == id)
        .unwrap();
    assert!(kept.accessed_at() <= now + Duration::from_secs(60));
}

async fn an_imported_session_is_one_of_its_user(backend: Backend) {
    let rocket = rocket::custom(backend.figment("idle_timeout=999999999"));
    let rocket = rocket.attach(Sessions::fairing());
    let client = Client::untracked(rocket).await.unwrap();
    let sessions: &Sessions = client.rocket().state().unwrap();
    let record = session3(&data("session3/8JkxvbRB2qQ")).unwrap();
    let user = record.user().expect("it has one").to_owned();
    let day = Duration::from_secs(86_400);
    let kept = keep(sessions.store().clone(), record, day).await;
    let id = kept.unwrap().expect("it is worth keeping");
    assert_eq!(sessions.of_user(&user).await.unwrap().len(), 1);
    assert_eq!(sessions.end_all_of(&user, None).await.unwrap(), 1);
    assert!(!sessions.end(&id).await.unwrap(), "it has ended");
}

#[rocket::async_test]
async fn an_imported_session_beyond_the_limits_stays_and_does_not_grow() {
    let limit = |figment: rocket::figment::Figment| figment.merge(("sessions.limits.size", 100));
    let app = App::configured(limit).await;
    let long = format!(r#"{{"long": "{}"}}"#, "x".repeat(200));
    let record = pyramid_kvs(long.as_bytes(), app.clock.now()).unwrap();
    let responses = ask(
        &app,
        record,
        &["/keys", "/set/n/1", "/remove/long", "/set/n/1"],
    )
    .await;
    let statuses: Vec<_> = responses.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 500, 200, 200]);
    assert_eq!(responses[0].1, "long");
}

fn kind(read: Result<Record, DecodeError>) -> Option<DecodeErrorKind> {
    read.err().map(|error| error.kind())
}

/// A dict with one value, written by `value`.
fn dict(value: &[u8]) -> Vec<u8> {
    [b"\x80\x04}\x8c\x01k", value, b"s."].concat()
}

fn refused(value: &[u8]) -> String {
    match pycket(Some(&dict(value)), None, now()) {
        Ok(imported) => panic!("it was read: {:?}", texts(&imported)),
        Err(error) => error.to_string(),
    }
}

#[test]
fn no_function_named_in_a_pickle_is_called() {
    for (value, name) in [
        (&b"cos\nsystem\n(S'touch /tmp/x'\ntR"[..], "os.system"),
        (
            b"\x8c\x02os\x8c\x06system\x93\x8c\x06secret\x85R",
            "os.system",
        ),
        (b"\x8c\x05posix\x8c\x06system\x93", "posix.system"),
        (b"(cos\nsystem\nS'secret'\no", "os.system"),
        (b"(S'secret'\nios\nsystem\n", "os.system"),
        (
            b"cuuid\nUUID\n)\x81}\x8c\x03int\x8c\x06secretsb",
            "uuid.UUID",
        ),
        (b"cfractions\nFraction\n(S'1/2'\ntR", "fractions.Fraction"),
        (b"cbuiltins\neval\n\x8c\x06secret\x85R", "builtins.eval"),
        (b"Psecret\n", "outside of the pickle"),
        (b"NQ", "outside of the pickle"),
        (b"\x82\x01", "outside of the pickle"),
        (b"\x83\x01\0", "outside of the pickle"),
        (b"\x84\x01\0\0\0", "outside of the pickle"),
        (b"\x97", "outside of the pickle"),
        (
            b"cos\nsystem\n\x8c\x06secretb",
            "a state to a value that is no object",
        ),
        (b"ca secret\nthing!\n", "not shown"),
    ] {
        let error = refused(value);
        assert!(error.contains(name), "{error} names {name}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn a_value_without_a_json_form_is_refused_with_its_type() {
    for (value, name) in [
        (&b"C\x01\xff"[..], "bytes that are not UTF-8"),
        (b"Fnan\n", "a float that is infinite or no number"),
        (
            b"G\x7f\xf0\0\0\0\0\0\0",
            "a float that is infinite or no number",
        ),
        (b"}G?\xf8\0\0\0\0\0\0K\x02s", "a dict's key that is a float"),
        (b"}\x88K\x02s", "a dict's key that is a bool"),
        (
            b"}C\x01\xffK\x02s",
            "a dict's key that is bytes that are not UTF-8",
        ),
        (b"}(K\x01N\x8c\x011Nu", "with the same text"),
        (b"}(\x8c\x01aNC\x01aNu", "with the same text"),
        (b"}NK\x02s", "a dict's key that is None"),
        (b"}K\x01\x85K\x02s", "a dict's key that is a tuple"),
        (b"\x8c\x03\xed\xa0\x80", "a str that is no text"),
        (b"V\\ud800\n", "a str that is no text"),
        (&[&b"\x8a\x81"[..], &[1; 129]].concat(), "308 digits"),
        (&[&b"\x8b\0\x01\0\0"[..], &[1; 256]].concat(), "308 digits"),
        (&[&b"I"[..], &[b'9'; 309], b"\n"].concat(), "308 digits"),
    ] {
        assert!(refused(value).contains(name), "{}", refused(value));
    }
}

#[test]
fn integer_and_decimal_keys_become_text() {
    for (value, want) in [
        (
            &b"}(K\x11K\x02J\xfe\xff\xff\xffK\x03u"[..],
            r#"{"17":2,"-2":3}"#,
        ),
        (b"cdecimal\nDecimal\n\x8c\x041.50\x85R", r#""1.50""#),
    ] {
        let record = pycket(Some(&dict(value)), None, now()).unwrap();
        assert_eq!(texts(&record), [("k".into(), want.into())]);
    }
}

#[test]
fn an_error_names_the_byte_and_the_type_and_never_the_value() {
    let of_pickle = |bytes: &[u8]| pycket(Some(bytes), None, now()).unwrap_err();
    let of_notes = |bytes: &[u8]| pycket(Some(b"}."), Some(bytes), now()).unwrap_err();
    let of_json = |bytes: &[u8]| pyramid_kvs(bytes, now()).unwrap_err();
    for (error, offset, text) in [
        // A bad value, key, instruction and end.
        (
            of_pickle(b"}X\x06\0\0\0secret(I1\nFinf\nls."),
            Some(16),
            "byte 16 of the pickled session: it holds a float that is infinite or no number",
        ),
        (
            of_pickle(b"}(I1\nNNI2\nu."),
            Some(6),
            "byte 6 of the pickled session: it holds a dict's key that is None",
        ),
        (
            of_pickle(b"}S'secret'\ncos\nsystem\n(tRs."),
            Some(24),
            "byte 24 of the pickled session: it holds the result of `os.system`",
        ),
        (
            of_notes(b"}X\x06\0\0\0sec"),
            Some(1),
            "byte 1 of the pickled notifications: it ends too early",
        ),
        (
            of_pickle(b"}.secret"),
            Some(2),
            "byte 2 of the pickled session: there is something after its end",
        ),
        (
            of_pickle(b"]."),
            None,
            "the pickled session: it is something else",
        ),
        (
            of_json(b"{\"secret\":\n \"secret\", !}"),
            Some(22),
            "byte 22 of the session in JSON: it is not JSON that can be read",
        ),
        (
            of_json(b"{\"secret\": NaN}"),
            Some(11),
            "byte 11 of the session in JSON: it is not JSON that can be read",
        ),
        (
            of_json(b"{\"secret\": 1"),
            Some(12),
            "byte 12 of the session in JSON: it ends too early",
        ),
        (
            of_json(b"{\"_f_\": \"secret\"}"),
            None,
            "the session in JSON: it holds flashed messages that are no list",
        ),
    ] {
        assert_eq!((error.offset(), error.to_string().as_str()), (offset, text));
        assert!(!format!("{error:?}").contains("secret"));
    }
}

#[test]
fn a_mistake_in_a_pickle_has_the_kind_that_it_has_in_an_image() {
    for (pickle, kind) in [
        (&b"\x80\x06N."[..], DecodeErrorKind::Version),
        (b"}\xff.", DecodeErrorKind::Opcode),
        (b"}.N", DecodeErrorKind::TrailingBytes),
        (b"h\x01.", DecodeErrorKind::Tag),
        (b"Ione\n.", DecodeErrorKind::Number),
        (b"Fone\n.", DecodeErrorKind::Number),
        (b"\x8c\x03\xed\xa0\x80.", DecodeErrorKind::Text),
        (b"V\\ud800\n.", DecodeErrorKind::Text),
        (b"a.", DecodeErrorKind::Malformed),
        (b"].", DecodeErrorKind::NotASession),
    ] {
        let error = pycket(Some(pickle), None, now()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}

/// A session of Session3 with these attributes instead of its own, or in addition.
fn with_attributes(change: &[(&str, &[u8])]) -> Vec<u8> {
    let mut attributes: Vec<(&str, &[u8])> = vec![
        ("id", b"N"),
        ("user", b"N"),
        ("_remote_address", b"\x8c\x09127.0.0.1"),
        ("_creation_time", b"F1763700000.5\n"),
        ("_access_time", b"F1763700100.5\n"),
        ("_form_tokens", b"]"),
    ];
    for &(name, value) in change {
        attributes.retain(|(own, _)| *own != name);
        attributes.push((name, value));
    }
    let mut bytes = b"\x80\x04csession3.Session\nSession\n)\x81}(".to_vec();
    for (name, value) in attributes {
        bytes.extend([0x8c, u8::try_from(name.len()).unwrap()]);
        bytes.extend(name.as_bytes());
        bytes.extend(value);
    }
    bytes.extend(b"ub.");
    bytes
}

#[test]
fn unexpected_fields_of_a_session3_session_are_refused() {
    let whole = session3(&with_attributes(&[])).unwrap();
    assert_eq!(whole.remote_address(), "127.0.0.1".parse().ok());
    for (name, value, found) in [
        ("_creation_time", &b"N"[..], "None"),
        ("_access_time", b"Fnan\n", "no number"),
        ("_access_time", b"S'now'\n", "bytes"),
        ("user", b"K\x01K\x02\x86", "a tuple"),
        ("user", b"capp\nUser\n)\x81", "the class `app.User`"),
        ("_form_tokens", b"]K\x01a", "an int"),
        ("_form_tokens", b"N", "None"),
        ("shelf", b"capp\nShelf\n)\x81", "the class `app.Shelf`"),
    ] {
        let error = session3(&with_attributes(&[(name, value)])).unwrap_err();
        assert!(error.to_string().contains(found), "{name}: {error}");
        assert!(error.offset().is_some());
    }
    let twice = [("shelf", &b"N"[..]), ("data", b"}\x8c\x05shelfK\x01s")];
    let error = session3(&with_attributes(&twice)).unwrap_err();
    assert!(error.to_string().contains("with the same name"), "{error}");
    // Times outside of every clock, and an invalid address.
    let odd = with_attributes(&[
        ("_creation_time", b"F-1e300\n"),
        ("_access_time", b"F1e300\n"),
        ("_remote_address", b"\x8c\x04home"),
    ]);
    let odd = session3(&odd).unwrap();
    assert_eq!(odd.created_at(), UNIX_EPOCH);
    assert!(odd.accessed_at() > now());
    assert_eq!(odd.remote_address(), None);
}

#[test]
fn an_unreadable_file_is_reported_and_the_import_continues() {
    // The only directory with a plain file that not even root can read: all reads of `mem` begin
    // at 0, where no process has memory.
    let mut sessions = Session3Directory::open("/proc/self").unwrap();
    let all: Vec<_> = sessions.by_ref().collect();
    let mem = all.into_iter().find(|(name, _)| name == "mem");
    let (_, read) = mem.expect("it is an item");
    let error = read.unwrap_err();
    assert!(matches!(error.kind(), DecodeErrorKind::Io(_)), "{error}");
    assert!(error.to_string().starts_with("the file: "), "{error}");
    // It continues before or after that file: there are `stat`, `status`, `maps`.
    assert!(sessions.skipped() > 3);
    let missing = Session3Directory::open("/proc/self/missing").unwrap_err();
    assert_eq!(
        missing.kind(),
        DecodeErrorKind::Io(std::io::ErrorKind::NotFound)
    );
}

#[test]
fn a_file_locked_by_session3_is_waited_for() {
    use std::os::unix::fs::MetadataExt;

    let there = tempfile::tempdir().unwrap();
    let whole = data("session3/8JkxvbRB2qQ");
    let (begin, end) = whole.split_at(100);
    let mut file = std::fs::File::create(there.path().join("being-written")).unwrap();
    fs2::FileExt::lock_exclusive(&file).unwrap();
    file.write_all(begin).unwrap();
    std::thread::scope(|scope| {
        let sessions = Session3Directory::open(there.path()).unwrap();
        let reader = scope.spawn(|| sessions.map(|(_, read)| read).collect::<Vec<_>>());
        let inode = format!(":{} ", file.metadata().unwrap().ino());
        wait_until("it waits for the lock", || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            let mut waiting = locks.lines().filter(|line| line.contains("-> FLOCK"));
            waiting.any(|line| line.contains(&inode))
        });
        file.write_all(end).unwrap();
        fs2::FileExt::unlock(&file).unwrap();
        let read = reader.join().unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref().unwrap().user(), Some("anna"));
    });
}

#[test]
fn memory_bombs_are_refused_cheaply() {
    let read = |bytes: &[u8]| kind(pycket(Some(bytes), None, now()));
    // A list in itself, and a dict in itself.
    assert_eq!(read(&dict(b"]q\0h\0a")), Some(DecodeErrorKind::Cycle));
    assert_eq!(
        read(b"\x80\x02}q\0X\x01\0\0\0kh\0s."),
        Some(DecodeErrorKind::Cycle)
    );
    // Each list contains the previous one ten times: 10^40 items.
    let mut bomb = b"](K\x01e".to_vec();
    for id in 0..40 {
        bomb.extend([b'q', id, b'0', b']', b'(']);
        bomb.extend([b'h', id].repeat(10));
        bomb.push(b'e');
    }
    assert_eq!(read(&dict(&bomb)), Some(DecodeErrorKind::TooLarge));
    // The same with copies of the top of the stack.
    let bomb = [&b"]"[..], &b"222222222(le"[..]].concat();
    assert!(read(&dict(&bomb)).is_some());
    // A dict of 10 000 keys that is referenced 10 000 times.
    let mut bomb = b"}q\0(".to_vec();
    for key in 0..10_000_u16 {
        bomb.extend([b'M', key.to_le_bytes()[0], key.to_le_bytes()[1], b'N']);
    }
    bomb.extend(b"u0](");
    bomb.extend(b"h\0".repeat(10_000));
    bomb.push(b'e');
    assert_eq!(read(&dict(&bomb)), Some(DecodeErrorKind::TooLarge));
    // One key of 500 000 bytes that a dict contains 100 000 times.
    let key = [&b"X\x20\xa1\x07\0"[..], &b"a".repeat(500_000), b"q\0"].concat();
    let bomb = [&b"}("[..], &key, b"N", &b"h\0N".repeat(100_000), b"u"].concat();
    assert_eq!(read(&dict(&bomb)), Some(DecodeErrorKind::Type));
    assert!(refused(&bomb).contains("two keys of a dict with the same text"));
    // Classes with the longest name, from entries of the memo.
    let long = "a".repeat(128);
    let names = format!("X\u{1}\0\0\0aq\0X\u{7f}\0\0\0{}q\u{1}", &long[1..]);
    let bomb = [names.as_bytes(), &b"h\x01h\x01\x930".repeat(100_000)].concat();
    assert_eq!(read(&dict(&bomb)), Some(DecodeErrorKind::TooLarge));
    let object = [&b"caaa\n"[..], long.as_bytes(), b"\nq\0"].concat();
    let bomb = [&object[..], &b"h\0)\x810".repeat(100_000)].concat();
    assert_eq!(read(&dict(&bomb)), Some(DecodeErrorKind::TooLarge));
    // One list, and one text, that a function copies 50 000 times.
    let list = [&b"("[..], &b"N".repeat(400_000), b"lq\0"].concat();
    let set = [
        &b"c__builtin__\nset\nq\x01"[..],
        &b"h\x01h\0\x85R".repeat(50_000),
    ]
    .concat();
    assert_eq!(read(&[list, set].concat()), Some(DecodeErrorKind::TooLarge));
    let text = [
        &b"X\x80\x1a\x06\0"[..],
        &b"a".repeat(400_000),
        b"q\0X\x06\0\0\0latin1q\x02",
    ]
    .concat();
    let encode = [
        &b"c_codecs\nencode\nq\x01"[..],
        &b"h\x01h\0h\x02\x86R".repeat(50_000),
    ]
    .concat();
    assert_eq!(
        read(&[text, encode].concat()),
        Some(DecodeErrorKind::TooLarge)
    );
    // Deep, in lists and in tuples; 100 000 of them would overrun a stack.
    for open in [&b"]"[..], b")"] {
        let close: &[u8] = if open == b"]" { b"a" } else { b"\x85" };
        let many = |n: usize| match open {
            b"]" => [open.repeat(n), close.repeat(n - 1)].concat(),
            _ => [open.to_vec(), close.repeat(n - 1)].concat(),
        };
        assert_eq!(read(&dict(&many(100))), None);
        assert_eq!(read(&dict(&many(101))), Some(DecodeErrorKind::Depth));
        assert_eq!(read(&dict(&many(100_000))), Some(DecodeErrorKind::Depth));
    }
    // Lengths without the bytes that should follow.
    for value in [
        &b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\0\0\0\0\0\0\0\x40",
        b"B\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f",
        b"X\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
    ] {
        assert_eq!(read(&dict(value)), Some(DecodeErrorKind::Truncated));
    }
    // A large index of the memo takes no memory, and the whole is bounded.
    assert_eq!(read(&dict(b"Nr\xff\xff\xff\xff")), None);
    assert_eq!(
        read(&vec![b'('; (1 << 20) + 1]),
        Some(DecodeErrorKind::TooLarge)
    );
    assert_eq!(
        read(&b"]".repeat(10 << 20)),
        Some(DecodeErrorKind::TooLarge)
    );
    assert!(pyramid_kvs(&[b"{\"a\":", &b"[".repeat(500_000)[..]].concat(), now()).is_err());
}

#[test]
fn pickles_of_python_2_are_read() {
    let zero = b"(dp0\nS'name'\np1\nS'Zo\\xc3\\xab \\'x\\''\np2\nsS'n'\nL18446744073709551616L\nsS'u'\nV\\u20ac\\U0001f600\nsS't'\nI01\nsS'i'\nI-7\nsS'f'\nF1.5\ns.";
    let imported = pycket(Some(zero), None, now()).unwrap();
    let text: Vec<_> = texts(&imported);
    let text: Vec<_> = text.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        text,
        [
            ("name", r#""Zoë 'x'""#),
            ("n", "18446744073709551616"),
            ("u", r#""€😀""#),
            ("t", "true"),
            ("i", "-7"),
            ("f", "1.5"),
        ]
    );
}

const FILES: [&str; 5] = [
    "pycket-session",
    "pycket-notifications",
    "pyramid_kvs-pickle",
    "session3/8JkxvbRB2qQ",
    "session3/Zw7fQdGmX0s",
];

fn read_any(bytes: &[u8]) -> bool {
    let ways = [
        pycket(Some(bytes), Some(bytes), now()).is_ok(),
        pyramid_kvs(bytes, now()).is_ok(),
        session3(bytes).is_ok(),
    ];
    ways.contains(&true)
}

#[test]
fn a_truncated_file_is_refused() {
    for name in FILES.into_iter().chain(["pyramid_kvs-json"]) {
        let whole = data(name);
        assert!(read_any(&whole), "{name}");
        for cut in 0..whole.len() {
            assert!(!read_any(&whole[..cut]), "{name} cut at {cut}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_bytes_never_panic(
        file in 0..FILES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = data(FILES[file]);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_any(&bytes);
    }

    #[test]
    fn random_instructions_never_panic(
        bytes in proptest::collection::vec(
            prop_oneof![
                prop::sample::select(&b"\x80\x95.(012pqr\x94ghjN\x88\x89ILFJKM\x8a\x8bGSTBUC\x8e\x96VX\x8c\x8d)\x85\x86\x87t]\x8fl\x91ae\x90}dsuc\x93R\x81\x92iob"[..]),
                any::<u8>(),
                Just(0),
                Just(b'\n'),
            ],
            0..60,
        ),
    ) {
        read_any(&bytes);
    }
}

/// Writes random plain structures, each as JSON and as a pickle of one of the protocols.
const WRITER: &str = r#"
import json, pickle, random
r = random.Random(20261121)
def value(depth):
    kind = r.randrange(10 if depth else 7)
    if kind == 0: return None
    if kind == 1: return r.random() < 0.5
    if kind == 2: return r.choice([0, -1, 255, 256, 65535, 65536, 2**31, -2**31, r.getrandbits(r.randrange(1, 300)), -r.getrandbits(300), -128, -2**63, 2**63])
    if kind == 3: return r.choice([0.0, -0.5, 1e300, 5e-324, r.random(), r.uniform(-1e9, 1e9)])
    if kind < 7: return text()
    if kind == 7: return [value(depth - 1) for _ in range(r.randrange(5))]
    if kind == 8: return tuple(value(depth - 1) for _ in range(r.randrange(5)))
    shared = value(depth - 1)
    return {r.choice([text(), -7, r.randrange(1000, 9999)]): r.choice([shared, value(depth - 1)]) for _ in range(r.randrange(5))}
def text():
    return "".join(r.choice("ab \\'\"\n\r\t\0\x7f\xe9\u20ac\u2028\U0001f600u0041x") for _ in range(r.choice([0, 3, 9, 300])))
for n in range(1000):
    d = {text(): value(4) for _ in range(r.randrange(6))}
    for protocol in range(6):
        print(pickle.dumps(d, protocol).hex(), json.dumps(d, ensure_ascii=False).encode().hex())
"#;

#[test]
fn random_structures_are_read_as_python_reads_them() {
    let mut python = Command::new("python3")
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed: see tests/run.sh");
    let mut input = python.stdin.take().unwrap();
    input.write_all(WRITER.as_bytes()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let unhex = |text: &str| -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    };
    let mut compared = 0;
    for line in std::str::from_utf8(&output.stdout).unwrap().lines() {
        let (pickle, json) = line.split_once(' ').unwrap();
        let (pickle, json) = (unhex(pickle), unhex(json));
        let read = pycket(Some(&pickle), None, now()).expect("it is plain");
        // Read by the same JSON reader, which keeps names and big numbers as text.
        let want = pyramid_kvs(&json, now()).expect("it is plain");
        let plain = |imported: &Record| -> Vec<(String, String)> {
            let all = texts(imported).into_iter();
            all.map(|(name, text)| (name, canonical(&text))).collect()
        };
        assert_eq!(plain(&read), plain(&want));
        compared += 1;
    }
    assert_eq!(compared, 6000);
}

/// The JSON with numbers as both sides spell them: whole ones to the digit, others as a float.
fn canonical(json: &str) -> String {
    let mut out = String::new();
    let mut rest = json;
    let mut quoted = String::new();
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            quoted.clear();
            quoted.push_str(&strings.next().unwrap().unwrap());
            out.push_str(&format!("{quoted:?}"));
            rest = &rest[strings.byte_offset()..];
        } else if c == '-' || c.is_ascii_digit() {
            let end = rest
                .find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c)))
                .unwrap_or(rest.len());
            let number = &rest[..end];
            if number.contains(['.', 'e', 'E']) {
                out.push_str(&format!("{:?}", number.parse::<f64>().unwrap()));
            } else {
                out.push_str(number);
            }
            rest = &rest[end..];
        } else {
            if !c.is_whitespace() {
                out.push(c);
            }
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}
