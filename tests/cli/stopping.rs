//! Ctrl-C, readers that go away, and terminals.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{Site, StoreKind};
use crate::support::process::wait_until;

/// Sends Ctrl-C.
fn interrupt(child: &Child) {
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", "INT", &pid])
        .status();
    assert!(sent.expect("kill runs").success());
}

#[test]
fn ctrl_c_stops_a_copy_after_the_session_at_hand() {
    let (source, target) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Redis));
    const ALL: usize = 4000;
    source.plant(ALL, Duration::from_secs(3600));
    let mut tool = source.tool();
    tool.arg("copy").arg("--to").arg(target.toml());
    let child = tool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.expect("it starts");
    let server = target.redis.as_ref().expect("it is on Redis");
    wait_until("some are copied", || {
        let keys: usize = server.cli(&["DBSIZE"]).trim().parse().expect("a number");
        keys > 300
    });
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    let error = String::from_utf8(output.stderr).expect("it writes text");
    assert_eq!(output.status.code(), Some(130), "{error}");
    let copied = error
        .strip_prefix("stopped: ")
        .and_then(|rest| rest.split(' ').next());
    let copied: usize = copied.and_then(|count| count.parse().ok()).expect(&error);
    assert!(error.contains("run it again to go on"), "{error}");
    assert!(copied < ALL);
    // It says exactly how far it came.
    assert_eq!(target.count(), copied);
    let rest = source.copy_to(&target).ok();
    let expected = format!(
        "{} sessions copied, 0 updated, 0 ended, {copied} unchanged\n",
        ALL - copied
    );
    assert_eq!(rest, expected);
}

#[test]
fn ctrl_c_stops_an_end_of_all() {
    let site = Site::new(StoreKind::Redis);
    const ALL: usize = 4000;
    site.plant(ALL, Duration::from_secs(3600));
    let mut tool = site.tool();
    tool.args(["end", "--all", "--yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = tool.spawn().expect("it starts");
    let server = site.redis.as_ref().expect("it is on Redis");
    wait_until("some are ended", || server.calls("evalsha") > 8000 / 2 + 50);
    interrupt(&child);
    let output = child.wait_with_output().expect("it ends");
    let error = String::from_utf8(output.stderr).expect("it writes text");
    assert_eq!(output.status.code(), Some(130), "{error}");
    let ended = error
        .strip_prefix("stopped: ")
        .and_then(|rest| rest.split(' ').next());
    let ended: usize = ended.and_then(|count| count.parse().ok()).expect(&error);
    assert_eq!(site.list(&[]).len(), ALL - ended);
    let rest = site.run(&["end", "--all", "--yes"]).ok();
    assert_eq!(rest, format!("{} sessions ended\n", ALL - ended));
}

#[test]
fn a_list_ends_quietly_when_its_reader_goes_away() {
    let site = Site::new(StoreKind::Directory);
    site.plant(3000, Duration::from_secs(3600));
    for arguments in [&["list"][..], &["list", "--json"]] {
        let mut tool = site.tool();
        tool.args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = tool.spawn().expect("it starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::with_capacity(1, stdout)
            .read_line(&mut first)
            .expect("it writes");
        assert!(!first.is_empty());
        let mut error = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut error).expect("it writes text");
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{error}");
        assert_eq!(error, "");
    }
}

#[test]
fn the_output_has_no_colours_and_no_progress_without_a_terminal() {
    let (site, target) = (
        Site::new(StoreKind::Directory),
        Site::new(StoreKind::Directory),
    );
    site.plant(3, Duration::from_secs(3600));
    let file = target.toml();
    let to = file.to_str().expect("it is text");
    for arguments in [
        &["list"][..],
        &["stats"],
        &["check"],
        &["--help"],
        &["copy", "--to", to],
        &["no"],
    ] {
        let done = site.run(arguments);
        assert!(
            !done.out.contains('\u{1b}') && !done.err.contains('\u{1b}'),
            "{arguments:?}"
        );
        assert!(!done.err.contains("compared"), "{}", done.err);
    }
}

#[test]
fn on_a_terminal_the_progress_is_on_stderr_alone() {
    let site = Site::new(StoreKind::Directory);
    site.plant(30, Duration::from_secs(3600));
    let command = format!("{} stats", super::TOOL);
    let mut script = std::process::Command::new("script");
    script
        .args(["-qec", &command, "/dev/null"])
        .current_dir(site.path());
    let sessions = format!("{{{}}}", site.settings);
    script
        .env("ROCKET_SESSIONS", sessions)
        .env("TERM", "xterm")
        .stdin(Stdio::null());
    let output = script.output().expect("`script` is part of util-linux");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("entries counted") && text.contains("live sessions"),
        "{text}"
    );
}
