//! The page `docs/command-line.md` shows what the program writes.

use std::fs;

use super::{Done, Site, StoreKind};

/// Returns the commands on the page, each with the output below it.
fn shown() -> Vec<(String, String)> {
    let page = include_str!("../../docs/command-line.md");
    let blocks = page.split("```console\n").skip(1);
    let blocks = blocks.map(|rest| rest.split("```").next().expect("a block ends"));
    let lines = blocks.map(|block| block.split_once('\n').expect("a command has output"));
    lines
        .map(|(command, output)| {
            let command = command.strip_prefix("$ rocket-session-kit ");
            (
                command.expect("it is one of the program").to_owned(),
                output.to_owned(),
            )
        })
        .collect()
}

/// Returns `output` without what differs from run to run: numbers, handles, bars and widths.
fn comparable(output: &str) -> Vec<String> {
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| {
            let handle = |word: &str| {
                word.len() == 43 && word.parse::<rocket_session_kit::SessionHandle>().is_ok()
            };
            let parts = word.split('"').map(|part| match handle(part) {
                true => "HANDLE".to_owned(),
                false => zeros(part),
            });
            parts.collect::<Vec<_>>().join("\"")
        });
        let line = words.collect::<Vec<_>>().join(" ");
        // A session that was used a second ago has less than a day left.
        line.replace("in 0h", "in 0d")
    };
    output.lines().map(line).collect()
}

/// Returns `text` with one digit in place of each number, and a short bar.
fn zeros(text: &str) -> String {
    let mut zeros = String::new();
    for character in text.chars() {
        let character = if character.is_ascii_digit() {
            '0'
        } else {
            character
        };
        if !("0#".contains(character) && zeros.ends_with(character)) {
            zeros.push(character);
        }
    }
    zeros
}

#[test]
fn the_page_shows_the_output_as_it_is() {
    let (site, target) = (Site::new(StoreKind::Redis), Site::new(StoreKind::Directory));
    let server = site.launch();
    let agent = Some(("User-Agent", "Firefox/140.0"));
    let (_, alice, _) = server.send("/login/alice", agent);
    let alice = alice.expect("a log-in sets a cookie");
    server.get("/add/visits", Some(&alice));
    server.get("/login/bob", None);
    server.get("/add/visits", None);
    let url = site.redis.as_ref().expect("it is on Redis").url();
    let toml = format!("[default.sessions]\nstore = \"redis\"\nredis.url = \"{url}\"\n");
    fs::write(site.path().join("Rocket.toml"), toml).expect("there is room");
    fs::copy(target.toml(), site.path().join("other.toml")).expect("there is room");
    let handle = site.handle_of("alice");
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/python/session3");
    let mut copies = 0;
    let all = shown();
    assert!(all.len() >= 9, "{} commands", all.len());
    for (command, output) in all {
        let words = command.split(' ').map(|word| match word {
            "/srv/old/sessions" => old.to_owned(),
            word if word.len() == 43 => handle.clone(),
            word => word.to_owned(),
        });
        if command.starts_with("copy") && copies > 0 {
            server.get("/add/visits", Some(&alice));
        }
        copies += u32::from(command.starts_with("copy"));
        let mut tool = site.tool();
        tool.env_remove("ROCKET_SESSIONS").env(
            "ROCKET_SECRET_KEY",
            "hPRYyVRiMyxpw5sBB1XeCMN1kFsDCqKvBi2QJxBVHQk=",
        );
        let done = Done::of(tool.args(words)).ok();
        assert_eq!(comparable(&done), comparable(&output), "{command}");
    }
}
