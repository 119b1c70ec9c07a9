//! Each example in a help text runs, and completions and manual pages are complete.

use std::path::Path;
use std::process::Command;

use super::{Done, Site, StoreKind, TOOL, log_in};

const COMMANDS: [&str; 10] = [
    "check",
    "list",
    "show",
    "end",
    "sweep",
    "stats",
    "import",
    "copy",
    "completions",
    "man",
];

/// Returns the examples in the help of a command.
fn examples(help: &str) -> Vec<String> {
    let examples = help.split("Examples:\n").nth(1).unwrap_or_default();
    let lines = examples.lines().map(str::trim);
    lines
        .filter(|line| line.starts_with("rocket-session-kit"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_example_of_a_help_text_runs() {
    let (site, target) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Directory));
    let server = site.launch();
    let directory = Path::new(TOOL).parent().expect("it is in a directory");
    let path = format!(
        "{}:{}",
        directory.display(),
        std::env::var("PATH").expect("it is set")
    );
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/python/session3");
    let toml = std::fs::read_to_string(target.toml()).expect("it is there");
    std::fs::write(site.path().join("other.toml"), toml).expect("there is room");
    std::fs::write(site.path().join("production.toml"), "").expect("there is room");
    let mut count = 0;
    for command in COMMANDS {
        let help = site.run(&[command, "--help"]).ok();
        let examples = examples(&help);
        assert!(examples.len() >= 2, "{command} has examples: {help}");
        for example in examples {
            log_in(&server, "alice");
            let handle = site.list(&["--user", "alice"])[0]["handle"].clone();
            let redis = site.redis.as_ref().expect("it is on Redis").url();
            let line = example
                .replace("HANDLE", handle.as_str().expect("it has one"))
                .replace("redis://localhost", &redis)
                .replace("/srv/old/sessions", old);
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).current_dir(site.path());
            shell.env("PATH", &path).env("HOME", site.path());
            shell.env("ROCKET_SESSIONS", format!("{{{}}}", site.settings));
            let done = Done::of(&mut shell);
            assert_eq!(done.code, Some(0), "{line}: {}{}", done.out, done.err);
            count += 1;
        }
    }
    assert!(count >= 25, "{count} examples ran");
}

#[test]
fn the_help_names_every_command_and_the_exit_codes() {
    let help = Done::of(Command::new(TOOL).arg("--help")).ok();
    for command in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    assert!(help.contains("130  stopped by Ctrl-C"), "{help}");
    let error = Done::of(&mut Command::new(TOOL)).fails(2);
    assert!(error.contains("Usage"), "{error}");
    assert!(
        Done::of(Command::new(TOOL).arg("--version"))
            .ok()
            .contains("rocket-session-kit 0.")
    );
}

#[test]
fn the_completions_are_scripts_of_their_shells() {
    for (shell, part) in [
        ("bash", "complete -F _rocket__session__kit"),
        ("zsh", "#compdef rocket-session-kit"),
        ("fish", "complete -c rocket-session-kit"),
    ] {
        let script = Done::of(Command::new(TOOL).args(["completions", shell])).ok();
        assert!(script.contains(part), "{shell}: {script}");
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} completes {command}");
        }
    }
    let script = Done::of(Command::new(TOOL).args(["completions", "bash"])).ok();
    let syntax = Command::new("bash").args(["-n", "-c", &script]).status();
    assert!(syntax.expect("bash runs").success());
    Done::of(Command::new(TOOL).args(["completions", "csh"])).fails(2);
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let page = Done::of(Command::new(TOOL).arg("man")).ok();
    assert!(page.contains(".TH rocket-session-kit 1"), "{page}");
    for command in COMMANDS {
        let page = Done::of(Command::new(TOOL).args(["man", command])).ok();
        assert!(
            page.contains(&format!(".TH rocket-session-kit-{command} 1")),
            "{page}"
        );
    }
    Done::of(Command::new(TOOL).args(["man", "nothing"])).fails(2);
}
