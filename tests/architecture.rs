//! The code matches `ARCHITECTURE.md`: every file has its line, and imports run down the list.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../ARCHITECTURE.md");

/// The file or folder of each line in the page's list, from the top.
fn listed() -> Vec<String> {
    let list = PAGE.split("```text\n").nth(1).expect("it has a list");
    let list = list.split("```").next().expect("the list ends");
    let mut folder = String::new();
    list.lines()
        .filter_map(|line| {
            let name = line.split_whitespace().next()?;
            if !line.starts_with(' ') {
                folder = name.strip_suffix(".rs").map_or(name, |_| "").to_owned();
                return Some(name.to_owned());
            }
            Some(format!("{folder}{name}"))
        })
        .collect()
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All files under `folder`, by their paths in `src`.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is a folder");
    let entries = entries.map(|entry| entry.expect("it can be read").path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => {
                let path = path.strip_prefix(source()).expect("it is in there");
                vec![path.to_str().expect("it is text").to_owned()]
            }
        })
        .collect()
}

/// The part of the crate that a path in `src` belongs to.
fn part(path: &str) -> &str {
    let first = path.split('/').next().expect("a path has parts");
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The parts that `text` imports, without those of its unit tests and its documentation.
fn imports(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next();
    let code = code.expect("there is a first part");
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code: Vec<&str> = lines.collect();
    let code = code.join("\n");
    let names = code
        .split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(several) => several.split('}').next().unwrap_or("").split(',').collect(),
            None => vec![rest],
        });
    let word = |name: &str| {
        let name = name.trim_start();
        let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
        name[..end.unwrap_or(name.len())].to_owned()
    };
    names.map(word).collect()
}

#[test]
fn every_file_has_its_line_in_the_architecture_page() {
    let listed = listed();
    let mut files = files(&source());
    files.sort();
    for file in &files {
        let folder = file.strip_suffix("mod.rs");
        let is_listed = listed
            .iter()
            .any(|line| line == file || Some(line.as_str()) == folder);
        assert!(is_listed, "ARCHITECTURE.md does not list src/{file}");
    }
    for line in &listed {
        let file = source().join(line);
        assert!(
            file.exists(),
            "ARCHITECTURE.md lists src/{line}, which is not there"
        );
    }
}

#[test]
fn imports_run_down_the_list_of_the_architecture_page() {
    let mut places = HashMap::new();
    for (place, line) in listed().iter().enumerate() {
        places.entry(part(line).to_owned()).or_insert(place);
    }
    for file in files(&source()) {
        // It tests two parts of the crate together.
        if file == "lib.rs" || file == "manager/interleavings.rs" {
            continue;
        }
        let text = fs::read_to_string(source().join(&file)).expect("it is text");
        let own = places[part(&file)];
        for import in imports(&text) {
            if let Some(&place) = places.get(&import) {
                assert!(
                    place >= own,
                    "src/{file} imports `crate::{import}`, which ARCHITECTURE.md lists above it"
                );
            }
        }
    }
}

#[test]
fn no_file_exceeds_the_line_limit() {
    const LINES: usize = 350;
    for file in files(&source()) {
        let text = fs::read_to_string(source().join(&file)).expect("it is text");
        let code = text.split("#[cfg(test)]\nmod tests").next();
        let lines = code.expect("there is a first part").lines().count();
        let is_test = file == "manager/interleavings.rs" || file.starts_with("testing/");
        assert!(is_test || lines <= LINES, "src/{file} has {lines} lines");
    }
}
